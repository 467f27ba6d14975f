//! Documents of keys: which are used, when they are fetched, and what is wrong with them.

use std::sync::Arc;

use serde_json::{Value, json};
use token_broker::auth::{AuthError, Authenticator, FetchError, KeysCondition};
use token_broker::clock::{Clock, SystemClock};
use token_broker::config::{Algorithm, Issuer, KeySource};
use token_broker::domain::Naming;
use token_broker::http_client::Way;

use super::keys::{Signer, encode, jwks};
use super::{Door, auth, called, claims, issuer, publisher};
use crate::kit::host::{Host, Reply};
use crate::kit::log_lines::Lines;
use crate::kit::waiting::until;

fn nth(signer: &Signer, nth: usize) -> String {
    signer.token(&claims(&json!({ "jti": nth })))
}

#[tokio::test]
async fn keys_that_cannot_be_used_are_left_out_and_spoil_nothing() {
    let good = Signer::es256("good");
    let change = |kid: &str, changes: Value| {
        let mut jwk = good.jwk();
        jwk["kid"] = kid.into();
        for (name, value) in changes.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    };
    let mut short = vec![0xc1; 128];
    short[127] = 1;
    let unusable = [
        json!("text"),
        json!({}),
        json!({ "kty": "EC", "kid": 7 }),
        json!({ "kty": "AKP", "kid": "later", "alg": "ML-DSA-44", "pub": "AA" }),
        change("enc", json!({ "use": "enc" })),
        change("ops", json!({ "key_ops": ["sign"] })),
        change("alg", json!({ "alg": "ES384" })),
        change("other", json!({ "alg": "ECDH-ES" })),
        change("whole", json!({ "d": encode([7; 32]) })),
        change("no name, but a trick|", json!({})),
        change("x", json!({ "x": encode([1; 32]) })),
        change("short", json!({ "x": encode([1; 31]) })),
        change("curve", json!({ "crv": "secp256k1" })),
        change("okp", json!({ "kty": "OKP", "crv": "X25519" })),
        json!({ "kty": "oct", "kid": "oct", "alg": "HS256", "k": encode([7; 32]) }),
        json!({ "kty": "RSA", "kid": "rsa", "alg": "RS256", "n": encode(short), "e": "AQAB" }),
        Signer::rs256("rsa").jwk(),
    ];
    let mut keys = unusable.to_vec();
    keys.push(good.jwk());
    let host = Host::publishing(&keys).await;
    let door = Door::to(vec![publisher(
        &host,
        &[Algorithm::ES256, Algorithm::ES384],
    )]);
    assert_eq!(called(&door.shows(&nth(&good, 0)).await), "good");
    let checked = door.authenticator.check_issuers().await;
    assert_eq!(checked, [(super::ID.into(), Ok(1))]);
    for kid in ["enc", "ops", "alg", "whole", "x", "oct"] {
        let header = json!({ "alg": "ES256", "kid": kid });
        let outcome = door.shows(&good.with(&header, &claims(&json!({})))).await;
        assert_eq!(called(&outcome), "rejected", "{kid}");
    }
}

#[tokio::test]
async fn rsa_keys_need_2048_bits_and_may_have_a_zero_before_them() {
    let signer = Signer::rs256("rsa");
    let mut jwk = signer.jwk();
    let decode = |text: &Value| {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(text.as_str().unwrap())
            .unwrap()
    };
    let n = decode(&jwk["n"]);
    jwk["n"] = encode([&[0], n.as_slice()].concat()).into();
    let mut small = jwk.clone();
    small["n"] = encode(&n[1..]).into();
    small["kid"] = "small".into();
    let host = Host::publishing(&[small, jwk]).await;
    let door = Door::to(vec![publisher(
        &host,
        &[Algorithm::RS256, Algorithm::PS256],
    )]);
    assert_eq!(called(&door.shows(&nth(&signer, 0)).await), "good");
    assert_eq!(door.authenticator.check_issuers().await[0].1, Ok(1));
}

