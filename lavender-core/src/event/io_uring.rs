//! What is done through `io_uring`.

use std::fmt;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{NetworkTransport, OpenFlags};
use crate::text::{ByteString, Captured};

/// A process had the kernel open or remove a file, or connect a socket, through `io_uring`, and so by no system call
/// that tells of it.
///
/// The event is of the moment at which the kernel took the request over: whether it succeeded is not known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IoUring {
    /// What was asked for.
    pub operation: IoUringOperation,
    /// Of a file, the absolute path that was asked for, with links in the name as given not followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<Captured<ByteString>>,
    /// Of an open, the flags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<OpenFlags>,
    /// Of a connect, the protocol of the socket, where that has a descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<NetworkTransport>,
    /// Of a connect, the address asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<SocketAddr>,
}

/// An operation of `io_uring`, by its number in `include/uapi/linux/io_uring.h` (`IORING_OP_…`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct IoUringOperation(pub u8);

impl IoUringOperation {
    /// A socket is connected.
    pub const CONNECT: Self = Self(16);
    /// A file is opened.
    pub const OPENAT: Self = Self(18);
    /// A file is opened, with more to say how.
    pub const OPENAT2: Self = Self(28);
    /// A name of a file is removed.
    pub const UNLINKAT: Self = Self(36);
}

impl fmt::Display for IoUringOperation {
    /// The name of the call that does the same, or the number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::CONNECT => f.write_str("connect"),
            Self::OPENAT => f.write_str("openat"),
            Self::OPENAT2 => f.write_str("openat2"),
            Self::UNLINKAT => f.write_str("unlinkat"),
            Self(other) => write!(f, "{other}"),
        }
    }
}
