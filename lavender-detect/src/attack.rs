//! MITRE ATT&CK as rules name it: tactics, techniques, and what they were called before.
//!
//! Version 19 (April 2026) split the tactic *Defense Evasion* into *Stealth*, which kept its number, and *Defense
//! Impairment*, and gave the techniques that moved new numbers. Rules written before it stay as they are: they are
//! read by these tables.
//!
//! ```
//! use lavender_detect::attack;
//!
//! assert_eq!(attack::current_technique("T1562.004"), "T1686");
//! assert_eq!(attack::current_technique("T1059.004"), "T1059.004");
//! assert_eq!(attack::current_tactics("defense-evasion"), ["stealth", "defense-impairment"]);
//! assert!(attack::is_tag("attack.t1059.004") && !attack::is_tag("attack.T1059"));
//! ```

/// The version of ATT&CK that the tables follow.
pub const VERSION: &str = "19";

/// The tactics of the enterprise matrix, in its order.
pub const TACTICS: [&str; 15] = [
    "reconnaissance",
    "resource-development",
    "initial-access",
    "execution",
    "persistence",
    "privilege-escalation",
    "stealth",
    "defense-impairment",
    "credential-access",
    "discovery",
    "lateral-movement",
    "collection",
    "command-and-control",
    "exfiltration",
    "impact",
];

/// A tactic that is no more, and those that took its place.
const FORMER_TACTIC: (&str, [&str; 2]) = ("defense-evasion", ["stealth", "defense-impairment"]);

/// Techniques that were revoked, and what took their place: the `revoked-by` relationships of
/// `mitre-attack/attack-stix-data`, `enterprise-attack-19.2.json`; those of version 19 first, then of 17.
const FORMER_TECHNIQUES: [(&str, &str); 18] = [
    ("T1562", "T1685"),
    ("T1562.001", "T1685"),
    ("T1562.002", "T1685.001"),
    ("T1562.003", "T1690"),
    ("T1562.004", "T1686"),
    ("T1562.006", "T1685"),
    ("T1562.007", "T1686.001"),
    ("T1562.008", "T1685.002"),
    ("T1562.009", "T1688"),
    ("T1562.010", "T1689"),
    ("T1562.011", "T1685.003"),
    ("T1562.012", "T1685.004"),
    ("T1562.013", "T1686.002"),
    ("T1070.001", "T1685.005"),
    ("T1070.002", "T1685.006"),
    ("T1656", "T1684.001"),
    ("T1672", "T1684.002"),
    ("T1574.002", "T1574.001"),
];

/// The techniques, without what stands below them, that went from defense evasion to defense impairment.
const IMPAIRMENT: [&str; 6] = ["T1685", "T1686", "T1687", "T1688", "T1689", "T1690"];

/// What a technique is called now: itself, unless another took its place.
pub fn current_technique(technique: &str) -> &str {
    FORMER_TECHNIQUES
        .iter()
        .find(|(former, _)| *former == technique)
        .map_or(technique, |(_, current)| current)
}

/// What a tactic is called now: itself, or those that took its place. Empty for what is no tactic.
pub fn current_tactics(tactic: &str) -> &'static [&'static str] {
    if tactic == FORMER_TACTIC.0 {
        return &FORMER_TACTIC.1;
    }
    TACTICS.iter().position(|known| *known == tactic).map_or(&[], |at| &TACTICS[at..=at])
}

/// Whether a technique, by its present name, serves to impair defenses.
pub(crate) fn is_impairment(technique: &str) -> bool {
    let parent = technique.split('.').next().unwrap_or(technique);
    IMPAIRMENT.contains(&parent)
}

/// Whether a tag in the namespace `attack` is well formed: a tactic, or a technique, group, software, mitigation or
/// data source by its number, in small letters.
pub fn is_tag(tag: &str) -> bool {
    let Some(name) = tag.strip_prefix("attack.") else { return false };
    if !current_tactics(name).is_empty() {
        return true;
    }
    let four_digits = |text: &str| text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit());
    if let Some(technique) = name.strip_prefix('t') {
        return match technique.split_once('.') {
            None => four_digits(technique),
            Some((parent, child)) => {
                four_digits(parent) && child.len() == 3 && child.bytes().all(|b| b.is_ascii_digit())
            }
        };
    }
    ["ds", "g", "s", "m"].iter().any(|kind| name.strip_prefix(kind).is_some_and(four_digits))
}
