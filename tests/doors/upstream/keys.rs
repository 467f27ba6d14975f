//! Several API keys: which one serves, which one takes over, and keys that are replaced under calls.

use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::ManualClock;
use token_broker::config::{self, ApiKey};
use token_broker::domain::{Condition, KeyFingerprint, PersonaName, UpstreamCall};
use token_broker::upstream::{HungUp, KeyState, Payer, Upstream, UpstreamError};

use super::{Door, settings_for, upstream};
use crate::kit::provider::KEY;

/// A key that the provider does not know until a test has it accepted.
const OTHER: &str = "sk-canary-other";
/// The settings' own time between two looks.
const NOW: Duration = Duration::ZERO;

fn key(alias: &str, secret: &str) -> ApiKey {
    ApiKey {
        alias: alias.into(),
        secret: secret.into(),
        is_retired: false,
        personas: Vec::new(),
        roles: Vec::new(),
    }
}

/// A door whose upstream has these keys and no other, and its settings.
async fn with_keys(keys: Vec<ApiKey>) -> (Door, Upstream, config::Upstream) {
    let door = Door::open().await;
    let (mut settings, _) = settings_for(&door.simulator.base_url(), &[]);
    settings.api_key = None;
    settings.api_keys = keys;
    let upstream = upstream(&settings, Arc::<ManualClock>::clone(&door.clock));
    (door, upstream, settings)
}

/// Opens a call for `payer`.
async fn call(
    door: &Door,
    upstream: &Upstream,
    payer: Payer<'_>,
) -> Result<UpstreamCall, UpstreamError> {
    let turn = upstream.turn(door.order.behalf, payer).await?;
    let begun = upstream.exchange(door.call_order(), turn).await;
    begun.map(|begun| begun.call).map_err(|failed| failed.error)
}

/// The key of a new call for anybody.
async fn used(door: &Door, upstream: &Upstream) -> KeyFingerprint {
    call(door, upstream, Payer::default()).await.unwrap().key
}

fn states(upstream: &Upstream) -> Vec<(String, KeyState)> {
    let keys = upstream.keys().into_iter();
    keys.map(|key| (key.alias.into(), key.state)).collect()
}

#[tokio::test]
async fn the_next_key_takes_over_within_the_request_when_the_provider_rejects_one() {
    let (door, upstream, _) = with_keys(vec![key("a", OTHER), key("b", KEY)]).await;
    let turn = upstream.turn(door.order.behalf, Payer::default()).await;
    upstream.mint(&door.order, turn.unwrap()).await.unwrap();
    assert_eq!(
        states(&upstream),
        [
            ("a".to_owned(), KeyState::Rejected),
            ("b".to_owned(), KeyState::Accepted)
        ]
    );
    // Operators are told, and nobody is kept out.
    assert_eq!(upstream.condition(), Condition::Degraded);
    assert_eq!(used(&door, &upstream).await, KeyFingerprint::of(KEY));
    // Until a look finds the first key good, no request tries it.
    door.advance(60_000);
    let asked = door.simulator.seen();
    let turn = upstream.turn(door.order.behalf, Payer::default()).await;
    upstream.mint(&door.order, turn.unwrap()).await.unwrap();
    assert_eq!(door.simulator.seen(), asked + 1);
    door.simulator.accept_key(OTHER);
    assert!(upstream.look(NOW).await.iter().all(Result::is_ok));
    assert_eq!(used(&door, &upstream).await, KeyFingerprint::of(OTHER));
    assert_eq!(upstream.condition(), Condition::Operational);
}

#[tokio::test]
async fn calls_go_on_with_the_next_key_too() {
    let (door, upstream, _) = with_keys(vec![key("a", OTHER), key("b", KEY)]).await;
    let call = call(&door, &upstream, Payer::default()).await.unwrap();
    assert_eq!(call.key, KeyFingerprint::of(KEY));
    assert_eq!(upstream.hang_up(&call).await.unwrap(), HungUp::Ended);
}

#[tokio::test]
async fn a_key_without_credit_rests_for_half_a_minute_and_the_next_one_serves() {
    let (door, upstream, _) = with_keys(vec![key("a", OTHER), key("b", KEY)]).await;
    door.simulator.accept_key(OTHER);
    door.simulator.plan("1xquota".parse().unwrap());
    let turn = upstream.turn(door.order.behalf, Payer::default()).await;
    upstream.mint(&door.order, turn.unwrap()).await.unwrap();
    assert_eq!(states(&upstream)[0].1, KeyState::Resting);
    door.advance(29_999);
    assert_eq!(used(&door, &upstream).await, KeyFingerprint::of(KEY));
    door.advance(1);
    assert_eq!(used(&door, &upstream).await, KeyFingerprint::of(OTHER));
    // A call has shown it.
    upstream.has_no_credit(&KeyFingerprint::of(OTHER));
    assert_eq!(used(&door, &upstream).await, KeyFingerprint::of(KEY));
}

