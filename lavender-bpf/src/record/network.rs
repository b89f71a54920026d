//! Sockets, messages to and from name servers, and what is asked of `io_uring`.

use zerocopy::little_endian::{I64, U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::RecordHeader;

/// A connect, a bind, an accept or a message.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ConnectRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// What the call returned.
    pub result: I64,
    /// `AF_INET` (2) or `AF_INET6` (10).
    pub family: U16,
    /// The IP protocol.
    pub protocol: U16,
    /// This side's port; 0 for none.
    pub source_port: U16,
    /// The port asked for, or the one that the peer has; 0 of a bind.
    pub destination_port: U16,
    /// This side's address: 4 or 16 bytes in network order.
    pub source: [u8; 16],
    /// The address asked for, or the one that the peer has: 4 or 16 bytes in network order; zero of a bind.
    pub destination: [u8; 16],
}

/// A listen.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ListenRecord {
    /// The socket, without a destination.
    pub socket: ConnectRecord,
    /// How many connections may wait, as asked for.
    pub backlog: U32,
    /// Zero.
    pub reserved: U32,
}

/// A message to or from a name server. Then: the start of its payload.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DnsRecord {
    /// Both sides; the destination is the server's.
    pub socket: ConnectRecord,
    /// Bytes of the payload that are here.
    pub length: U32,
    /// Bytes that the payload has.
    pub total: U32,
    /// 0 for a message that was sent, 1 for one that was received.
    pub received: U32,
    /// Zero.
    pub reserved: U32,
}

/// A request of `io_uring`. Then: the walk, the name.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct IoUringRecord {
    /// Who and when.
    pub header: RecordHeader,
    /// Which operation: `IORING_OP_…`.
    pub operation: U32,
    /// Of an open, the flags.
    pub open_flags: U32,
    /// Of an open, the mode.
    pub mode: U32,
    /// Of a connect, `AF_INET` (2) or `AF_INET6` (10).
    pub family: U16,
    /// Of a connect, the IP protocol; 0 where it is not known.
    pub protocol: U16,
    /// Of a connect, the port asked for.
    pub port: U16,
    /// Zero.
    pub reserved: U16,
    /// Of a connect, the address asked for: 4 or 16 bytes in network order.
    pub address: [u8; 16],
    /// Bytes of the walk of the folder that the name is relative to.
    pub walk_length: U16,
    /// Bytes of the name as it was given, its NUL included.
    pub name_length: U16,
}
