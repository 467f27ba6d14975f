//! Owns the cost of finding a caller's address: alone, behind a proxy, behind many, and among forgeries.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, HeaderValue};
use criterion::{Criterion, criterion_group, criterion_main};
use ipnet::IpNet;
use token_broker::web::layers::arrival::client_address;

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7));

/// Proxies as an operator with a content network in front would list them.
fn trusted() -> Vec<IpNet> {
    let own = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fd00::/8"];
    let bought = (0..16).map(|nth| format!("198.51.{nth}.0/24"));
    own.into_iter()
        .map(str::to_owned)
        .chain(bought)
        .filter_map(|network| network.parse().ok())
        .collect()
}

/// `X-Forwarded-For` in so many lines.
fn forwarded<'a>(lines: impl IntoIterator<Item = &'a str>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in lines
        .into_iter()
        .filter_map(|line| HeaderValue::from_str(line).ok())
    {
        headers.append("x-forwarded-for", value);
    }
    headers
}

fn walks(criterion: &mut Criterion) {
    let proxies: Vec<_> = (1..=20).map(|host| format!("10.0.0.{host}")).collect();
    let deep = format!("203.0.113.7, {}", proxies.join(", "));
    let forged = format!("{}203.0.113.7, 10.0.0.2", "1.2.3.4, ".repeat(1000));
    let cases = [
        (
            "a stranger, whatever it claims",
            STRANGER,
            forwarded(["1.2.3.4"]),
        ),
        ("one proxy", PROXY, forwarded(["203.0.113.7"])),
        (
            "one proxy, IPv6 with a port",
            PROXY,
            forwarded(["[2001:db8::7]:4711"]),
        ),
        (
            "three lines",
            PROXY,
            forwarded(["1.2.3.4", "203.0.113.7", "10.0.0.2"]),
        ),
        ("twenty proxies", PROXY, forwarded([deep.as_str()])),
        (
            "a thousand forged hops on the left",
            PROXY,
            forwarded([forged.as_str()]),
        ),
        ("not an address", PROXY, forwarded(["unknown"])),
    ];
    let trusted = trusted();
    let mut group = criterion.benchmark_group("client_address");
    for (name, peer, headers) in cases {
        group.bench_function(name, |bencher| {
            bencher
                .iter(|| client_address(black_box(peer), black_box(&headers), black_box(&trusted)));
        });
    }
    group.finish();
}

criterion_group!(benches, walks);
criterion_main!(benches);
