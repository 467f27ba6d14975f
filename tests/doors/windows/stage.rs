//! Windows of every kind, on a stage where time is turned by hand.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::{ManualClock, Timestamp};
use token_broker::config::{Config, Mode};
use token_broker::domain::{Network, Party};
use token_broker::gate::windows::redis::{Link, RedisWindows};
use token_broker::gate::windows::{Decision, MemoryWindows, Receipt, Standing, Windows};
use token_broker::gate::{Claims, Limit, Rates};
use token_broker::limit::{Block, GuardRules, Key, Offence, Tolerance};

use crate::kit::redis::{REDIS, Redis, VALKEY};
use crate::kit::waiting::{PATIENCE, eventually};

/// The limit of an address, of its neighbourhood, and of everybody.
pub const NARROW: Limit = Limit::Token;
pub const WIDE: Limit = Limit::TokenNetwork;
pub const EVERYBODY: Limit = Limit::Mints;

/// How far the time of a real server may be off on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

/// Windows of one kind, and how their time is turned.
pub struct Stage {
    pub name: &'static str,
    pub windows: Box<dyn Windows>,
    clock: Arc<ManualClock>,
    server: Option<Redis>,
}

/// Returns one stage for each kind: `narrow` for an address, 100 in 60 s for its neighbourhood, and 1000
/// in 60 s for everybody.
pub async fn stages(narrow: &str) -> Vec<Stage> {
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_800_000_000)));
    let memory = MemoryWindows::new(&rates(narrow), rules(), clock.clone());
    let mut stages = vec![Stage {
        name: "memory",
        windows: Box::new(memory),
        clock: clock.clone(),
        server: None,
    }];
    for (name, program) in [("Redis", REDIS), ("Valkey", VALKEY)] {
        let server = Redis::start_of(program);
        stages.push(Stage {
            name,
            windows: Box::new(on(&server, narrow).await),
            clock: clock.clone(),
            server: Some(server),
        });
    }
    stages
}

/// Returns the windows of one more replica on `server`.
pub async fn on(server: &Redis, narrow: &str) -> RedisWindows {
    RedisWindows::new(rates(narrow), rules(), link(server).await)
}

/// Returns a link that is up, and patient: how long an answer takes is not the question.
pub async fn link(server: &Redis) -> Arc<Link> {
    let link = Link::new(&server.url()).unwrap();
    let link = link.waiting(Duration::from_secs(30));
    link.join().await.unwrap();
    Arc::new(link)
}

/// Keeps a link alive in the background, as the service does.
pub fn keep(link: &Arc<Link>) -> tokio::task::AbortHandle {
    let link = Arc::clone(link);
    tokio::spawn(async move { link.keep(async |_| {}).await }).abort_handle()
}

/// Waits until a link is up, or is not. Returns how long that took.
pub async fn becomes(link: &Link, up: bool) -> Duration {
    let what = if up {
        "the link is up"
    } else {
        "the link is down"
    };
    eventually(what, PATIENCE, async || link.is_up() == up).await
}

pub fn rates(narrow: &str) -> Rates {
    let settings = [
        ("limits.token", narrow),
        ("limits.token_network", "100/60s"),
        ("limits.mints", "1000/60s"),
        ("limits.capacity", "1000"),
    ];
    Rates::of(&Config::from_pairs(Mode::Dev, &settings).unwrap().limits)
}

/// Returns the rules of the product, for a thousand parties.
pub fn rules() -> GuardRules {
    let settings = [
        ("guard.capacity", "1000"),
        ("guard.block", "15m"),
        ("guard.weights.wrong_origin", "0"),
    ];
    Config::from_pairs(Mode::Dev, &settings)
        .unwrap()
        .guard
        .rules
}

impl Stage {
    pub fn pass(&self, time: Duration) {
        self.clock.advance(time);
        if let Some(server) = &self.server {
            server.pass(time);
        }
    }

    /// Returns the number of keys on the server, if there is one.
    pub fn keys(&self) -> Option<u64> {
        self.server.as_ref()?.ask(&["DBSIZE"])
    }

    /// Asks as everybody, the neighbourhood and the network of `address`.
    pub async fn ask(&self, address: IpAddr) -> Decision {
        self.ask_as(address, &all(address)).await
    }

    pub async fn ask_as(&self, address: IpAddr, claims: &Claims) -> Decision {
        let party = Some(party(address));
        self.windows.decide(party, claims).await.unwrap()
    }

    pub async fn release(&self, receipt: Receipt) {
        self.windows.release(&receipt).await.unwrap();
    }

    pub async fn offend(&self, address: IpAddr, offence: Offence) -> Option<Block> {
        self.offend_as(party(address), offence, None).await
    }

    pub async fn offend_as(
        &self,
        party: Party,
        offence: Offence,
        tolerance: Option<Tolerance>,
    ) -> Option<Block> {
        let offended = self.windows.offend(party, (offence, tolerance)).await;
        offended.unwrap()
    }

    pub async fn blocked(&self, address: IpAddr) -> Option<Duration> {
        self.blocked_as(party(address)).await
    }

    pub async fn blocked_as(&self, party: Party) -> Option<Duration> {
        let decision = self.windows.decide(Some(party), &Claims::new()).await;
        match decision.unwrap() {
            Decision::Blocked { wait } => Some(wait),
            _ => None,
        }
    }
}

pub fn party(address: IpAddr) -> Party {
    Party::Network(Network::of(address))
}

pub fn all(address: IpAddr) -> Claims {
    [
        (NARROW, Network::of(address).into()),
        (WIDE, Network::around(address).into()),
        (EVERYBODY, Key::EVERYBODY),
    ]
    .into()
}

pub fn narrow(address: IpAddr) -> Claims {
    claim(NARROW, Network::of(address).into())
}

pub fn claim(limit: Limit, key: Key) -> Claims {
    [(limit, key)].into()
}

pub fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub fn admitted(decision: Decision) -> (Standing, Receipt) {
    match decision {
        Decision::Admitted {
            tightest: Some(tightest),
            receipt,
        } => (tightest, receipt),
        other => panic!("not admitted: {other:?}"),
    }
}

pub fn refused(decision: Decision) -> (Limit, Duration) {
    match decision {
        Decision::Refused(refused) => {
            assert_eq!(refused.standing.remaining, 0);
            assert!(refused.full.contains(&refused.standing.limit));
            (refused.standing.limit, refused.standing.resets_in)
        }
        other => panic!("not refused: {other:?}"),
    }
}

pub const fn is_admitted(decision: &Decision) -> bool {
    matches!(decision, Decision::Admitted { .. })
}

/// Asserts that `told` is `expected` seconds, but for what the time of a real server may be off.
pub fn near(told: Duration, expected: u64) {
    let expected = Duration::from_secs(expected);
    let is_near = told.abs_diff(expected) <= SLACK;
    assert!(is_near, "{told:?} is not about {expected:?}");
}
