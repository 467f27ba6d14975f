//! Who calls: the addresses that requests say they come from.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use crate::load::Caller;

/// What a browser sends along.
const BROWSER: &str = "Origin: https://app.example\r\nContent-Type: application/json\r\nAccept: */*\r\n\
    Accept-Language: en-GB,en;q=0.9\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nSec-Fetch-Site: cross-site\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36\r\n";

/// The body of every request.
const BODY: &str = r#"{"persona":"default"}"#;

/// A page that asks `to` for a token, for the `nth` of some callers.
pub fn page(to: SocketAddr, address: impl Fn(u64) -> IpAddr + Send + Sync + 'static) -> Caller {
    request(to, "/token", "", address)
}

/// A page that asks `to` for a token, for one after the other of the people with these credentials.
pub fn people(to: SocketAddr, bearers: Vec<String>) -> Caller {
    let plain = request(to, "/token", "", of(10_000));
    Arc::new(move |nth, out| {
        plain(nth, out);
        let place = usize::try_from(nth).unwrap_or_default() % bearers.len();
        // Before the empty line at the end of the head.
        if let Some(end) = out.windows(4).position(|four| four == b"\r\n\r\n") {
            let line = format!("\r\nAuthorization: Bearer {}", bearers[place]);
            out.splice(end..end, line.into_bytes());
        }
    })
}

/// The same request put to the upstream itself.
pub fn direct(to: SocketAddr) -> Caller {
    let key = "Authorization: Bearer sk-load-comparison\r\n";
    request(to, "/v1/realtime/client_secrets", key, of(10_000))
}

/// A probe of whether `to` is alive.
pub fn probe(to: SocketAddr) -> Caller {
    let text = format!("GET /livez HTTP/1.1\r\nHost: {to}\r\n\r\n");
    Arc::new(move |_, out| out.extend_from_slice(text.as_bytes()))
}

fn request(
    to: SocketAddr,
    path: &'static str,
    more: &'static str,
    address: impl Fn(u64) -> IpAddr + Send + Sync + 'static,
) -> Caller {
    let head = format!("POST {path} HTTP/1.1\r\nHost: {to}\r\n{BROWSER}{more}X-Forwarded-For: ");
    let tail = format!("\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
    Arc::new(move |nth, out| {
        out.extend_from_slice(head.as_bytes());
        // Writing to memory does not fail.
        let _ = write!(out, "{}", address(nth));
        out.extend_from_slice(tail.as_bytes());
    })
}

/// One after the other of `count` addresses, each in a /24 of its own.
pub fn of(count: u64) -> impl Fn(u64) -> IpAddr + Send + Sync + 'static {
    move |nth| {
        let network = u32::try_from(nth % count).unwrap_or_default();
        Ipv4Addr::from_bits((11 << 24) + (network << 8) + 7).into()
    }
}

/// A new IPv4 address each time, strewn over all networks.
pub fn new_v4(nth: u64) -> IpAddr {
    Ipv4Addr::from_bits(strewn(nth)).into()
}

/// A new IPv6 /64 each time, strewn over 65,536 networks of /48.
pub fn new_v6(nth: u64) -> IpAddr {
    let network = (0x2001_0db8_u64 << 32) | u64::from(strewn(nth));
    Ipv6Addr::from_bits((u128::from(network) << 64) | 1).into()
}

/// Different for all different numbers of 32 bits: the factor is odd.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low bits are what is wanted"
)]
fn strewn(nth: u64) -> u32 {
    (nth as u32).wrapping_mul(0x9E37_79B1)
}
