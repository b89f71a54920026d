//! Network.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::SyscallResult;

/// A socket was connected to a peer by `connect`, or could not be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetConnect {
    /// The protocol of the socket.
    pub transport: NetworkTransport,
    /// The address of this side, once the kernel has chosen one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SocketAddr>,
    /// The address asked for.
    pub destination: SocketAddr,
    /// Zero, or why it failed. A socket that does not block answers `-115` (`EINPROGRESS`) while the
    /// connection is being made.
    pub result: SyscallResult,
}

impl NetConnect {
    /// Whether the peer was reached, or is being reached by a socket that does not block.
    pub const fn is_under_way(&self) -> bool {
        self.result.0 >= 0 || self.result.0 == -115
    }
}

/// The protocol over IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum NetworkTransport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// Another, by its IP protocol number.
    Other(u16),
}

impl NetworkTransport {
    /// The transport of an IP protocol number.
    pub const fn from_ip_protocol(protocol: u16) -> Self {
        match protocol {
            6 => Self::Tcp,
            17 => Self::Udp,
            other => Self::Other(other),
        }
    }

    /// The IP protocol number.
    pub const fn ip_protocol(self) -> u16 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Other(other) => other,
        }
    }

    /// The name as rules write it: `tcp`, `udp`, or `other`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Other(_) => "other",
        }
    }
}
