//! What a ban shuts out: one public IPv4 address, or the IPv6 network of 64 bits that one customer has.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address that belongs to somebody in particular, as far as the internet knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    V4(Ipv4Addr),
    /// The lower 64 bits are zero.
    V6(Ipv6Addr),
}

impl Network {
    /// The network of an address; none when the address is nobody's in particular: private ones, those of one link or machine, and
    /// those that a provider shares among its customers.
    pub fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            IpAddr::V4(ip) => is_public_v4(ip).then_some(Self::V4(ip)),
            IpAddr::V6(ip) => {
                is_public_v6(ip).then(|| Self::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)))
            }
        }
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = a == 0
        || ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        // Carrier-grade NAT (RFC 6598): many customers behind each.
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        // 6to4 relays and benchmarks.
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (18..20).contains(&b))
        || a >= 224;
    !is_special
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    // Only this eighth is given out (RFC 4291 section 4). What embeds IPv4 addresses behind a shared gateway isn't: Teredo
    // (2001:0::/32); NAT64 (64:ff9b::/96) is outside of it anyway.
    let is_global_unicast = a & 0xe000 == 0x2000;
    is_global_unicast && !(a == 0x2001 && b == 0)
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(ip) => ip.fmt(f),
            Self::V6(ip) => write!(f, "{ip}/64"),
        }
    }
}

/// The text is none of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoNetwork;

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let address = text.strip_suffix("/64").unwrap_or(text);
        address.parse().ok().and_then(Self::of).filter(|network| network.to_string() == text).ok_or(NoNetwork)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Option<String> {
        Network::of(text.parse().expect("an address")).map(|network| network.to_string())
    }

    #[test]
    fn only_what_is_somebodys_own() {
        for (address, network) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("100.63.255.255", "100.63.255.255"),
            ("100.128.0.0", "100.128.0.0"),
            ("172.32.0.1", "172.32.0.1"),
            ("2a01:4f8:1:2:3:4:5:6", "2a01:4f8:1:2::/64"),
            ("2001:db8::1", "2001:db8::/64"),
        ] {
            assert_eq!(of(address).as_deref(), Some(network), "{address}");
        }
        for nobodys in [
            "0.0.0.0",
            "10.1.2.3",
            "127.0.0.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.1.1",
            "172.16.0.1",
            "192.0.0.8",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "64:ff9b::cb00:7107",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "fc00::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert_eq!(of(nobodys), None, "{nobodys}");
        }
    }

    proptest! {
        #[test]
        fn its_text_is_the_same_network(bits: u128, short: u32) {
            for address in [IpAddr::from(Ipv6Addr::from_bits(bits)), IpAddr::from(Ipv4Addr::from_bits(short))] {
                if let Some(network) = Network::of(address) {
                    prop_assert_eq!(network.to_string().parse(), Ok(network));
                }
            }
        }
    }

    #[test]
    fn foreign_text_is_none() {
        for text in ["", "x", "10.0.0.1", "203.0.113.7/64", "2001:db8::1", "2001:db8::1/64", "2001:db8::/48"]
        {
            assert_eq!(text.parse::<Network>(), Err(NoNetwork), "{text}");
        }
    }
}
