//! Names that were looked up.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::NetworkTransport;
use crate::text::{ByteString, Captured};

/// A name was looked up in the DNS.
///
/// One event for each answer, and for each question that was not answered in time: 3 s with the sensor of `lavender-bpf`,
/// whose event is of the moment of the question then.
///
/// ```
/// use lavender_core::event::{
///     DnsAnswer, DnsData, DnsQuery, DnsRecordType, DnsResponseCode, NetworkTransport,
/// };
/// use lavender_core::Captured;
///
/// let query = DnsQuery {
///     name: Captured::complete("updates.example.org".into()),
///     record_type: DnsRecordType::A,
///     response_code: Some(DnsResponseCode::NO_ERROR),
///     answers: Captured::complete(vec![DnsAnswer {
///         record_type: DnsRecordType::A,
///         data: DnsData::Address([192, 0, 2, 7].into()),
///     }]),
///     transaction_id: Some(0x1234),
///     transport: Some(NetworkTransport::Udp),
///     server: Some(([192, 0, 2, 53], 53).into()),
/// };
/// assert_eq!(query.record_type.to_string(), "A");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DnsQuery {
    /// The name asked for: its labels joined by dots, without the dot of the root. Bytes, since a label may hold
    /// any; a dot inside a label looks like the end of it.
    pub name: Captured<ByteString>,
    /// What was asked for.
    pub record_type: DnsRecordType,
    /// How the server answered; `None` where no answer was seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_code: Option<DnsResponseCode>,
    /// The records of the answer, in its order: what one DNS message holds at the most (64 KiB). Empty where there
    /// is none.
    #[serde(default)]
    pub answers: Captured<Vec<DnsAnswer>>,
    /// The number that question and answer have in common.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<u16>,
    /// What it was sent over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transport: Option<NetworkTransport>,
    /// The server that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<SocketAddr>,
}

/// A record of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsAnswer {
    /// Its type.
    pub record_type: DnsRecordType,
    /// What it says.
    #[serde(flatten)]
    pub data: DnsData,
}

/// What a record of an answer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DnsData {
    /// An address, of `A` and `AAAA`.
    Address(IpAddr),
    /// A name, of `CNAME`, `NS`, `PTR`, `MX` and the like; written as [`DnsQuery::name`].
    Name(ByteString),
    /// Text (`TXT`, its parts joined), or the data of any other type as it came.
    Bytes(ByteString),
}

/// The type of a record, as IANA's registry *DNS Parameters* numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DnsRecordType(pub u16);

impl DnsRecordType {
    /// An IPv4 address.
    pub const A: Self = Self(1);
    /// Another name for the name.
    pub const CNAME: Self = Self(5);
    /// Text.
    pub const TXT: Self = Self(16);
    /// An IPv6 address.
    pub const AAAA: Self = Self(28);

    /// Its name; `None` where the registry has one that this version does not know, or none.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "A",
            2 => "NS",
            5 => "CNAME",
            6 => "SOA",
            10 => "NULL",
            12 => "PTR",
            13 => "HINFO",
            15 => "MX",
            16 => "TXT",
            28 => "AAAA",
            33 => "SRV",
            35 => "NAPTR",
            43 => "DS",
            46 => "RRSIG",
            48 => "DNSKEY",
            64 => "SVCB",
            65 => "HTTPS",
            252 => "AXFR",
            255 => "ANY",
            257 => "CAA",
            _ => return None,
        })
    }
}

impl fmt::Display for DnsRecordType {
    /// The name, or `TYPE` and the number as RFC 3597 has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

/// How a server answered (RCODE), as IANA's registry *DNS Parameters* numbers it: 0 no error, 3 no such name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DnsResponseCode(pub u16);

impl DnsResponseCode {
    /// The question was answered.
    pub const NO_ERROR: Self = Self(0);
    /// There is no such name.
    pub const NO_SUCH_NAME: Self = Self(3);
}
