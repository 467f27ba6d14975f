//! Owns the proofs about counting: what is admitted, refused and given back.

use super::*;

#[test]
fn one_too_many_is_refused_with_a_wait_that_is_exact_and_sufficient() {
    let stage = Stage::new();
    let caller = address("203.0.113.7");
    for remaining in (0..10).rev() {
        let (standing, _) = admitted(stage.ask(caller));
        assert_eq!((standing.policy, standing.remaining), ("narrow", remaining));
        stage.pass(1.0);
    }
    assert_eq!(
        refused(stage.ask(caller)),
        ("narrow", Duration::from_secs(50))
    );
    stage.clock.advance(Duration::from_nanos(49_999_999_999));
    assert_eq!(
        refused(stage.ask(caller)),
        ("narrow", Duration::from_nanos(1))
    );
    stage.clock.advance(Duration::from_nanos(1));
    let (standing, _) = admitted(stage.ask(caller));
    assert_eq!(standing.resets_in, Duration::from_secs(1));
}

#[test]
fn a_thousand_at_once_under_one_key_get_exactly_what_is_allowed() {
    let stage = Stage::new();
    let caller = address("203.0.113.7");
    let ask = || (0..125).filter(|_| is_admitted(&stage.ask(caller))).count();
    let total: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(total, 10);
}

#[test]
fn claims_in_any_order_do_not_wait_for_each_other() {
    let stage = Stage::with("10/60s", 10);
    let caller = address("203.0.113.7");
    let claims = [
        claim(NARROW, Network::of(caller)),
        claim(WIDE, Network::around(caller)),
    ];
    let reversed = [claims[1], claims[0]];
    std::thread::scope(|scope| {
        for claims in [claims, reversed] {
            let stage = &stage;
            scope.spawn(move || {
                for _ in 0..5_000 {
                    let _ = stage.ask_as(caller, &claims);
                }
            });
        }
    });
    assert_eq!(refused(stage.ask(caller)).0, "narrow");
}

#[test]
fn what_one_policy_refuses_is_counted_by_none() {
    let stage = Stage::with("1000/60s", 1_000);
    let (caller, neighbour) = (address("203.0.113.7"), address("203.0.113.8"));
    for _ in 0..100 {
        admitted(stage.ask(neighbour));
    }
    for _ in 0..5_000 {
        assert_eq!(refused(stage.ask(caller)).0, "wide");
    }
    assert_eq!(admitted(stage.ask_narrow(caller)).0.remaining, 999);
}

#[test]
fn the_longest_wait_is_the_one_told() {
    let stage = Stage::new();
    let (caller, neighbour) = (address("203.0.113.7"), address("203.0.113.8"));
    for _ in 0..10 {
        admitted(stage.ask_narrow(caller));
    }
    stage.pass(5.0);
    for _ in 0..100 {
        stage.ask_as(neighbour, &[claim(WIDE, Network::around(neighbour))]);
    }
    assert_eq!(refused(stage.ask(caller)), ("wide", Duration::from_mins(1)));
    stage.pass(60.0);
    admitted(stage.ask(caller));
}

#[test]
fn the_fewest_places_are_the_ones_told() {
    let stage = Stage::new();
    for host in 0..10 {
        for _ in 0..if host < 9 { 10 } else { 8 } {
            let _ = stage.ask(Ipv4Addr::new(203, 0, 113, host).into());
        }
    }
    let (standing, _) = admitted(stage.ask(address("203.0.113.20")));
    assert_eq!((standing.policy, standing.remaining), ("wide", 1));
    assert_eq!(standing.rate.limit, 100);
}

#[test]
fn a_release_gives_back_exactly_the_places_taken() {
    let stage = Stage::new();
    let caller = address("203.0.113.7");
    for _ in 0..9 {
        admitted(stage.ask(caller));
    }
    stage.pass(1.0);
    let (_, receipt) = admitted(stage.ask(caller));
    assert!(!is_admitted(&stage.ask(caller)));
    stage.release(receipt);
    admitted(stage.ask(caller));
    assert_eq!(refused(stage.ask(caller)).1, Duration::from_secs(59));
    let wide = stage.ask_as(caller, &[claim(WIDE, Network::around(caller))]);
    assert_eq!(admitted(wide).0.remaining, 100 - 10 - 1);
}

#[test]
fn a_release_that_comes_late_changes_nothing() {
    let stage = Stage::new();
    let caller = address("203.0.113.7");
    let (_, receipt) = admitted(stage.ask(caller));
    stage.pass(61.0);
    admitted(stage.ask(caller));
    stage.release(receipt);
    assert_eq!(admitted(stage.ask(caller)).0.remaining, 8);
}

#[test]
fn a_rotating_ipv6_site_is_one_caller() {
    let stage = Stage::new();
    let rotated = |host: u128| Ipv6Addr::from_bits(0x2001_0db8_0001_0002_u128 << 64 | host << 13);
    let asked = (0..100_000).filter(|&host| is_admitted(&stage.ask(rotated(host).into())));
    assert_eq!(asked.count(), 10);
    assert_eq!(stage.limits.keys(), 2);
}

#[test]
fn a_rotating_ipv6_prefix_trips_the_wide_policy() {
    let stage = Stage::new();
    let site = |site: u128| Ipv6Addr::from_bits(0x2001_0db8_0001_u128 << 80 | site << 64);
    let asked = (0..65_536).filter(|&number| is_admitted(&stage.ask(site(number).into())));
    assert_eq!(asked.count(), 100);
    assert_eq!(stage.limits.keys(), 101);
    admitted(stage.ask(address("2001:db8:2::1")));
}

#[test]
fn wrapped_ipv4_is_the_ipv4_inside() {
    let stage = Stage::new();
    let forms = ["203.0.113.7", "::ffff:203.0.113.7", "64:ff9b::203.0.113.7"];
    let asked = forms.into_iter().cycle().take(30);
    let admitted = asked.filter(|form| is_admitted(&stage.ask(address(form))));
    assert_eq!(admitted.count(), 10);
}

#[test]
fn a_request_without_claims_is_admitted() {
    let decision = Stage::new().ask_as(address("203.0.113.7"), &[]);
    assert!(matches!(
        decision,
        Decision::Admitted { tightest: None, .. }
    ));
}

#[test]
fn claims_that_break_the_contract_are_errors_and_count_nothing() {
    let stage = Stage::new();
    let caller = address("203.0.113.7");
    let good = claim(NARROW, Network::of(caller));
    let unknown = claim(PolicyId::at(2), Network::of(caller));
    for claims in [&[good, unknown][..], &[good, good], &[good; 5]] {
        assert!(done(stage.limits.decide(caller, claims)).is_err());
    }
    assert_eq!(stage.limits.keys(), 0);
    let identity = Key::from_bits(u128::MAX);
    admitted(stage.ask_as(
        caller,
        &[Claim {
            key: identity,
            ..good
        }],
    ));
}
