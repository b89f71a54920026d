//! What all stores of rulesets say alike.

use lavender_core::ruleset::RulesetDigest;
use lavender_core::store::Publication;

use crate::cursor::Position;

/// Says what is wrong with a revision that is to follow the last.
pub(crate) fn check_revision(last: u64, revision: u64) -> Result<(), String> {
    match last.checked_add(1) {
        Some(next) if next == revision => Ok(()),
        _ => Err(format!("revision {revision} was to be published, and the last is {last}")),
    }
}

pub(crate) fn no_ruleset(digest: RulesetDigest) -> String {
    format!("there is no ruleset {digest}")
}

/// Where a publication stands in the list of them.
pub(crate) fn position_of_publication(publication: &Publication) -> Position {
    Position { time: publication.at, id: u128::from(publication.revision) }
}
