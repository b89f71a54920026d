//! What the feeds of all stores have in common.

/// How many changes are kept; the oldest make room.
pub(crate) const KEPT: u64 = 100_000;

/// The techniques under which an alert is found, each with whether its rule names it: those that it names, and what
/// those are sub-techniques of.
pub(crate) fn techniques(rule: &lavender_core::RuleMeta) -> Vec<(String, bool)> {
    let mut all: Vec<(String, bool)> = Vec::new();
    for technique in rule.techniques() {
        let base = technique.split_once('.').map(|(base, _)| base.to_owned());
        for (name, named) in
            std::iter::once((technique, true)).chain(base.map(|base| (base, false)))
        {
            match all.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known |= named,
                None => all.push((name, named)),
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::techniques;

    #[test]
    fn a_technique_brings_what_it_is_a_part_of() {
        let tags = ["attack.t1059.004", "attack.t1059.001", "attack.execution", "attack.t1003"];
        let rule = lavender_core::RuleMeta {
            tags: tags.into_iter().map(Into::into).collect(),
            ..Default::default()
        };
        let found = techniques(&rule);
        let found: Vec<_> = found.iter().map(|(name, named)| (name.as_str(), *named)).collect();
        let expected =
            [("T1059.004", true), ("T1059", false), ("T1059.001", true), ("T1003", true)];
        assert_eq!(found, expected);
    }
}
