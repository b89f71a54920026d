//! What rules see of sockets: connected, bound, listening, accepted, sent from.

use std::net::SocketAddr;

use lavender_core::event::{EventData, NetworkTransport, SyscallResult};

use super::field::EventField;
use crate::record::FieldValue;

/// An event of the network, whatever its kind.
struct Network {
    transport: Option<NetworkTransport>,
    /// Whether this host began it, where there are two sides.
    initiated: Option<bool>,
    /// This side.
    source: Option<SocketAddr>,
    /// The other side.
    destination: Option<SocketAddr>,
    backlog: Option<i32>,
}

impl Network {
    const fn of(data: &EventData) -> Option<Self> {
        Some(match data {
            EventData::NetConnect(connect) => Self {
                transport: Some(connect.transport),
                initiated: Some(true),
                source: connect.source,
                destination: Some(connect.destination),
                backlog: None,
            },
            EventData::NetSend(send) => Self {
                transport: Some(send.transport),
                initiated: Some(true),
                source: send.source,
                destination: Some(send.destination),
                backlog: None,
            },
            EventData::NetBind(bind) => Self {
                transport: Some(bind.transport),
                initiated: None,
                source: Some(bind.local),
                destination: None,
                backlog: None,
            },
            EventData::NetListen(listen) => Self {
                transport: Some(listen.transport),
                initiated: None,
                source: Some(listen.local),
                destination: None,
                backlog: Some(listen.backlog),
            },
            EventData::NetAccept(accept) => Self {
                transport: Some(accept.transport),
                initiated: Some(false),
                source: Some(accept.local),
                destination: Some(accept.peer),
                backlog: None,
            },
            EventData::DnsQuery(query) => Self {
                transport: query.transport,
                initiated: None,
                source: None,
                destination: query.server,
                backlog: None,
            },
            EventData::IoUring(request) => Self {
                transport: request.transport,
                initiated: None,
                source: None,
                destination: request.destination,
                backlog: None,
            },
            _ => return None,
        })
    }
}

/// The value of a field that only events of the network have; absent of other events.
pub(super) fn field(data: &EventData, field: EventField) -> FieldValue<'_> {
    use EventField as F;
    let Some(network) = Network::of(data) else { return FieldValue::Absent };
    match field {
        F::Protocol => network.transport.map(NetworkTransport::as_str).into(),
        F::Initiated => network.initiated.into(),
        F::SourceIp => network.source.map(|source| source.ip()).into(),
        F::SourcePort => network.source.map(|source| source.port()).into(),
        F::DestinationIp => network.destination.map(|destination| destination.ip()).into(),
        F::DestinationPort => network.destination.map(|destination| destination.port()).into(),
        F::DestinationIsIpv6 => network.destination.map(|destination| destination.is_ipv6()).into(),
        F::Backlog => network.backlog.into(),
        _ => FieldValue::Absent,
    }
}

/// What the call returned; `None` where that needs a closer look, and of an event of another kind.
pub(super) const fn result_of(data: &EventData) -> Option<SyscallResult> {
    match data {
        EventData::NetBind(bind) => Some(bind.result),
        EventData::NetListen(listen) => Some(listen.result),
        EventData::NetSend(send) => Some(send.result),
        _ => None,
    }
}
