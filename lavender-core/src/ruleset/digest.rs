//! By what a ruleset is known.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::shown;

/// A text that is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not the digest of a ruleset: it is written as 64 hexadecimal digits, in small letters"
)]
pub struct DigestError {
    /// The text, cut to 80 characters.
    pub text: String,
}

/// What a ruleset is known by: SHA-256 of its canonical form, so that whoever has the digest from someone they trust can
/// take the rules from anyone.
///
/// ```
/// use lavender_core::ruleset::RulesetDigest;
///
/// let digest = RulesetDigest::from_bytes([0xab; 32]);
/// assert_eq!(digest.to_string().parse(), Ok(digest));
/// assert!("AB".repeat(32).parse::<RulesetDigest>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RulesetDigest([u8; 32]);

impl RulesetDigest {
    /// A digest by its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for RulesetDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RulesetDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RulesetDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let read = || {
            let mut bytes = [0; 32];
            let (pairs, rest) = text.as_bytes().as_chunks::<2>();
            if pairs.len() != bytes.len() || !rest.is_empty() {
                return None;
            }
            for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
                *byte = digit(*high)? << 4 | digit(*low)?;
            }
            Some(Self(bytes))
        };
        read().ok_or_else(|| DigestError { text: shown(text) })
    }
}

impl TryFrom<String> for RulesetDigest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<RulesetDigest> for String {
    fn from(digest: RulesetDigest) -> Self {
        digest.to_string()
    }
}
