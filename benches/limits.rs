//! Owns the cost of one decision about limits: with few keys and with a million, refused, blocked.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use token_broker::clock::{Clock, ManualClock, SystemClock, Timestamp};
use token_broker::domain::{Network, Rate};
use token_broker::limit::{
    Claim, Decision, GuardRules, LimitStore, MemoryLimits, Offence, Policy, PolicyId, Weights,
};

const WINDOW: Duration = Duration::from_mins(1);
const BLOCK: Duration = Duration::from_mins(15);

/// What a future gives that never waits.
fn done<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn limits(clock: Arc<dyn Clock>) -> MemoryLimits {
    let policy = |name, limit| Policy {
        name,
        rate: Rate {
            limit,
            window: WINDOW,
        },
        capacity: 262_144,
        is_shared: false,
    };
    let guard = GuardRules {
        threshold: 3.0,
        decay: Duration::from_mins(10),
        block: BLOCK,
        block_max: BLOCK * 96,
        never_block: Vec::new(),
        capacity: 65_536,
        weights: Weights {
            rate_limited: 1.0,
            foreign_session: 1.0,
            forged_credential: 1.0,
            malformed: 0.25,
            wrong_origin: 0.25,
        },
    };
    MemoryLimits::new(
        vec![policy("narrow", 10), policy("wide", 100)],
        guard,
        clock,
    )
}

/// Addresses in random order, so that no cache can guess the next.
struct Strangers {
    state: u64,
    count: u64,
}

impl Strangers {
    const fn among(count: u64) -> Self {
        Self { state: 1, count }
    }

    fn next(&mut self) -> IpAddr {
        let mixed = self.state.wrapping_mul(0x5851_f42d_4c95_7f2d);
        self.state = mixed.wrapping_add(0x1405_7b7e_f767_814f);
        let number = ((self.state >> 32) * self.count) >> 32;
        let spread = number.wrapping_mul(0x9e37_79b1) & u64::from(u32::MAX);
        Ipv4Addr::from_bits(u32::try_from(spread).unwrap_or(0)).into()
    }
}

fn decide(limits: &MemoryLimits, address: IpAddr) -> Option<Decision> {
    let claims = [
        Claim {
            policy: PolicyId::at(0),
            key: Network::of(address).into(),
        },
        Claim {
            policy: PolicyId::at(1),
            key: Network::around(address).into(),
        },
    ];
    done(limits.decide(address, &claims))?.ok()
}

/// Keys come back once in a window on average, so that a key has the same past however many there are.
fn deciding(criterion: &mut Criterion) {
    for (name, count) in [
        ("1k keys", 1_000_u32),
        ("200k keys", 200_000),
        ("1M keys", 1_000_000),
    ] {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(0)));
        let limits = limits(clock.clone());
        let mut strangers = Strangers::among(count.into());
        let pause = WINDOW / count;
        for _ in 0..count * 3 {
            clock.advance(pause);
            decide(&limits, strangers.next());
        }
        criterion.bench_function(&format!("decide, {name}"), |bencher| {
            bencher.iter(|| {
                clock.advance(pause);
                decide(&limits, strangers.next())
            });
        });
    }
}

fn refusing(criterion: &mut Criterion) {
    let limits = limits(Arc::new(SystemClock::new()));
    let caller = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for _ in 0..10 {
        decide(&limits, caller);
    }
    criterion.bench_function("refuse", |bencher| {
        bencher.iter(|| decide(&limits, black_box(caller)));
    });
}

fn blocking(criterion: &mut Criterion) {
    let limits = limits(Arc::new(SystemClock::new()));
    let mut strangers = Strangers::among(10_000);
    for _ in 0..50_000 {
        let address = strangers.next();
        let _ = done(limits.offend(address, Offence::ForeignSession));
    }
    criterion.bench_function("block, 10k blocks", |bencher| {
        bencher.iter(|| decide(&limits, strangers.next()));
    });
    let mut offenders = Strangers::among(1_000_000);
    criterion.bench_function("offend, 1M offenders", |bencher| {
        bencher.iter(|| done(limits.offend(offenders.next(), Offence::Malformed)));
    });
}

criterion_group!(benches, deciding, refusing, blocking);
criterion_main!(benches);
