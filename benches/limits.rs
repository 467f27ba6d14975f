//! Measures one decision of the gate: with few keys and with a million, refused, blocked.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use token_broker::clock::{Clock, ManualClock, SystemClock, Timestamp};
use token_broker::config::{Config, Mode};
use token_broker::domain::{Network, Party};
use token_broker::gate::windows::{Decision, MemoryWindows};
use token_broker::gate::{Claims, Limit, Purpose, Rates, Subject};
use token_broker::limit::Offence;

const WINDOW: Duration = Duration::from_mins(1);

fn windows(clock: Arc<dyn Clock>) -> Option<MemoryWindows> {
    let settings = [
        ("limits.token", "10/60s"),
        ("limits.token_network", "100/60s"),
        ("limits.mints", "10000000/60s"),
        ("limits.anonymous_mints", "10000000/60s"),
        ("limits.mints_daily", "10000000/60s"),
    ];
    let config = Config::from_pairs(Mode::Dev, &settings).ok()?;
    let rates = Rates::of(&config.limits);
    Some(MemoryWindows::new(&rates, config.guard.rules, clock))
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

fn party(address: IpAddr) -> Party {
    Party::Network(Network::of(address))
}

/// Decides over two claims, as the figures of earlier versions do.
fn decide(windows: &MemoryWindows, address: IpAddr) -> Decision {
    let claims: Claims = [
        (Limit::Token, Network::of(address).into()),
        (Limit::TokenNetwork, Network::around(address).into()),
    ]
    .into();
    windows.decide_now(Some(party(address)), &claims)
}

/// Decides over the eight claims of a mint without identity.
fn decide_mint(windows: &MemoryWindows, address: IpAddr) -> Decision {
    let subject = Subject {
        network: Some(Network::of(address)),
        neighbourhood: Some(Network::around(address)),
        identity: None,
    };
    let claims = Purpose::Open.claims(&subject);
    windows.decide_now(Some(party(address)), &claims)
}

/// Keys come back once in a window on average, so that a key has the same past however many there are.
fn deciding(criterion: &mut Criterion) {
    for (name, count) in [
        ("1k keys", 1_000_u32),
        ("200k keys", 200_000),
        ("1M keys", 1_000_000),
    ] {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(0)));
        let Some(windows) = windows(clock.clone()) else {
            return;
        };
        let mut strangers = Strangers::among(count.into());
        let pause = WINDOW / count;
        for _ in 0..count * 3 {
            clock.advance(pause);
            decide(&windows, strangers.next());
        }
        criterion.bench_function(&format!("decide, {name}"), |bencher| {
            bencher.iter(|| {
                clock.advance(pause);
                decide(&windows, strangers.next())
            });
        });
        criterion.bench_function(&format!("decide a mint, {name}"), |bencher| {
            bencher.iter(|| {
                clock.advance(pause);
                decide_mint(&windows, strangers.next())
            });
        });
    }
}

fn refusing(criterion: &mut Criterion) {
    let Some(windows) = windows(Arc::new(SystemClock::new())) else {
        return;
    };
    let caller = IpAddr::V4(Ipv4Addr::LOCALHOST);
    for _ in 0..10 {
        decide(&windows, caller);
    }
    criterion.bench_function("refuse", |bencher| {
        bencher.iter(|| decide(&windows, black_box(caller)));
    });
}

fn blocking(criterion: &mut Criterion) {
    let Some(windows) = windows(Arc::new(SystemClock::new())) else {
        return;
    };
    let mut strangers = Strangers::among(10_000);
    for _ in 0..50_000 {
        let forged = (Offence::ForgedCredential, None);
        windows.offend_now(party(strangers.next()), forged);
    }
    criterion.bench_function("block, 10k blocks", |bencher| {
        bencher.iter(|| decide(&windows, strangers.next()));
    });
    let mut offenders = Strangers::among(1_000_000);
    criterion.bench_function("offend, 1M offenders", |bencher| {
        bencher.iter(|| windows.offend_now(party(offenders.next()), (Offence::Malformed, None)));
    });
}

criterion_group!(benches, deciding, refusing, blocking);
criterion_main!(benches);
