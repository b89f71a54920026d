//! Regular expressions, and the text that a match cannot be without.

use regex_automata::meta::{BuildError, Cache, Config, Regex};
use regex_automata::util::syntax;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::fold::fold_char;

/// An expression with its flags as Sigma writes them: `re|i|m|s`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RegexSource {
    pub(crate) pattern: Box<str>,
    pub(crate) ignore_case: bool,
    pub(crate) multi_line: bool,
    pub(crate) dot_matches_new_line: bool,
}

/// A compiled expression. Memory and time are bounded: matching is linear in the text, whatever the pattern.
#[derive(Debug)]
pub(crate) struct CompiledRegex {
    regex: Regex,
    /// Folded texts of which a match contains at least one; empty when nothing is certain.
    pub(crate) required: Vec<Vec<u8>>,
}

/// Bound on what one expression may take compiled, in bytes: that of the `regex` crate, which every public rule
/// keeps to.
const SIZE_LIMIT: usize = 10 << 20;
/// Bound on the cache that one expression uses per thread, in bytes.
const CACHE_BYTES: usize = 256 << 10;

impl RegexSource {
    fn syntax(&self) -> syntax::Config {
        syntax::Config::new()
            .case_insensitive(self.ignore_case)
            .multi_line(self.multi_line)
            .dot_matches_new_line(self.dot_matches_new_line)
            .utf8(false)
    }

    pub(crate) fn compile(&self) -> Result<CompiledRegex, String> {
        let parsed = syntax::parse_with(&self.pattern, &self.syntax());
        let hir = parsed.map_err(|error| one_line(&error.to_string()))?;
        let config = Config::new()
            .utf8_empty(false)
            .nfa_size_limit(Some(SIZE_LIMIT))
            .onepass_size_limit(Some(SIZE_LIMIT / 80))
            .hybrid_cache_capacity(CACHE_BYTES);
        let regex = Regex::builder().configure(config).build_from_hir(&hir).map_err(explain)?;
        Ok(CompiledRegex { regex, required: required_texts(&hir) })
    }
}

fn explain(error: BuildError) -> String {
    match error.size_limit() {
        Some(limit) => format!("it takes more than {limit} bytes compiled"),
        None => one_line(&error.to_string()),
    }
}

/// The parser draws its messages over several lines, with the reason last.
fn one_line(message: &str) -> String {
    let last = message.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(message);
    last.trim().trim_start_matches("error: ").to_owned()
}

impl CompiledRegex {
    /// What it takes on the heap, in bytes, without the caches.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.regex.memory_usage() + self.required.iter().map(Vec::len).sum::<usize>()
    }

    /// Whether it matches anywhere in the text. Allocates only in `cache`, which keeps what it has.
    pub(crate) fn is_match(&self, cache: &mut Option<Cache>, text: &[u8]) -> bool {
        let cache = cache.get_or_insert_with(|| self.regex.create_cache());
        let input = regex_automata::Input::new(text).earliest(true);
        self.regex.search_half_with(cache, &input).is_some()
    }
}

/// At most so many alternatives are followed.
const MAX_ALTERNATIVES: usize = 32;

fn required_texts(hir: &Hir) -> Vec<Vec<u8>> {
    let texts = required(hir).unwrap_or_default();
    if texts.iter().any(|text| text.len() < 2) { Vec::new() } else { texts }
}

/// At most so many characters of a class are followed, and so many texts that differ by them.
const MAX_CLASS: u32 = 8;
const MAX_RUNS: usize = 8;

/// The folded ASCII bytes that a class of few characters stands for: `w` for `[Ww]`, `r` and `w` for `[RW]`.
fn folded_bytes(class: &Class) -> Option<Vec<u8>> {
    let mut found = Vec::new();
    let mut add = |character: char| {
        let folded = u8::try_from(fold_char(character)).ok().filter(u8::is_ascii)?;
        if !found.contains(&folded) {
            found.push(folded);
        }
        Some(())
    };
    match class {
        Class::Unicode(class) => {
            for range in class.iter() {
                (range.end() as u32 - range.start() as u32 <= MAX_CLASS).then_some(())?;
                (range.start()..=range.end()).try_for_each(&mut add)?;
            }
        }
        Class::Bytes(class) => {
            for range in class.iter() {
                (u32::from(range.end() - range.start()) <= MAX_CLASS).then_some(())?;
                (range.start()..=range.end()).map(char::from).try_for_each(&mut add)?;
            }
        }
    }
    (found.len() <= MAX_CLASS as usize).then_some(found)
}

