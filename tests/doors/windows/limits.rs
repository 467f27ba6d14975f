//! The contract of windows over every kind: what is admitted, refused and given back.

use std::sync::Arc;
use std::time::Duration;

use token_broker::domain::Network;
use token_broker::gate::windows::{Decision, Windows};
use token_broker::limit::{Key, Offence};
use tokio::task::JoinSet;

use super::stage::{
    EVERYBODY, NARROW, WIDE, address, admitted, all, claim, is_admitted, narrow, near, on, party,
    refused, stages,
};
use crate::kit::redis::Redis;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn one_too_many_is_refused_and_a_place_is_free_when_the_oldest_leaves_the_window() {
    for stage in stages("10/60s").await {
        let caller = address("203.0.113.7");
        for remaining in (0..10).rev() {
            let (standing, _) = admitted(stage.ask(caller).await);
            assert_eq!((standing.limit, standing.remaining), (NARROW, remaining));
            assert_eq!(standing.rate.limit, 10);
            stage.pass(SECOND * 4);
        }
        let (limit, wait) = refused(stage.ask(caller).await);
        assert_eq!(limit, NARROW, "{}", stage.name);
        near(wait, 20);
        // A wait is sufficient; and it is one place that is free, not a new window.
        stage.pass(wait);
        admitted(stage.ask(caller).await);
        let (_, wait) = refused(stage.ask(caller).await);
        near(wait, 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_at_once_over_four_replicas_get_exactly_what_is_allowed() {
    let server = Redis::start();
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        let replica = Arc::new(on(&server, "10/60s").await);
        for _ in 0..250 {
            let replica = Arc::clone(&replica);
            let caller = address("203.0.113.7");
            callers.spawn(async move {
                replica
                    .decide(Some(party(caller)), &all(caller))
                    .await
                    .unwrap()
            });
        }
    }
    let decisions = callers.join_all().await;
    assert_eq!(decisions.len(), 1_000);
    let admitted = decisions.iter().filter(|decision| is_admitted(decision));
    assert_eq!(admitted.count(), 10);
    // Refusals took nothing: all the rest of everybody's thousand is there.
    let replica = on(&server, "10000/60s").await;
    for number in 0..10_u8 {
        let neighbourhood = std::net::IpAddr::from([198, 51, number, 1]);
        for _ in 0..99 {
            let decision = replica.decide(None, &all(neighbourhood)).await.unwrap();
            assert!(is_admitted(&decision));
        }
    }
    let last = replica
        .decide(None, &claim(EVERYBODY, Key::EVERYBODY))
        .await;
    assert!(!is_admitted(&last.unwrap()));
}

#[tokio::test]
async fn a_request_that_one_limit_refuses_is_counted_by_none() {
    for stage in stages("1000/60s").await {
        let (caller, neighbour) = (address("203.0.113.7"), address("203.0.113.8"));
        for _ in 0..100 {
            admitted(stage.ask(neighbour).await);
        }
        for _ in 0..200 {
            assert_eq!(refused(stage.ask(caller).await).0, WIDE);
        }
        let (standing, _) = admitted(stage.ask_as(caller, &narrow(caller)).await);
        assert_eq!(standing.remaining, 999, "{}", stage.name);
    }
}

#[tokio::test]
async fn the_longest_wait_is_the_one_told() {
    for stage in stages("10/60s").await {
        let (caller, neighbour) = (address("203.0.113.7"), address("203.0.113.8"));
        for _ in 0..10 {
            admitted(stage.ask_as(caller, &narrow(caller)).await);
        }
        stage.pass(SECOND * 20);
        let around = claim(WIDE, Network::around(neighbour).into());
        for _ in 0..100 {
            stage.ask_as(neighbour, &around).await;
        }
        let (limit, wait) = refused(stage.ask(caller).await);
        assert_eq!(limit, WIDE, "{}", stage.name);
        near(wait, 60);
    }
}

#[tokio::test]
async fn what_is_left_of_everybodys_budget_is_not_shown() {
    for stage in stages("10/60s").await {
        let caller = address("203.0.113.7");
        let everybody = claim(EVERYBODY, Key::EVERYBODY);
        for _ in 0..995 {
            stage.ask_as(caller, &everybody).await;
        }
        let (standing, _) = admitted(stage.ask(caller).await);
        assert_eq!((standing.limit, standing.remaining), (NARROW, 9));
        let alone = stage.ask_as(caller, &everybody).await;
        let untold = matches!(alone, Decision::Admitted { tightest: None, .. });
        assert!(untold, "{}", stage.name);
    }
}

#[tokio::test]
async fn a_release_gives_back_exactly_the_places_taken() {
    for stage in stages("10/60s").await {
        let caller = address("203.0.113.7");
        for _ in 0..9 {
            admitted(stage.ask(caller).await);
        }
        stage.pass(SECOND * 10);
        let (_, receipt) = admitted(stage.ask(caller).await);
        assert!(!is_admitted(&stage.ask(caller).await));
        stage.release(receipt).await;
        let (_, receipt) = admitted(stage.ask(caller).await);
        near(refused(stage.ask(caller).await).1, 50);
        // A part of it: the others stay taken.
        stage.release(receipt.only(|limit| limit == WIDE)).await;
        assert!(!is_admitted(&stage.ask(caller).await));
        let wide = claim(WIDE, Network::around(caller).into());
        let (standing, _) = admitted(stage.ask_as(caller, &wide).await);
        assert_eq!(standing.remaining, 100 - 9 - 1, "{}", stage.name);
    }
}

#[tokio::test]
async fn a_release_that_comes_late_changes_nothing() {
    for stage in stages("10/60s").await {
        let caller = address("203.0.113.7");
        let (_, receipt) = admitted(stage.ask(caller).await);
        stage.pass(SECOND * 61);
        admitted(stage.ask(caller).await);
        stage.release(receipt).await;
        let (standing, _) = admitted(stage.ask(caller).await);
        assert_eq!(standing.remaining, 8, "{}", stage.name);
    }
}

#[tokio::test]
async fn a_request_without_claims_is_admitted_and_told_nothing() {
    for stage in stages("10/60s").await {
        let nobody = stage.ask_as(address("203.0.113.7"), &[].into()).await;
        assert!(matches!(nobody, Decision::Admitted { tightest: None, .. }));
        assert!(stage.windows.is_exact());
    }
}

#[tokio::test]
async fn a_window_goes_on_where_it_stood_when_a_replica_begins_anew() {
    let server = Redis::start();
    let caller = address("203.0.113.7");
    for _ in 0..10 {
        let replica = on(&server, "10/60s").await;
        admitted(
            replica
                .decide(Some(party(caller)), &all(caller))
                .await
                .unwrap(),
        );
    }
    let replica = on(&server, "10/60s").await;
    let decision = replica
        .decide(Some(party(caller)), &all(caller))
        .await
        .unwrap();
    assert_eq!(refused(decision).0, NARROW);
}

#[tokio::test]
async fn nothing_stays_on_the_server_for_ever_and_a_cluster_keeps_it_together() {
    let server = Redis::start();
    let replica = on(&server, "10/60s").await;
    let caller = party(address("203.0.113.7"));
    let other = party(address("198.51.100.1"));
    let claims = all(address("203.0.113.7"));
    admitted(replica.decide(Some(caller), &claims).await.unwrap());
    let tolerance = token_broker::limit::Tolerance::of("token", 1, Duration::from_mins(1));
    for _ in 0..4 {
        let forged = (Offence::ForgedCredential, None);
        replica.offend(caller, forged).await.unwrap();
        let refused = (Offence::RateLimited, Some(tolerance));
        replica.offend(other, refused).await.unwrap();
        replica
            .offend(other, (Offence::Malformed, None))
            .await
            .unwrap();
    }
    let keys: Vec<String> = server.ask(&["KEYS", "*"]).unwrap();
    assert!(keys.len() > 5, "{keys:?}");
    for key in keys {
        let left: i64 = server.ask(&["PTTL", &key]).unwrap();
        assert!(left > 0, "{key}");
        assert!(key.starts_with("{broker}:"), "{key}");
    }
    server.pass(Duration::from_hours(72));
    assert_eq!(server.ask::<u64>(&["DBSIZE"]), Some(0));
}

#[tokio::test]
async fn a_window_that_is_ahead_of_the_clock_leads_no_other_astray() {
    let server = Redis::start();
    let replica = on(&server, "10/60s").await;
    let (early, late) = (address("203.0.113.7"), address("198.51.100.1"));
    let everybody = claim(EVERYBODY, Key::EVERYBODY);
    let first = replica.decide(None, &everybody).await.unwrap();
    assert!(is_admitted(&first), "{first:?}");
    // The server's clock is set back by an hour: what it knows is an hour ahead.
    server.turn_back(Duration::from_hours(1));
    for caller in [early, late] {
        for _ in 0..10 {
            admitted(replica.decide(None, &all(caller)).await.unwrap());
        }
        let (limit, wait) = refused(replica.decide(None, &all(caller)).await.unwrap());
        assert_eq!(limit, NARROW);
        near(wait, 60);
    }
}

#[tokio::test]
async fn a_long_window_that_has_passed_is_forgotten_by_and_by() {
    let server = Redis::start();
    let replica = on(&server, "10000/60s").await;
    let caller = address("203.0.113.7");
    for _ in 0..9_000 {
        admitted(replica.decide(None, &narrow(caller)).await.unwrap());
    }
    server.pass_but_keep(Duration::from_secs(61));
    let mut decisions = 0;
    let limited = on(&server, "10/60s").await;
    while !is_admitted(&limited.decide(None, &narrow(caller)).await.unwrap()) {
        decisions += 1;
        assert!(decisions < 6, "it takes for ever");
    }
    assert!(decisions >= 2, "one decision had to do it all");
}

#[tokio::test]
async fn after_a_limit_was_lowered_the_wait_that_is_told_suffices() {
    let server = Redis::start();
    let caller = address("203.0.113.7");
    let before = on(&server, "10/60s").await;
    for _ in 0..10 {
        admitted(
            before
                .decide(Some(party(caller)), &all(caller))
                .await
                .unwrap(),
        );
        server.pass(Duration::from_secs(1));
    }
    let after = on(&server, "2/60s").await;
    let (_, wait) = refused(
        after
            .decide(Some(party(caller)), &all(caller))
            .await
            .unwrap(),
    );
    near(wait, 58);
    server.pass(wait);
    admitted(
        after
            .decide(Some(party(caller)), &all(caller))
            .await
            .unwrap(),
    );
}
