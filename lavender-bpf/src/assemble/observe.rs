//! From single records to the data of events.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use lavender_core::event::{
    EventData, FileDelete, FileLink, FileMode, FileOpen, FileRename, NetConnect, NetworkTransport,
    OpenFlags, SyscallResult,
};
use lavender_core::{ByteString, Captured, Provenance};

use crate::decode::{Change, ChangeName, Open};
use crate::path;
use crate::record::{ConnectRecord, change, flag, kind};
use crate::texts::Texts;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// Multipath TCP: TCP to everyone but the kernel.
const IPPROTO_MPTCP: u16 = 262;
const IPPROTO_TCP: u16 = 6;

pub(super) fn open(texts: &mut Texts, open: &Open<'_>) -> EventData {
    let record = open.record;
    EventData::FileOpen(FileOpen {
        path: path_of(texts, record.header.flags.get(), open.walk, open.name),
        flags: OpenFlags(record.open_flags.get()),
        mode: record.mode.get(),
        result: SyscallResult(record.result.get()),
        inode: record.inode.get(),
        device: record.device.get(),
    })
}

/// The path of a file by its own walk, or by a name and the walk of its folder.
pub(super) fn path_of(
    texts: &mut Texts,
    flags: u16,
    walk: &[u8],
    name: &[u8],
) -> Captured<ByteString> {
    let has = |flag| flags & flag != 0;
    let cut = Provenance::Truncated { true_length: 0 };
    if has(flag::WALK_IS_FILE) {
        if has(flag::WALK_UNREADABLE) {
            return Captured::unreadable();
        }
        let provenance = if has(flag::WALK_CUT) { cut } else { Provenance::Complete };
        let path = texts.write(walk.len() + 1, |path| path::push_walk(path, walk));
        return Captured::new(path, provenance);
    }
    if has(flag::NAME_UNREADABLE) {
        return Captured::unreadable();
    }
    let folder_missing = has(flag::WALK_CUT) || has(flag::WALK_UNREADABLE);
    let provenance = if folder_missing || has(flag::NAME_CUT) { cut } else { Provenance::Complete };
    let in_root = has(flag::NAME_IN_ROOT);
    let path = texts.write(walk.len() + name.len() + 1, |path| {
        path::push_joined(path, walk, name, in_root);
    });
    Captured::new(path, provenance)
}

pub(super) fn changed(texts: &mut Texts, changed: &Change<'_>) -> EventData {
    let record = changed.record;
    let [first, second] = changed.names.map(|name| {
        let flags = name.place.flags.get();
        move |texts: &mut Texts| path_of(texts, flags, name.walk, name.name)
    });
    let has = |bit| record.what.get() & bit != 0;
    let result = SyscallResult(record.result.get());
    match record.header.kind.get() {
        kind::DELETE => EventData::FileDelete(FileDelete {
            path: first(texts),
            directory: has(change::DIRECTORY),
            result,
        }),
        kind::RENAME => EventData::FileRename(FileRename {
            path: second(texts),
            previous_path: first(texts),
            exchange: has(change::EXCHANGE),
            result,
        }),
        kind::LINK => {
            let symbolic = has(change::SYMBOLIC);
            let target = if symbolic { given(texts, &changed.names[0]) } else { first(texts) };
            EventData::FileLink(FileLink { path: second(texts), target, symbolic, result })
        }
        _ => {
            let id = |id: u32| (has(change::OWNER) && id != u32::MAX).then_some(id);
            EventData::FileMode(FileMode {
                path: first(texts),
                mode: has(change::MODE).then_some(record.mode.get()),
                uid: id(record.uid.get()),
                gid: id(record.gid.get()),
                result,
            })
        }
    }
}

/// The name of a change as it was given.
fn given(texts: &mut Texts, name: &ChangeName<'_>) -> Captured<ByteString> {
    text_of(texts, name.place.flags.get(), name.name)
}

/// A text as it was given, relative to nothing.
pub(super) fn text_of(texts: &mut Texts, flags: u16, name: &[u8]) -> Captured<ByteString> {
    if flags & flag::NAME_UNREADABLE != 0 {
        return Captured::unreadable();
    }
    let provenance = if flags & flag::NAME_CUT != 0 {
        Provenance::Truncated { true_length: 0 }
    } else {
        Provenance::Complete
    };
    Captured::new(texts.copy(name), provenance)
}

/// `None` for an address family that is not IP.
pub(super) fn connect(record: &ConnectRecord) -> Option<EventData> {
    let family = record.family.get();
    let destination = address(family, &record.destination, record.destination_port.get())?;
    let source = address(family, &record.source, record.source_port.get())
        .filter(|source| source.port() != 0);
    Some(EventData::NetConnect(NetConnect {
        transport: transport(record),
        source,
        destination,
        result: SyscallResult(record.result.get()),
    }))
}

pub(super) fn transport(record: &ConnectRecord) -> NetworkTransport {
    NetworkTransport::from_ip_protocol(ip_protocol(record.protocol.get()))
}

/// The protocol as everyone but the kernel has it.
pub(super) const fn ip_protocol(protocol: u16) -> u16 {
    match protocol {
        IPPROTO_MPTCP => IPPROTO_TCP,
        protocol => protocol,
    }
}

/// An IPv4 address that is written as an IPv6 one (`::ffff:127.0.0.1`) is the IPv4 address: that is what is on
/// the wire, and what rules name.
pub(super) fn address(family: u16, bytes: &[u8; 16], port: u16) -> Option<SocketAddr> {
    let address = match family {
        AF_INET => IpAddr::V4(Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3])),
        AF_INET6 => IpAddr::V6(Ipv6Addr::from(*bytes)).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}
