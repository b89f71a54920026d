//! Access tokens as people hold them: an id, and a secret of 256 random bits.

use std::fmt;
use std::sync::Arc;

use argon2::{Argon2, PasswordHash, PasswordHasher as _, PasswordVerifier as _};
use lavender_core::store::{AccessToken, Role, TokenHash, TokenId};
use lavender_core::{TenantId, Timestamp};
use sha2::{Digest as _, Sha256};

/// In front of every token, so that scanners for leaked secrets know it.
const PREFIX: &str = "lvd_";

/// Why no token could be made.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The operating system gives no random numbers.
    #[error("no token can be made: the system gives no random numbers ({0})")]
    Random(getrandom::Error),
    /// The secret could not be hashed.
    #[error("no token can be made: its secret cannot be hashed ({0})")]
    Hash(argon2::password_hash::Error),
}

/// A token as its holder sends it. Shown by nothing but [`reveal`](Self::reveal).
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    id: TokenId,
    bits: [u8; 32],
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}, …)", self.id)
    }
}

impl Secret {
    fn random() -> Result<Self, AccessError> {
        let mut id = [0; 16];
        let mut bits = [0; 32];
        getrandom::fill(&mut id).map_err(AccessError::Random)?;
        getrandom::fill(&mut bits).map_err(AccessError::Random)?;
        Ok(Self { id: TokenId::from_u128(u128::from_be_bytes(id)), bits })
    }

    /// Reads a token as [`reveal`](Self::reveal) shows it; `None` for what is none.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('_')?;
        Some(Self { id: TokenId::from_u128(u128::from_be_bytes(unhex(id)?)), bits: unhex(secret)? })
    }

    /// The token as its holder keeps it: to be shown once.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}_{}", hex(&self.id.as_u128().to_be_bytes()), hex(&self.bits))
    }

    /// The id, which is no secret.
    pub const fn id(&self) -> TokenId {
        self.id
    }

    /// What stands for the secret where it was checked before.
    pub(super) fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.bits).into()
    }

    fn hash(&self) -> Result<TokenHash, AccessError> {
        let hash = Argon2::default().hash_password(&self.bits).map_err(AccessError::Hash)?;
        Ok(TokenHash::new(hash.to_string()))
    }

    /// Whether this is the secret of which the hash was made. Takes some 20 ms of one core, as it should.
    pub(super) fn is_of(&self, hash: &TokenHash) -> bool {
        PasswordHash::new(hash.expose())
            .is_ok_and(|hash| Argon2::default().verify_password(&self.bits, &hash).is_ok())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;

    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(crate) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let whole = text.len() == 2 * N && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut bytes = [0; N];
    for (at, byte) in bytes.iter_mut().enumerate().filter(|_| whole) {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    whole.then_some(bytes)
}

/// Makes a token: what its holder gets, and what is stored of it. Takes some 20 ms of one core.
///
/// # Errors
///
/// When the system gives no random numbers.
///
/// ```
/// use lavender_control_plane::access::{Secret, new_token};
/// use lavender_core::store::Role;
/// use lavender_core::{TenantId, Timestamp};
///
/// # fn main() -> Result<(), lavender_control_plane::access::AccessError> {
/// let now = Timestamp::from_millis(0);
/// let (secret, stored) = new_token(TenantId::default(), Role::Viewer, "wall", "ana", now, None)?;
/// assert_eq!(Secret::parse(&secret.reveal()), Some(secret));
/// assert!(stored.hash.expose().starts_with("$argon2id$"));
/// # Ok(())
/// # }
/// ```
pub fn new_token(
    tenant: TenantId,
    role: Role,
    name: impl Into<Arc<str>>,
    created_by: impl Into<Arc<str>>,
    created_at: Timestamp,
    expires_at: Option<Timestamp>,
) -> Result<(Secret, AccessToken), AccessError> {
    let secret = Secret::random()?;
    let stored = AccessToken {
        id: secret.id,
        tenant,
        role,
        name: name.into(),
        hash: secret.hash()?,
        created_by: created_by.into(),
        created_at,
        expires_at,
        revoked_at: None,
    };
    Ok((secret, stored))
}

/// The token with which a tenant begins.
///
/// # Errors
///
/// When the system gives no random numbers.
pub fn first_token(tenant: TenantId, now: Timestamp) -> Result<(Secret, AccessToken), AccessError> {
    new_token(tenant, Role::Admin, "first", "lavender-control-plane", now, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_token_is_none() {
        let (secret, _) = first_token(TenantId::default(), Timestamp::from_millis(0)).unwrap();
        let good = secret.reveal();
        assert_eq!(Secret::parse(&good), Some(secret.clone()));
        assert!(!format!("{secret:?}").contains(&good[37..]));
        let longer = format!("{good}0");
        let wide = good.replace(&good[4..6], "é");
        for bad in
            ["", "lvd_", "lvd__", &good[1..], &good[..good.len() - 1], &longer, &wide, "lvd_é_é"]
        {
            assert_eq!(Secret::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_hash_is_of_one_secret() {
        let now = Timestamp::from_millis(0);
        let (one, stored) = first_token(TenantId::default(), now).unwrap();
        let (other, _) = first_token(TenantId::default(), now).unwrap();
        assert!(one.is_of(&stored.hash) && !other.is_of(&stored.hash));
        assert!(!one.is_of(&TokenHash::new("")));
    }
}
