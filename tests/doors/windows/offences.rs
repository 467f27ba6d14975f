//! The contract of windows over every kind: what earns a block, and how long it lasts.

use std::net::IpAddr;
use std::time::Duration;

use token_broker::domain::{Naming, Party};
use token_broker::gate::Claims;
use token_broker::gate::windows::{Decision, Windows};
use token_broker::limit::{Block, Offence, Tolerance};

use super::stage::{Stage, address, admitted, near, on, party, stages};
use crate::kit::redis::Redis;

const SITE: &str = "203.0.113.7";
const SECOND: Duration = Duration::from_secs(1);

/// Earns a block with three offences of weight 1.
async fn earn(stage: &Stage, who: IpAddr) -> Block {
    assert_eq!(stage.offend(who, Offence::ForgedCredential).await, None);
    assert_eq!(stage.offend(who, Offence::ForgedCredential).await, None);
    let block = stage.offend(who, Offence::ForgedCredential).await;
    block.unwrap_or_else(|| panic!("{}: no block", stage.name))
}

#[tokio::test]
async fn three_offences_or_twelve_malformed_requests_earn_a_block() {
    for stage in stages("10/60s").await {
        let (three, twelve) = (address(SITE), address("198.51.100.1"));
        let block = earn(&stage, three).await;
        assert_eq!(block.party, party(three));
        assert_eq!((block.lasts.as_secs(), block.repetition), (900, 0));
        for _ in 0..11 {
            assert_eq!(stage.offend(twelve, Offence::Malformed).await, None);
        }
        assert_eq!(stage.blocked(twelve).await, None);
        assert!(stage.offend(twelve, Offence::Malformed).await.is_some());
        near(stage.blocked(twelve).await.unwrap(), 900);
    }
}

#[tokio::test]
async fn a_block_ends_then_and_takes_nothing_from_anybody() {
    for stage in stages("10/60s").await {
        let caller = address(SITE);
        earn(&stage, caller).await;
        assert_eq!(stage.blocked(address("203.0.113.8")).await, None);
        stage.pass(SECOND * 600);
        near(stage.blocked(caller).await.unwrap(), 300);
        stage.pass(SECOND * 300);
        let (standing, _) = admitted(stage.ask(caller).await);
        assert_eq!(standing.remaining, 9, "{}", stage.name);
    }
}

#[tokio::test]
async fn a_score_drains_in_twelve_equal_steps() {
    for stage in stages("10/60s").await {
        // Two points; a step of 50 s takes a quarter of a point.
        let (early, late) = (address(SITE), address("198.51.100.1"));
        for who in [early, late] {
            for _ in 0..2 {
                stage.offend(who, Offence::ForgedCredential).await;
            }
        }
        stage.pass(SECOND * 45);
        assert!(
            stage
                .offend(early, Offence::ForgedCredential)
                .await
                .is_some()
        );
        stage.pass(SECOND * 10);
        let block = stage.offend(late, Offence::ForgedCredential).await;
        assert_eq!(block, None, "{}", stage.name);
        assert!(stage.offend(late, Offence::Malformed).await.is_some());
    }
}

#[tokio::test]
async fn offences_that_are_far_apart_never_earn_a_block() {
    for stage in stages("10/60s").await {
        for _ in 0..30 {
            let block = stage.offend(address(SITE), Offence::ForgedCredential).await;
            assert_eq!(block, None, "{}", stage.name);
            stage.pass(SECOND * 201);
        }
    }
}

#[tokio::test]
async fn repetitions_double_up_to_a_day_and_a_quiet_day_forgives() {
    for stage in stages("10/60s").await {
        let caller = address(SITE);
        for (repetition, quarters) in [1, 2, 4, 8, 16, 32, 64, 96, 96].into_iter().enumerate() {
            let block = earn(&stage, caller).await;
            assert_eq!(block.repetition as usize, repetition, "{}", stage.name);
            assert_eq!(block.lasts.as_secs(), quarters * 900);
            stage.pass(block.lasts);
            assert_eq!(stage.blocked(caller).await, None);
        }
        stage.pass(Duration::from_mins(24 * 60 - 1));
        assert_eq!(earn(&stage, caller).await.lasts, Duration::from_hours(24));
        stage.pass(Duration::from_hours(48));
        assert_eq!(earn(&stage, caller).await.lasts, SECOND * 900);
    }
}

#[tokio::test]
async fn knocking_neither_prolongs_a_block_nor_prepares_the_next() {
    for stage in stages("10/60s").await {
        let caller = address(SITE);
        earn(&stage, caller).await;
        for minute in 0..15 {
            near(stage.blocked(caller).await.unwrap(), 900 - minute * 60);
            for offence in [Offence::RateLimited, Offence::ForgedCredential] {
                assert_eq!(stage.offend(caller, offence).await, None);
            }
            stage.pass(SECOND * 60);
        }
        assert_eq!(stage.blocked(caller).await, None);
        assert_eq!(earn(&stage, caller).await.repetition, 1, "{}", stage.name);
    }
}

