//! Networks by which addresses are counted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A stretch of addresses that is limited, blocked or bound as one: an IPv4 address or an IPv6 /64, or, wider, a /24
/// or a /48. End sites are given at least a /64 each (RFC 6177), so single IPv6 addresses mean nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// The upper 64 bits of an IPv6 address, or an IPv4 address.
    bits: u64,
    /// Length of the prefix; above 64 for IPv4, so that the families never collide.
    width: u8,
}

const V4: u8 = 128;

impl Network {
    /// Returns the narrow network of `address`: IPv4 /32 (mapped, NAT64 and tunnelled forms included) or IPv6 /64.
    pub fn of(address: IpAddr) -> Self {
        Self::cut(address, 32, 64)
    }

    /// Returns the wide network around `address`: IPv4 /24 or IPv6 /48.
    pub fn around(address: IpAddr) -> Self {
        Self::cut(address, 24, 48)
    }

    /// Returns the first bits of `address`: `v4` of an IPv4 address, at most 64 `v6` of an IPv6 address.
    fn cut(address: IpAddr, v4: u8, v6: u8) -> Self {
        let (bits, rest, width) = match without_tunnel(canonical(address)) {
            IpAddr::V4(address) => (u64::from(address.to_bits()), 32 - v4, V4 + v4),
            IpAddr::V6(address) => ((address.to_bits() >> 64) as u64, 64 - v6, v6),
        };
        Self {
            bits: bits >> rest << rest,
            width,
        }
    }

    /// Returns the network as 72 unique bits.
    pub fn to_bits(self) -> u128 {
        u128::from(self.width) << 64 | u128::from(self.bits)
    }

    /// Reads the result of `to_bits`; `None` for other bits.
    #[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
    pub fn from_bits(bits: u128) -> Option<Self> {
        let width = u8::try_from(bits >> 64).ok()?;
        let known = [48, 64, V4 + 24, V4 + 32].contains(&width);
        known.then_some(Self {
            bits: bits as u64,
            width,
        })
    }

    /// Returns the network as text.
    pub fn to_text(self) -> String {
        format!("{:x}", self.to_bits())
    }

    /// Reads the result of `to_text`.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_bits(u128::from_str_radix(text, 16).ok()?)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, width): (IpAddr, u8) = if self.width > V4 {
            let bits = u32::try_from(self.bits).unwrap_or_default();
            (Ipv4Addr::from_bits(bits).into(), self.width - V4)
        } else {
            let bits = u128::from(self.bits) << 64;
            (Ipv6Addr::from_bits(bits).into(), self.width)
        };
        write!(formatter, "{address}/{width}")
    }
}

/// Returns the address, with IPv4 unwrapped from its IPv6 forms: mapped (`::ffff:0:0/96`, RFC 4291) and NAT64
/// (`64:ff9b::/96`, RFC 6052).
pub fn canonical(address: IpAddr) -> IpAddr {
    const NAT64: u128 = 0x0064_ff9b << 96;
    let IpAddr::V6(v6) = address else {
        return address;
    };
    if let Some(v4) = v6.to_ipv4_mapped() {
        return v4.into();
    }
    let bits = v6.to_bits();
    if bits >> 32 == NAT64 >> 32 {
        let [.., a, b, c, d] = v6.octets();
        return Ipv4Addr::new(a, b, c, d).into();
    }
    address
}

/// Returns the IPv4 address behind an IPv6 tunnel: 6to4 (`2002::/16`, RFC 3056) or Teredo (`2001::/32`, RFC 4380). One
/// IPv4 address has 65,536 /64s by 6to4, and all clients of a Teredo server share one /64. For counting only: nobody is
/// trusted for it.
fn without_tunnel(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    match v6.octets() {
        [0x20, 0x02, a, b, c, d, ..] => Ipv4Addr::new(a, b, c, d).into(),
        [0x20, 0x01, 0, 0, .., a, b, c, d] => Ipv4Addr::new(!a, !b, !c, !d).into(),
        _ => address,
    }
}

/// Returns true for loopback, link-local and private addresses (RFC 1918, RFC 4193).
pub fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Network {
        Network::of(address.parse().unwrap())
    }

    #[test]
    fn an_ipv6_site_is_one_caller_however_it_rotates() {
        let first = network("2001:db8:1:2::1");
        for host in 0..100_000_u128 {
            let rotated = IpAddr::V6((0x2001_0db8_0001_0002_u128 << 64 | host << 13).into());
            assert_eq!(Network::of(rotated), first);
        }
        assert_ne!(network("2001:db8:1:3::1"), first);
        assert_eq!(first.to_string(), "2001:db8:1:2::/64");
    }

    #[test]
    fn wrapped_ipv4_is_the_ipv4_inside() {
        let plain = network("203.0.113.7");
        assert_eq!(network("::ffff:203.0.113.7"), plain);
        assert_eq!(network("64:ff9b::203.0.113.7"), plain);
        assert_ne!(network("64:ff9b:1::203.0.113.7"), plain);
        assert_eq!(plain.to_string(), "203.0.113.7/32");
    }

    #[test]
    fn a20_tunnelled_addresses_count_as_the_ipv4_address_at_the_end_of_the_tunnel() {
        let plain = network("203.0.113.7");
        assert_eq!(network("2002:cb00:7107:1::1"), plain);
        assert_eq!(network("2002:cb00:7107:ffff::9"), plain);
        let teredo = |client: &str| network(&format!("2001:0:4136:e378:8000:63bf:{client}"));
        assert_eq!(teredo("34ff:8ef8"), plain);
        assert_ne!(teredo("34ff:8ef9"), plain);
        let around = |text: &str| Network::around(text.parse().unwrap());
        assert_eq!(around("2002:cb00:7107:1::1"), around("203.0.113.200"));
        assert_ne!(network("2001:1:4136:e378:8000:63bf:34ff:8ef8"), plain);
        // A tunnel's end is no reason to trust.
        let tunnelled: IpAddr = "2002:7f00:1::1".parse().unwrap();
        assert!(!is_private(tunnelled));
        assert_eq!(canonical(tunnelled), tunnelled);
    }

    #[test]
    fn neighbours_share_the_wide_network() {
        let around = |text: &str| Network::around(text.parse().unwrap());
        assert_eq!(around("203.0.113.7"), around("203.0.113.200"));
        assert_ne!(around("203.0.113.7"), around("203.0.114.7"));
        assert_eq!(around("2001:db8:1:2::1"), around("2001:db8:1:ffff::1"));
        assert_ne!(around("2001:db8:1::1"), around("2001:db8:2::1"));
        assert_eq!(around("2001:db8:1:2::1").to_string(), "2001:db8:1::/48");
        let known = around("2001:db8:1:2::1");
        assert_eq!(Network::from_bits(known.to_bits()), Some(known));
        assert_eq!(Network::from_bits(7 << 64), None);
    }

    #[test]
    fn the_two_families_never_meet() {
        assert_ne!(network("0.0.0.0"), network("::"));
        assert_ne!(
            network("0.0.0.1"),
            Network::of(IpAddr::V6(Ipv6Addr::from_bits(1 << 64)))
        );
    }
}
