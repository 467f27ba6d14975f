//! Every way the upstream can fail, one at a time.

use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::SystemClock;
use token_broker::upstream::{Payer, UpstreamError};

use super::{Door, order, settings_for, upstream};
use crate::kit::provider::KEY;

fn called(error: &UpstreamError) -> &'static str {
    error.facts().code
}

#[tokio::test]
async fn each_fault_is_recognised_and_only_what_may_pass_is_tried_again() {
    let faults = [
        ("400", "refused", 1),
        ("models+401", "key_rejected", 1),
        ("models+403", "key_rejected", 1),
        ("401", "refused", 1),
        ("403", "refused", 1),
        ("429", "rate_limited", 1),
        ("429:7", "rate_limited", 1),
        ("quota", "quota_exhausted", 1),
        ("500", "broken", 2),
        ("502", "broken", 2),
        ("503", "broken", 2),
        ("503:1", "broken", 2),
        ("503:7", "broken", 1),
        ("disconnect", "unreachable", 2),
        ("truncated", "unreachable", 2),
        ("garbage", "invalid", 1),
        ("html", "invalid", 1),
        ("huge", "invalid", 1),
        ("expired", "invalid", 1),
        ("missing-value", "invalid", 1),
    ];
    for (fault, recognised, attempts) in faults {
        let door = Door::open().await;
        door.simulator.plan(fault.parse().unwrap());
        let error = door.mint().await.unwrap_err();
        assert!(!format!("{error:?}").contains(KEY), "{fault}");
        assert_eq!(
            (called(&error), door.simulator.seen()),
            (recognised, attempts),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn one_failure_in_between_is_not_noticed() {
    for fault in [
        "500",
        "502",
        "503",
        "503:0",
        "503:1",
        "disconnect",
        "truncated",
    ] {
        let door = Door::open().await;
        door.simulator.plan(format!("1x{fault}").parse().unwrap());
        door.mint().await.unwrap();
        assert_eq!(
            (door.simulator.seen(), door.simulator.minted()),
            (2, 1),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn a_wait_the_upstream_asks_for_is_told_and_kept() {
    let door = Door::open().await;
    door.simulator.plan("1x429:7".parse().unwrap());
    let error = door.mint().await.unwrap_err();
    assert_eq!(error.facts().wait, Duration::from_secs(7));
    door.advance(3000);
    let resting = door.mint().await.unwrap_err();
    assert_eq!(
        (resting.facts().wait, called(&resting)),
        (Duration::from_secs(4), "resting")
    );
    assert_eq!(door.simulator.seen(), 1, "the upstream is left alone");
    door.advance(4000);
    door.mint().await.unwrap();
}

#[tokio::test]
async fn silence_ends_with_the_deadline_before_and_amid_the_answer() {
    for fault in ["1xhang", "1xhang-mid-body", "1xslow:30s"] {
        let door = Door::open().await;
        door.simulator.plan(fault.parse().unwrap());
        let error = door.mint_past_the_deadline().await.unwrap_err();
        assert_eq!(called(&error), "timed_out");
        assert_eq!(
            door.simulator.seen(),
            1,
            "an uncertain mint is not repeated"
        );
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_key_goes_nowhere_else() {
    let (door, elsewhere) = (Door::open().await, Door::open().await);
    let url = elsewhere.simulator.base_url();
    let redirect = format!("1xredirect:{url}/realtime/client_secrets");
    door.simulator.plan(redirect.parse().unwrap());
    assert_eq!(called(&door.mint().await.unwrap_err()), "invalid");
    assert_eq!(elsewhere.simulator.connections(), 0);
}

#[tokio::test]
async fn an_upstream_that_does_not_listen_is_unreachable_at_once() {
    let door = Door::open().await;
    let url = door.simulator.base_url();
    door.simulator.stop().await;
    assert_eq!(mint_at(&url).await, "unreachable");
}

#[test]
fn a_name_without_an_address_is_unreachable() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(
        runtime.block_on(mint_at("http://name.invalid/v1")),
        "unreachable"
    );
    // Where names are looked up slowly, the look-up goes on for a while; nobody waits for it.
    runtime.shutdown_background();
}

/// What becomes of a mint at `url`.
async fn mint_at(url: &str) -> &'static str {
    let (settings, persona) = settings_for(url, &[]);
    let upstream = upstream(&settings, Arc::new(SystemClock::new()));
    let order = order(&persona);
    let turn = upstream.turn(order.behalf, Payer::default()).await.unwrap();
    called(&upstream.mint(&order, turn).await.unwrap_err())
}

#[tokio::test]
async fn an_upstream_that_does_not_speak_tls_is_unreachable_and_is_sent_nothing() {
    let door = Door::open().await;
    let url = door.simulator.base_url().replace("http://", "https://");
    assert_eq!(
        (mint_at(&url).await, door.simulator.seen()),
        ("unreachable", 0)
    );
}
