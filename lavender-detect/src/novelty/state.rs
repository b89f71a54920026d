//! What outlives the process.

use lavender_core::{Bytes, Error, ErrorKind, Gaps, Result, Stateful};

use super::cells::Tick;
use super::encode::{decode, encode};
use super::stage::Novelty;

const PREFIX: &str = "novelty/";
/// The span within which events were lost.
const LOST: &str = "novelty/lost";

/// The key of a part of what a rule has learned.
pub(super) fn key_of(rule: &str, part: u8) -> String {
    format!("{PREFIX}{rule}/{part:02x}")
}

fn read_key(key: &str) -> Option<(&str, u8)> {
    let (rule, part) = key.strip_prefix(PREFIX)?.rsplit_once('/')?;
    Some((rule, u8::from_str_radix(part, 16).ok()?))
}

fn invalid(key: &str, reason: &'static str) -> Error {
    Error::new(ErrorKind::Invalid, format!("saved state {key}"), reason)
}

/// What each rule has learned, in up to 256 parts: a value that is seen for the first time, or for the first time in
/// longer than it is remembered for, changes one of them, of about 1/256 of what the rule has learned (4 KiB at 1 MiB).
/// What is known changes nothing.
impl Stateful for Novelty {
    fn changed(&mut self, each: &mut dyn FnMut(&str, Option<Bytes>)) {
        if std::mem::take(&mut self.lost_changed)
            && let Some((from, to)) = self.lost
        {
            let bytes = [from.to_le_bytes(), to.to_le_bytes()].concat();
            each(LOST, Some(bytes.into()));
        }
        for learner in &mut self.learners {
            for part in std::mem::take(&mut learner.values.changed).iter() {
                let values = learner.values.part(part);
                let key = key_of(&learner.id, part);
                // The first says when the rule was first in use.
                if part == 0 || !values.is_empty() {
                    each(&key, Some(encode(&learner.header(self.key), values)));
                    learner.saved.insert(part);
                    // A rule that went and came back.
                    self.stale.retain(|stale| *stale != key);
                } else if learner.saved.contains(part) {
                    each(&key, None);
                    learner.saved.remove(part);
                }
            }
        }
        for key in self.stale.drain(..) {
            each(&key, None);
        }
    }

    fn restore(&mut self, key: &str, value: &[u8]) -> Result<()> {
        if key == LOST {
            let lost =
                <[u8; 8]>::try_from(value).map_err(|_| invalid(key, "it has another length"))?;
            let number = |at: usize| Tick::from_le_bytes([0, 1, 2, 3].map(|byte| lost[at + byte]));
            let (from, to) = (number(0), number(4));
            let (first, last) = self.lost.unwrap_or((from, to));
            self.lost = Some((first.min(from), last.max(to)));
            return Ok(());
        }
        let (rule, part) = read_key(key).ok_or_else(|| invalid(key, "there is no such part"))?;
        let (header, values) = decode(part, value)
            .ok_or_else(|| invalid(key, "it was not written by this version, or is damaged"))?;
        let known: usize = self.learners.iter().map(|learner| learner.values.len()).sum();
        let learner = self.learners.iter_mut().find(|learner| *learner.id == *rule);
        let Some(learner) = learner.filter(|learner| learner.content == header.content) else {
            // Of a rule that is no more, or asks for something else by now.
            self.stale.push(key.to_owned());
            return Ok(());
        };
        if header.key != self.key {
            if known > 0 {
                return Err(invalid(
                    key,
                    "its values have digests of another kind than those that are there",
                ));
            }
            self.key = header.key;
        }
        learner.restore(&header);
        learner.saved.insert(part);
        let forgotten = learner.values.restore(part, values);
        let at = learner.values.part(part).iter().map(|value| value.seen.first).max();
        learner.forget(forgotten, at.unwrap_or_default());
        self.find_started();
        Ok(())
    }

    fn gaps(&self) -> Gaps {
        Gaps { forgotten: self.counters().forgotten, late: 0 }
    }
}
