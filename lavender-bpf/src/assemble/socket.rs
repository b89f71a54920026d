//! What is done with sockets beside connecting them.

use std::net::SocketAddr;

use lavender_core::event::{EventData, NetAccept, NetBind, NetListen, NetSend, SyscallResult};

use super::observe::{address, transport};
use crate::record::{ConnectRecord, ListenRecord, kind};

/// `None` for an address family that is not IP.
pub(super) fn socket(record: &ConnectRecord) -> Option<EventData> {
    let (transport, local) = (transport(record), local(record)?);
    let result = SyscallResult(record.result.get());
    Some(match record.header.kind.get() {
        kind::BIND => EventData::NetBind(NetBind { transport, local, result }),
        kind::SEND => {
            let source = Some(local).filter(|local| local.port() != 0);
            EventData::NetSend(NetSend { transport, source, destination: peer(record)?, result })
        }
        _ => EventData::NetAccept(NetAccept { transport, local, peer: peer(record)? }),
    })
}

/// `None` for an address family that is not IP.
pub(super) fn listens(record: &ListenRecord) -> Option<EventData> {
    let socket = &record.socket;
    Some(EventData::NetListen(NetListen {
        transport: transport(socket),
        local: local(socket)?,
        backlog: record.backlog.get().cast_signed(),
        result: SyscallResult(socket.result.get()),
    }))
}

fn local(record: &ConnectRecord) -> Option<SocketAddr> {
    address(record.family.get(), &record.source, record.source_port.get())
}

pub(super) fn peer(record: &ConnectRecord) -> Option<SocketAddr> {
    address(record.family.get(), &record.destination, record.destination_port.get())
}