#[tokio::test]
async fn at_most_thirty_two_keys_are_used_and_more_are_warned_of() {
    let log = Lines::listen();
    let keys: Vec<_> = (0..40).map(|_| Signer::es256("same").jwk()).collect();
    for (number, warned) in [(32, false), (40, true)] {
        let host = Host::publishing(&keys[..number]).await;
        let door = Door::to(vec![publisher(&host, &[Algorithm::ES256])]);
        assert_eq!(door.authenticator.check_issuers().await[0].1, Ok(32));
        let said = log.take();
        let is_warned = said
            .iter()
            .any(|line| line.contains("more keys than the broker uses"));
        assert_eq!(is_warned, warned, "{said:?}");
    }
}

#[tokio::test]
async fn without_a_name_the_only_key_is_meant_and_else_none() {
    let (one, two) = (Signer::ed(""), Signer::ed("two"));
    let host = Host::publishing(&[one.jwk()]).await;
    let door = Door::to(vec![publisher(&host, &[Algorithm::EdDSA])]);
    assert_eq!(called(&door.shows(&nth(&one, 0)).await), "good");
    host.publish(&[one.jwk(), two.jwk()]);
    door.advance(31);
    assert_eq!(called(&door.shows(&nth(&two, 0)).await), "good");
    assert_eq!(called(&door.shows(&nth(&one, 1)).await), "rejected");
    assert_eq!(called(&door.shows(&nth(&two, 1)).await), "good");
}

#[tokio::test]
async fn a_new_key_is_known_within_31_seconds_and_a_removed_one_refused_at_once() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let host = Host::publishing(&[old.jwk()]).await;
    let door = Door::to(vec![publisher(&host, &[Algorithm::ES256])]);
    // Signatures differ each time, so it must be the same credential to be the one that was seen.
    let seen = nth(&old, 0);
    assert_eq!(called(&door.shows(&seen).await), "good");
    host.publish(&[new.jwk()]);
    door.advance(1);
    assert_eq!(called(&door.shows(&nth(&new, 0)).await), "rejected");
    assert_eq!(
        called(&door.shows(&seen).await),
        "good",
        "nobody told us yet"
    );
    assert_eq!(
        host.asked(),
        1,
        "unknown names are not asked about within 30 seconds"
    );
    door.advance(29);
    assert_eq!(called(&door.shows(&nth(&new, 1)).await), "good");
    assert_eq!(host.asked(), 2);
    // Believed a moment ago, and not looked at since.
    assert_eq!(called(&door.shows(&seen).await), "rejected");
}

#[tokio::test]
async fn a_removed_key_is_refused_after_ten_minutes_even_if_nobody_looks_after_keys() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    for pause in [599, 601, 7200] {
        let host = Host::publishing(&[old.jwk()]).await;
        let door = Door::to(vec![publisher(&host, &[Algorithm::ES256])]);
        assert_eq!(called(&door.shows(&nth(&old, 0)).await), "good");
        host.publish(&[new.jwk()]);
        door.advance(pause);
        let outcome = called(&door.shows(&nth(&old, 1)).await);
        assert_eq!(
            outcome,
            if pause < 600 { "good" } else { "rejected" },
            "{pause}"
        );
    }
}

#[tokio::test]
async fn keys_are_looked_after_before_anybody_must_wait() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let host = Host::publishing(&[old.jwk()]).await;
    let door = Door::to(vec![publisher(&host, &[Algorithm::ES256])]);
    assert!(!door.authenticator.is_ready());
    assert_eq!(door.authenticator.condition(), KeysCondition::Down);
    for _ in 0..600 {
        door.authenticator.keep_fresh().await;
        door.advance(1);
    }
    assert!(door.authenticator.is_ready());
    assert_eq!(door.authenticator.condition(), KeysCondition::Operational);
    assert_eq!(host.asked(), 3, "at the start, and every four minutes");
    assert_eq!(called(&door.shows(&nth(&old, 0)).await), "good");
    host.publish(&[new.jwk()]);
    for _ in 0..300 {
        door.authenticator.keep_fresh().await;
        door.advance(1);
    }
    assert_eq!(called(&door.shows(&nth(&old, 0)).await), "rejected");
}

