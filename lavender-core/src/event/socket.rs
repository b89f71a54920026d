//! Sockets that wait for others.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::{NetworkTransport, SyscallResult};

/// A socket was given an address of this side by `bind`, or could not be.
///
/// A socket that sends, connects or listens without one is given one by the kernel; that is no event of this kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetBind {
    /// The protocol of the socket.
    pub transport: NetworkTransport,
    /// The address as the kernel has it, with the port that it chose where none was asked for; the one asked for
    /// where the call failed.
    pub local: SocketAddr,
    /// Zero, or why it failed.
    pub result: SyscallResult,
}

/// A socket was made to wait for connections by `listen`, or could not be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetListen {
    /// The protocol of the socket.
    pub transport: NetworkTransport,
    /// Where it waits, as the kernel has it. The port is 0 where the call failed and none was bound.
    pub local: SocketAddr,
    /// How many connections may wait to be accepted, as asked for: a negative number is more than the kernel
    /// allows.
    pub backlog: i32,
    /// Zero, or why it failed.
    pub result: SyscallResult,
}

/// A connection was accepted by `accept` or `accept4`. A call that brought none is no event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetAccept {
    /// The protocol of the socket.
    pub transport: NetworkTransport,
    /// This side of the connection.
    pub local: SocketAddr,
    /// Who connected.
    pub peer: SocketAddr,
}

/// A message was sent without a connection, to a peer that is new to the process, or could not be: by `sendto`,
/// `sendmsg` or `sendmmsg` on a socket of UDP or a raw one. Or a connection of TCP was made by what is sent over it
/// (`MSG_FASTOPEN`).
///
/// One event for each peer that a program of a process sends to, so that a stream of messages costs one, and a server
/// makes one for each client that it answers. Which peers are
/// known is remembered for the last 16,384 of a host; one that was forgotten is new again. A message that was sent and
/// one that could not be are told of once each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NetSend {
    /// The protocol of the socket.
    pub transport: NetworkTransport,
    /// The address of this side, where the socket has a port; the address may be the unspecified one, of which the
    /// kernel chooses one for each message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SocketAddr>,
    /// The address asked for, or the one that the socket is connected to. Its port is 0 where the protocol has none.
    pub destination: SocketAddr,
    /// How many bytes were sent, or why none were.
    pub result: SyscallResult,
}
