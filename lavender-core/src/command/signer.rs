//! The one who gives orders.

use std::fmt;
use std::time::Duration;

use ed25519_dalek::{Signer as _, SigningKey};
use zeroize::Zeroizing;

use crate::command::canonical::{self, Unencodable};
use crate::command::{Command, CommandAction, CommandId, KeyId, Nonce, SignedCommand};
use crate::id::{AgentId, TenantId};
use crate::time::Timestamp;

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SigningError {
    /// The operating system gives no random numbers.
    #[error("nothing can be signed: the system gives no random numbers ({0})")]
    Random(getrandom::Error),
    /// The command is too long in one of its parts.
    #[error(transparent)]
    Unencodable(#[from] Unencodable),
}

/// A signing key and its name. The key is wiped from memory on drop, and shown by nothing but
/// [`secret`](Self::secret).
pub struct Signer {
    key: KeyId,
    signing: SigningKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({}, …)", self.key)
    }
}

impl Signer {
    /// A new key, from the operating system's random numbers.
    ///
    /// # Errors
    ///
    /// [`SigningError::Random`] when it gives none.
    pub fn generate(key: KeyId) -> Result<Self, SigningError> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret).map_err(SigningError::Random)?;
        Ok(Self::from_secret(key, &secret))
    }

    /// The key of which [`secret`](Self::secret) gave these bytes.
    pub fn from_secret(key: KeyId, secret: &[u8; 32]) -> Self {
        Self { key, signing: SigningKey::from_bytes(secret) }
    }

    /// The secret, to be kept in a file that nobody else reads. Wiped when it is dropped.
    pub fn secret(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.signing.to_bytes())
    }

    /// The name of the key.
    pub const fn key(&self) -> &KeyId {
        &self.key
    }

    /// What agents pin.
    pub fn public_key(&self) -> [u8; 32] {
        self.signing.verifying_key().to_bytes()
    }

    /// Signs an order with an id and a nonce of its own, good from `now` for `lifetime`. Agents refuse a
    /// lifetime beyond [`MAX_LIFETIME`](super::MAX_LIFETIME).
    ///
    /// # Errors
    ///
    /// As [`sign`](Self::sign), and [`SigningError::Random`] when the system gives no random numbers.
    pub fn order(
        &self,
        tenant: TenantId,
        agent: AgentId,
        action: CommandAction,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<SignedCommand, SigningError> {
        let (mut id, mut nonce) = ([0; 16], [0; 16]);
        getrandom::fill(&mut id).map_err(SigningError::Random)?;
        getrandom::fill(&mut nonce).map_err(SigningError::Random)?;
        self.sign(Command {
            id: CommandId::from_u128(u128::from_be_bytes(id)),
            nonce: Nonce::from_bytes(nonce),
            tenant,
            agent,
            action,
            issued_at: now,
            expires_at: now.saturating_add(lifetime),
            key: self.key.clone(),
        })
    }

    /// Signs a command. Its key becomes this one, whatever it was.
    ///
    /// # Errors
    ///
    /// [`SigningError::Unencodable`] when a path or the name of an entry is empty or too long.
    pub fn sign(&self, mut command: Command) -> Result<SignedCommand, SigningError> {
        command.key = self.key.clone();
        let mut bytes = canonical::encode(&command)?;
        let signature = self.signing.sign(&bytes);
        bytes.extend_from_slice(&signature.to_bytes());
        Ok(SignedCommand::new(command, bytes))
    }
}