#[tokio::test]
async fn without_a_good_key_requests_are_refused_as_with_a_single_one() {
    let (door, upstream, _) = with_keys(vec![key("a", OTHER), key("b", "sk-canary-third")]).await;
    let error = call(&door, &upstream, Payer::default()).await.unwrap_err();
    assert_eq!(error.facts().code, "key_rejected");
    let alias = error.complaint().unwrap().key.as_deref();
    assert_eq!(alias, Some("b"), "the log names the key");
    assert_eq!(upstream.condition(), Condition::Down);
    let error = call(&door, &upstream, Payer::default()).await.unwrap_err();
    assert_eq!(error.facts().code, "resting");
    // Whichever key is good first serves.
    door.simulator.accept_key("sk-canary-third");
    door.advance(5_000);
    let third = KeyFingerprint::of("sk-canary-third");
    assert_eq!(used(&door, &upstream).await, third);
}

#[tokio::test]
async fn one_slip_of_the_provider_is_no_reason_to_change_the_key() {
    let (door, upstream, _) = with_keys(vec![key("a", KEY), key("b", OTHER)]).await;
    door.simulator.plan("1x401".parse().unwrap());
    let turn = upstream.turn(door.order.behalf, Payer::default()).await;
    let error = upstream.mint(&door.order, turn.unwrap()).await.unwrap_err();
    assert_eq!(error.facts().code, "refused");
    assert_eq!(states(&upstream)[0].1, KeyState::Accepted);
    assert_eq!(used(&door, &upstream).await, KeyFingerprint::of(KEY));
}

#[tokio::test]
async fn a_key_for_a_persona_or_a_role_serves_these_alone_and_no_other_key_does() {
    let tutor = PersonaName::parse("tutor").unwrap();
    let (of_tutor, of_role) = (OTHER, "sk-canary-role");
    let keys = vec![
        ApiKey {
            roles: vec!["student".into()],
            ..key("role", of_role)
        },
        ApiKey {
            personas: vec![tutor.clone()],
            ..key("tutor", of_tutor)
        },
        key("all", KEY),
    ];
    let (door, upstream, _) = with_keys(keys).await;
    door.simulator.accept_key(of_tutor);
    door.simulator.accept_key(of_role);
    let persona = Some(&tutor);
    for (persona, role, wanted) in [
        (None, None, KEY),
        (None, Some("teacher"), KEY),
        (None, Some("student"), of_role),
        (persona, Some("teacher"), of_tutor),
        (persona, Some("student"), of_tutor),
    ] {
        let call = call(&door, &upstream, Payer { persona, role }).await;
        assert_eq!(call.unwrap().key, KeyFingerprint::of(wanted), "{role:?}");
    }
    // Its money is used up: the tutor waits, and everybody else is served.
    upstream.has_no_credit(&KeyFingerprint::of(of_tutor));
    let payer = Payer {
        persona,
        role: None,
    };
    let error = call(&door, &upstream, payer).await.unwrap_err();
    assert_eq!(error.facts().code, "resting");
    assert_eq!(error.facts().wait, Duration::from_secs(30));
    assert_eq!(used(&door, &upstream).await, KeyFingerprint::of(KEY));
    assert_eq!(upstream.condition(), Condition::Operational);
}

#[tokio::test]
async fn a_key_that_is_replaced_starts_nothing_more_and_still_serves_its_calls() {
    let (door, upstream, mut settings) = with_keys(vec![key("a", KEY)]).await;
    let old = call(&door, &upstream, Payer::default()).await.unwrap();
    door.simulator.accept_key(OTHER);
    settings.api_keys = vec![key("a", OTHER)];
    upstream.load(&settings).unwrap();
    assert_eq!(used(&door, &upstream).await, KeyFingerprint::of(OTHER));
    assert!(upstream.join(&old).await.is_ok());
    assert_eq!(upstream.hang_up(&old).await.unwrap(), HungUp::Ended);
    assert_eq!(&*upstream.alias_of(&old.key), "a");
    assert_eq!(states(&upstream).len(), 1);
}

#[tokio::test]
async fn a_retired_key_starts_nothing_and_serves_its_calls_after_a_restart() {
    let (door, before, mut settings) = with_keys(vec![key("old", KEY)]).await;
    let old = call(&door, &before, Payer::default()).await.unwrap();
    door.simulator.accept_key(OTHER);
    settings.api_keys = vec![
        ApiKey {
            is_retired: true,
            ..key("old", KEY)
        },
        key("new", OTHER),
    ];
    let after = upstream(&settings, Arc::<ManualClock>::clone(&door.clock));
    assert_eq!(used(&door, &after).await, KeyFingerprint::of(OTHER));
    assert_eq!(after.hang_up(&old).await.unwrap(), HungUp::Ended);
}
