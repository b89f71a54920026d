//! Sockets and look-ups.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Sample;
use crate::Captured;
use crate::event::{
    DnsAnswer, DnsData, DnsQuery, DnsRecordType, DnsResponseCode, Event, EventData, NetAccept,
    NetBind, NetConnect, NetListen, NetSend, NetworkTransport, Process, SyscallResult,
};

impl Sample {
    /// A socket is connected.
    pub fn net_connect(&mut self, process: &Arc<Process>, to: SocketAddr) -> Arc<Event> {
        let data = NetConnect {
            transport: NetworkTransport::Tcp,
            source: None,
            destination: to,
            result: SyscallResult(-115),
        };
        self.event(Some(process), EventData::NetConnect(data))
    }

    /// A socket is bound, listens and accepts; one that cannot be bound, one that cannot listen, one of another
    /// protocol.
    pub fn sockets(&mut self, process: &Arc<Process>) -> Vec<Arc<Event>> {
        let transport = NetworkTransport::Tcp;
        let local = SocketAddr::from(([127, 0, 0, 1], 4_444));
        let any = SocketAddr::from(([0; 16], u16::MAX));
        let raw = NetworkTransport::Other(u16::MAX);
        [
            EventData::NetBind(NetBind { transport, local, result: SyscallResult(0) }),
            EventData::NetBind(NetBind {
                transport: raw,
                local: any,
                result: SyscallResult(i64::MIN),
            }),
            EventData::NetListen(NetListen {
                transport,
                local,
                backlog: 128,
                result: SyscallResult(0),
            }),
            EventData::NetListen(NetListen {
                transport: raw,
                local: any,
                backlog: i32::MIN,
                result: SyscallResult(-95),
            }),
            EventData::NetAccept(NetAccept { transport, local, peer: any }),
        ]
        .map(|data| self.event(Some(process), data))
        .into()
    }

    /// Messages are sent: one that is, and one that cannot be.
    pub fn net_sends(&mut self, process: &Arc<Process>, to: SocketAddr) -> Vec<Arc<Event>> {
        let (udp, other) = (NetworkTransport::Udp, NetworkTransport::Other(1));
        let source = SocketAddr::from(([0, 0, 0, 0], 50_000));
        [(udp, Some(source), 512), (other, None, i64::MIN)]
            .map(|(transport, source, result)| {
                let result = SyscallResult(result);
                let send = NetSend { transport, source, destination: to, result };
                self.event(Some(process), EventData::NetSend(send))
            })
            .into()
    }

    /// A name is looked up, and found.
    pub fn dns_query(&mut self, process: &Arc<Process>, name: &str) -> Arc<Event> {
        let answer = |record_type, data| DnsAnswer { record_type, data };
        let data = DnsQuery {
            name: Captured::complete(name.into()),
            record_type: DnsRecordType::AAAA,
            response_code: Some(DnsResponseCode::NO_ERROR),
            answers: Captured::complete(vec![
                answer(DnsRecordType::CNAME, DnsData::Name("edge.example.net".into())),
                answer(DnsRecordType::AAAA, DnsData::Address([0xfe80, 0, 0, 0, 0, 0, 0, 1].into())),
            ]),
            transaction_id: Some(u16::MAX),
            transport: Some(NetworkTransport::Udp),
            server: Some(SocketAddr::from(([192, 0, 2, 53], 53))),
        };
        self.event(Some(process), EventData::DnsQuery(data))
    }
}
