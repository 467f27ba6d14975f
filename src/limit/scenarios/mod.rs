//! Owns the proofs over the memory kind as a whole, and the stage they play on.

mod flood;
mod offences;
mod windows;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{
    Block, Claim, Decision, GuardRules, Key, LimitStore, MemoryLimits, Offence, Policy, PolicyId,
    Receipt, Standing, Weights,
};
use crate::clock::{ManualClock, Timestamp};
use crate::domain::{Network, Rate};

const NARROW: PolicyId = PolicyId::at(0);
const WIDE: PolicyId = PolicyId::at(1);

/// Limits with a clock that is turned by hand.
struct Stage {
    clock: Arc<ManualClock>,
    limits: MemoryLimits,
}

impl Stage {
    /// A narrow policy of `narrow` and a wide one of 100 in 60 s.
    fn with(narrow: &str, capacity: usize) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_800_000_000)));
        let policy = |name, rate| Policy {
            name,
            rate: Rate::parse(rate).unwrap(),
            capacity,
            is_shared: false,
        };
        let policies = vec![policy("narrow", narrow), policy("wide", "100/60s")];
        Self {
            limits: MemoryLimits::new(policies, rules(capacity), clock.clone()),
            clock,
        }
    }

    fn new() -> Self {
        Self::with("10/60s", 1_000)
    }

    fn pass(&self, seconds: f64) {
        self.clock.advance(Duration::from_secs_f64(seconds));
    }

    /// Asks as the narrow and the wide network of `address`.
    fn ask(&self, address: IpAddr) -> Decision {
        self.ask_as(
            address,
            &[
                claim(NARROW, Network::of(address)),
                claim(WIDE, Network::around(address)),
            ],
        )
    }

    /// Asks as the narrow network of `address` only.
    fn ask_narrow(&self, address: IpAddr) -> Decision {
        self.ask_as(address, &[claim(NARROW, Network::of(address))])
    }

    fn ask_as(&self, address: IpAddr, claims: &[Claim]) -> Decision {
        done(self.limits.decide(address, claims)).unwrap()
    }

    fn release(&self, receipt: Receipt) {
        done(self.limits.release(receipt)).unwrap();
    }

    fn offend(&self, address: IpAddr, offence: Offence) -> Option<Block> {
        done(self.limits.offend(address, offence)).unwrap()
    }
}

/// The rules of the product.
fn rules(capacity: usize) -> GuardRules {
    GuardRules {
        threshold: 3.0,
        decay: Duration::from_mins(10),
        block: Duration::from_mins(15),
        block_max: Duration::from_hours(24),
        never_block: vec![
            "192.0.2.0/28".parse().unwrap(),
            "2001:db8:aa::1/128".parse().unwrap(),
        ],
        capacity,
        weights: Weights {
            rate_limited: 1.0,
            foreign_session: 1.0,
            forged_credential: 1.0,
            malformed: 0.25,
            wrong_origin: 0.25,
        },
    }
}

fn claim(policy: PolicyId, network: Network) -> Claim {
    Claim {
        policy,
        key: network.into(),
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The `number`th of as many addresses as there are, far from each other.
fn stranger(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(number.wrapping_mul(0x9e37_79b1)).into()
}

fn admitted(decision: Decision) -> (Standing, Receipt) {
    match decision {
        Decision::Admitted {
            tightest: Some(tightest),
            receipt,
        } => (tightest, receipt),
        other => panic!("not admitted: {other:?}"),
    }
}

fn refused(decision: Decision) -> (&'static str, Duration) {
    match decision {
        Decision::Refused { standing, wait, .. } => {
            assert_eq!((standing.remaining, standing.resets_in), (0, wait));
            (standing.policy, wait)
        }
        other => panic!("not refused: {other:?}"),
    }
}

fn blocked(decision: &Decision) -> Option<Duration> {
    match decision {
        Decision::Blocked { wait } => Some(*wait),
        _ => None,
    }
}

fn is_admitted(decision: &Decision) -> bool {
    matches!(decision, Decision::Admitted { .. })
}

/// What a future gives that never waits.
fn done<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("limits in memory never wait"),
    }
}
