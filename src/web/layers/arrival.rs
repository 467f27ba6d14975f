//! Finds out where a request comes from: the caller's address, and the id of the request.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::extract::Request;
use axum::http::header::USER_AGENT;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

use crate::domain::{Caller, Forwards, RequestId, Trace, canonical, is_private};
use crate::web::state::Face;

/// The id of a request, in both directions.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Headers that proxies add. A request with one of them may come from another address than its peer's.
const FORWARDED: [HeaderName; 5] = [
    X_FORWARDED_FOR,
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("via"),
    HeaderName::from_static("cf-connecting-ip"),
];

/// The other end of the TCP connection. The listener puts it into every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// Returns the caller of `request`, without its origin and identity. Only a trusted proxy may name the request, and the trace
/// that it belongs to.
pub(super) fn caller(request: &Request, face: &Face) -> Caller {
    let (headers, trusted) = (request.headers(), &*face.server.trusted_proxies);
    let peer = request.extensions().get::<Peer>();
    let peer = peer.map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| canonical(peer.0.ip()));
    let comes_from_proxy = is_trusted(peer, trusted);
    let address = client_address(peer, headers, trusted);
    let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(name));
    let given_id = headers.get(X_REQUEST_ID).filter(|_| comes_from_proxy);
    let given_id = given_id.and_then(|id| RequestId::parse(id.to_str().ok()?));
    let mut caller = Caller::at(address, given_id.unwrap_or_else(RequestId::random));
    caller.trace = face.traced_percent.and_then(|percent| {
        let parent = headers.get(TRACEPARENT).filter(|_| comes_from_proxy);
        Trace::of(parent.and_then(|parent| parent.to_str().ok()), percent)
    });
    caller.forwards = if is_trusted(address, trusted) {
        Forwards::Trusted
    } else if is_forwarded && !comes_from_proxy && is_private(address) {
        Forwards::Untrusted
    } else {
        Forwards::No
    };
    let user_agent = headers.get(USER_AGENT).map(HeaderValue::as_bytes);
    caller.user_agent = user_agent.map(|text| String::from_utf8_lossy(text).into());
    caller
}

/// Returns the address that a request comes from: the peer's, unless it is a trusted proxy. Behind a proxy it is the
/// right-most address of all `X-Forwarded-For` lines that is not itself trusted. Strangers may have written the entries
/// left of it. An entry that is not an address ends the walk at the last trusted hop.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut nearest = canonical(peer);
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let mut hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    while is_trusted(nearest, trusted) {
        let Some(hop) = hops.next().and_then(read_hop) else {
            break;
        };
        nearest = hop;
    }
    nearest
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// Reads one entry: an address, with or without a port, IPv6 with or without brackets.
fn read_hop(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let with_port = |_| text.parse::<SocketAddr>().map(|socket| socket.ip());
    bare.parse().or_else(with_port).ok().map(canonical)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn walk(peer: &str, lines: &[&str], trusted: &str) -> String {
        let trusted: Vec<IpNet> = trusted
            .split(',')
            .filter_map(|network| network.parse().ok())
            .collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(
                X_FORWARDED_FOR,
                HeaderValue::from_bytes(line.as_bytes()).unwrap(),
            );
        }
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn f39_the_address_is_found_behind_trusted_proxies_and_nowhere_else() {
        const NGINX: &str = "10.0.0.0/8";
        let cases: [(&str, &[&str], &str, &str); 25] = [
            ("198.51.100.1", &[], "", "198.51.100.1"),
            ("198.51.100.1", &["1.1.1.1"], "", "198.51.100.1"),
            ("198.51.100.1", &["1.1.1.1"], NGINX, "198.51.100.1"),
            ("10.0.0.1", &[], NGINX, "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], NGINX, "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1, 203.0.113.9"], NGINX, "203.0.113.9"),
            ("10.0.0.1", &["1.1.1.1,203.0.113.9"], NGINX, "203.0.113.9"),
            (
                "10.0.0.1",
                &["1.1.1.1", "203.0.113.9"],
                NGINX,
                "203.0.113.9",
            ),
            ("10.0.0.1", &["203.0.113.9", "1.1.1.1"], NGINX, "1.1.1.1"),
            ("10.0.0.1", &["203.0.113.9, 10.0.0.2"], NGINX, "203.0.113.9"),
            (
                "10.0.0.1",
                &["203.0.113.9", "10.0.0.3, 10.0.0.2"],
                NGINX,
                "203.0.113.9",
            ),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], NGINX, "10.0.0.3"),
            ("10.0.0.1", &["203.0.113.9, nonsense"], NGINX, "10.0.0.1"),
            (
                "10.0.0.1",
                &["203.0.113.9, nonsense, 10.0.0.2"],
                NGINX,
                "10.0.0.2",
            ),
            ("10.0.0.1", &["203.0.113.9,"], NGINX, "10.0.0.1"),
            ("10.0.0.1", &[""], NGINX, "10.0.0.1"),
            ("10.0.0.1", &["unknown"], NGINX, "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9:4711"], NGINX, "203.0.113.9"),
            ("10.0.0.1", &["[2001:db8::1]:4711"], NGINX, "2001:db8::1"),
            ("10.0.0.1", &["[2001:db8::1]"], NGINX, "2001:db8::1"),
            ("10.0.0.1", &["2001:db8::1"], NGINX, "2001:db8::1"),
            ("10.0.0.1", &["::ffff:203.0.113.9"], NGINX, "203.0.113.9"),
            ("::ffff:10.0.0.1", &["203.0.113.9"], NGINX, "203.0.113.9"),
            (
                "10.0.0.1",
                &["203.0.113.9, ::ffff:10.0.0.2"],
                NGINX,
                "203.0.113.9",
            ),
            (
                "fd00::1",
                &["64:ff9b::203.0.113.9"],
                "fd00::/8",
                "203.0.113.9",
            ),
        ];
        for (peer, lines, trusted, found) in cases {
            assert_eq!(
                walk(peer, lines, trusted),
                found,
                "{peer} {lines:?} {trusted}"
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_a_caller_writes_it_cannot_choose_its_own_address(
            written in prop::collection::vec("[ -~]{0,40}", 0..4),
            caller in any::<u32>(),
        ) {
            let caller = IpAddr::V4(caller.into());
            let trusted: Vec<IpNet> = vec!["10.0.0.1/32".parse().unwrap()];
            prop_assume!(!is_trusted(caller, &trusted));
            let mut headers = HeaderMap::new();
            for line in written {
                headers.append(X_FORWARDED_FOR, HeaderValue::from_str(&line).unwrap());
            }
            prop_assert_eq!(client_address(caller, &headers, &trusted), caller);
            headers.append(X_FORWARDED_FOR, HeaderValue::from_str(&caller.to_string()).unwrap());
            prop_assert_eq!(client_address("10.0.0.1".parse().unwrap(), &headers, &trusted), caller);
        }
    }
}