fn ascii_runs(bytes: &[u8]) -> Option<Vec<u8>> {
    let longest = bytes.split(|byte| !byte.is_ascii()).max_by_key(|run| run.len())?;
    (!longest.is_empty()).then(|| longest.to_ascii_lowercase())
}

/// Alternatives of which every match contains one; `None` when nothing is certain.
fn required(hir: &Hir) -> Option<Vec<Vec<u8>>> {
    match hir.kind() {
        HirKind::Literal(literal) => ascii_runs(&literal.0).map(|run| vec![run]),
        HirKind::Class(class) => {
            folded_bytes(class).map(|bytes| bytes.into_iter().map(|byte| vec![byte]).collect())
        }
        HirKind::Capture(capture) => required(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => required(&repetition.sub),
        HirKind::Concat(parts) => required_of_sequence(parts),
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for part in parts {
                all.extend(required(part)?);
                (all.len() <= MAX_ALTERNATIVES).then_some(())?;
            }
            Some(all)
        }
        HirKind::Empty | HirKind::Look(_) | HirKind::Repetition(_) => None,
    }
}

fn without_groups(mut hir: &Hir) -> &Hir {
    while let HirKind::Capture(capture) = hir.kind() {
        hir = &capture.sub;
    }
    hir
}

fn required_of_sequence(parts: &[Hir]) -> Option<Vec<Vec<u8>>> {
    let mut best = Best(None);
    // The texts of which one stands where the sequence now is.
    let mut run: Vec<Vec<u8>> = vec![Vec::new()];
    for part in parts {
        match without_groups(part).kind() {
            HirKind::Literal(literal) if literal.0.is_ascii() => {
                run.iter_mut().for_each(|text| text.extend(literal.0.to_ascii_lowercase()));
                continue;
            }
            HirKind::Class(class) => {
                if let Some(bytes) = folded_bytes(class)
                    && run.len() * bytes.len() <= MAX_RUNS
                {
                    let with = |text: &Vec<u8>, byte: u8| [text.as_slice(), &[byte]].concat();
                    run = run
                        .iter()
                        .flat_map(|text| bytes.iter().map(|byte| with(text, *byte)))
                        .collect();
                    continue;
                }
            }
            // An assertion takes no room: what stands before and after it is adjacent.
            HirKind::Look(_) | HirKind::Empty => continue,
            _ => {}
        }
        best.offer(std::mem::replace(&mut run, vec![Vec::new()]));
        if let Some(texts) = required(part) {
            best.offer(texts);
        }
    }
    best.offer(run);
    best.0
}

/// Of several sets of texts the one whose shortest is longest; of those the smallest.
struct Best(Option<Vec<Vec<u8>>>);

impl Best {
    fn offer(&mut self, texts: Vec<Vec<u8>>) {
        let rank = |texts: &Vec<Vec<u8>>| {
            let shortest = texts.iter().map(Vec::len).min().unwrap_or(0);
            (shortest, usize::MAX - texts.len())
        };
        if rank(&texts).0 > 0 && self.0.as_ref().is_none_or(|best| rank(&texts) > rank(best)) {
            self.0 = Some(texts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(pattern: &str, ignore_case: bool) -> RegexSource {
        RegexSource {
            pattern: pattern.into(),
            ignore_case,
            multi_line: false,
            dot_matches_new_line: false,
        }
    }

    #[test]
    fn finds_the_text_that_a_match_needs() {
        for (pattern, ignore_case, expected) in [
            ("foo.*barbaz", false, vec!["barbaz"]),
            ("(?i)WhoAmI\\s", false, vec!["whoami"]),
            ("a(bc|de)f+gh", true, vec!["gh"]),
            ("(curl|wget)\\s+htt", false, vec!["curl", "wget"]),
            ("^\\d+$", false, vec![]),
            ("x?yz*", false, vec![]),
            ("[0-9]{2}abc", false, vec!["abc"]),
            ("-(W|R)\\s?[0-9]", false, vec!["-r", "-w"]),
            (
                "x[ab][ab][ab][ab]",
                false,
                vec!["xaaa", "xaab", "xaba", "xabb", "xbaa", "xbab", "xbba", "xbbb"],
            ),
        ] {
            let compiled = source(pattern, ignore_case).compile().unwrap();
            let found: Vec<_> =
                compiled.required.iter().map(|text| String::from_utf8_lossy(text)).collect();
            assert_eq!(found, expected, "{pattern}");
        }
    }

    #[test]
    fn refuses_what_is_not_in_sigmas_subset() {
        for pattern in ["(?=x)", "(a)\\1", "(", "a{1000}{1000}{1000}"] {
            let error = source(pattern, false).compile().unwrap_err();
            assert!(!error.is_empty() && !error.contains('\n'), "{pattern}: {error}");
        }
    }
}
