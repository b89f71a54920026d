//! The one who takes orders.

use std::collections::BTreeMap;
use std::time::Duration;

use ed25519_dalek::{Signature, VerifyingKey};

use crate::command::{Command, CommandId, Executed, KeyId, Malformed, SignedCommand};
use crate::command_tally::CommandsRefused;
use crate::id::{AgentId, TenantId};
use crate::time::Timestamp;

/// The longest time for which a command may be good: what bounds how long an agent must remember it.
pub const MAX_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a command is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is no command.
    #[error("not a command: {0}")]
    Malformed(#[from] Malformed),
    /// It is signed by a key that is not pinned here.
    #[error("key `{key}` is not pinned: add its public key to the agent's configuration")]
    UnknownKey {
        /// The key that it names.
        key: KeyId,
    },
    /// The signature is not that of the key over these bytes.
    #[error("the signature is not one of key `{key}` over this command")]
    Forged {
        /// The key that it names.
        key: KeyId,
    },
    /// It is for an agent of another tenant.
    #[error("the command is for tenant `{tenant}`")]
    WrongTenant {
        /// Whose it is.
        tenant: TenantId,
    },
    /// It is for another agent.
    #[error("the command is for agent `{agent}`")]
    WrongAgent {
        /// Whose it is.
        agent: AgentId,
    },
    /// It ends before it begins, or is good for too long.
    #[error("the command is good from {issued_at} to {expires_at}, not for 0 to 24 hours")]
    Lifetime {
        /// From when on.
        issued_at: Timestamp,
        /// Until when.
        expires_at: Timestamp,
    },
    /// It comes from the future: a clock is wrong.
    #[error("the command is of {issued_at}, and it is {now}: check both clocks")]
    NotYet {
        /// When it says that it was signed.
        issued_at: Timestamp,
        /// What time it is here.
        now: Timestamp,
    },
    /// Its time is over.
    #[error("the command expired at {expires_at}, and it is {now}")]
    Expired {
        /// When it expired.
        expires_at: Timestamp,
        /// What time it is here.
        now: Timestamp,
    },
    /// It was admitted before.
    #[error("command {command}, or another one with its nonce, was admitted before")]
    Replayed {
        /// Which one.
        command: CommandId,
    },
    /// So many commands are in their time that no more can be remembered.
    #[error("{capacity} commands are in their time, and no more can be remembered")]
    TooMany {
        /// How many are.
        capacity: usize,
    },
}

impl Refusal {
    /// Counts it among those of its kind.
    pub const fn count(&self, refused: &mut CommandsRefused) {
        let count = match self {
            Self::Malformed(_) => &mut refused.malformed,
            Self::UnknownKey { .. } => &mut refused.unknown_key,
            Self::Forged { .. } => &mut refused.forged,
            Self::WrongTenant { .. } => &mut refused.wrong_tenant,
            Self::WrongAgent { .. } => &mut refused.wrong_agent,
            Self::Lifetime { .. } => &mut refused.lifetime,
            Self::NotYet { .. } => &mut refused.not_yet,
            Self::Expired { .. } => &mut refused.expired,
            Self::Replayed { .. } => &mut refused.replayed,
            Self::TooMany { .. } => &mut refused.too_many,
        };
        *count += 1;
    }

    /// Whether what was refused is a command all the same, signed by a pinned key and for this agent: one of which a
    /// result can be reported.
    pub const fn is_of_a_command(&self) -> bool {
        match self {
            Self::Malformed(_)
            | Self::UnknownKey { .. }
            | Self::Forged { .. }
            | Self::WrongTenant { .. }
            | Self::WrongAgent { .. } => false,
            Self::Lifetime { .. }
            | Self::NotYet { .. }
            | Self::Expired { .. }
            | Self::Replayed { .. }
            | Self::TooMany { .. } => true,
        }
    }
}