#[tokio::test]
async fn stale_keys_are_renewed_on_the_side() {
    let (key, host, door) = Door::with_a_key().await;
    assert_eq!(called(&door.shows(&nth(&key, 0)).await), "good");
    host.now(Reply::Held(jwks(&[key.jwk()])));
    door.advance(301);
    for index in 0..100 {
        assert_eq!(called(&door.shows(&nth(&key, index)).await), "good");
    }
    // All were served while the host holds its answer.
    until("the keys are asked for", || host.asked() == 2).await;
    host.release();
    assert_eq!(called(&door.shows(&nth(&key, 100)).await), "good");
    assert_eq!(host.asked(), 2);
}

#[tokio::test]
async fn a_hundred_callers_wait_for_one_fetch() {
    let key = Signer::es256("key");
    let host = Host::that(Reply::Held(jwks(&[key.jwk()]))).await;
    let door = Arc::new(Door::to(vec![publisher(&host, &[Algorithm::ES256])]));
    let callers: Vec<_> = (0..100)
        .map(|index| {
            let (door, token) = (Arc::clone(&door), nth(&key, index));
            tokio::spawn(async move { called(&door.shows(&token).await) })
        })
        .collect();
    until("the keys are asked for", || host.asked() == 1).await;
    // One leaves, even the first: the fetch goes on.
    callers[0].abort();
    host.release();
    for caller in callers.into_iter().skip(1) {
        assert_eq!(caller.await.unwrap(), "good");
    }
    assert_eq!(host.asked(), 1);
}

#[tokio::test]
async fn every_fault_of_the_host_leaves_the_keys_that_were_there() {
    let key = Signer::es256("key");
    let elsewhere = Host::publishing(&[key.jwk()]).await;
    let document = || jwks(&[key.jwk()]);
    let faults = [
        (Reply::Hang, FetchError::TimedOut),
        (Reply::HangMidBody, FetchError::TimedOut),
        (Reply::Large(10 << 20), FetchError::TooLarge),
        (Reply::Large((256 << 10) + 1), FetchError::TooLarge),
        (
            Reply::Redirect(elsewhere.url("/keys.json")),
            FetchError::Status(302),
        ),
        (Reply::Body("<html>".into()), FetchError::NotUnderstood),
        (Reply::Body("{}".into()), FetchError::NotUnderstood),
        (
            Reply::Body("{\"keys\":7}".into()),
            FetchError::NotUnderstood,
        ),
        (Reply::Status(500, document()), FetchError::Status(500)),
        (Reply::Status(404, document()), FetchError::Status(404)),
        (Reply::Status(201, document()), FetchError::Status(201)),
        (Reply::Close, FetchError::Unreachable),
    ];
    let runs = faults.map(|(fault, error)| {
        let (token, other, jwk) = (nth(&key, 0), nth(&key, 1), key.jwk());
        tokio::spawn(async move {
            let host = Host::publishing(&[jwk]).await;
            let door = Door::to(vec![publisher(&host, &[Algorithm::ES256])]);
            assert_eq!(called(&door.shows(&token).await), "good");
            host.now(fault.clone());
            door.advance(240);
            door.authenticator.keep_fresh().await;
            assert_eq!(
                door.authenticator.condition(),
                KeysCondition::Degraded,
                "{fault:?}"
            );
            assert!(door.authenticator.is_ready());
            assert_eq!(called(&door.shows(&other).await), "good", "{fault:?}");
            let checked = door.authenticator.check_issuers().await;
            assert_eq!(checked, [(super::ID.into(), Err(error))], "{fault:?}");

            let fresh = Door::to(vec![publisher(&host, &[Algorithm::ES256])]);
            assert_eq!(
                called(&fresh.shows(&token).await),
                "unavailable",
                "{fault:?}"
            );
        })
    });
    for run in runs {
        run.await.unwrap();
    }
    assert_eq!(elsewhere.connections(), 0, "redirects are not followed");
}

