//! What sessions and windows weigh on the server.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use token_broker::clock::{Clock, SystemClock};
use token_broker::domain::{
    Caller, Naming, Network, Origin, Party, PersonaName, RequestId, Session, SessionId, SessionSeal,
};
use token_broker::gate::windows::Windows;
use token_broker::store::SessionStore;
use token_broker::store::memory::Bounds;
use token_broker::store::redis::RedisStore;

use crate::outage::BOUNDS;
use crate::server::Server;
use crate::stage::{NARROW, claim, is_admitted, link, on};

const MANY: u32 = 100_000;

/// Bytes that the server holds.
fn held(server: &Server) -> u64 {
    let told: String = server.ask(&["INFO", "memory"]).unwrap();
    let field = |line: &str| line.strip_prefix("used_memory:")?.trim().parse().ok();
    told.lines().find_map(field).unwrap()
}

/// What one of so many weighs, in bytes.
fn each(server: &Server, before: u64) -> u64 {
    (held(server) - before) / u64::from(MANY)
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a00_0000 + number).into()
}

#[tokio::test]
#[ignore = "a minute: cargo test --release --test shared weigh -- --ignored --nocapture"]
async fn a_hundred_thousand_sessions_and_windows_weigh_what_the_docs_say() {
    let server = Server::start();
    let link = link(&server).await;
    let clock = Arc::new(SystemClock::new());
    let bounds = Bounds {
        total: MANY as usize,
        ..BOUNDS
    };
    let store = RedisStore::new(bounds, clock.clone(), link);
    let seal = SessionSeal::random();
    let before = held(&server);
    for number in 0..MANY {
        let mut caller = Caller::at(address(number), RequestId::random());
        caller.origin = Some(Origin::parse("https://app.example.com").unwrap());
        let account =
            Naming::Plain.account(&"https://id.example.com/".into(), &format!("user-{number}"));
        let session = Session {
            owner: Party::Identity(account.key()),
            ..Session::open(
                &caller,
                PersonaName::parse("default").unwrap(),
                clock.tick(),
            )
        };
        let key = seal.key(&SessionId::random());
        store.open(key, session).await.unwrap();
    }
    assert_eq!(store.live().await.unwrap(), MANY as usize);
    let session = each(&server, before);

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
    eprintln!("a session: {session} bytes; a window: {window} with one stamp, {full} with ten");
    assert!(session < 1000 && window < 400 && full < 500);
}
