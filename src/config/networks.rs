//! Reads networks as operators write them.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserializer;

use crate::domain::written::list;

/// Unique local (RFC 4193) and link-local (RFC 4291 §2.5.6) IPv6, which may be trusted whole.
const OWN_V6: [(u128, u8); 2] = [(0xfc00 << 112, 7), (0xfe80 << 112, 10)];

/// Reads a network, or a single address as a network of its own. Mapped IPv4 (`::ffff:0:0/96`) becomes
/// IPv4, as everywhere else.
pub(super) fn parse(text: &str) -> Result<IpNet, &'static str> {
    let single = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let network = text.parse::<IpNet>().ok().or_else(single);
    network
        .map(|network| unwrapped(network).trunc())
        .ok_or("must be a network, like 10.0.0.0/8 or fd00::/8, or a single address")
}

/// Reads a list of networks.
pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<IpNet>, D::Error> {
    list(from, parse)
}

/// Returns whether a network is so wide that no operator runs all of it. The widest private IPv4 network is `10.0.0.0/8`.
/// Registries allocate public IPv6 in blocks far smaller than a /16.
pub(super) fn is_half_the_world(network: &IpNet) -> bool {
    match network {
        IpNet::V4(v4) => v4.prefix_len() < 8,
        IpNet::V6(v6) => {
            let holds = |(bits, width): (u128, u8)| {
                Ipv6Net::new(bits.into(), width).is_ok_and(|own| own.contains(v6))
            };
            v6.prefix_len() < 16 && !OWN_V6.into_iter().any(holds)
        }
    }
}

/// Returns whether a network holds every address of its family.
pub(super) fn is_everything(network: &IpNet) -> bool {
    network.prefix_len() == 0
}

fn unwrapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else {
        return network;
    };
    let inside = v6
        .addr()
        .to_ipv4_mapped()
        .zip(v6.prefix_len().checked_sub(96));
    inside
        .and_then(|(address, width)| Ipv4Net::new(address, width).ok())
        .map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_with_and_without_a_prefix_and_mapped_ones_become_ipv4() {
        for (text, network) in [
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("::1", "::1/128"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), network, "{text}");
        }
        for wrong in [
            "",
            "10.0.0.0/33",
            "10.0.0",
            "proxy",
            "*",
            "10.0.0.0/8/8",
            "10.0.0.0/-1",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn networks_wider_than_any_operators_are_too_wide() {
        for (text, is_too_wide) in [
            ("0.0.0.0/0", true),
            ("::/0", true),
            ("::ffff:0:0/96", true),
            ("0.0.0.0/1", true),
            ("2000::/3", true),
            ("10.0.0.0/8", false),
            ("fd00::/8", false),
            ("fc00::/7", false),
            ("fc00::/6", true),
            ("fe80::/10", false),
            ("fe80::/9", true),
            ("2a00::/12", true),
            ("2000::/15", true),
            ("2001::/16", false),
            ("2001:db8::/32", false),
        ] {
            assert_eq!(
                is_half_the_world(&parse(text).unwrap()),
                is_too_wide,
                "{text}"
            );
        }
    }
}
