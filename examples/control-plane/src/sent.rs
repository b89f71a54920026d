//! Which commands were handed over since the start, so that what is pending is not handed over with every look.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lavender_core::Timestamp;
use lavender_core::command::CommandId;
use lavender_core::store::IssuedCommand;

use crate::delivery::Handed;

/// The most commands of which it is remembered that they were handed over, at some 50 bytes each. What is beyond is handed
/// over with every look: brokers and agents take a command once.
const REMEMBERED: usize = 100_000;

/// A command as the store orders what is pending.
type Key = (Timestamp, CommandId);

fn key(issued: &IssuedCommand) -> Key {
    (issued.command().expires_at, issued.command().id)
}

/// How far handing a command over has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Somebody is at it.
    Claimed,
    /// It was taken, or never can be.
    Settled,
}

#[derive(Debug, Default)]
struct Known {
    /// With the number of the pass in which it was claimed.
    commands: BTreeMap<Key, (Step, u64)>,
    passes: u64,
}

/// The commands that were handed over since the start, or never can be, as long as they are pending.
#[derive(Debug, Default)]
pub(crate) struct Sent(Mutex<Known>);

/// One pass over what is pending.
#[derive(Debug)]
pub(crate) struct Pass {
    number: u64,
    /// The last command that was looked at.
    behind: Option<Key>,
}

/// The right to hand a command over. It lapses with the one who has it, unless it is settled.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    sent: &'a Sent,
    key: Key,
}

impl Sent {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes it on oneself to hand a command over; otherwise, how it stands with whoever did so before.
    pub(crate) fn claim(&self, issued: &IssuedCommand) -> Result<Claim<'_>, Handed> {
        let (key, known) = (key(issued), &mut *self.lock());
        match known.commands.get(&key) {
            Some((Step::Settled, _)) => Err(Handed::Over),
            Some((Step::Claimed, _)) => Err(Handed::NotYet),
            None => {
                known.commands.insert(key, (Step::Claimed, known.passes));
                Ok(Claim { sent: self, key })
            }
        }
    }

    /// Begins to go through what is pending.
    pub(crate) fn begin_pass(&self) -> Pass {
        let known = &mut *self.lock();
        known.passes += 1;
        Pass { number: known.passes, behind: None }
    }

    /// Those of the next page of what is pending that nobody has handed over. What is remembered of that part of the order
    /// and is pending no more is forgotten.
    pub(crate) fn unsent(
        &self,
        pass: &mut Pass,
        page: Vec<IssuedCommand>,
        is_last: bool,
    ) -> Vec<IssuedCommand> {
        let known = &mut *self.lock();
        let from = pass.behind.map_or(Bound::Unbounded, Bound::Excluded);
        pass.behind = page.last().map(key).or(pass.behind);
        let to = match pass.behind {
            Some(last) if !is_last => Bound::Included(last),
            _ => Bound::Unbounded,
        };
        // What was claimed since the pass began may be younger than what was read.
        let ended: Vec<Key> = known
            .commands
            .range((from, to))
            .filter(|(key, (step, pass_then))| {
                *step == Step::Settled
                    && *pass_then < pass.number
                    && page.binary_search_by_key(*key, key_of).is_err()
            })
            .map(|(key, _)| *key)
            .collect();
        for key in ended {
            known.commands.remove(&key);
        }
        let is_unsent = |issued: &IssuedCommand| !known.commands.contains_key(&key(issued));
        page.into_iter().filter(is_unsent).collect()
    }
}

fn key_of(issued: &IssuedCommand) -> Key {
    key(issued)
}

impl Claim<'_> {
    /// It was handed over, or never can be. Says how many others were forgotten for want of room.
    pub(crate) fn settle(self) -> u64 {
        let known = &mut *self.sent.lock();
        if let Some((step, _)) = known.commands.get_mut(&self.key) {
            *step = Step::Settled;
        }
        let mut forgotten = 0;
        while known.commands.len() > REMEMBERED && known.commands.pop_first().is_some() {
            forgotten += 1;
        }
        forgotten
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let known = &mut *self.sent.lock();
        if matches!(known.commands.get(&self.key), Some((Step::Claimed, _))) {
            known.commands.remove(&self.key);
        }
    }
}
