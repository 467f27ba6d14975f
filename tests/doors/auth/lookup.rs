//! What claims do not say, asked with the caller's own credential: once, briefly, and never at the caller's cost.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use token_broker::config::{Algorithm, Issuer, KeySource, Lookup};
use tokio::time::Instant;

use super::keys::Signer;
use super::{Door, called, claims, issuer};
use crate::kit::host::{Host, Reply};
use crate::kit::log_lines::Lines;
use crate::kit::waiting::until;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn rules(host: &Host, path: &str) -> Issuer {
    let mut rules = issuer(KeySource::Hmac(SECRET.into()), &[Algorithm::HS256]);
    rules.lookup = Some(Lookup {
        url: host.url(path),
        headers: vec![("apikey".into(), "publishable".into())],
        role_pointer: Some("/0/role".into()),
        name_pointer: Some("/0/name".into()),
    });
    rules
}

fn answer() -> Reply {
    Reply::Body(json!([{ "role": "teacher", "name": "Ana\n\u{7}Ruiz" }]).to_string())
}

fn token(changes: &Value) -> String {
    Signer::hs256(SECRET).token(&claims(changes))
}

async fn known(door: &Door, token: &str) -> (Option<String>, Option<String>) {
    let identity = door.shows(token).await.unwrap();
    let name = identity.name.as_ref().map(|name| name.as_str().to_owned());
    (identity.role.as_deref().map(str::to_owned), name)
}

fn some(role: &str, name: &str) -> (Option<String>, Option<String>) {
    (Some(role.to_owned()), Some(name.to_owned()))
}

#[tokio::test]
async fn a_role_that_claims_do_not_say_is_asked_once_with_the_callers_own_credential() {
    let host = Host::that(answer()).await;
    let door = Door::to(vec![rules(
        &host,
        "/rest/profiles?id=eq.{subject}&select=role,name",
    )]);
    let credential = token(&json!({ "sub": "a&b/é" }));
    for _ in 0..10 {
        assert_eq!(known(&door, &credential).await, some("teacher", "Ana Ruiz"));
    }
    let requests = host.requests();
    assert_eq!(requests.len(), 1);
    let head = requests[0].to_lowercase();
    assert!(
        requests[0]
            .starts_with("GET /rest/profiles?id=eq.a%26b%2F%C3%A9&select=role,name HTTP/1.1\r\n"),
        "{head}"
    );
    assert!(
        requests[0].contains(&format!("Bearer {credential}"))
            && head.contains("apikey: publishable")
    );
    door.advance(299);
    known(&door, &credential).await;
    assert_eq!(host.asked(), 1);
    door.advance(1);
    host.now(Reply::Body(json!([{ "role": "family" }]).to_string()));
    assert_eq!(
        known(&door, &credential).await,
        (Some("family".into()), None)
    );
    assert_eq!(host.asked(), 2, "believed for five minutes");
}

#[tokio::test]
async fn a_role_that_claims_say_is_not_asked_and_not_changed() {
    let host = Host::that(answer()).await;
    let door = Door::to(vec![rules(&host, "/userinfo")]);
    let both =
        json!({ "app_metadata": { "role": "family" }, "user_metadata": { "full_name": "Ben" } });
    assert_eq!(known(&door, &token(&both)).await, some("family", "Ben"));
    assert_eq!(host.asked(), 0);
    let one = json!({ "app_metadata": { "role": "family" } });
    assert_eq!(known(&door, &token(&one)).await, some("family", "Ana Ruiz"));
    let mut only_role = rules(&host, "/userinfo");
    only_role.lookup.as_mut().unwrap().name_pointer = None;
    let door = Door::to(vec![only_role]);
    assert_eq!(
        known(&door, &token(&one)).await,
        (Some("family".into()), None)
    );
    assert_eq!(host.asked(), 1);
}

#[tokio::test]
async fn bad_credentials_are_never_passed_on() {
    let host = Host::that(answer()).await;
    let door = Door::to(vec![rules(&host, "/userinfo")]);
    let forged = Signer::hs256("another secret").token(&claims(&json!({})));
    assert_eq!(called(&door.shows(&forged).await), "forged");
    assert_eq!(
        called(&door.shows(&token(&json!({ "aud": "x" }))).await),
        "rejected"
    );
    assert_eq!(host.connections(), 0);
}