#[tokio::test]
async fn a_document_without_usable_keys_is_believed_and_reported() {
    let (key, host, door) = Door::with_a_key().await;
    assert_eq!(called(&door.shows(&nth(&key, 0)).await), "good");
    host.publish(&[]);
    door.advance(300);
    door.authenticator.keep_fresh().await;
    assert_eq!(called(&door.shows(&nth(&key, 0)).await), "rejected");
    assert_eq!(door.authenticator.condition(), KeysCondition::Down);
}

#[tokio::test]
async fn settings_that_contradict_themselves_are_refused() {
    let (ec, rsa, secret) = (
        Signer::es256("").pem(),
        Signer::rs256("").pem(),
        "s".repeat(32),
    );
    let pem = |text: &str| KeySource::Pem(text.into());
    let hmac = |text: &str| KeySource::Hmac(text.into());
    let url = |text: &str| KeySource::Jwks(text.parse().unwrap());
    let private = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----";
    let nobody = {
        let mut rules = issuer(hmac(&secret), &[Algorithm::HS256]);
        rules.audience.clear();
        rules
    };
    let bad: Vec<Issuer> = vec![
        nobody,
        issuer(hmac(&secret), &[]),
        issuer(hmac(&secret), &[Algorithm::HS256, Algorithm::ES256]),
        issuer(hmac(&secret), &[Algorithm::ES256]),
        issuer(hmac(&secret[1..]), &[Algorithm::HS256]),
        issuer(pem(&ec), &[Algorithm::HS256]),
        issuer(pem(&ec), &[Algorithm::RS256]),
        issuer(pem(&ec), &[Algorithm::ES384]),
        issuer(pem(&ec), &[Algorithm::ES256, Algorithm::RS256]),
        issuer(pem(&format!("{ec}{rsa}")), &[Algorithm::ES256]),
        issuer(pem(""), &[Algorithm::ES256]),
        issuer(pem(private), &[Algorithm::ES256]),
        issuer(url("https://id.example/keys"), &[Algorithm::HS256]),
        issuer(url("http://id.example/keys"), &[Algorithm::ES256]),
        issuer(url("http://10.0.0.1/keys"), &[Algorithm::ES256]),
        issuer(
            url("http://localhost.evil.example/keys"),
            &[Algorithm::ES256],
        ),
        issuer(url("file:///etc/passwd"), &[Algorithm::ES256]),
    ];
    let made = |rules: Issuer| {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Authenticator::new(&auth(vec![rules]), Naming::Plain, clock, &Way::default())
    };
    for (nth, rules) in bad.into_iter().enumerate() {
        let text = made(rules).unwrap_err().to_string();
        assert!(text.contains(super::ID), "{nth}: {text}");
    }
    let good = [
        issuer(hmac(&secret), &[Algorithm::HS256, Algorithm::HS512]),
        issuer(pem(&format!("{ec}{ec}")), &[Algorithm::ES256]),
        issuer(pem(&rsa), &[Algorithm::RS256, Algorithm::PS256]),
        issuer(url("https://id.example/keys"), &[Algorithm::ES256]),
        issuer(url("http://localhost:9/keys"), &[Algorithm::ES256]),
        issuer(url("http://[::1]:9/keys"), &[Algorithm::ES256]),
    ];
    for (nth, rules) in good.into_iter().enumerate() {
        assert!(made(rules).is_ok(), "{nth}");
    }
}

#[tokio::test]
async fn before_the_first_keys_callers_are_told_when_to_come_back() {
    let host = Host::that(Reply::Status(503, String::new())).await;
    let door = Door::to(vec![publisher(&host, &[Algorithm::ES256])]);
    let token = nth(&Signer::es256("key"), 0);
    let wait = |outcome| match outcome {
        Err(AuthError::Unavailable { retry_after }) => retry_after.as_secs(),
        _ => 0,
    };
    assert_eq!(wait(door.shows(&token).await), 30);
    door.advance(12);
    assert_eq!(wait(door.shows(&token).await), 18);
    assert_eq!(host.asked(), 1);
}
