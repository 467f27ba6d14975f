//! What a replica does while the server is gone: its share of the limits, and no more.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use token_broker::clock::{Clock, SystemClock};
use token_broker::config::OnFailure;
use token_broker::domain::Network;
use token_broker::gate::Claims;
use token_broker::gate::windows::redis::{Link, RedisWindows};
use token_broker::gate::windows::share::SharedWindows;
use token_broker::gate::windows::{Decision, MemoryWindows, Windows};
use token_broker::limit::Offence;

use super::stage::{
    WIDE, address, admitted, all, claim, is_admitted, link, narrow, party, rates, rules,
};
use crate::kit::redis::Redis;

const FORGED: (Offence, Option<token_broker::limit::Tolerance>) = (Offence::ForgedCredential, None);

/// The limits of one of so many replicas: ten in a minute.
pub fn limits_of(replicas: u32, link: &Arc<Link>, on_failure: OnFailure) -> SharedWindows {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let replicas = NonZeroU32::new(replicas).unwrap();
    let share = rates("10/60s").share(replicas);
    let local = Arc::new(MemoryWindows::new(&share, rules(), clock));
    let shared = RedisWindows::new(rates("10/60s"), rules(), Arc::clone(link));
    SharedWindows::new(shared, local, on_failure)
}

async fn asked(limits: &SharedWindows, times: u32) -> u32 {
    let caller = address("203.0.113.7");
    let mut count = 0;
    for _ in 0..times {
        let decision = limits
            .decide(Some(party(caller)), &all(caller))
            .await
            .unwrap();
        count += u32::from(is_admitted(&decision));
    }
    count
}

#[tokio::test]
async fn alone_a_replica_lets_its_share_through_and_one_at_least() {
    let server = Redis::absent();
    let link = Arc::new(Link::new(&server.url()).unwrap());
    for (replicas, share) in [(1, 10), (2, 5), (3, 3), (100, 1)] {
        let limits = limits_of(replicas, &link, OnFailure::Local);
        assert_eq!(asked(&limits, 20).await, share);
        assert!(!limits.is_exact(), "it says so");
    }
}

