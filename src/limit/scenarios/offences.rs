//! Owns the proofs about offences: what earns a block, how long it lasts, who is spared.

use super::*;

const SITE: &str = "203.0.113.7";

/// Earns a block with three offences of weight 1.
fn earn(stage: &Stage, who: IpAddr) -> Block {
    assert_eq!(stage.offend(who, Offence::ForeignSession), None);
    assert_eq!(stage.offend(who, Offence::ForeignSession), None);
    stage.offend(who, Offence::ForeignSession).unwrap()
}

fn is_blocked(stage: &Stage, who: IpAddr) -> bool {
    blocked(&stage.ask(who)).is_some()
}

#[test]
fn three_offences_or_twelve_malformed_requests_earn_a_block() {
    let stage = Stage::new();
    let (three, twelve) = (address(SITE), address("198.51.100.1"));
    let block = earn(&stage, three);
    assert_eq!(block.network, Network::of(three));
    assert_eq!((block.lasts.as_secs(), block.repetition), (900, 0));
    for _ in 0..11 {
        assert_eq!(stage.offend(twelve, Offence::Malformed), None);
    }
    assert!(!is_blocked(&stage, twelve));
    assert!(stage.offend(twelve, Offence::WrongOrigin).is_some());
    assert!(is_blocked(&stage, twelve));
    assert_eq!(stage.limits.blocks(), 2);
    assert_eq!(stage.limits.scores(), 0);
}

#[test]
fn a_block_ends_exactly_then_and_takes_nothing_from_anybody() {
    let stage = Stage::new();
    let caller = address(SITE);
    earn(&stage, caller);
    assert_eq!(blocked(&stage.ask(caller)), Some(Duration::from_mins(15)));
    assert!(!is_blocked(&stage, address("203.0.113.8")));
    stage
        .clock
        .advance(Duration::from_nanos(900_000_000_000 - 1));
    assert_eq!(blocked(&stage.ask(caller)), Some(Duration::from_nanos(1)));
    stage.clock.advance(Duration::from_nanos(1));
    assert_eq!(admitted(stage.ask(caller)).0.remaining, 9);
    assert_eq!(stage.limits.blocks(), 0);
}

#[test]
fn offences_that_are_far_apart_never_earn_a_block() {
    let stage = Stage::new();
    for _ in 0..100 {
        assert_eq!(stage.offend(address(SITE), Offence::ForeignSession), None);
        stage.pass(201.0);
    }
}

#[test]
fn repetitions_double_up_to_a_day_and_a_quiet_day_forgives() {
    let stage = Stage::new();
    let caller = address(SITE);
    let day = 24 * 3600;
    for (repetition, quarters) in [1, 2, 4, 8, 16, 32, 64, 96, 96].into_iter().enumerate() {
        let block = earn(&stage, caller);
        assert_eq!(block.repetition as usize, repetition);
        assert_eq!(block.lasts.as_secs(), quarters * 900);
        stage.clock.advance(block.lasts);
        assert!(!is_blocked(&stage, caller));
    }
    stage.clock.advance(Duration::from_secs(day - 1));
    assert_eq!(earn(&stage, caller).lasts.as_secs(), day);
    stage.clock.advance(Duration::from_secs(day + day));
    assert_eq!(earn(&stage, caller).lasts.as_secs(), 900);
}

#[test]
fn knocking_neither_prolongs_a_block_nor_prepares_the_next() {
    let stage = Stage::new();
    let caller = address(SITE);
    earn(&stage, caller);
    for second in 0..900 {
        let wait = blocked(&stage.ask(caller));
        assert_eq!(wait, Some(Duration::from_secs(900 - second)));
        assert_eq!(stage.offend(caller, Offence::RateLimited), None);
        assert_eq!(stage.offend(caller, Offence::ForeignSession), None);
        stage.pass(1.0);
    }
    assert!(!is_blocked(&stage, caller));
    assert_eq!(stage.limits.scores(), 0);
    assert_eq!(earn(&stage, caller).repetition, 1);
}

