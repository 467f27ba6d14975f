//! Floods of strangers: memory is bounded, and nobody's limit or block is forgotten.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::{ManualClock, Timestamp};
use token_broker::gate::windows::{Decision, MemoryWindows, Receipt, Windows};
use token_broker::gate::{Claims, Rates};
use token_broker::limit::Offence;

use super::stage::{NARROW, address, admitted, is_admitted, narrow, party, refused, rules};

/// Windows in memory for so many addresses, of which each may ask ten times in a minute.
struct Flooded {
    clock: Arc<ManualClock>,
    windows: MemoryWindows,
}

impl Flooded {
    fn with_room_for(addresses: usize) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_800_000_000)));
        let settings = [
            ("limits.token", "10/60s"),
            ("limits.token_network", "100/60s"),
            ("limits.capacity", &addresses.to_string()),
        ];
        let config =
            token_broker::config::Config::from_pairs(token_broker::config::Mode::Dev, &settings);
        let rates = Rates::of(&config.unwrap().limits);
        Self {
            windows: MemoryWindows::new(&rates, rules(), clock.clone()),
            clock,
        }
    }

    fn pass(&self, seconds: f64) {
        self.clock.advance(Duration::from_secs_f64(seconds));
    }

    /// Asks as the network and the neighbourhood of `address`.
    fn ask(&self, address: IpAddr) -> Decision {
        let mut claims = super::stage::all(address);
        claims.remove(&super::stage::EVERYBODY);
        self.ask_as(address, &claims)
    }

    fn ask_as(&self, address: IpAddr, claims: &Claims) -> Decision {
        self.windows.decide_now(Some(party(address)), claims)
    }
}

/// Returns the `number`th of as many addresses as there are, far from each other.
fn stranger(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(number.wrapping_mul(0x9e37_79b1)).into()
}

#[test]
fn a_flood_of_strangers_frees_nobody_and_most_of_it_is_admitted() {
    let stage = Flooded::with_room_for(1_000);
    let (limited, offender) = (address("203.0.113.7"), address("198.51.100.1"));
    for _ in 0..10 {
        admitted(stage.ask(limited));
    }
    let offend = |address, offence| stage.windows.offend_now(party(address), (offence, None));
    for _ in 0..3 {
        offend(offender, Offence::ForgedCredential);
    }
    let mut count = 0;
    for number in 1..=20_000 {
        stage.clock.advance(Duration::from_millis(1));
        count += u32::from(is_admitted(&stage.ask(stranger(number))));
        offend(stranger(number), Offence::Malformed);
        if number % 100 == 0 {
            assert_eq!(refused(stage.ask(limited)).0, NARROW);
            assert!(matches!(stage.ask(offender), Decision::Blocked { .. }));
            assert!(stage.windows.keys() <= 2 * 1_000);
            assert!(stage.windows.scores() <= 1_000);
        }
    }
    assert!(count > 19_900, "{count}");
    assert!(!stage.windows.is_exact());
    stage.pass(40.0);
    assert_eq!(admitted(stage.ask(limited)).0.remaining, 9);
    stage.pass(120.0);
    stage.windows.sweep();
    assert_eq!(stage.windows.keys(), 0);
    assert!(stage.windows.is_exact());
}

#[test]
fn a_stranger_in_a_flood_has_no_second_allowance() {
    let stage = Flooded::with_room_for(100);
    let persistent = stranger(1_000_000);
    for number in 0..1_000 {
        let _ = stage.ask(stranger(number));
    }
    let mut last = Vec::new();
    for second in 0..600_u32 {
        for _ in 0..3 {
            if is_admitted(&stage.ask_as(persistent, &narrow(persistent))) {
                last.push(second);
            }
            let _ = stage.ask(stranger(2_000 + second));
        }
        if second % 7 == 0 {
            stage.windows.sweep();
        }
        stage.pass(1.0);
    }
    assert!(last.len() > 30, "the estimate lets nobody starve: {last:?}");
    for stretch in last.windows(11) {
        assert!(stretch[10] - stretch[0] >= 60, "{stretch:?}");
    }
}

#[tokio::test]
async fn a_place_that_an_estimated_stranger_gives_back_is_free_again() {
    let stage = Flooded::with_room_for(2);
    for number in 0..10 {
        let _ = stage.ask(stranger(number));
    }
    let late = stranger(77);
    let ask = || stage.ask_as(late, &narrow(late));
    let mut receipts: Vec<Receipt> = (0..10).map(|_| admitted(ask()).1).collect();
    assert!(!is_admitted(&ask()));
    stage.pass(59.0);
    stage.windows.release(&receipts.remove(3)).await.unwrap();
    admitted(ask());
    let (_, wait) = refused(ask());
    stage.clock.advance(wait);
    admitted(ask());
}

/// Returns the memory of this process that is in use, in MiB.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages / 256
}

/// Lets a million IPv4 and a million IPv6 networks ask in 50 seconds. Returns how many were admitted.
fn flood(stage: &Flooded) -> u32 {
    let mut count = 0;
    for number in 0..1_000_000_u32 {
        stage.clock.advance(Duration::from_micros(50));
        let site = u128::from(number.wrapping_mul(0x9e37_79b1)) << 80 | 0x2001 << 112;
        count += u32::from(is_admitted(&stage.ask(stranger(number))));
        count += u32::from(is_admitted(&stage.ask(Ipv6Addr::from_bits(site).into())));
    }
    count
}

#[test]
#[ignore = "measures memory: cargo test --release --test doors flood -- --ignored --test-threads=1 --nocapture"]
fn millions_of_addresses_fit_into_64_mib_however_often_they_come() {
    let stage = Flooded::with_room_for(262_144);
    let limited = address("203.0.113.7");
    let idle = resident();
    for round in 1..=4 {
        for _ in 0..10 {
            admitted(stage.ask(limited));
        }
        let count = flood(&stage);
        let grown = resident().saturating_sub(idle);
        assert!(count > 1_990_000, "{count}");
        assert_eq!(refused(stage.ask(limited)).0, NARROW);
        stage.pass(120.0);
        stage.windows.sweep();
        let left = resident().saturating_sub(idle);
        eprintln!("round {round}: {grown} MiB in the flood, {left} MiB after it");
        assert!(grown <= 64, "{grown} MiB for two million networks");
        // All of it is freed, but glibc keeps some of it for the process, in every round the same.
        assert_eq!(stage.windows.keys(), 0);
        assert!(stage.windows.is_exact());
    }
}
