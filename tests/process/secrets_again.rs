//! Secrets that change while the broker runs: the operators' token, an issuer's secret, the addresses and headers of others.

use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::header::COOKIE;
use serde_json::Value;
use tokio::time::timeout;

use crate::dev_desk::Desk;
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch, claims, now};
use crate::kit::http::client;
use crate::kit::issuer::{REQUIRED, SECRET, sign_with};
use crate::kit::programs::free_address;
use crate::kit::provider::simulator;
use crate::kit::receiver::Receiver;
use crate::kit::waiting::{PATIENCE, eventually, until};

const OLD: &str = "operators-token-that-is-long-enough";
const NEW: &str = "another-token-of-operators-4f1d";
const OTHER: &str = "another-hmac-secret-that-is-long-enough-77";
/// Conditions of alerts are judged every ten seconds.
const JUDGED: Duration = Duration::from_mins(1);

async fn reloaded(broker: &Broker, number: usize) {
    let told = || broker.events("settings_reloaded").len() == number;
    until("the broker has read the secrets again", told).await;
}

#[tokio::test]
async fn a_changed_file_of_the_operators_token_ends_the_old_token_and_its_cookies() {
    let simulator = simulator(&[]).await;
    let address = free_address().to_string();
    let launch = Launch::serve(&simulator).file("operators", OLD);
    let launch = launch.set("ops.token_file", "operators");
    let broker = launch.set("ops.listen", &address).start().await;
    let home = format!("http://{address}/");
    let metrics = async |token: &str| {
        let asked = client().get(format!("{home}metrics")).bearer_auth(token);
        Answer::to(asked).await.status
    };
    let desk = Desk::enter(home.clone(), OLD).await;
    assert_eq!((metrics(OLD).await, metrics(NEW).await), (200, 401));
    let live = client().get(format!("{home}pages/calls/live"));
    let live = live.header(COOKIE, desk.cookie()).send().await.unwrap();
    assert_eq!(live.status(), 200);

    broker.running.file("operators", NEW);
    reloaded(&broker, 1).await;
    assert_eq!((metrics(OLD).await, metrics(NEW).await), (401, 200));
    let with_cookie = client().get(&home).header(COOKIE, desk.cookie());
    assert_eq!(Answer::to(with_cookie).await.status, 401);
    let rest = timeout(PATIENCE, live.text()).await;
    rest.expect("the open stream ends, too").unwrap();
    Desk::enter(home.clone(), NEW).await.read("").await;

    // A token that is too short is none, so the one before it holds.
    broker.running.file("operators", "short");
    let told = || broker.events("settings_refused").len() == 1;
    until("the mistake is reported", told).await;
    assert_eq!(metrics(NEW).await, 200);
    let ended = broker.stop().await;
    assert!(!ended.out.contains(NEW), "{ended:?}");
}

#[tokio::test]
async fn a_changed_file_of_an_issuers_secret_ends_credentials_of_the_old_secret() {
    let simulator = simulator(&[]).await;
    let settings = REQUIRED.replace(
        &format!("hmac_secret = {SECRET:?}"),
        "hmac_secret_file = \"issuer\"",
    );
    let launch = Launch::of(&["serve", "--config", "broker.toml"]);
    let launch = launch.towards(&simulator.base_url());
    let launch = launch.file("broker.toml", &settings).file("issuer", SECRET);
    let broker = launch.start().await;
    let signed = |secret| sign_with(&claims("ana", "student"), secret);
    let (old, new) = (signed(SECRET), signed(OTHER));
    assert_eq!(broker.token_as(&old).await.status, 200);
    assert_eq!(broker.token_as(&new).await.status, 401);

    broker.running.file("issuer", OTHER);
    reloaded(&broker, 1).await;
    // The broker has verified this credential a moment ago.
    assert_eq!(broker.token_as(&old).await.status, 401);
    assert_eq!(broker.token_as(&new).await.status, 200);
    broker.stop().await;
}

/// Returns a public key in PEM, and a credential that its private half has signed.
fn signed_by_a_new_key() -> (String, String) {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    let public = STANDARD.encode(public.as_ref());
    let key = EncodingKey::from_ec_der(pair.to_pkcs8v1().unwrap().as_ref());
    let said = claims("ana", "student");
    let bearer = jsonwebtoken::encode(&Header::new(Algorithm::ES256), &said, &key).unwrap();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n");
    (pem, bearer)
}

#[tokio::test]
async fn a_changed_file_of_an_issuers_public_key_ends_credentials_of_the_old_key() {
    let simulator = simulator(&[]).await;
    let ((old, by_old), (new, by_new)) = (signed_by_a_new_key(), signed_by_a_new_key());
    let secret = format!("hmac_secret = {SECRET:?}\nalgorithms = [\"HS256\"]");
    let public = "public_key_file = \"public.pem\"\nalgorithms = [\"ES256\"]";
    let launch = Launch::of(&["serve", "--config", "broker.toml"]);
    let launch = launch.towards(&simulator.base_url());
    let launch = launch.file("broker.toml", &REQUIRED.replace(&secret, public));
    let broker = launch.file("public.pem", &old).start().await;
    let statuses = async || {
        let (old, new) = (
            broker.token_as(&by_old).await,
            broker.token_as(&by_new).await,
        );
        (old.status, new.status)
    };
    assert_eq!(statuses().await, (200, 401));
    broker.running.file("public.pem", &new);
    reloaded(&broker, 1).await;
    assert_eq!(statuses().await, (401, 200));
    broker.stop().await;
}

