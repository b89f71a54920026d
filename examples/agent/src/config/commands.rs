//! `[commands]`: whose commands are taken.

use lavender_core::command::{KeyId, PinError, Verifier};
use lavender_core::{AgentId, TenantId};
use serde::{Deserialize, Serialize};

use super::AbsolutePath;
use crate::exit::{Exit, Failure};

/// `[commands]`: whose commands are taken. None are, unless `keys` says so; those of the agent's own dashboard are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CommandsConfig {
    /// The keys that sign them. To change a key, add the new one, sign with it, then take the old one away.
    pub keys: Vec<PinnedKey>,
    /// Where it is kept which were carried out, and what came of them.
    pub state_dir: AbsolutePath,
}

impl Default for CommandsConfig {
    fn default() -> Self {
        Self { keys: Vec::new(), state_dir: AbsolutePath::known("/var/lib/lavender/commands") }
    }
}

/// A key that signs commands.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PinnedKey {
    /// Its name.
    pub id: KeyId,
    /// The public half.
    pub public_key: PublicKey,
}

/// An Ed25519 public key: 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey([u8; 32]);

impl TryFrom<String> for PublicKey {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut key = [0; 32];
        let digits = text.len() == 2 * key.len() && text.bytes().all(|b| b.is_ascii_hexdigit());
        for (byte, at) in key.iter_mut().zip((0..).step_by(2)).filter(|_| digits) {
            let pair = text.get(at..at + 2).unwrap_or_default();
            *byte = u8::from_str_radix(pair, 16).map_err(|error| error.to_string())?;
        }
        match digits {
            true => Ok(Self(key)),
            false => Err("a public key is 64 hexadecimal digits".to_owned()),
        }
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl CommandsConfig {
    /// What commands are held against.
    ///
    /// # Errors
    ///
    /// [`Exit::Configuration`] for a key that is none, or two of one name.
    pub fn verifier(&self, tenant: &TenantId, agent: &AgentId) -> Result<Verifier, Failure> {
        let pin = |verifier: Verifier, key: &PinnedKey| {
            verifier.with_key(key.id.clone(), key.public_key.0)
        };
        let verifier = Verifier::new(tenant.clone(), agent.clone());
        self.keys.iter().try_fold(verifier, pin).map_err(|error: PinError| {
            Failure::new(Exit::Configuration, format!("[commands]: {error}"))
        })
    }
}
