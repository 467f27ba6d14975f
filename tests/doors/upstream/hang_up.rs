//! Hang-ups: what confirms one, and what never does.

use std::sync::Arc;

use token_broker::clock::SystemClock;
use token_broker::domain::{KeyFingerprint, UpstreamCall};
use token_broker::upstream::{HungUp, Payer, UpstreamError};

use super::{Door, settings_for, upstream};
use crate::kit::provider::KEY;

/// A call that is open at the provider.
async fn open_call(door: &Door) -> UpstreamCall {
    door.exchange().await.unwrap().call
}

#[tokio::test]
async fn a_hang_up_ends_the_call_and_a_second_one_finds_it_over() {
    let door = Door::open().await;
    let call = open_call(&door).await;
    assert_eq!(door.upstream.hang_up(&call).await.unwrap(), HungUp::Ended);
    assert_eq!(door.simulator.calls().open(), 0);
    assert_eq!(door.upstream.hang_up(&call).await.unwrap(), HungUp::WasOver);
    assert_eq!(door.simulator.calls().hang_ups().len(), 2);
}

#[tokio::test]
async fn sd14_only_a_call_that_the_provider_does_not_know_counts_as_over() {
    for fault in ["unknown", "unknown-400", "conflict"] {
        let door = Door::open().await;
        let call = open_call(&door).await;
        door.simulator
            .plan(format!("hangup+{fault}").parse().unwrap());
        assert_eq!(door.upstream.hang_up(&call).await.unwrap(), HungUp::WasOver);
    }
    for (fault, code) in [
        ("401", "key_rejected"),
        ("400", "refused"),
        ("500", "broken"),
        ("429", "rate_limited"),
        ("disconnect", "unreachable"),
    ] {
        let door = Door::open().await;
        let call = open_call(&door).await;
        door.simulator
            .plan(format!("hangup+{fault}").parse().unwrap());
        let error = door.upstream.hang_up(&call).await.unwrap_err();
        assert_eq!(error.facts().code, code, "{fault}");
    }
}

#[tokio::test]
async fn sd14_what_another_key_is_told_of_a_call_means_nothing() {
    let door = Door::open().await;
    let call = UpstreamCall {
        key: KeyFingerprint::of("sk-another"),
        ..open_call(&door).await
    };
    door.simulator.plan("hangup+1xunknown".parse().unwrap());
    let error = door.upstream.hang_up(&call).await.unwrap_err();
    assert!(matches!(error, UpstreamError::OtherKey(_)), "{error:?}");
    assert!(!format!("{error:?}").contains(KEY));
    // A key of the same project may be good enough.
    assert_eq!(door.upstream.hang_up(&call).await.unwrap(), HungUp::Ended);
}

#[tokio::test]
async fn a_resting_upstream_is_still_told_to_hang_up() {
    let door = Door::open().await;
    let call = open_call(&door).await;
    door.simulator.plan("503".parse().unwrap());
    while !matches!(door.mint().await, Err(UpstreamError::Resting { .. })) {}
    assert_eq!(door.upstream.hang_up(&call).await.unwrap(), HungUp::Ended);
    assert!(
        door.upstream
            .turn(door.order.behalf, Payer::default())
            .await
            .is_err()
    );
}

#[tokio::test]
async fn calls_of_the_key_before_a_rotation_are_watched_and_hung_up_with_that_key() {
    let door = Door::open().await;
    let call = open_call(&door).await;
    door.simulator.accept_key("sk-new");
    let base_url = door.simulator.base_url();
    let upstream = |previous: &str| {
        let settings = [
            ("upstream.api_key", "sk-new"),
            ("upstream.previous_api_key", previous),
        ];
        let (settings, _) = settings_for(&base_url, &settings);
        assert!(!format!("{settings:?}").contains(KEY));
        upstream(&settings, Arc::new(SystemClock::new()))
    };
    let without = upstream("");
    let error = without.hang_up(&call).await.unwrap_err();
    assert!(matches!(error, UpstreamError::OtherKey(_)), "{error:?}");
    let error = without.join(&call).await.err().unwrap();
    assert!(matches!(error, UpstreamError::OtherKey(_)), "{error:?}");
    let with = upstream(KEY);
    assert!(with.join(&call).await.is_ok());
    assert_eq!(with.hang_up(&call).await.unwrap(), HungUp::Ended);
}
