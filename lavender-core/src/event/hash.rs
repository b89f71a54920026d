//! By what the content of a program's file is known.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{Error as _, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::shown;

/// Before the digits in Sysmon's form.
const PREFIX: &str = "SHA256=";

/// How many digits there are.
const DIGITS: usize = 64;

/// The SHA-256 of a file's content. It is kept in the form that rules ask for, made once; cloning shares it.
///
/// Shown and serialised as 64 hexadecimal digits in small letters.
///
/// ```
/// use lavender_core::event::Sha256Digest;
///
/// let digest = Sha256Digest::from_bytes(&[0xab; 32]);
/// assert_eq!(digest.to_string(), "ab".repeat(32));
/// assert_eq!(digest.as_hashes(), format!("SHA256={}", "AB".repeat(32)));
/// assert_eq!(digest.to_string().parse(), Ok(digest));
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest(Arc<str>);

/// A text that is no SHA-256.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a SHA-256: it is written as 64 hexadecimal digits")]
pub struct Sha256Error {
    /// The text, cut to 80 characters.
    pub text: String,
}

impl Sha256Digest {
    /// A digest by its bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut text = String::with_capacity(PREFIX.len() + DIGITS);
        text.push_str(PREFIX);
        for byte in bytes {
            for digit in [byte >> 4, byte & 0xf] {
                text.extend(char::from_digit(digit.into(), 16).map(|c| c.to_ascii_uppercase()));
            }
        }
        Self(text.into())
    }

    /// As Sysmon writes it: `SHA256=` and 64 digits in capital letters.
    pub fn as_hashes(&self) -> &str {
        &self.0
    }

    /// The 64 digits, in capital letters.
    pub fn as_digits(&self) -> &str {
        &self.0[PREFIX.len()..]
    }

    fn small_digits(&self) -> [u8; DIGITS] {
        let mut digits = [b'0'; DIGITS];
        for (small, digit) in digits.iter_mut().zip(self.as_digits().bytes()) {
            *small = digit.to_ascii_lowercase();
        }
        digits
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.small_digits()).unwrap_or_default())
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256Digest {
    type Err = Sha256Error;

    fn from_str(text: &str) -> Result<Self, Sha256Error> {
        if text.len() != DIGITS || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(Sha256Error { text: shown(text) });
        }
        Ok(Self(format!("{PREFIX}{}", text.to_ascii_uppercase()).into()))
    }
}

impl Serialize for Sha256Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::str::from_utf8(&self.small_digits()).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for Sha256Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;

        impl Visitor<'_> for Digits {
            type Value = Sha256Digest;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("64 hexadecimal digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Sha256Digest, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Digits).map_err(D::Error::custom)
    }
}

/// What is known of the content of a program's file.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExecutableHash {
    /// The SHA-256 of the content that ran.
    Sha256(Sha256Digest),
    /// It is not known, and why.
    Missing(Unhashed),
}

impl ExecutableHash {
    /// The SHA-256, where it is known.
    pub const fn sha256(&self) -> Option<&Sha256Digest> {
        match self {
            Self::Sha256(digest) => Some(digest),
            Self::Missing(_) => None,
        }
    }
}

/// Why the content of a program's file is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unhashed {
    /// It was not read yet when the event was told. What the process does later tells it.
    Pending,
    /// The file is larger than what is read.
    TooLarge,
    /// So many files waited to be read that this one was left out.
    QueueFull,
    /// The process had ended, and no path led to the file any more.
    Gone,
    /// The file was changed while it was read.
    Changed,
    /// The file could not be read, or its file system is a program's, which may tell each reader something else.
    Unreadable,
    /// A reason of a later version.
    #[serde(other)]
    Other,
}

impl Unhashed {
    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::TooLarge => "too_large",
            Self::QueueFull => "queue_full",
            Self::Gone => "gone",
            Self::Changed => "changed",
            Self::Unreadable => "unreadable",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Unhashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
