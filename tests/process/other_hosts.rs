//! Other hosts of the provider: Azure OpenAI and gateways, whose address, header of the key and secrets are their own.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::kit::answer::Answer;
use crate::kit::executable::{Launch, now};
use crate::kit::host::{Host, Reply};
use crate::kit::http::client;
use crate::kit::provider::KEY;
use crate::kit::waiting::until;

/// A provider that insists on its own ways.
struct Fake {
    /// The header that must hold the credential, and the credential.
    key: (&'static str, String),
    /// The client secret that it mints.
    secret: &'static str,
}

fn has_key(fake: &Fake, headers: &HeaderMap) -> Result<(), (StatusCode, Json<Value>)> {
    let (name, credential) = &fake.key;
    let others = ["authorization", "api-key", "x-api-key"];
    let other = others.iter().filter(|other| *other != name);
    let has_others = other.clone().any(|other| headers.contains_key(*other));
    let is_good = headers.get(*name).is_some_and(|given| given == credential);
    if is_good && !has_others {
        return Ok(());
    }
    let message = "Access denied due to invalid subscription key or wrong API endpoint.";
    let error = json!({ "error": { "code": "401", "message": message } });
    Err((StatusCode::UNAUTHORIZED, Json(error)))
}

async fn mint(fake: State<Arc<Fake>>, headers: HeaderMap) -> Result<Response, Response> {
    let value = fake.secret;
    has_key(&fake, &headers).map_err(IntoResponse::into_response)?;
    let expires_at = now() + 60;
    let session = json!({ "type": "realtime", "id": "sess_1", "model": "gpt-realtime" });
    let answer = json!({ "value": value, "expires_at": expires_at, "session": session });
    Ok(Json(answer).into_response())
}

async fn models(fake: State<Arc<Fake>>, headers: HeaderMap) -> Result<Response, Response> {
    has_key(&fake, &headers).map_err(IntoResponse::into_response)?;
    Ok(Json(json!({ "object": "list", "data": [] })).into_response())
}

async fn call(State(fake): State<Arc<Fake>>, headers: HeaderMap) -> StatusCode {
    let bearer = format!("Bearer {}", fake.secret);
    let given = headers.get(header::AUTHORIZATION);
    if given.is_some_and(|given| *given == bearer) {
        StatusCode::CREATED
    } else {
        StatusCode::UNAUTHORIZED
    }
}

/// Starts a provider whose API is below `base`.
async fn start(base: &str, fake: Fake) -> SocketAddr {
    let router = Router::new()
        .route(&format!("{base}/realtime/client_secrets"), post(mint))
        .route(&format!("{base}/realtime/calls"), post(call))
        .route(&format!("{base}/models"), get(models))
        .with_state(Arc::new(fake));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

fn bearer() -> String {
    format!("Bearer {KEY}")
}

#[tokio::test]
async fn f24_every_form_of_base_url_and_key_header_serves_a_page_from_the_key_to_the_offer() {
    for (base, key, secret) in [
        ("/v1", ("authorization", bearer()), "ek_openai"),
        ("/openai/v1", ("authorization", bearer()), "ek_azure"),
        ("/openai/v1", ("api-key", KEY.to_owned()), "ek_azure"),
        ("/openai/v1/", ("api-key", KEY.to_owned()), "ek_azure"),
        (
            "/llm/v1",
            ("x-api-key", KEY.to_owned()),
            "gAAAAAB-encrypted==",
        ),
    ] {
        let header = key.0;
        let address = start(base.trim_end_matches('/'), Fake { key, secret }).await;
        let launch = |command: &[&str]| {
            Launch::of(command)
                .towards(&format!("http://{address}{base}"))
                .set("upstream.key_header", header)
        };
        let checked = launch(&["check", "--online"]).finish().await;
        assert_eq!(checked.code, Some(0), "{checked:?}");
        let served = launch(&["serve"]).set("demo.enabled", "true").start().await;
        let answer = served.token().await;
        assert_eq!(answer.json["token"], secret, "{answer:?}");
        let calls = answer.json["connect"]["calls"].as_str().unwrap();
        let expected = format!(
            "http://{address}{}/realtime/calls",
            base.trim_end_matches('/')
        );
        assert_eq!(calls, expected);
        let offer = client().post(calls).bearer_auth(secret).body("v=0");
        assert_eq!(offer.send().await.unwrap().status(), 201);
        let page = client().get(served.url("/demo")).send().await.unwrap();
        let policy = page.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains(&format!("http://{address}")), "{policy}");
        let ended = served.stop().await;
        assert!(!format!("{ended:?}").contains(KEY), "{ended:?}");
    }
}

#[tokio::test]
async fn f24_a_gateway_without_a_list_of_models_is_healthy_and_check_says_that_the_key_was_not_tried()
 {
    let gateway = Host::that(Reply::Status(404, "{}".to_owned())).await;
    let base_url = gateway.url("/v1");
    let checked = Launch::of(&["check", "--online"]).towards(&base_url);
    let checked = checked.finish().await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.out.contains("has no list of models"), "{checked:?}");
    let served = Launch::of(&["serve"]).towards(&base_url);
    let served = served.set("upstream.probe_interval", "1s").start().await;
    let asked = gateway.asked();
    until("two looks are over", || gateway.asked() > asked + 2).await;
    let health = Answer::to(served.get("/health")).await;
    assert_eq!(health.json["status"], "healthy", "{health:?}");
    served.stop().await;
}

#[tokio::test]
async fn f24_a_key_in_the_wrong_header_is_refused_and_the_cure_names_the_setting() {
    let key = ("api-key", KEY.to_owned());
    let address = start(
        "/openai/v1",
        Fake {
            key,
            secret: "ek_azure",
        },
    )
    .await;
    let checked = Launch::of(&["check", "--online"])
        .towards(&format!("http://{address}/openai/v1"))
        .finish()
        .await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.out.contains("upstream.key_header"), "{checked:?}");
}

#[tokio::test]
async fn f24_a_gateway_that_answers_with_the_api_key_gives_it_to_no_page() {
    for secret in [KEY, "sk-another", ""] {
        let key = ("authorization", bearer());
        let address = start("/v1", Fake { key, secret }).await;
        let served = Launch::of(&["serve"]).towards(&format!("http://{address}/v1"));
        let served = served.start().await;
        let answer = served.token().await;
        answer.is(502, "upstream_invalid");
        assert!(!answer.text.contains("sk-"), "{answer:?}");
        served.stop().await;
    }
}