#[test]
fn refusals_count_once_a_second() {
    let stage = Stage::new();
    let caller = address(SITE);
    let mut earned = Vec::new();
    for tenth in 0..30 {
        if stage.offend(caller, Offence::RateLimited).is_some() {
            earned.push(tenth);
        }
        stage.clock.advance(Duration::from_millis(100));
    }
    assert_eq!(earned, [20]);
}

#[test]
fn the_allow_list_is_never_blocked() {
    let stage = Stage::new();
    for spared in ["192.0.2.3", "::ffff:192.0.2.3", "64:ff9b::192.0.2.3"] {
        for _ in 0..100 {
            assert_eq!(stage.offend(address(spared), Offence::ForeignSession), None);
        }
        assert!(!is_blocked(&stage, address(spared)));
    }
    assert_eq!(stage.limits.scores(), 0);
    earn(&stage, address("2001:db8:aa::2"));
    assert!(is_blocked(&stage, address("2001:db8:aa::3")));
    assert!(!is_blocked(&stage, address("2001:db8:aa::1")));
    earn(&stage, address("192.0.2.16"));
}

#[test]
fn a_weight_of_nothing_changes_nothing() {
    let mut rules = rules(10);
    rules.weights.wrong_origin = 0.0;
    let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(0)));
    let limits = MemoryLimits::new(Vec::new(), rules, clock);
    for _ in 0..1_000 {
        let block = done(limits.offend(address(SITE), Offence::WrongOrigin));
        assert_eq!(block.unwrap(), None);
    }
    assert_eq!(limits.scores(), 0);
}

#[test]
fn a_site_shares_its_score_and_its_block() {
    let stage = Stage::new();
    assert_eq!(
        stage.offend(address("2001:db8::1"), Offence::ForeignSession),
        None
    );
    assert_eq!(
        stage.offend(address("2001:db8::2"), Offence::ForeignSession),
        None
    );
    assert!(
        stage
            .offend(address("2001:db8::3"), Offence::ForeignSession)
            .is_some()
    );
    assert!(is_blocked(&stage, address("2001:db8::4")));
    assert!(!is_blocked(&stage, address("2001:db8:0:1::4")));
}

#[test]
fn a_full_table_frees_nobody_and_its_blocks_end_in_their_order() {
    let stage = Stage::with("10/60s", 4);
    let repeater = address("198.51.100.1");
    let first = earn(&stage, repeater);
    stage.clock.advance(first.lasts);
    earn(&stage, repeater);
    for host in 1..=3 {
        stage.pass(1.0);
        earn(&stage, stranger(host));
    }
    for host in 4..=50 {
        for _ in 0..3 {
            assert_eq!(stage.offend(stranger(host), Offence::ForeignSession), None);
        }
        assert!(is_blocked(&stage, repeater) && is_blocked(&stage, stranger(1)));
    }
    stage.pass(898.0);
    let held = |hosts: [u32; 3]| hosts.map(|host| is_blocked(&stage, stranger(host)));
    assert_eq!(held([1, 2, 3]), [false, true, true]);
    assert!(is_blocked(&stage, repeater));
    assert_eq!(
        earn(&stage, stranger(51)).lasts.as_secs(),
        900,
        "there is room again"
    );
    stage.pass(2000.0);
    stage.limits.sweep();
    assert_eq!(stage.limits.blocks(), 0);
}

#[test]
fn an_offence_that_earns_a_block_nobody_can_remember_earns_none() {
    let stage = Stage::with("10/60s", 1);
    let repeater = address("198.51.100.1");
    let first = earn(&stage, repeater);
    stage.clock.advance(first.lasts);
    earn(&stage, repeater);
    for _ in 0..10 {
        assert_eq!(stage.offend(address(SITE), Offence::ForeignSession), None);
    }
    assert!(!is_blocked(&stage, address(SITE)));
    assert!(is_blocked(&stage, repeater));
}