/// Why a key was not pinned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PinError {
    /// The bytes are no key, or one with which anyone could sign.
    #[error("public key `{key}` is not a usable Ed25519 key: copy it again from where it was made")]
    Invalid {
        /// Its name.
        key: KeyId,
    },
    /// Two keys have one name.
    #[error("public key `{key}` is given twice: give each key a name of its own")]
    Twice {
        /// The name.
        key: KeyId,
    },
}

/// What an agent holds commands against: who it is, and the public keys that it has pinned. Without keys it
/// refuses every command. To change a key, pin the new one beside the old one, sign with the new one, then
/// take the old one away.
#[derive(Clone, Debug)]
pub struct Verifier {
    tenant: TenantId,
    agent: AgentId,
    skew: Duration,
    keys: BTreeMap<KeyId, VerifyingKey>,
}

impl Verifier {
    /// By how much two clocks may differ unless it is said otherwise.
    pub const DEFAULT_SKEW: Duration = Duration::from_secs(30);

    /// A verifier for this agent, with no keys.
    pub const fn new(tenant: TenantId, agent: AgentId) -> Self {
        Self { tenant, agent, skew: Self::DEFAULT_SKEW, keys: BTreeMap::new() }
    }

    /// Pins a public key.
    ///
    /// # Errors
    ///
    /// [`PinError`] when the bytes are no usable key, or the name has one already.
    pub fn with_key(mut self, key: KeyId, public_key: [u8; 32]) -> Result<Self, PinError> {
        let verifying = VerifyingKey::from_bytes(&public_key)
            .ok()
            .filter(|verifying| !verifying.is_weak())
            .ok_or_else(|| PinError::Invalid { key: key.clone() })?;
        if self.keys.contains_key(&key) {
            return Err(PinError::Twice { key });
        }
        self.keys.insert(key, verifying);
        Ok(self)
    }

    /// Lets clocks differ by this much: a command is good from that long before it was issued until that
    /// long after it expires.
    pub const fn with_skew(mut self, skew: Duration) -> Self {
        self.skew = skew;
        self
    }

    /// Reads a command, checks all of it, and remembers it in `executed`. What comes back is to be carried
    /// out, now and once. Costs one Ed25519 verification, and none where the key is not pinned.
    ///
    /// A command that is refused is not remembered.
    ///
    /// # Errors
    ///
    /// [`Refusal`] says why it is not to be carried out.
    pub fn admit(
        &self,
        bytes: &[u8],
        now: Timestamp,
        executed: &mut Executed,
    ) -> Result<Command, Refusal> {
        let signed = SignedCommand::from_bytes(bytes)?;
        self.check_signature(&signed)?;
        let command = signed.into_command();
        if command.tenant != self.tenant {
            return Err(Refusal::WrongTenant { tenant: command.tenant });
        }
        if command.agent != self.agent {
            return Err(Refusal::WrongAgent { agent: command.agent });
        }
        let until = self.check_time(&command, now)?;
        executed.admit(&command, until, now)?;
        Ok(command)
    }

    fn check_signature(&self, signed: &SignedCommand) -> Result<(), Refusal> {
        let key = &signed.command().key;
        let verifying =
            self.keys.get(key).ok_or_else(|| Refusal::UnknownKey { key: key.clone() })?;
        let (body, signature) = signed.parts().ok_or(Malformed::Short { field: "signature" })?;
        // Strict: no second signature can be made of a good one.
        verifying
            .verify_strict(body, &Signature::from_bytes(signature))
            .map_err(|_| Refusal::Forged { key: key.clone() })
    }

    /// Checks the times, and says until when the command could be admitted.
    fn check_time(&self, command: &Command, now: Timestamp) -> Result<Timestamp, Refusal> {
        let (issued_at, expires_at) = (command.issued_at, command.expires_at);
        if expires_at <= issued_at || expires_at.since(issued_at) > MAX_LIFETIME {
            return Err(Refusal::Lifetime { issued_at, expires_at });
        }
        if now.saturating_add(self.skew) < issued_at {
            return Err(Refusal::NotYet { issued_at, now });
        }
        let until = expires_at.saturating_add(self.skew);
        if until <= now {
            return Err(Refusal::Expired { expires_at, now });
        }
        Ok(until)
    }
}
