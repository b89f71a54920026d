//! Which command: told by events too, and so known without the feature `command`.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

use crate::id::{IdError, shown, uuid_text};

/// One command, whoever asks for it again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(Uuid);

uuid_text!(CommandId, "command id", |_| Ok(()));

impl CommandId {
    /// The id with these 128 bits.
    pub const fn from_u128(bits: u128) -> Self {
        Self(Uuid::from_u128(bits))
    }
}