#[tokio::test]
async fn with_deny_a_replica_without_redis_admits_nobody() {
    let server = Redis::absent();
    let link = Arc::new(Link::new(&server.url()).unwrap());
    let limits = limits_of(2, &link, OnFailure::Deny);
    let caller = address("203.0.113.7");
    let refused = limits.decide(Some(party(caller)), &all(caller)).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn when_the_server_dies_two_replicas_let_no_more_than_twice_the_limit_through() {
    let mut server = Redis::start();
    let link = link(&server).await;
    let replicas = [1, 2].map(|_| limits_of(2, &link, OnFailure::Local));
    let before = asked(&replicas[0], 20).await + asked(&replicas[1], 20).await;
    assert_eq!(before, 10, "all of it, whoever is asked");
    server.kill();
    let after = [asked(&replicas[0], 20).await, asked(&replicas[1], 20).await];
    assert_eq!(after, [0, 5], "the first has let its share through already");
    assert!(!link.is_up());
}

#[tokio::test]
async fn a_limit_whose_share_is_used_up_does_not_keep_other_limits_from_counting_along() {
    let mut server = Redis::start();
    let link = link(&server).await;
    let limits = limits_of(2, &link, OnFailure::Local);
    let (caller, neighbour) = (address("203.0.113.7"), address("203.0.113.8"));
    let wide = claim(WIDE, Network::around(neighbour).into());
    for _ in 0..50 {
        let decision = limits.decide(None, &wide).await;
        assert!(is_admitted(&decision.unwrap()), "half of the limit");
    }
    assert_eq!(asked(&limits, 5).await, 5);
    server.kill();
    let alone = limits.decide(Some(party(caller)), &narrow(caller)).await;
    assert!(!is_admitted(&alone.unwrap()), "the share was used before");
}

#[tokio::test]
async fn a_release_gives_the_place_back_on_the_server_and_here() {
    let mut server = Redis::start();
    let link = link(&server).await;
    let limits = limits_of(2, &link, OnFailure::Local);
    let caller = address("203.0.113.7");
    for _ in 0..50 {
        let (standing, receipt) = admitted(
            limits
                .decide(Some(party(caller)), &all(caller))
                .await
                .unwrap(),
        );
        assert_eq!(standing.remaining, 9);
        limits.release(&receipt).await.unwrap();
    }
    let (_, receipt) = admitted(
        limits
            .decide(Some(party(caller)), &all(caller))
            .await
            .unwrap(),
    );
    server.kill();
    limits.release(&receipt).await.unwrap();
    assert_eq!(
        asked(&limits, 20).await,
        5,
        "nothing is counted here any more"
    );
}

#[tokio::test]
async fn a_block_outlives_the_server() {
    let mut server = Redis::start();
    let link = link(&server).await;
    let limits = limits_of(2, &link, OnFailure::Local);
    let caller = address("203.0.113.7");
    let mut blocks = 0;
    for _ in 0..3 {
        let block = limits.offend(party(caller), FORGED).await.unwrap();
        blocks += u32::from(block.is_some());
    }
    assert_eq!(blocks, 1);
    server.kill();
    assert_eq!(asked(&limits, 1).await, 0);
    let decision = limits
        .decide(Some(party(caller)), &Claims::new())
        .await
        .unwrap();
    assert!(matches!(decision, Decision::Blocked { .. }));
}

async fn is_blocked(limits: &SharedWindows, who: IpAddr) -> bool {
    let decision = limits.decide(Some(party(who)), &all(who)).await.unwrap();
    matches!(decision, Decision::Blocked { .. })
}

#[tokio::test]
async fn a_block_that_was_earned_alone_lasts_when_the_server_is_back() {
    let server = Redis::start();
    let link = Arc::new(Link::new(&server.url()).unwrap());
    let limits = limits_of(2, &link, OnFailure::Local);
    let caller = address("203.0.113.7");
    for _ in 0..3 {
        limits.offend(party(caller), FORGED).await.unwrap();
    }
    assert!(is_blocked(&limits, caller).await);
    link.join().await.unwrap();
    assert!(is_blocked(&limits, caller).await);
}

#[tokio::test]
async fn a_block_that_a_replica_has_seen_lasts_there_when_the_server_is_gone_and_costs_nothing_there()
 {
    let mut server = Redis::start();
    let link = link(&server).await;
    let (one, other) = [1, 2].map(|_| limits_of(2, &link, OnFailure::Local)).into();
    let caller = address("203.0.113.7");
    for _ in 0..3 {
        one.offend(party(caller), FORGED).await.unwrap();
    }
    assert!(is_blocked(&other, caller).await);
    let scripts = || {
        let stats: String = server.ask(&["INFO", "commandstats"]).unwrap();
        let mut told = stats.lines();
        let evalsha = told.find(|line| line.starts_with("cmdstat_evalsha:"));
        evalsha.unwrap_or_default().to_owned()
    };
    let before = scripts();
    for limits in [&one, &other] {
        assert!(is_blocked(limits, caller).await);
        let again = limits.offend(party(caller), FORGED).await;
        assert_eq!(again.unwrap(), None);
    }
    assert_eq!(scripts(), before, "the server was asked");
    server.kill();
    assert!(is_blocked(&one, caller).await && is_blocked(&other, caller).await);
}

#[tokio::test]
async fn a_block_that_is_lifted_on_one_replica_ends_on_all_of_them() {
    let server = Redis::start();
    let link = link(&server).await;
    let replicas = [1, 2].map(|_| limits_of(2, &link, OnFailure::Local));
    let caller = address("203.0.113.7");
    for _ in 0..3 {
        replicas[1].offend(party(caller), FORGED).await.unwrap();
    }
    assert!(is_blocked(&replicas[0], caller).await);
    assert!(is_blocked(&replicas[1], caller).await);
    assert!(replicas[0].lift(party(caller)).await.unwrap());
    let asked = std::time::Instant::now();
    while is_blocked(&replicas[1], caller).await {
        let waited = asked.elapsed();
        assert!(waited.as_secs() < 10, "the second replica never asks again");
        tokio::task::yield_now().await;
    }
}
