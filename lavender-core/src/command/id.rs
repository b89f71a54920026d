//! Which command, and by which key.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use crate::command_id::CommandId;
use crate::id::{IdError, shown, subject_name};

subject_name! {
    /// The name of a signing key: what tells an agent which of its pinned keys to check with.
    KeyId, "key id"
}

/// 128 random bits that no two commands share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nonce([u8; 16]);

impl Nonce {
    /// The nonce with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}
