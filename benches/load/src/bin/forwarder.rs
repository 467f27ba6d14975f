//! The floor: a bare axum + reqwest forwarder without a single guard, that reads the upstream's answer into a type and
//! writes a new one.
//!
//! `forwarder ADDRESS UPSTREAM_URL`

use anyhow::Context;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

#[derive(Clone)]
struct Upstream {
    http: reqwest::Client,
    url: String,
}

#[derive(Deserialize)]
struct MintAnswer {
    value: String,
    expires_at: u64,
    session: Session,
}

#[derive(Deserialize)]
struct Session {
    id: String,
    model: String,
}

#[derive(Serialize)]
struct Granted {
    success: bool,
    token: String,
    expires_at: u64,
    session_id: String,
    model: String,
}

/// What a persona says, as the broker sends it.
const BODY: &str = r#"{"expires_after":{"anchor":"created_at","seconds":60},"session":{"type":"realtime","model":"gpt-realtime-2.1","output_modalities":["audio"],"instructions":"You are a friendly voice assistant.","audio":{"output":{"voice":"marin"}}}}"#;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().context("which address?")?;
    let upstream = Upstream {
        http: reqwest::Client::builder()
            .no_proxy()
            .tcp_nodelay(true)
            .build()?,
        url: arguments.next().context("which upstream?")?,
    };
    let router = Router::new()
        .route("/livez", get(async || "ok"))
        .route("/token", post(token))
        .with_state(upstream);
    let tcp = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(
        axum::serve::ListenerExt::tap_io(tcp, |stream| {
            let _ = stream.set_nodelay(true);
        }),
        router,
    )
    .await?)
}

async fn token(State(upstream): State<Upstream>) -> Result<Json<Granted>, StatusCode> {
    let bad_gateway = |_| StatusCode::BAD_GATEWAY;
    let answer: MintAnswer = upstream
        .http
        .post(&upstream.url)
        .header("authorization", "Bearer sk-load-comparison")
        .header("content-type", "application/json")
        .body(BODY)
        .send()
        .await
        .map_err(bad_gateway)?
        .json()
        .await
        .map_err(bad_gateway)?;
    Ok(Json(Granted {
        success: true,
        token: answer.value,
        expires_at: answer.expires_at,
        session_id: answer.session.id,
        model: answer.session.model,
    }))
}
