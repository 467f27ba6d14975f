//! Owns the proofs about floods: memory is bounded, nobody's limit or block is forgotten.

use super::*;

#[test]
fn a_flood_of_strangers_frees_nobody_and_most_of_it_is_heard() {
    let stage = Stage::with("10/60s", 1_000);
    let (limited, offender) = (address("203.0.113.7"), address("198.51.100.1"));
    for _ in 0..10 {
        admitted(stage.ask(limited));
    }
    for _ in 0..3 {
        stage.offend(offender, Offence::ForeignSession);
    }
    let mut heard = 0;
    for number in 1..=20_000 {
        stage.clock.advance(Duration::from_millis(1));
        heard += u32::from(is_admitted(&stage.ask(stranger(number))));
        stage.offend(stranger(number), Offence::Malformed);
        if number % 100 == 0 {
            assert_eq!(refused(stage.ask(limited)).0, "narrow");
            assert!(blocked(&stage.ask(offender)).is_some());
            assert!(stage.limits.keys() <= 2 * 1_000);
            assert!(stage.limits.scores() <= 1_000);
        }
    }
    assert!(heard > 19_900, "{heard}");
    assert!(stage.limits.is_estimating());
    stage.pass(40.0);
    assert_eq!(admitted(stage.ask(limited)).0.remaining, 9);
    stage.pass(120.0);
    stage.limits.sweep();
    assert_eq!(stage.limits.keys(), 0);
    assert!(!stage.limits.is_estimating());
}

#[test]
fn a_stranger_in_a_flood_has_no_second_allowance() {
    let stage = Stage::with("10/60s", 100);
    let persistent = stranger(1_000_000);
    for number in 0..1_000 {
        let _ = stage.ask(stranger(number));
    }
    let mut last = Vec::new();
    for second in 0..600_u32 {
        for _ in 0..3 {
            if is_admitted(&stage.ask_narrow(persistent)) {
                last.push(second);
            }
            let _ = stage.ask(stranger(2_000 + second));
        }
        if second % 7 == 0 {
            stage.limits.sweep();
        }
        stage.pass(1.0);
    }
    assert!(last.len() > 30, "the estimate lets nobody starve: {last:?}");
    for stretch in last.windows(11) {
        assert!(stretch[10] - stretch[0] >= 60, "{stretch:?}");
    }
}

#[test]
fn what_an_estimated_stranger_gives_back_is_free_again() {
    let stage = Stage::with("10/60s", 2);
    for number in 0..10 {
        let _ = stage.ask(stranger(number));
    }
    let late = stranger(77);
    let mut receipts: Vec<Receipt> = (0..10)
        .map(|_| admitted(stage.ask_narrow(late)).1)
        .collect();
    assert!(!is_admitted(&stage.ask_narrow(late)));
    stage.pass(59.0);
    stage.release(receipts.remove(3));
    admitted(stage.ask_narrow(late));
    let (_, wait) = refused(stage.ask_narrow(late));
    stage.clock.advance(wait);
    admitted(stage.ask_narrow(late));
}

/// Memory of this process that is in use, in MiB.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages / 256
}

/// A million IPv4 and a million IPv6 networks in 50 seconds; how many were heard.
fn flood(stage: &Stage) -> u32 {
    let mut heard = 0;
    for number in 0..1_000_000_u32 {
        stage.clock.advance(Duration::from_micros(50));
        let site = u128::from(number.wrapping_mul(0x9e37_79b1)) << 80 | 0x2001 << 112;
        heard += u32::from(is_admitted(&stage.ask(stranger(number))));
        heard += u32::from(is_admitted(&stage.ask(Ipv6Addr::from_bits(site).into())));
    }
    heard
}

#[test]
#[ignore = "measures memory: cargo test --release --lib limit -- --ignored --test-threads=1"]
#[expect(
    clippy::print_stderr,
    reason = "the figures are what it is run for, with --nocapture"
)]
fn millions_of_addresses_fit_into_64_mib_however_often_they_come() {
    let stage = Stage::with("10/60s", 262_144);
    let limited = address("203.0.113.7");
    let idle = resident();
    for round in 1..=4 {
        for _ in 0..10 {
            admitted(stage.ask(limited));
        }
        let heard = flood(&stage);
        let grown = resident().saturating_sub(idle);
        assert!(heard > 1_990_000, "{heard}");
        assert_eq!(refused(stage.ask(limited)).0, "narrow");
        stage.pass(120.0);
        stage.limits.sweep();
        let left = resident().saturating_sub(idle);
        eprintln!("round {round}: {grown} MiB in the flood, {left} MiB after it");
        assert!(grown <= 64, "{grown} MiB for two million networks");
        // All of it is freed, but with glibc's own settings up to 37 MiB stay with the process, in every round the same.
        // With MALLOC_MMAP_THRESHOLD_=65536 it is 5 MiB.
        assert_eq!((stage.limits.keys(), stage.limits.blocks()), (0, 0));
        assert!(!stage.limits.is_estimating());
    }
}
