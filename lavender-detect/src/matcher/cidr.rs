//! IP networks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::record::FieldValue;

/// A network: the addresses that share the first `length` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    address: IpAddr,
    length: u8,
}

impl FromStr for Network {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, length) = text.split_once('/').map_or((text, None), |(a, l)| (a, Some(l)));
        let address: IpAddr = address.parse().map_err(|_| "not an IP address")?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            None => longest,
            Some(length) => length.parse().map_err(|_| "the prefix length is not a number")?,
        };
        if length > longest {
            return Err("the prefix is longer than the address");
        }
        Ok(Self { address, length })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl Network {
    /// Whether the address is in it. An IPv4 address in IPv6's clothes (`::ffff:10.0.0.1`) counts as IPv4.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => self.contains_v4(network, address),
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let differing = u128::from(network) ^ u128::from(address);
                self.length == 0 || differing >> (128 - u32::from(self.length)) == 0
            }
            (IpAddr::V4(network), IpAddr::V6(address)) => {
                address.to_ipv4_mapped().is_some_and(|address| self.contains_v4(network, address))
            }
            (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    fn contains_v4(&self, network: Ipv4Addr, address: Ipv4Addr) -> bool {
        let differing = u32::from(network) ^ u32::from(address);
        self.length == 0 || differing >> (32 - u32::from(self.length)) == 0
    }
}

/// The address in a field: an address, or a text that reads as one.
pub(crate) fn address_of(value: &FieldValue<'_>) -> Option<IpAddr> {
    let parse = |text: &[u8]| -> Option<IpAddr> {
        let text = std::str::from_utf8(text).ok()?;
        let text = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        // A zone (`fe80::1%eth0`) says where the address is valid, not which one it is.
        let text = text.split_once('%').map_or(text, |(address, _)| address);
        text.parse::<Ipv4Addr>()
            .map(IpAddr::from)
            .or_else(|_| text.parse::<Ipv6Addr>().map(IpAddr::from))
            .ok()
    };
    match value {
        FieldValue::Ip(address) => Some(*address),
        FieldValue::Text(text) => parse(text),
        FieldValue::Short(text) => parse(text.as_bytes()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses_and_no_others() {
        for (network, address, expected) in [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("192.168.1.5", "192.168.1.5", true),
            ("192.168.1.5/32", "192.168.1.4", false),
            ("fe80::/10", "fe80::1", true),
            ("::1/128", "::2", false),
            ("127.0.0.0/8", "::ffff:127.0.0.1", true),
            ("::/0", "10.0.0.1", false),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), expected, "{network} {address}");
        }
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "x/8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }
}
