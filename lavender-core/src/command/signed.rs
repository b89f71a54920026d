//! A command and its signature, as they travel.

use crate::command::canonical::{self, MAX_COMMAND_BYTES, Malformed};
use crate::command::{Command, CommandId, KeyId};

/// How long an Ed25519 signature is.
pub(super) const SIGNATURE_BYTES: usize = 64;

/// A command with a signature that **nobody has checked**: only a [`Verifier`](super::Verifier) makes a
/// [`Command`] of it that may be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCommand {
    command: Command,
    bytes: Vec<u8>,
}

impl SignedCommand {
    pub(super) const fn new(command: Command, bytes: Vec<u8>) -> Self {
        Self { command, bytes }
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave. Allocates no more than the bytes are long.
    ///
    /// # Errors
    ///
    /// [`Malformed`] says what is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        if bytes.len() > MAX_COMMAND_BYTES {
            return Err(Malformed::TooLong { bytes: bytes.len() });
        }
        let (body, _) = bytes
            .split_last_chunk::<SIGNATURE_BYTES>()
            .ok_or(Malformed::Short { field: "signature" })?;
        Ok(Self { command: canonical::decode(body)?, bytes: bytes.to_vec() })
    }

    /// The bytes to send: the command, then its signature.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    /// The id that it says it has: for what is reported about a command that is refused.
    pub const fn claimed_id(&self) -> CommandId {
        self.command.id
    }

    /// The key that it says it is signed by.
    pub const fn claimed_key(&self) -> &KeyId {
        &self.command.key
    }

    /// What it says that it is, which **nobody has checked**: for what is reported about it.
    pub fn into_unchecked(self) -> Command {
        self.command
    }

    pub(crate) const fn command(&self) -> &Command {
        &self.command
    }

    /// What is signed, and the signature.
    pub(super) fn parts(&self) -> Option<(&[u8], &[u8; SIGNATURE_BYTES])> {
        self.bytes.split_last_chunk()
    }

    pub(super) fn into_command(self) -> Command {
        self.command
    }
}
