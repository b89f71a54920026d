//! Who and what: tenants, agents, boots, events, processes, alerts.
//!
//! Every id that leaves a host can be derived again from what it names, so that a redelivery, a restart
//! or a replay gives the same one.

mod alert;
pub(crate) mod text;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use alert::{AlertId, IncidentId};
use serde::{Deserialize, Serialize};
pub(crate) use text::uuid_text;
use uuid::Uuid;

/// Namespace of every name-based id made here; a random UUID drawn once for Lavender.
const NAMESPACE: Uuid = Uuid::from_u128(0x9b1f_2a64_51d3_4e07_8c5a_7e1d_44b0_c3f2);

/// The error of an id that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// A tenant or agent name that cannot stand in a subject.
    #[error(
        "{what} `{name}` is not a valid name: use 1 to 64 of the characters a-z, A-Z, 0-9, `_` and `-`"
    )]
    Name {
        /// Which kind of name.
        what: &'static str,
        /// The name, cut to 80 characters.
        name: String,
    },
    /// A text that is not an origin.
    #[error(
        "`{text}` is not a valid origin: it is written as 19 hexadecimal digits, in small letters"
    )]
    Origin {
        /// The text, cut to 80 characters.
        text: String,
    },
    /// A text that is not the UUID that this id is written as.
    #[error("`{text}` is not a valid {what}: {why}")]
    Uuid {
        /// Which kind of id.
        what: &'static str,
        /// The text, cut to 80 characters.
        text: String,
        /// What is wrong with it.
        why: String,
    },
}

pub(crate) fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

macro_rules! subject_name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        ///
        /// 1 to 64 of `a-z A-Z 0-9 _ -`, so that it is one token of a subject and cannot be a wildcard.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks a name.
            ///
            /// # Errors
            ///
            /// [`IdError::Name`] when it is empty, too long, or holds another character.
            pub fn new(name: &str) -> Result<Self, IdError> {
                let fits = (1..=64).contains(&name.len())
                    && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
                if fits {
                    Ok(Self(name.into()))
                } else {
                    Err(IdError::Name { what: $what, name: shown(name) })
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(name: &str) -> Result<Self, IdError> {
                Self::new(name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(name: String) -> Result<Self, IdError> {
                Self::new(&name)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.as_str().to_owned()
            }
        }
    };
}

#[cfg(feature = "command")]
pub(crate) use subject_name;

subject_name! {
    /// The customer or unit that a host belongs to.
    TenantId, "tenant id"
}
impl Default for TenantId {
    /// `default`: the tenant of a host that was told none.
    fn default() -> Self {
        Self("default".into())
    }
}

subject_name! {
    /// An agent: one installation of the sensor on one host, unique within its tenant.
    AgentId, "agent id"
}

/// One boot of a host: the kernel's `/proc/sys/kernel/random/boot_id`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(Uuid);

uuid_text!(BootId, "boot id", |_| Ok(()));

impl BootId {
    /// A boot id from its 128 bits.
    pub const fn from_u128(bits: u128) -> Self {
        Self(Uuid::from_u128(bits))
    }
}

/// Writes 122 free bits into a UUID of version 8, and reads them back.
mod v8 {
    use uuid::Uuid;

    /// Packs `high` (60 bits) and `low` (62 bits) around the version and variant bits.
    pub(super) const fn pack(high: u64, low: u64) -> Uuid {
        let high = ((high >> 12) << 16) | (8 << 12) | (high & 0xfff);
        Uuid::from_u128(((high as u128) << 64) | (0b10 << 62) | (low & (u64::MAX >> 2)) as u128)
    }

    /// The 60 and 62 bits that [`pack`] took.
    pub(super) const fn unpack(uuid: Uuid) -> (u64, u64) {
        let bits = uuid.as_u128();
        let high = (bits >> 64) as u64;
        (((high >> 16) << 12) | (high & 0xfff), (bits as u64) & (u64::MAX >> 2))
    }

    pub(super) fn check(uuid: &Uuid) -> Result<(), &'static str> {
        let bits = uuid.as_u128();
        if (bits >> 76) & 0xf != 8 || (bits >> 62) & 0b11 != 0b10 {
            return Err("it is not a UUID of version 8");
        }
        Ok(())
    }
}

/// Where a run of events comes from: one agent of one tenant, in one boot.
///
/// Holds a 74-bit digest of the three, from which event ids are made without hashing again. Its text form is
/// 19 hexadecimal digits.
///
/// ```
/// use lavender_core::{AgentId, BootId, Origin, TenantId};
///
/// # fn main() -> Result<(), lavender_core::IdError> {
/// let origin = Origin::new(&TenantId::new("acme")?, &AgentId::new("web-1")?, BootId::from_u128(7));
/// let id = origin.event(42);
/// assert_eq!(id.sequence(), 42);
/// assert_eq!(id, id.to_string().parse()?);
/// assert!(origin.made(id));
/// assert_eq!(id.origin(), origin);
/// assert_eq!(origin, origin.to_string().parse()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    high: u64,
    low: u64,
}

