//! Limits of every kind, on a stage where time is turned by hand.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::{ManualClock, Timestamp};
use token_broker::domain::{Network, Rate};
use token_broker::limit::{
    Block, Claim, Decision, GuardRules, Key, LimitStore, MemoryLimits, Offence, Policy, PolicyId,
    Receipt, Standing, Weights,
};
use token_broker::store::redis::{Link, RedisLimits};

use crate::server::{REDIS, Server, VALKEY};

pub const NARROW: PolicyId = PolicyId::at(0);
pub const WIDE: PolicyId = PolicyId::at(1);
pub const EVERYBODY: PolicyId = PolicyId::at(2);

/// What a real server's time may be off, on a busy machine.
const SLACK: Duration = Duration::from_secs(3);

/// Limits of one kind, and how their time is turned.
pub struct Stage {
    pub name: &'static str,
    pub limits: Box<dyn LimitStore>,
    clock: Arc<ManualClock>,
    server: Option<Server>,
}

/// One stage for each kind: a narrow policy of `narrow`, a wide one of 100 and one of everybody's of 1000 in 60 s.
pub async fn stages(narrow: &str) -> Vec<Stage> {
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_800_000_000)));
    let memory = MemoryLimits::new(policies(narrow), rules(), clock.clone());
    let mut stages = vec![Stage {
        name: "memory",
        limits: Box::new(memory),
        clock: clock.clone(),
        server: None,
    }];
    for (name, program) in [("Redis", REDIS), ("Valkey", VALKEY)] {
        let server = Server::start_of(program);
        stages.push(Stage {
            name,
            limits: Box::new(on(&server, narrow).await),
            clock: clock.clone(),
            server: Some(server),
        });
    }
    stages
}

/// One more replica's limits on `server`.
pub async fn on(server: &Server, narrow: &str) -> RedisLimits {
    RedisLimits::new(policies(narrow), rules(), link(server).await)
}

/// A link that is up, and patient: how long an answer takes is not the question.
pub async fn link(server: &Server) -> Arc<Link> {
    let link = Link::new(&server.url()).unwrap();
    let link = link.waiting(Duration::from_secs(30));
    link.join().await.unwrap();
    Arc::new(link)
}

pub fn policies(narrow: &str) -> Vec<Policy> {
    let policy = |name, rate, is_shared| Policy {
        name,
        rate: Rate::parse(rate).unwrap(),
        capacity: 1_000,
        is_shared,
    };
    vec![
        policy("narrow", narrow, false),
        policy("wide", "100/60s", false),
        policy("everybody", "1000/60s", true),
    ]
}

/// The rules of the product.
pub fn rules() -> GuardRules {
    GuardRules {
        threshold: 3.0,
        decay: Duration::from_mins(10),
        block: Duration::from_mins(15),
        block_max: Duration::from_hours(24),
        never_block: vec!["192.0.2.0/28".parse().unwrap()],
        capacity: 1_000,
        weights: Weights {
            rate_limited: 1.0,
            foreign_session: 1.0,
            forged_credential: 1.0,
            malformed: 0.25,
            wrong_origin: 0.0,
        },
    }
}

impl Stage {
    pub fn pass(&self, time: Duration) {
        self.clock.advance(time);
        if let Some(server) = &self.server {
            server.pass(time);
        }
    }

    /// Keys on the server, if there is one.
    pub fn keys(&self) -> Option<u64> {
        self.server.as_ref()?.ask(&["DBSIZE"])
    }

    /// Asks as everybody, the narrow and the wide network of `address`.
    pub async fn ask(&self, address: IpAddr) -> Decision {
        self.ask_as(address, &all(address)).await
    }

    pub async fn ask_as(&self, address: IpAddr, claims: &[Claim]) -> Decision {
        self.limits.decide(address, claims).await.unwrap()
    }

    pub async fn release(&self, receipt: Receipt) {
        self.limits.release(receipt).await.unwrap();
    }

    pub async fn offend(&self, address: IpAddr, offence: Offence) -> Option<Block> {
        self.limits.offend(address, offence).await.unwrap()
    }

    pub async fn blocked(&self, address: IpAddr) -> Option<Duration> {
        match self.ask_as(address, &[]).await {
            Decision::Blocked { wait } => Some(wait),
            _ => None,
        }
    }
}

pub fn all(address: IpAddr) -> [Claim; 3] {
    [
        claim(WIDE, Network::around(address).into()),
        claim(EVERYBODY, Key::EVERYBODY),
        narrow(address),
    ]
}

pub fn narrow(address: IpAddr) -> Claim {
    claim(NARROW, Network::of(address).into())
}

pub const fn claim(policy: PolicyId, key: Key) -> Claim {
    Claim { policy, key }
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

pub fn refused(decision: Decision) -> (&'static str, Duration) {
    match decision {
        Decision::Refused { standing, wait, .. } => {
            assert_eq!((standing.remaining, standing.resets_in), (0, wait));
            (standing.policy, wait)
        }
        other => panic!("not refused: {other:?}"),
    }
}

pub const fn is_admitted(decision: &Decision) -> bool {
    matches!(decision, Decision::Admitted { .. })
}

/// The same, but for what a real server's time may be off.
pub fn near(told: Duration, expected: u64) {
    let expected = Duration::from_secs(expected);
    let is_near = told.abs_diff(expected) <= SLACK;
    assert!(is_near, "{told:?} is not about {expected:?}");
}
