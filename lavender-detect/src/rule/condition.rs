//! Conditions: checked against the searches that they name.

use std::collections::HashSet;
use std::sync::Arc;

use rsigma_parser::{ConditionExpr, Quantifier, SelectorPattern, parse_condition};

use super::Search;

/// How deep parentheses and `not` may nest: each level is one on the stack of whoever walks the condition.
const MAX_DEPTH: usize = 64;

/// Reads a condition and checks that every search it names is there.
pub(super) fn parse(text: &str, searches: &[(Arc<str>, Search)]) -> Result<ConditionExpr, String> {
    if text.contains('|') {
        return Err(
            "aggregations after `|` were removed from Sigma: write a correlation".to_owned()
        );
    }
    if nests_too_deeply(text) {
        return Err(format!("parentheses and `not` nest more than {MAX_DEPTH} deep"));
    }
    // The grammar knows no carriage return, which a rule written on Windows may hold.
    let parsed = parse_condition(&text.replace('\r', " ")).map_err(|error| explain(&error))?;
    let names = searches.iter().map(|(name, _)| &**name).collect();
    check(&parsed, searches, &names)?;
    Ok(parsed)
}

/// Looked at before the parser does, which recurses.
fn nests_too_deeply(text: &str) -> bool {
    let (mut open, mut nots) = (0_usize, 0_usize);
    for word in text.split_inclusive(|c: char| c.is_whitespace() || c == '(' || c == ')') {
        let name = word.trim_end_matches(|c: char| c.is_whitespace() || c == '(' || c == ')');
        match name {
            "not" => nots += 1,
            "" => {}
            _ => nots = 0,
        }
        match word.as_bytes().last() {
            Some(b'(') => open += 1,
            Some(b')') => (open, nots) = (open.saturating_sub(1), 0),
            _ => {}
        }
        if open + nots > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// The parser draws its messages over several lines; the reason is the last.
pub(super) fn explain(error: &rsigma_parser::SigmaParserError) -> String {
    let text = error.to_string();
    let reason = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(&text);
    let reason = reason.trim().trim_start_matches("= ");
    match error.location() {
        Some(place) => format!("the condition cannot be read at column {}: {reason}", place.col),
        None => format!("the condition cannot be read: {reason}"),
    }
}

fn check(
    expression: &ConditionExpr,
    searches: &[(Arc<str>, Search)],
    names: &HashSet<&str>,
) -> Result<(), String> {
    match expression {
        ConditionExpr::And(parts) | ConditionExpr::Or(parts) => {
            parts.iter().try_for_each(|part| check(part, searches, names))
        }
        ConditionExpr::Not(inner) => check(inner, searches, names),
        ConditionExpr::Identifier(name) => {
            if names.contains(name.as_str()) {
                Ok(())
            } else {
                Err(format!("the condition names `{name}`, which is not there"))
            }
        }
        ConditionExpr::Selector { quantifier, pattern } => {
            if let Quantifier::Count(count) = quantifier {
                return Err(format!(
                    "`{count} of` is not Sigma: only `1 of`, `any of` and `all of` are"
                ));
            }
            if names_matching(pattern, searches).next().is_none() {
                return Err(format!("no search fits `{quantifier} of {pattern}`"));
            }
            Ok(())
        }
    }
}

/// The numbers of the searches that a pattern after `of` stands for. Those whose names begin with `_` are only meant by a
/// pattern that does too.
pub(crate) fn names_matching<'a>(
    pattern: &'a SelectorPattern,
    searches: &'a [(Arc<str>, Search)],
) -> impl Iterator<Item = usize> + 'a {
    searches
        .iter()
        .enumerate()
        .filter(move |(_, (name, _))| match pattern {
            SelectorPattern::Them => !name.starts_with('_'),
            SelectorPattern::Pattern(pattern) => {
                (pattern.starts_with('_') || !name.starts_with('_')) && fits(pattern, name)
            }
        })
        .map(|(index, _)| index)
}

/// Whether a name fits a pattern in which `*` stands for anything.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn stars_stand_anywhere() {
        for (pattern, name, expected) in [
            ("sel*", "selection", true),
            ("*", "x", true),
            ("s*l*n", "selection", true),
            ("s*x*n", "selection", false),
            ("selection", "selection_1", false),
            ("*_main", "selection_main", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
