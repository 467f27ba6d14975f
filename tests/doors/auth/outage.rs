//! Issuers that are away, and callers who name keys that nobody has.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use token_broker::auth::KeysCondition;
use token_broker::config::Algorithm;
use tokio::time::Instant;

use super::keys::{Signer, encode, jwks};
use super::{Door, NOW, called, claims, publisher};
use crate::kit::host::{Host, Reply};

/// Good for as long as any of these tests.
fn long(signer: &Signer, nth: usize) -> String {
    signer.token(&claims(&json!({ "jti": nth, "exp": NOW + 10 * 86_400 })))
}

#[tokio::test]
async fn an_issuer_that_was_away_at_the_start_is_noticed_within_31_seconds_and_nobody_comes_in_before()
 {
    let key = Signer::es256("key");
    let host = Host::that(Reply::Close).await;
    let door = Door::to(vec![publisher(&host, &[Algorithm::ES256])]);
    for second in 0..100 {
        assert_eq!(
            called(&door.shows(&long(&key, second)).await),
            "unavailable"
        );
        assert!(!door.authenticator.is_ready());
        door.advance(1);
    }
    assert_eq!(host.asked(), 4, "every thirty seconds");
    host.publish(&[key.jwk()]);
    let mut waited = 0;
    while called(&door.shows(&long(&key, 0)).await) != "good" {
        door.advance(1);
        waited += 1;
    }
    assert!(waited <= 31, "{waited} seconds");
    assert!(door.authenticator.is_ready());
    assert_eq!(door.authenticator.condition(), KeysCondition::Operational);
}

#[tokio::test]
async fn known_keys_are_good_for_a_day_while_the_issuer_is_away() {
    let (key, host, door) = Door::with_a_key().await;
    assert_eq!(called(&door.shows(&long(&key, 0)).await), "good");
    host.now(Reply::Close);
    // An hour, minute by minute.
    for minute in 1..=60 {
        door.advance(60);
        door.authenticator.keep_fresh().await;
        assert_eq!(
            called(&door.shows(&long(&key, minute)).await),
            "good",
            "{minute}"
        );
    }
    assert_eq!(door.authenticator.condition(), KeysCondition::Degraded);
    assert!(door.authenticator.is_ready());
    assert!((55..=62).contains(&host.asked()), "{}", host.asked());
    door.advance(23 * 3600 - 1);
    let seen = long(&key, 61);
    assert_eq!(called(&door.shows(&seen).await), "good");
    door.advance(1);
    assert_eq!(called(&door.shows(&long(&key, 62)).await), "unavailable");
    assert_eq!(
        called(&door.shows(&seen).await),
        "unavailable",
        "believed a moment ago"
    );
    assert_eq!(door.authenticator.condition(), KeysCondition::Down);
    host.publish(&[key.jwk()]);
    door.advance(30);
    assert_eq!(called(&door.shows(&long(&key, 63)).await), "good");
}

#[tokio::test]
async fn while_the_issuer_hangs_known_keys_are_as_quick_as_ever() {
    let (key, host, door) = Door::with_a_key().await;
    assert_eq!(called(&door.shows(&long(&key, 0)).await), "good");
    host.now(Reply::Close);
    door.advance(300);
    door.authenticator.keep_fresh().await;
    host.now(Reply::Hang);
    for nth in 0..20 {
        door.advance(600);
        let started = Instant::now();
        assert_eq!(called(&door.shows(&long(&key, nth)).await), "good");
        assert!(started.elapsed() < Duration::from_secs(4), "{nth}");
    }
}

/// Ten credentials with names of keys that nobody ever had.
async fn forge(door: Arc<Door>, from: usize) {
    let body = encode(claims(&json!({})).to_string());
    for nth in from..from + 10 {
        let header = format!(r#"{{"alg":"ES256","kid":"none-{nth}"}}"#);
        let forgery = format!("{}.{body}.{}", encode(header), encode([7; 64]));
        assert_eq!(called(&door.shows(&forgery).await), "rejected");
    }
}

/// G12 of the acceptance matrix: a minute on the clock, of which each thousandth brings a hundred forgeries.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_unknown_keys_in_a_minute_cost_three_fetches_and_nobody_else_waits() {
    let key = Signer::es256("key");
    let host = Host::publishing(&[key.jwk()]).await;
    let door = Arc::new(Door::to(vec![publisher(&host, &[Algorithm::ES256])]));
    assert_eq!(called(&door.shows(&long(&key, 0)).await), "good");
    let before = host.asked();
    host.now(Reply::Held(jwks(&[key.jwk()])));
    for step in 0..1000 {
        let forgers: Vec<_> = (0..10)
            .map(|forger| tokio::spawn(forge(Arc::clone(&door), step * 100 + forger * 10)))
            .collect();
        // Nobody who forges is answered before the host is, and everybody else is.
        assert_eq!(called(&door.shows(&long(&key, step)).await), "good");
        host.release();
        for forger in forgers {
            forger.await.unwrap();
        }
        host.hold();
        door.clock.advance(Duration::from_millis(60));
    }
    assert!(host.asked() - before <= 3, "{}", host.asked() - before);
}

#[tokio::test]
async fn a_credential_is_believed_no_longer_than_it_is_good() {
    let (key, _host, door) = Door::with_a_key().await;
    let token = key.token(&claims(&json!({ "exp": NOW + 10 })));
    assert_eq!(called(&door.shows(&token).await), "good");
    door.advance(39);
    assert_eq!(called(&door.shows(&token).await), "good");
    door.advance(1);
    assert_eq!(called(&door.shows(&token).await), "rejected");
}