impl Origin {
    /// The origin of what this agent sees in this boot.
    pub fn new(tenant: &TenantId, agent: &AgentId, boot: BootId) -> Self {
        // Names hold no `/`, so the joined text is unambiguous.
        Self::from_digest(Uuid::new_v5(
            &NAMESPACE,
            format!("event/{tenant}/{agent}/{boot}").as_bytes(),
        ))
    }

    /// The id of the event with this sequence number; only its low 48 bits count, which at a million
    /// events a second last nine years.
    pub const fn event(self, sequence: u64) -> EventId {
        EventId(v8::pack(self.high, (self.low << 48) | (sequence & EventId::MAX_SEQUENCE)))
    }

    /// The origin of what ingest says of gaps in this one: the numbers of its events are the first that are
    /// missing. One of its own, so that an event that comes after all does not find its id taken.
    #[must_use]
    pub fn of_gaps(self) -> Self {
        Self::from_digest(Uuid::new_v5(&NAMESPACE, format!("gaps/{self}").as_bytes()))
    }

    /// Version and variant bits of a digest are constant: what lies around them.
    const fn from_digest(digest: Uuid) -> Self {
        let digest = digest.as_u128();
        let high = ((digest >> 68) as u64) & ((1 << 60) - 1);
        Self { high, low: (digest as u64) & ((1 << 14) - 1) }
    }

    /// Whether an event id is of this origin.
    pub const fn made(self, id: EventId) -> bool {
        let (high, low) = v8::unpack(id.0);
        high == self.high && low >> 48 == self.low
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:015x}{:04x}", self.high, self.low)
    }
}

impl FromStr for Origin {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let refuse = || IdError::Origin { text: shown(text) };
        let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 19 || !text.bytes().all(digits) {
            return Err(refuse());
        }
        let (high, low) = text.split_at(15);
        let parse = |part| u64::from_str_radix(part, 16).map_err(|_| refuse());
        let (high, low) = (parse(high)?, parse(low)?);
        if low >> 14 != 0 {
            return Err(refuse());
        }
        Ok(Self { high, low })
    }
}

/// An event: (agent, boot, sequence), written as a UUID of version 8.
///
/// The sequence counts up by one per agent and boot, so anyone downstream can prove that nothing is
/// missing, or say exactly how much is. Made by [`Origin::event`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(Uuid);

uuid_text!(EventId, "event id", v8::check);

impl EventId {
    /// What stands in the place of an id until an event has one: of no agent, and with the number 0, which no event has.
    pub const UNNUMBERED: Self = Origin { high: 0, low: 0 }.event(0);

    /// The highest sequence number: 48 bits.
    pub const MAX_SEQUENCE: u64 = (1 << 48) - 1;

    /// The highest sequence number of a run, which counts from 1. Those above are of captures and replays: each
    /// begins somewhere, so that it has numbers of its own.
    pub const MAX_RUN_SEQUENCE: u64 = (1 << 46) - 1;

    /// The position of the event in what its agent saw in this boot, from 1.
    pub const fn sequence(self) -> u64 {
        v8::unpack(self.0).1 & Self::MAX_SEQUENCE
    }

    /// The agent and boot that it is of, as the digest that it holds.
    pub const fn origin(self) -> Origin {
        let (high, low) = v8::unpack(self.0);
        Origin { high, low: low >> 48 }
    }

    /// An event id from the 128 bits of its UUID, as [`as_u128`](Self::as_u128) gave them.
    ///
    /// # Errors
    ///
    /// [`IdError::Uuid`] when the bits are not those of a version 8 UUID.
    pub fn from_u128(bits: u128) -> Result<Self, IdError> {
        let uuid = Uuid::from_u128(bits);
        match v8::check(&uuid) {
            Ok(()) => Ok(Self(uuid)),
            // Refused again, with the reason in words.
            Err(_) => uuid.to_string().parse(),
        }
    }
}

/// Hands out the event ids of one [`Origin`], without gaps. Clones share the counter.
///
/// ```
/// use lavender_core::{AgentId, BootId, Origin, Sequencer, TenantId};
///
/// # fn main() -> Result<(), lavender_core::IdError> {
/// let origin = Origin::new(&TenantId::new("acme")?, &AgentId::new("web-1")?, BootId::from_u128(7));
/// let ids = Sequencer::resume(origin, 10);
/// assert_eq!(ids.next().sequence(), 10);
/// assert_eq!(ids.reserve(5), 11);
/// assert_eq!(ids.next().sequence(), 16);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Sequencer {
    origin: Origin,
    next: Arc<AtomicU64>,
}