#[tokio::test]
async fn refusals_count_once_a_second() {
    for stage in stages("10/60s").await {
        let caller = address(SITE);
        for second in 0..3 {
            // On a busy machine the second may pass between the two: then the next one of the memory kind tells.
            let first = stage.offend(caller, Offence::RateLimited).await;
            assert_eq!(first.is_some(), second == 2, "{}", stage.name);
            if second < 2 {
                let again = stage.offend(caller, Offence::RateLimited).await;
                assert_eq!(again, None);
            }
            stage.pass(SECOND);
        }
    }
}

#[tokio::test]
async fn an_offence_that_weighs_nothing_never_earns_a_block() {
    for stage in stages("10/60s").await {
        for _ in 0..20 {
            let block = stage.offend(address(SITE), Offence::WrongOrigin).await;
            assert_eq!(block, None, "{}", stage.name);
        }
    }
}

#[tokio::test]
async fn refusals_are_an_offence_only_beyond_their_tolerance_in_one_window() {
    let tolerance = Some(Tolerance::of("token", 2, SECOND * 60));
    let beyond = Some(Tolerance::of("token", 0, SECOND * 60));
    for stage in stages("10/60s").await {
        let caller = party(address(SITE));
        let refuse = async || {
            let offence = Offence::RateLimited;
            stage.offend_as(caller, offence, tolerance).await
        };
        for _ in 0..2 {
            for _ in 0..20 {
                assert_eq!(refuse().await, None, "{}", stage.name);
            }
            stage.pass(SECOND * 60);
        }
        for _ in 0..20 {
            refuse().await;
        }
        let mut seconds = 0;
        while refuse().await.is_none() {
            seconds += 1;
            assert!(seconds < 3, "{}", stage.name);
            stage.pass(SECOND);
        }
        assert_eq!(seconds, 2, "one offence a second, of three: {}", stage.name);
        let other = party(address("198.51.100.1"));
        assert_eq!(
            stage.offend_as(other, Offence::RateLimited, beyond).await,
            None
        );
    }
}

#[tokio::test]
async fn a_blocked_identity_is_blocked_on_every_replica_and_its_address_is_not() {
    for stage in stages("10/60s").await {
        let account = Naming::Plain.account(&"https://id.example.com/".into(), "ana");
        let ana = Party::Identity(account.key());
        for _ in 0..3 {
            stage.offend_as(ana, Offence::ForgedCredential, None).await;
        }
        near(stage.blocked_as(ana).await.unwrap(), 900);
        assert_eq!(stage.blocked(address(SITE)).await, None, "{}", stage.name);
    }
}

#[tokio::test]
async fn blocks_are_listed_longest_first_and_can_be_lifted() {
    for stage in stages("10/60s").await {
        let (early, late) = (address(SITE), address("2001:db8::1"));
        earn(&stage, early).await;
        stage.pass(SECOND * 60);
        earn(&stage, late).await;
        let listed = stage.windows.blocks(10).await.unwrap();
        let parties: Vec<_> = listed.iter().map(|block| block.party).collect();
        assert_eq!(parties, [party(late), party(early)], "{}", stage.name);
        near(listed[1].lasts, 840);
        assert_eq!(stage.windows.blocks(1).await.unwrap().len(), 1);
        assert!(stage.windows.lift(party(early)).await.unwrap());
        assert!(!stage.windows.lift(party(early)).await.unwrap());
        assert_eq!(stage.blocked(early).await, None, "{}", stage.name);
        assert!(stage.blocked(late).await.is_some());
        // A lifted block is no repetition.
        assert_eq!(earn(&stage, early).await.repetition, 0, "{}", stage.name);
    }
}

#[tokio::test]
async fn a_score_and_a_block_are_those_of_all_replicas() {
    let server = Redis::start();
    let caller = address(SITE);
    let mut blocks = 0;
    for _ in 0..3 {
        let replica = on(&server, "10/60s").await;
        let block = replica
            .offend(party(caller), (Offence::ForgedCredential, None))
            .await;
        blocks += u32::from(block.unwrap().is_some());
    }
    assert_eq!(blocks, 1);
    let replica = on(&server, "10/60s").await;
    let decision = replica.decide(Some(party(caller)), &Claims::new()).await;
    assert!(matches!(decision.unwrap(), Decision::Blocked { .. }));
}

#[tokio::test]
async fn a_flood_of_offenders_fills_no_memory_and_frees_nobody() {
    // As many as there is room for, each in a network of its own.
    let host = |number: u32| IpAddr::from(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number));
    for stage in stages("10/60s").await {
        for number in 0..1000 {
            earn(&stage, host(number)).await;
        }
        for _ in 0..3 {
            let newcomer = stage.offend(host(1000), Offence::ForgedCredential).await;
            assert_eq!(newcomer, None, "{}", stage.name);
        }
        assert!(stage.blocked(host(0)).await.is_some(), "{}", stage.name);
        for number in 1001..3000 {
            stage.offend(host(number), Offence::ForgedCredential).await;
        }
        if let Some(held) = stage.keys() {
            // A block or a score each, and their orders.
            assert!(held <= 1000 + 1000 + 3, "{}: {held}", stage.name);
        }
        // Who has served it makes room.
        stage.pass(SECOND * 901);
        earn(&stage, host(5000)).await;
        assert!(stage.blocked(host(5000)).await.is_some(), "{}", stage.name);
    }
}
