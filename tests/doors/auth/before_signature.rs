//! What is judged before a signature is verified, and tokens of honest clients that are not valid.

use serde_json::json;
use token_broker::auth::{AuthError, Credential};
use token_broker::config::{Algorithm, KeySource};

use super::keys::{Signer, encode};
use super::{Door, NOW, called, claims, issuer, publisher};
use crate::kit::host::{Host, Reply};

const SUPABASE: &str = "https://abc.supabase.co/auth/v1";

fn credential(token: &str) -> Result<Credential, AuthError> {
    Credential::parse(format!("Bearer {token}").as_bytes())
}

/// The reason for which `token` is rejected.
async fn reason(door: &Door, token: &str) -> &'static str {
    let outcome = door.shows(token).await;
    assert_eq!(called(&outcome), "rejected", "{outcome:?}");
    let Err(AuthError::Rejected(reason)) = outcome else {
        return "";
    };
    reason
}

#[tokio::test]
async fn form_issuer_algorithm_key_id_and_times_are_judged_without_any_signature() {
    let (key, other) = (Signer::es256("key"), Signer::es256("other"));
    let host = Host::publishing(&[key.jwk()]).await;
    let door = Door::to(vec![publisher(&host, &[Algorithm::ES256])]);
    door.authenticator.keep_fresh().await;
    let screened = |token: String| {
        let credential = credential(&token).unwrap();
        let outcome = door.authenticator.screen(&credential).map(|_| ());
        called(&outcome)
    };
    let with = |changes| key.token(&claims(&changes));
    assert_eq!(screened(with(json!({}))), "good");
    for (name, token) in [
        ("form", "a.b.c".to_owned()),
        ("issuer", with(json!({ "iss": "https://other.example" }))),
        ("algorithm", Signer::rs256("key").token(&claims(&json!({})))),
        ("key id", other.token(&claims(&json!({})))),
        ("expired", with(json!({ "exp": NOW - 31 }))),
        ("not yet", with(json!({ "nbf": NOW + 31 }))),
    ] {
        assert_eq!(screened(token), "rejected", "{name}");
    }
    let none = format!(
        "{}.{}.",
        encode(r#"{"alg":"none"}"#),
        encode(claims(&json!({})).to_string())
    );
    assert_eq!(screened(none), "forged");
    // The signature is another key's: only `verify` can know.
    let forged = other.with(&key.header(), &claims(&json!({})));
    assert_eq!(screened(forged.clone()), "good");
    assert_eq!(called(&door.shows(&forged).await), "forged");
    assert_eq!(host.asked(), 1, "screening fetches nothing");
}

#[tokio::test]
async fn a_token_that_was_verified_a_moment_ago_needs_no_signature() {
    let (key, _host, door) = Door::with_a_key().await;
    let credential = credential(&key.token(&claims(&json!({})))).unwrap();
    let is_verified = || {
        let screened = door.authenticator.screen(&credential).unwrap();
        screened.is_verified()
    };
    assert!(!is_verified());
    let identity = door.verifies(&credential).await;
    assert!(is_verified());
    let screened = door.authenticator.screen(&credential).unwrap();
    assert_eq!(door.authenticator.verify(screened).await, identity);
    door.advance(60);
    assert!(!is_verified(), "remembered for a minute");
}

#[tokio::test]
async fn an_unknown_key_id_passes_the_screen_only_when_a_fetch_may_bring_it() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let host = Host::publishing(&[old.jwk()]).await;
    let door = Door::to(vec![publisher(&host, &[Algorithm::ES256])]);
    door.authenticator.keep_fresh().await;
    let credential = credential(&new.token(&claims(&json!({})))).unwrap();
    let screened = || called(&door.authenticator.screen(&credential).map(|_| ()));
    assert_eq!(screened(), "rejected");
    host.publish(&[old.jwk(), new.jwk()]);
    door.advance(30);
    assert_eq!(screened(), "good");
    assert!(door.verifies(&credential).await.is_ok());

    let dead = Host::that(Reply::Close).await;
    let door = Door::to(vec![publisher(&dead, &[Algorithm::ES256])]);
    door.authenticator.keep_fresh().await;
    let outcome = door.authenticator.screen(&credential).map(|_| ());
    assert_eq!(called(&outcome), "unavailable");
}

