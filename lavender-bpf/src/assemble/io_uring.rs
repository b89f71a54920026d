//! What is done through `io_uring`.

use lavender_core::event::{EventData, IoUring, IoUringOperation, NetworkTransport, OpenFlags};

use super::observe::{address, ip_protocol, path_of};
use crate::decode::Request;
use crate::texts::Texts;

/// `None` for an address family that is not IP.
pub(super) fn requested(texts: &mut Texts, request: &Request<'_>) -> Option<EventData> {
    let record = request.record;
    let operation = IoUringOperation(record.operation.get() as u8);
    let nothing =
        IoUring { operation, path: None, flags: None, transport: None, destination: None };
    let mut path = || Some(path_of(texts, record.header.flags.get(), request.walk, request.name));
    Some(EventData::IoUring(match operation {
        IoUringOperation::CONNECT => IoUring {
            transport: (record.protocol.get() != 0)
                .then(|| NetworkTransport::from_ip_protocol(ip_protocol(record.protocol.get()))),
            destination: Some(address(record.family.get(), &record.address, record.port.get())?),
            ..nothing
        },
        IoUringOperation::UNLINKAT => IoUring { path: path(), ..nothing },
        _ => IoUring { path: path(), flags: Some(OpenFlags(record.open_flags.get())), ..nothing },
    }))
}
