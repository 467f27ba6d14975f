//! The memory that windows take on the server.

use std::net::{IpAddr, Ipv4Addr};

use token_broker::domain::Network;
use token_broker::gate::windows::Windows;

use super::stage::{NARROW, claim, is_admitted, on};
use crate::kit::redis::Redis;

const MANY: u32 = 100_000;

/// Bytes that the server holds.
fn held(server: &Redis) -> u64 {
    let told: String = server.ask(&["INFO", "memory"]).unwrap();
    let field = |line: &str| line.strip_prefix("used_memory:")?.trim().parse().ok();
    told.lines().find_map(field).unwrap()
}

/// What one of so many weighs, in bytes.
fn each(server: &Redis, before: u64) -> u64 {
    (held(server) - before) / u64::from(MANY)
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

#[tokio::test]
#[ignore = "a minute: cargo test --release --test doors weigh -- --ignored --nocapture"]
async fn a_hundred_thousand_windows_weigh_what_the_docs_say() {
    let server = Redis::start();
    let limits = on(&server, "10/24h").await;
    let ask = async |number: u32| {
        let address = address(number);
        let claims = claim(NARROW, Network::of(address).into());
        assert!(is_admitted(&limits.decide(None, &claims).await.unwrap()));
    };
    let before = held(&server);
    for number in 0..MANY {
        ask(number).await;
    }
    let window = each(&server, before);
    for _ in 0..9 {
        ask(0).await;
    }
    // The tables of the server's own keys are being moved meanwhile, so one key is asked, not the whole.
    let [busy, idle] = [0, 1].map(|number| {
        let bits = Network::of(address(number)).to_bits();
        let key = format!("{{broker}}:w:token:{bits:x}");
        server.ask::<u64>(&["MEMORY", "USAGE", &key]).unwrap()
    });
    let full = window + busy - idle;
    eprintln!("a window: {window} bytes with one stamp, {full} with ten");
    assert!(window < 400 && full < 500);
}
