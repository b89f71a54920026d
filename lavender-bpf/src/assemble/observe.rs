//! From single records to the data of events.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lavender_core::event::{
    EventData, FileOpen, NetConnect, NetworkTransport, OpenFlags, SyscallResult,
};
use lavender_core::{ByteString, Captured, Provenance};

use crate::decode::Open;
use crate::path;
use crate::record::{ConnectRecord, flag};

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Multipath TCP: TCP to everyone but the kernel.
const IPPROTO_MPTCP: u16 = 262;
const IPPROTO_TCP: u16 = 6;

pub(super) fn open(open: &Open<'_>) -> EventData {
    let record = open.record;
    EventData::FileOpen(FileOpen {
        path: open_path(open),
        flags: OpenFlags(record.open_flags.get()),
        mode: record.mode.get(),
        result: SyscallResult(record.result.get()),
        inode: record.inode.get(),
        device: record.device.get(),
    })
}

fn open_path(open: &Open<'_>) -> Captured<ByteString> {
    let flags = open.record.header.flags.get();
    let has = |flag| flags & flag != 0;
    let cut = Provenance::Truncated { true_length: 0 };
    if has(flag::WALK_IS_FILE) {
        if has(flag::WALK_UNREADABLE) {
            return Captured::unreadable();
        }
        let provenance = if has(flag::WALK_CUT) { cut } else { Provenance::Complete };
        return Captured::new(path::from_walk(open.walk).into(), provenance);
    }
    if has(flag::NAME_UNREADABLE) {
        return Captured::unreadable();
    }
    let folder_missing = has(flag::WALK_CUT) || has(flag::WALK_UNREADABLE);
    let provenance = if folder_missing || has(flag::NAME_CUT) { cut } else { Provenance::Complete };
    let path = path::join(open.walk, open.name, has(flag::NAME_IN_ROOT));
    Captured::new(path.into(), provenance)
}

/// `None` for an address family that is not IP.
pub(super) fn connect(record: &ConnectRecord) -> Option<EventData> {
    let family = record.family.get();
    let destination = address(family, &record.destination, record.destination_port.get())?;
    let source = address(family, &record.source, record.source_port.get())
        .filter(|source| source.port() != 0);
    let protocol = match record.protocol.get() {
        IPPROTO_MPTCP => IPPROTO_TCP,
        protocol => protocol,
    };
    Some(EventData::NetConnect(NetConnect {
        transport: NetworkTransport::from_ip_protocol(protocol),
        source,
        destination,
        result: SyscallResult(record.result.get()),
    }))
}

/// An IPv4 address that is written as an IPv6 one (`::ffff:127.0.0.1`) is the IPv4 address: that is what is on
/// the wire, and what rules name.
fn address(family: u16, bytes: &[u8; 16], port: u16) -> Option<SocketAddr> {
    let address = match family {
        AF_INET => IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(*bytes)).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}
