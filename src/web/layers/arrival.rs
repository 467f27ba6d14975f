//! Owns what is learnt of a request when it arrives: its id, the address it came from, the moment.

use std::net::{IpAddr, SocketAddr};

use axum::extract::Request;
use axum::http::header::USER_AGENT;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use ipnet::IpNet;

use crate::clock::Tick;
use crate::domain::{Caller, Forwards, RequestId, canonical, is_private};
use crate::web::state::Face;

/// The id of a request, in both directions.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What proxies add; whoever sends one of these may be speaking for somebody else.
const FORWARDED: [HeaderName; 5] = [
    X_FORWARDED_FOR,
    HeaderName::from_static("forwarded"),
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("via"),
    HeaderName::from_static("cf-connecting-ip"),
];

/// The other end of the TCP connection. Put into every request by whoever accepts it.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

/// What is learnt of a request when it arrives.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// Its name: a trusted proxy's, or one of our own.
    pub request_id: RequestId,
    /// The address it came from, found behind trusted proxies.
    pub address: IpAddr,
    /// True when it says that it was forwarded, but not by a proxy we trust: then nobody knows where it came from.
    pub forwarded_by_stranger: bool,
    /// Whether the address forwards the requests of others.
    pub forwards: Forwards,
    /// When it arrived.
    pub at: Tick,
}

/// Learns all that, before anything else looks at the request.
pub(super) fn arrive(face: &Face, request: &mut Request) -> Arrival {
    let trusted = &face.server.trusted_proxies;
    let peer = request
        .extensions()
        .get::<Peer>()
        .map_or(IpAddr::from([0, 0, 0, 0]), |peer| canonical(peer.0.ip()));
    let peer_trusted = is_trusted(peer, trusted);
    let inbound = request
        .headers()
        .get(X_REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let forwarded_by_stranger = !peer_trusted
        && FORWARDED
            .iter()
            .any(|name| request.headers().contains_key(name));
    let address = client_address(peer, request.headers(), trusted);
    let forwards = if is_trusted(address, trusted) {
        Forwards::Trusted
    } else if forwarded_by_stranger && is_private(address) {
        Forwards::Untrusted
    } else {
        Forwards::No
    };
    let arrival = Arrival {
        request_id: inbound
            .filter(|_| peer_trusted)
            .and_then(RequestId::parse)
            .unwrap_or_else(RequestId::random),
        address,
        forwarded_by_stranger,
        forwards,
        at: face.clock.tick(),
    };
    request.extensions_mut().insert(arrival.clone());
    arrival
}

impl Arrival {
    /// Gives the id back with the answer.
    pub(super) fn sign(&self, response: &mut Response) {
        let id = HeaderValue::try_from(self.request_id.as_str()).ok();
        response
            .headers_mut()
            .extend(id.map(|id| (X_REQUEST_ID, id)));
    }
}

/// Who sent `request`; its origin is for the origin guard to say.
pub(crate) fn caller(request: &Request) -> Option<Caller> {
    let arrival = request.extensions().get::<Arrival>()?;
    let user_agent = request
        .headers()
        .get(USER_AGENT)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into());
    let mut caller = Caller::at(arrival.address, arrival.request_id.clone());
    caller.forwards = arrival.forwards;
    caller.user_agent = user_agent;
    Some(caller)
}

/// The address a request came from: the peer, unless it is a trusted proxy; then the right-most address of all
/// `X-Forwarded-For` lines that is not itself trusted. What stands left of it was written by strangers. An entry that
/// cannot be read ends the walk at the last hop that can be trusted.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut nearest = canonical(peer);
    if !is_trusted(nearest, trusted) {
        return nearest;
    }
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops {
        let Some(address) = read_hop(hop) else {
            return nearest;
        };
        nearest = address;
        if !is_trusted(nearest, trusted) {
            return nearest;
        }
    }
    nearest
}

fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    trusted.iter().any(|network| network.contains(&address))
}

/// One entry: an address, with or without a port, IPv6 with or without brackets.
fn read_hop(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let address = bare
        .parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(canonical)
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
    fn the_address_is_found_behind_trusted_proxies_and_nowhere_else() {
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