#[tokio::test]
async fn a_failed_look_up_means_the_default_role_and_is_not_repeated_for_half_a_minute() {
    let elsewhere = Host::that(answer()).await;
    let document = json!([{ "role": "teacher" }]).to_string();
    let faults = [
        Reply::Hang,
        Reply::HangMidBody,
        Reply::Large((64 << 10) + 1),
        Reply::Large(10 << 20),
        Reply::Redirect(elsewhere.url("/")),
        Reply::Body("<html>".into()),
        Reply::Body(String::new()),
        Reply::Status(500, document.clone()),
        Reply::Status(401, document),
        Reply::Close,
    ];
    let runs = faults.map(|fault| {
        tokio::spawn(async move {
            let host = Host::that(fault.clone()).await;
            let door = Door::to(vec![rules(&host, "/userinfo")]);
            let credential = token(&json!({}));
            let started = Instant::now();
            for _ in 0..5 {
                let unknown = (Some("student".into()), None);
                assert_eq!(known(&door, &credential).await, unknown, "{fault:?}");
            }
            assert!(started.elapsed() < Duration::from_secs(9), "{fault:?}");
            assert_eq!(host.asked(), 1, "{fault:?}");
            host.now(answer());
            door.advance(30);
            assert_eq!(
                known(&door, &credential).await,
                some("teacher", "Ana Ruiz"),
                "{fault:?}"
            );
        })
    });
    for run in runs {
        run.await.unwrap();
    }
    assert_eq!(
        elsewhere.connections(),
        0,
        "the credential went somewhere else"
    );
}

#[tokio::test]
async fn failed_look_ups_are_told_once_in_half_a_minute_with_their_number() {
    let lines = Lines::listen();
    let host = Host::that(Reply::Close).await;
    let door = Door::to(vec![rules(&host, "/userinfo")]);
    for (seconds, failing, told) in [(0, 1, 1), (0, 10, 0), (29, 5, 0), (1, 1, 16), (30, 1, 1)] {
        door.advance(seconds);
        for nth in 0..failing {
            let credential = token(&json!({ "jti": [seconds, failing, nth] }));
            known(&door, &credential).await;
        }
        let said = lines.take();
        assert_eq!(said.len(), usize::from(told > 0), "{said:?}");
        let number = format!("number={told}");
        assert!(said.iter().all(|line| line.contains(&number)), "{said:?}");
    }
}

#[tokio::test]
async fn answers_of_another_form_say_nothing() {
    for body in [
        json!([]),
        json!({}),
        json!([{ "role": 7, "name": ["Ana"] }]),
        json!([{ "role": null, "name": "" }]),
        // A value, whatever its text would be as JSON.
        json!([{ "role": { "$serde_json::private::RawValue": "\"teacher\"" } }]),
        json!([{ "role": "r".repeat(65), "name": "\u{202e}" }]),
    ] {
        let host = Host::that(Reply::Body(body.to_string())).await;
        let door = Door::to(vec![rules(&host, "/userinfo")]);
        let unknown = (Some("student".into()), None);
        let token = token(&json!({}));
        assert_eq!(known(&door, &token).await, unknown, "{body}");
        door.advance(299);
        assert_eq!(known(&door, &token).await, unknown, "{body}");
        assert_eq!(host.asked(), 1, "no failure, so kept for five minutes");
    }
}

#[tokio::test]
async fn a_hundred_requests_with_one_credential_ask_once_even_if_the_first_caller_leaves() {
    let Reply::Body(body) = answer() else { return };
    let host = Host::that(Reply::Held(body)).await;
    let door = Arc::new(Door::to(vec![rules(&host, "/userinfo")]));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (door, credential) = (Arc::clone(&door), token(&json!({})));
            tokio::spawn(async move { known(&door, &credential).await })
        })
        .collect();
    until("the look-up", || host.asked() == 1).await;
    host.release();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), some("teacher", "Ana Ruiz"));
    }
    assert_eq!(host.asked(), 1);

    host.hold();
    let other = token(&json!({ "sub": "ben" }));
    let (patient, leaves) = (Arc::clone(&door), Arc::clone(&door));
    let credential = other.clone();
    let leaving = tokio::spawn(async move { known(&leaves, &credential).await });
    until("the second look-up", || host.asked() == 2).await;
    leaving.abort();
    host.release();
    assert_eq!(known(&patient, &other).await, some("teacher", "Ana Ruiz"));
}
