//! Checks tokens.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use lavender_core::store::{AccessStore, AccessToken, TokenHash};
use lavender_core::{Result, Timestamp};
use tokio::sync::Semaphore;

use super::Secret;

/// How many secrets are remembered as checked.
const REMEMBERED: usize = 4_096;

/// How many secrets are checked at once: each takes 19 MiB and a core.
const CHECKS: usize = 2;

/// Checks tokens against the store. That a secret is the right one is checked by argon2 once, and remembered by its
/// digest; whether the token is still good is asked of the store each time, so one that is taken back is refused at
/// once.
pub struct Gate {
    /// By digest, the hash that the secret was checked against.
    checked: Mutex<HashMap<[u8; 32], TokenHash>>,
    turns: Semaphore,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").finish_non_exhaustive()
    }
}

impl Default for Gate {
    fn default() -> Self {
        Self { checked: Mutex::default(), turns: Semaphore::new(CHECKS) }
    }
}

impl Gate {
    /// The token whose secret this is; `None` where it is nobody's, or no good any more.
    ///
    /// # Errors
    ///
    /// When the store cannot be read.
    pub async fn admit(
        &self,
        store: &(impl AccessStore + ?Sized),
        secret: Secret,
        now: Timestamp,
    ) -> Result<Option<AccessToken>> {
        let Some(token) = store.token(secret.id()).await?.filter(|token| token.is_good(now)) else {
            return Ok(None);
        };
        let digest = secret.digest();
        if self.is_checked(&digest, &token.hash) {
            return Ok(Some(token));
        }
        // Whoever knows the id of a token, which is no secret, can make this work; they wait for their turn.
        let Ok(turn) = self.turns.acquire().await else { return Ok(None) };
        let hash = token.hash.clone();
        let checked = tokio::task::spawn_blocking(move || secret.is_of(&hash)).await;
        drop(turn);
        if !matches!(checked, Ok(true)) {
            return Ok(None);
        }
        self.remember(digest, token.hash.clone());
        Ok(Some(token))
    }

    fn is_checked(&self, digest: &[u8; 32], hash: &TokenHash) -> bool {
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        checked.get(digest).is_some_and(|known| known == hash)
    }

    fn remember(&self, digest: [u8; 32], hash: TokenHash) {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.len() >= REMEMBERED {
            checked.clear();
        }
        checked.insert(digest, hash);
    }
}

/// The actor of a token in the audit log.
pub(super) fn actor(token: &AccessToken) -> Arc<str> {
    format!("{} ({})", token.name, token.id).into()
}