const WEBHOOKS: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_WEBHOOKS: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Sends a webhook of a kind that means nothing to the broker, signed with this secret.
async fn webhook(broker: &Broker, secret: &str) -> u16 {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_"));
    let key = hmac::Key::new(HMAC_SHA256, &key.unwrap());
    let (id, at, body) = ("evt_1", now(), r#"{"type":"live.call.incoming"}"#);
    let signature = hmac::sign(&key, format!("{id}.{at}.{body}").as_bytes());
    let request = broker.post("/webhooks/openai").body(body);
    let request = request.header("content-type", "application/json");
    let request = request.header("webhook-id", id);
    let request = request.header("webhook-timestamp", at);
    let signature = format!("v1,{}", STANDARD.encode(signature));
    Answer::to(request.header("webhook-signature", signature))
        .await
        .status
}

#[tokio::test]
async fn lv23_a_changed_file_of_the_webhooks_secret_holds_without_a_signal() {
    let simulator = simulator(&[]).await;
    let launch = Launch::serve(&simulator).file("webhooks", WEBHOOKS);
    let launch = launch.set("live.webhook_secret_file", "webhooks");
    let broker = launch.start().await;
    let statuses = async || {
        let (old, new) = (WEBHOOKS, OTHER_WEBHOOKS);
        (webhook(&broker, old).await, webhook(&broker, new).await)
    };
    assert_eq!(statuses().await, (204, 400));
    // OpenAI signs with both secrets for a while.
    let both = format!("{WEBHOOKS}\n{OTHER_WEBHOOKS}\n");
    broker.running.file("webhooks", &both);
    reloaded(&broker, 1).await;
    assert_eq!(statuses().await, (204, 204));
    broker.running.file("webhooks", OTHER_WEBHOOKS);
    reloaded(&broker, 2).await;
    assert_eq!(statuses().await, (400, 204));
    broker.stop().await;
}

#[tokio::test]
async fn a_mistake_in_a_file_that_only_a_restart_takes_over_keeps_no_changed_secret_back() {
    let simulator = simulator(&[]).await;
    let launch = Launch::serve(&simulator).file("webhooks", WEBHOOKS);
    let launch = launch.set("live.webhook_secret_file", "webhooks");
    let launch = launch.file("place", "sqlite:one.db");
    let broker = launch.set("ledger.url_file", "place").start().await;
    broker.running.file("place", "");
    broker.running.file("webhooks", OTHER_WEBHOOKS);
    reloaded(&broker, 1).await;
    assert_eq!(webhook(&broker, OTHER_WEBHOOKS).await, 204);
    assert_eq!(broker.events("settings_refused").len(), 0);
    broker.stop().await;
}

#[tokio::test]
async fn issuers_come_and_go_at_sighup() {
    let simulator = simulator(&[]).await;
    let another = REQUIRED.replace("id.example.com", "other.example.com");
    let launch = Launch::of(&["serve", "--config", "broker.toml"]);
    let launch = launch.towards(&simulator.base_url());
    let broker = launch.file("broker.toml", &another).start().await;
    let ana = sign_with(&claims("ana", "student"), SECRET);
    assert_eq!(broker.token_as(&ana).await.status, 401);
    for (number, (settings, status)) in [(REQUIRED, 200), (&another, 401)].into_iter().enumerate() {
        broker.running.file("broker.toml", settings);
        broker.running.signal("HUP");
        reloaded(&broker, number + 1).await;
        assert_eq!(broker.token_as(&ana).await.status, status);
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_webhook_that_is_added_at_sighup_is_told_of_what_goes_on() {
    let (simulator, receiver) = (simulator(&["500"]).await, Receiver::start().await);
    let launch = Launch::of(&["serve", "--config", "broker.toml"]);
    let launch = launch.towards(&simulator.base_url());
    let launch = launch.set("limits.token", "1000/60s");
    let broker = launch.file("broker.toml", "").start().await;
    for _ in 0..40 {
        assert!(broker.token().await.status >= 500);
    }
    let settings = format!("[alerts]\nwebhook = {:?}\n", receiver.url);
    broker.running.file("broker.toml", &settings);
    broker.running.signal("HUP");
    reloaded(&broker, 1).await;
    let waiting = broker.events("settings_reloaded")[0]["details"].to_string();
    assert!(!waiting.contains("alerts"), "{waiting}");
    let told = async || !receiver.messages().is_empty();
    eventually("the message", JUDGED, told).await;
    broker.stop().await;
}

#[tokio::test]
async fn changed_headers_of_the_collector_go_with_the_next_spans() {
    let (simulator, receiver) = (simulator(&[]).await, Receiver::start().await);
    let launch = Launch::serve(&simulator).file("headers", "authorization=old");
    let launch = launch.set("otel.endpoint", &receiver.collector);
    let broker = launch.set("otel.headers_file", "headers").start().await;
    broker.running.file("headers", "authorization=new");
    reloaded(&broker, 1).await;
    assert_eq!(broker.token().await.status, 200);
    broker.stop().await;
    let last = receiver.messages().pop().unwrap();
    assert_eq!(last.headers["authorization"], "new");
}

#[tokio::test]
async fn a_secret_that_needs_a_restart_is_named_only_when_it_has_changed() {
    let simulator = simulator(&[]).await;
    let launch = Launch::serve(&simulator).file("place", "sqlite:one.db");
    let broker = launch.set("ledger.url_file", "place").start().await;
    let waiting = |number: usize| -> Value {
        let told = broker.events("settings_reloaded");
        told[number]["details"]["waiting_for_restart"].clone()
    };
    broker.running.signal("HUP");
    reloaded(&broker, 1).await;
    assert_eq!(waiting(0), serde_json::json!([]));
    broker.running.file("place", "sqlite:two.db");
    broker.running.signal("HUP");
    reloaded(&broker, 2).await;
    assert_eq!(waiting(1), serde_json::json!(["ledger.url"]));
    broker.stop().await;
}