#[tokio::test]
async fn f03_a_legacy_hs256_token_is_rejected_with_a_reason_that_names_the_setting() {
    let secret = "super-secret-jwt-token-with-at-least-32-characters-long";
    let key = Signer::es256("key");
    let host = Host::publishing(&[key.jwk()]).await;
    let entry = |algorithm| {
        let mut rules = publisher(&host, &[algorithm]);
        rules.issuer = SUPABASE.into();
        rules
    };
    let mut entries = vec![entry(Algorithm::ES256), entry(Algorithm::RS256)];
    let door = Door::to(entries.clone());
    let token = |sub: &str| json!({ "iss": SUPABASE, "sub": sub });
    let legacy = Signer::hs256(secret).token(&claims(&token("ana")));
    for _ in 0..3 {
        let reason = reason(&door, &legacy).await;
        assert!(reason.contains("auth.supabase_jwt_secret"), "{reason}");
    }
    let renewed = key.token(&claims(&token("ana")));
    assert_eq!(called(&door.shows(&renewed).await), "good");
    // With the secret set, both are accepted, and a wrong secret is a forgery.
    let mut shared = issuer(KeySource::Hmac(secret.into()), &[Algorithm::HS256]);
    shared.issuer = SUPABASE.into();
    entries.push(shared);
    let door = Door::to(entries);
    assert_eq!(called(&door.shows(&legacy).await), "good");
    let wrong = Signer::hs256("w".repeat(32)).token(&claims(&token("ana")));
    assert_eq!(called(&door.shows(&wrong).await), "forged");
}

#[tokio::test]
async fn f17_f19_placeholders_encrypted_and_long_tokens_are_rejected_and_not_forged() {
    let key = Signer::rs256("key");
    let host = Host::publishing(&[key.jwk()]).await;
    let door = Door::to(vec![publisher(&host, &[Algorithm::RS256])]);
    let header = encode(r#"{"alg":"dir","enc":"A256GCM","iss":"https://id.example.com/"}"#);
    let encrypted = format!("{header}..aXY.Y2lwaGVy.dGFn");
    for (token, part) in [
        ("undefined", "nobody is signed in"),
        ("null", "nobody is signed in"),
        (&*encrypted, "encrypted token: request your API's audience"),
        ("opaque", "request your API's audience"),
        (&"a".repeat(17_000), "longer than 16 KiB"),
    ] {
        let reason = reason(&door, token).await;
        assert!(reason.contains(part), "{reason}");
    }
}

#[tokio::test]
async fn f19_a_keycloak_token_with_two_hundred_roles_is_accepted() {
    let key = Signer::rs256("key");
    let host = Host::publishing(&[key.jwk()]).await;
    let door = Door::to(vec![publisher(&host, &[Algorithm::RS256])]);
    let roles: Vec<_> = (0..200)
        .map(|nth| format!("realm-role-with-a-long-name-{nth:03}"))
        .collect();
    let token = key.token(&claims(&json!({ "realm_access": { "roles": roles } })));
    assert!((8193..16_384).contains(&token.len()), "{}", token.len());
    assert_eq!(called(&door.shows(&token).await), "good");
}

#[tokio::test]
async fn a19_both_keys_that_are_published_under_one_id_verify() {
    let (one, two) = (Signer::es256("same"), Signer::es256("same"));
    let host = Host::publishing(&[one.jwk(), two.jwk()]).await;
    let door = Door::to(vec![publisher(&host, &[Algorithm::ES256])]);
    for signer in [&one, &two] {
        let token = signer.token(&claims(&json!({})));
        assert_eq!(called(&door.shows(&token).await), "good");
    }
    let stranger = Signer::es256("same").token(&claims(&json!({})));
    assert_eq!(called(&door.shows(&stranger).await), "forged");
}
