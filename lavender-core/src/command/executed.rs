//! What was admitted before: so that a command is carried out once.

use std::collections::{BTreeMap, HashSet};

use crate::command::{Command, CommandId, Nonce, Refusal};
use crate::time::Timestamp;

const MAGIC: &[u8; 18] = b"lavender-executed\x01";

/// The commands that were admitted, each until it could not be admitted again anyway.
///
/// Bounded: when as many as it may hold are still in their time, further ones are refused and not older ones
/// forgotten. A clock that is set back does not help to have one executed twice: what expired before anything
/// that was forgotten counts as expired.
#[derive(Clone, Debug)]
pub struct Executed {
    capacity: usize,
    /// By id: the nonce, and until when to remember it.
    commands: BTreeMap<CommandId, (Nonce, Timestamp)>,
    nonces: HashSet<Nonce>,
    /// The latest time until which anything was remembered that is forgotten now.
    forgotten_until: Option<Timestamp>,
}

impl Executed {
    /// None so far; holds at most `capacity`, at some 100 bytes each.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, commands: BTreeMap::new(), nonces: HashSet::new(), forgotten_until: None }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Whether a command is remembered.
    pub fn contains(&self, command: CommandId) -> bool {
        self.commands.contains_key(&command)
    }

    /// The commands that are remembered, in the order of their ids.
    pub fn ids(&self) -> impl Iterator<Item = CommandId> {
        self.commands.keys().copied()
    }

    /// All of it, for a file: to be on disk **before** the command that was admitted last is carried out, so
    /// that whoever is killed in between does not do it twice.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(MAGIC.len() + 12 + self.commands.len() * 40);
        out.extend_from_slice(MAGIC);
        let forgotten_until = self.forgotten_until.map_or(i64::MIN, Timestamp::as_nanos);
        out.extend_from_slice(&forgotten_until.to_be_bytes());
        let count = u32::try_from(self.commands.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        for (id, (nonce, until)) in &self.commands {
            out.extend_from_slice(&id.as_u128().to_be_bytes());
            out.extend_from_slice(nonce.as_bytes());
            out.extend_from_slice(&until.as_nanos().to_be_bytes());
        }
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave; `None` for anything else. Whoever cannot read what was
    /// admitted must admit nothing.
    pub fn from_bytes(capacity: usize, bytes: &[u8]) -> Option<Self> {
        let (forgotten_until, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
        let (count, mut rest) = rest.split_first_chunk()?;
        let mut executed = Self::new(capacity);
        executed.forgotten_until =
            Some(Timestamp::from_nanos(i64::from_be_bytes(*forgotten_until)));
        for _ in 0..u32::from_be_bytes(*count) {
            let (id, after) = rest.split_first_chunk()?;
            let (nonce, after) = after.split_first_chunk()?;
            let (until, after) = after.split_first_chunk()?;
            let (id, nonce) =
                (CommandId::from_u128(u128::from_be_bytes(*id)), Nonce::from_bytes(*nonce));
            let until = Timestamp::from_nanos(i64::from_be_bytes(*until));
            executed.commands.insert(id, (nonce, until));
            executed.nonces.insert(nonce);
            rest = after;
        }
        rest.is_empty().then_some(executed)
    }

    /// Remembers a command that is good until `until`, or says why it must not be carried out.
    pub(super) fn admit(
        &mut self,
        command: &Command,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if self.commands.contains_key(&command.id) || self.nonces.contains(&command.nonce) {
            return Err(Refusal::Replayed { command: command.id });
        }
        self.forget(now);
        if self.forgotten_until.is_some_and(|forgotten| until <= forgotten) {
            return Err(Refusal::Expired { expires_at: command.expires_at, now });
        }
        if self.commands.len() >= self.capacity {
            return Err(Refusal::TooMany { capacity: self.capacity });
        }
        self.commands.insert(command.id, (command.nonce, until));
        self.nonces.insert(command.nonce);
        Ok(())
    }

    fn forget(&mut self, now: Timestamp) {
        let (nonces, forgotten_until) = (&mut self.nonces, &mut self.forgotten_until);
        self.commands.retain(|_, (nonce, until)| {
            let keep = *until > now;
            if !keep {
                nonces.remove(nonce);
                *forgotten_until = (*forgotten_until).max(Some(*until));
            }
            keep
        });
    }
}