impl Sequencer {
    /// A sequence that starts at 1.
    pub fn new(origin: Origin) -> Self {
        Self::resume(origin, 1)
    }

    /// A sequence that goes on at `first`: one more than the highest that was ever made durable.
    pub fn resume(origin: Origin, first: u64) -> Self {
        Self { origin, next: Arc::new(AtomicU64::new(first.max(1))) }
    }

    /// The origin that the ids belong to.
    pub const fn origin(&self) -> Origin {
        self.origin
    }

    /// The next id.
    #[allow(clippy::should_implement_trait, reason = "a shared counter, not an iterator")]
    pub fn next(&self) -> EventId {
        self.origin.event(self.reserve(1))
    }

    /// Takes `count` sequence numbers at once and returns the first.
    pub fn reserve(&self, count: u64) -> u64 {
        self.next.fetch_add(count, Ordering::Relaxed)
    }

    /// Goes on behind `last`, where it is not there already: for who finds, after the sequence was begun, what an earlier
    /// run has left.
    pub fn advance_past(&self, last: u64) {
        self.next.fetch_max(last.saturating_add(1), Ordering::Relaxed);
    }

    /// The sequence number that the next id will have.
    pub fn peek(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }
}

/// A process (a thread group) on one host in one boot, written as a UUID of version 8.
///
/// Made of a digest of the boot (42 bits), the start of the group's leader on the boot clock in ns
/// (58 bits: nine years) and the tgid (22 bits, the kernel's own limit). All of it can be read off the
/// kernel's task at any moment, so kernel, snapshot, restart and replay give the same id, and a reused
/// pid gives another. An exec keeps it; see [`ExecId`].
///
/// ```
/// use lavender_core::{BootId, ProcessId};
///
/// let id = ProcessId::new(BootId::from_u128(7), 1_234_567_890, 4242);
/// assert_eq!(id.tgid(), 4242);
/// assert_eq!(id.start_ns(), 1_234_567_890);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessId(Uuid);

uuid_text!(ProcessId, "process id", v8::check);

impl ProcessId {
    /// The id of the process with this leader start time (boot clock, ns) and tgid.
    pub fn new(boot: BootId, start_ns: u64, tgid: u32) -> Self {
        Self::with_boot_digest(BootDigest::new(boot), start_ns, tgid)
    }

    /// Like [`new`](Self::new), with the boot's digest made before: what a decoder calls per event.
    pub const fn with_boot_digest(boot: BootDigest, start_ns: u64, tgid: u32) -> Self {
        let start = start_ns & ((1 << 58) - 1);
        // 122 bits in order: boot (42), start (58), tgid (22).
        let high = (boot.0 << 18) | (start >> 40);
        let low = ((start & ((1 << 40) - 1)) << 22) | (tgid & ((1 << 22) - 1)) as u64;
        Self(v8::pack(high, low))
    }

    /// The process id that the kernel shows in the initial pid namespace (tgid).
    pub const fn tgid(self) -> u32 {
        (v8::unpack(self.0).1 & ((1 << 22) - 1)) as u32
    }

    /// When the group's leader started, on the boot clock in ns.
    pub const fn start_ns(self) -> u64 {
        let (high, low) = v8::unpack(self.0);
        ((high & ((1 << 18) - 1)) << 40) | (low >> 22)
    }

    /// A process id from the 128 bits of its UUID, as [`as_u128`](Self::as_u128) gave them.
    ///
    /// # Errors
    ///
    /// [`IdError::Uuid`] when the bits are not those of a version 8 UUID.
    pub fn from_u128(bits: u128) -> Result<Self, IdError> {
        Uuid::from_u128(bits).to_string().parse()
    }
}

/// 42 bits that stand for a [`BootId`] inside every [`ProcessId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BootDigest(u64);

impl BootDigest {
    /// The digest of this boot.
    pub fn new(boot: BootId) -> Self {
        let digest = Uuid::new_v5(&NAMESPACE, format!("boot/{boot}").as_bytes()).as_u128();
        Self((digest >> 86) as u64)
    }
}

/// One program that a process ran: the process, and how many execs its task had made by then.
///
/// The generation is the kernel's `task_struct.self_exec_id`; a child starts with its parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExecId {
    /// The process.
    pub process: ProcessId,
    /// The kernel's exec counter of the task.
    pub generation: u32,
}

impl fmt::Display for ExecId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.process, self.generation)
    }
}
