//! The contract of limits over every kind: what is admitted, refused and given back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use token_broker::domain::Network;
use token_broker::limit::{Decision, Key, LimitStore, PolicyId};
use tokio::task::JoinSet;

use crate::server::Server;
use crate::stage::{
    EVERYBODY, WIDE, address, admitted, all, claim, is_admitted, narrow, near, on, refused, stages,
};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn one_too_many_is_refused_and_a_place_is_free_when_the_oldest_leaves_the_window() {
    for stage in stages("10/60s").await {
        let caller = address("203.0.113.7");
        for remaining in (0..10).rev() {
            let (standing, _) = admitted(stage.ask(caller).await);
            assert_eq!((standing.policy, standing.remaining), ("narrow", remaining));
            assert_eq!(standing.rate.limit, 10);
            stage.pass(SECOND * 4);
        }
        let (policy, wait) = refused(stage.ask(caller).await);
        assert_eq!(policy, "narrow", "{}", stage.name);
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
    let server = Server::start();
    let mut callers = JoinSet::new();
    for _ in 0..4 {
        let replica = Arc::new(on(&server, "10/60s").await);
        for _ in 0..250 {
            let replica = Arc::clone(&replica);
            let caller = address("203.0.113.7");
            callers.spawn(async move { replica.decide(caller, &all(caller)).await.unwrap() });
        }
    }
    let decisions = callers.join_all().await;
    assert_eq!(decisions.len(), 1_000);
    let admitted = decisions.iter().filter(|decision| is_admitted(decision));
    assert_eq!(admitted.count(), 10);
    let held: Option<BTreeSet<String>> =
        server.ask(&["LRANGE", "{broker}:w:everybody:0", "0", "-1"]);
    assert!(held.unwrap().len() <= 10, "refusals took nothing");
}

#[tokio::test]
async fn what_one_policy_refuses_is_counted_by_none() {
    for stage in stages("1000/60s").await {
        let (caller, neighbour) = (address("203.0.113.7"), address("203.0.113.8"));
        for _ in 0..100 {
            admitted(stage.ask(neighbour).await);
        }
        for _ in 0..200 {
            assert_eq!(refused(stage.ask(caller).await).0, "wide");
        }
        let (standing, _) = admitted(stage.ask_as(caller, &[narrow(caller)]).await);
        assert_eq!(standing.remaining, 999, "{}", stage.name);
    }
}

#[tokio::test]
async fn the_longest_wait_is_the_one_told() {
    for stage in stages("10/60s").await {
        let (caller, neighbour) = (address("203.0.113.7"), address("203.0.113.8"));
        for _ in 0..10 {
            admitted(stage.ask_as(caller, &[narrow(caller)]).await);
        }
        stage.pass(SECOND * 20);
        let around = claim(WIDE, Network::around(neighbour).into());
        for _ in 0..100 {
            stage.ask_as(neighbour, &[around]).await;
        }
        let (policy, wait) = refused(stage.ask(caller).await);
        assert_eq!(policy, "wide", "{}", stage.name);
        near(wait, 60);
    }
}

#[tokio::test]
async fn how_everybody_stands_is_not_told() {
    for stage in stages("10/60s").await {
        let caller = address("203.0.113.7");
        let everybody = claim(EVERYBODY, Key::EVERYBODY);
        for _ in 0..995 {
            stage.ask_as(caller, &[everybody]).await;
        }
        let (standing, _) = admitted(stage.ask(caller).await);
        assert_eq!((standing.policy, standing.remaining), ("narrow", 9));
        let alone = stage.ask_as(caller, &[everybody]).await;
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
        stage.release(receipt.only(|policy| policy == WIDE)).await;
        assert!(!is_admitted(&stage.ask(caller).await));
        let wide = claim(WIDE, Network::around(caller).into());
        let (standing, _) = admitted(stage.ask_as(caller, &[wide]).await);
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
async fn claims_that_break_the_contract_are_errors_and_count_nothing() {
    for stage in stages("10/60s").await {
        let caller = address("203.0.113.7");
        let good = narrow(caller);
        let unknown = claim(PolicyId::at(3), good.key);
        for claims in [&[good, unknown][..], &[good, good], &[good; 6]] {
            let error = stage.limits.decide(caller, claims).await.unwrap_err();
            assert!(!error.is_unreachable(), "{}", stage.name);
        }
        let (standing, _) = admitted(stage.ask(caller).await);
        assert_eq!(standing.remaining, 9);
        let nobody = stage.ask_as(caller, &[]).await;
        assert!(matches!(nobody, Decision::Admitted { tightest: None, .. }));
        assert!(stage.limits.is_exact());
    }
}

#[tokio::test]
async fn a_window_goes_on_where_it_stood_when_a_replica_begins_anew() {
    let server = Server::start();
    let caller = address("203.0.113.7");
    for _ in 0..10 {
        let replica = on(&server, "10/60s").await;
        admitted(replica.decide(caller, &all(caller)).await.unwrap());
    }
    let replica = on(&server, "10/60s").await;
    let decision = replica.decide(caller, &all(caller)).await.unwrap();
    assert_eq!(refused(decision).0, "narrow");
}

#[tokio::test]
async fn nothing_stays_on_the_server_for_ever() {
    let server = Server::start();
    let replica = on(&server, "10/60s").await;
    let caller = address("203.0.113.7");
    admitted(replica.decide(caller, &all(caller)).await.unwrap());
    let offence = token_broker::limit::Offence::ForeignSession;
    for _ in 0..4 {
        replica.offend(caller, offence).await.unwrap();
        replica
            .offend(
                address("198.51.100.1"),
                token_broker::limit::Offence::Malformed,
            )
            .await
            .unwrap();
    }
    let keys: Vec<String> = server.ask(&["KEYS", "*"]).unwrap();
    // Windows, a block, a score, the orders of both, a probe.
    assert_eq!(keys.len(), 3 + 1 + 1 + 2 + 1, "{keys:?}");
    for key in keys {
        let left: i64 = server.ask(&["PTTL", &key]).unwrap();
        assert!(left > 0, "{key}");
        assert!(
            key.starts_with("{broker}:"),
            "a cluster keeps them together"
        );
    }
    server.pass(Duration::from_hours(72));
    assert_eq!(server.ask::<u64>(&["DBSIZE"]), Some(0));
}

#[tokio::test]
async fn a_window_that_is_ahead_of_the_clock_leads_no_other_astray() {
    let server = Server::start();
    let replica = on(&server, "10/60s").await;
    let caller = address("203.0.113.7");
    let time: (u64, u64) = server.ask(&["TIME"]).unwrap();
    // The clock was an hour fast, for a moment.
    let ahead = ((time.0 + 3600) * 1_000_000).to_string();
    let everybodys = "{broker}:w:everybody:0";
    let held: u64 = server.ask(&["RPUSH", everybodys, &ahead]).unwrap();
    assert_eq!(held, 1);
    let (_, receipt) = admitted(replica.decide(caller, &all(caller)).await.unwrap());
    let stamp = |key: &str| -> String { server.ask(&["LINDEX", key, "-1"]).unwrap() };
    assert_eq!(stamp(everybodys), ahead, "it never goes back");
    let narrow = "{broker}:w:narrow:a000000000cb007107";
    let apart = stamp(narrow).parse::<u64>().unwrap() / 1_000_000 - time.0;
    assert!(apart < 60, "{apart} s");
    replica.release(receipt).await.unwrap();
    let left: u64 = server.ask(&["LLEN", everybodys]).unwrap();
    assert_eq!((left, server.ask(&["EXISTS", narrow])), (1, Some(0_u64)));
}

#[tokio::test]
async fn a_long_window_that_has_passed_is_forgotten_by_and_by() {
    let server = Server::start();
    let replica = on(&server, "10/60s").await;
    let caller = address("203.0.113.7");
    let script = "for _ = 1, 20000 do redis.call('RPUSH', KEYS[1], '1') end";
    let key = "{broker}:w:everybody:0";
    let _: Option<()> = server.ask(&["EVAL", script, "1", key]);
    let mut decisions = 0;
    while !is_admitted(&replica.decide(caller, &all(caller)).await.unwrap()) {
        decisions += 1;
        assert!(decisions < 6, "it takes for ever");
    }
    assert!(decisions >= 4, "one decision had to do it all");
    assert_eq!(server.ask(&["LLEN", key]), Some(1_u64));
}

#[tokio::test]
async fn after_a_limit_was_lowered_the_wait_that_is_told_suffices() {
    let server = Server::start();
    let caller = address("203.0.113.7");
    let before = on(&server, "10/60s").await;
    for _ in 0..10 {
        admitted(before.decide(caller, &all(caller)).await.unwrap());
        server.pass(Duration::from_secs(1));
    }
    let after = on(&server, "2/60s").await;
    let (_, wait) = refused(after.decide(caller, &all(caller)).await.unwrap());
    near(wait, 58);
    server.pass(wait);
    admitted(after.decide(caller, &all(caller)).await.unwrap());
}
