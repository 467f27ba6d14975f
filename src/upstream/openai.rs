//! Asks OpenAI's HTTP API, one attempt at a time, with the API key that no other module holds.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};

use super::connections::Connections;
use super::wire::{self, Timing};
use super::{Complaint, MintOrder, Minter, Probe, UpstreamError};
use crate::clock::{Clock, Tick, Timestamp};
use crate::config::Upstream;
use crate::domain::{ClientSecret, Party, SafetyKey};
use crate::http_client::{ClientBuilder, ClientError, ReadError, read_body};

/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// The longest request id that is taken from an answer.
const MAX_ID_LENGTH: usize = 128;
/// A stable, hashed name of the end user: <https://platform.openai.com/docs/guides/safety-best-practices>.
const SAFETY_IDENTIFIER: HeaderName = HeaderName::from_static("openai-safety-identifier");

/// OpenAI's HTTP API.
pub struct OpenAi {
    connections: Connections,
    mint_url: reqwest::Url,
    models_url: reqwest::Url,
    /// Turns the party an order is on behalf of into a safety identifier. The records keep its key, so that an identifier
    /// is stable over restarts, over a new API key, and the same in every replica.
    pseudonyms: hmac::Key,
    clock: Arc<dyn Clock>,
}

/// Why no client for the upstream could be built.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No API key, or one that cannot be sent.
    #[error("upstream.api_key is missing or holds characters that no header can carry")]
    Key,
    /// `upstream.organization` or `upstream.project` cannot be sent.
    #[error("{0} holds characters that no header can carry")]
    Header(&'static str),
    /// The base URL cannot be extended.
    #[error("upstream.base_url cannot be used")]
    Url,
    /// The HTTP client could not be built.
    #[error("the HTTP client for the upstream could not be built (see upstream.ca_file)")]
    Client(#[from] ClientError),
}

impl OpenAi {
    /// Returns a client for the upstream of `settings`, whose safety identifiers are made with `safety_key`.
    pub fn new(
        settings: &Upstream,
        safety_key: &SafetyKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let api_key = settings.api_key.as_ref().ok_or(SetupError::Key)?;
        let builder = ClientBuilder::new(
            settings.ca_file.as_deref(),
            settings.connect_timeout,
            default_headers(settings, api_key)?,
        )?;
        Ok(Self {
            connections: Connections::new(builder)?,
            mint_url: endpoint(settings, &["realtime", "client_secrets"])?,
            models_url: endpoint(settings, &["models"])?,
            pseudonyms: hmac::Key::new(hmac::HMAC_SHA256, safety_key.expose()),
            clock,
        })
    }

    fn safety_identifier(&self, order: &MintOrder) -> String {
        let tag = match &order.behalf {
            Party::Network(network) => hmac::sign(&self.pseudonyms, network.to_string().as_bytes()),
            Party::Identity(key) => hmac::sign(&self.pseudonyms, key.as_bytes()),
        };
        URL_SAFE_NO_PAD.encode(tag.as_ref())
    }

    /// Returns the upstream's time, or ours when its answer has none.
    fn time_of(&self, response: &Response) -> Timestamp {
        upstream_time(response.headers()).unwrap_or_else(|| self.clock.now())
    }
}

#[async_trait]
impl Minter for OpenAi {
    async fn mint(&self, order: &MintOrder) -> Result<ClientSecret, UpstreamError> {
        let sent: Tick = self.clock.tick();
        // Held until the answer is read.
        let connection = self.connections.seat();
        let request = connection
            .client()
            .post(self.mint_url.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(SAFETY_IDENTIFIER, self.safety_identifier(order))
            .body(wire::mint_body(order)?);
        let response = request.send().await.map_err(transport)?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response).await);
        }
        let timing = Timing {
            sent,
            answered: self.time_of(&response),
        };
        let upstream_request = request_id(response.headers());
        let mut secret = wire::read_secret(&read_capped(response).await?, order, timing)?;
        secret.upstream_request = upstream_request;
        Ok(secret)
    }

    async fn probe(&self) -> Result<Probe, UpstreamError> {
        let sent = self.clock.tick();
        let connection = self.connections.seat();
        let asked = connection.client().get(self.models_url.clone());
        let response = asked.send().await.map_err(transport)?;
        let latency = self.clock.tick().since(sent);
        let upstream_time = upstream_time(response.headers());
        // The list of models may be long, so it is not read. A key that may only mint is refused the list; the upstream
        // answers all the same.
        let refusal = match response.status() {
            StatusCode::OK => None,
            StatusCode::FORBIDDEN => Some(complaint(response).await.0),
            _ => return Err(refusal(response).await),
        };
        Ok(Probe {
            latency,
            upstream_time,
            refusal,
        })
    }
}

fn endpoint(settings: &Upstream, segments: &[&str]) -> Result<reqwest::Url, SetupError> {
    let mut url = settings.base_url.clone();
    url.path_segments_mut()
        .map_err(|()| SetupError::Url)?
        .pop_if_empty()
        .extend(segments);
    Ok(url)
}

fn default_headers(settings: &Upstream, api_key: &SecretString) -> Result<HeaderMap, SetupError> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {}", api_key.expose_secret()))
        .map_err(|_| SetupError::Key)?;
    bearer.set_sensitive(true);
    let mut headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
    let optional = [
        (
            "openai-organization",
            &settings.organization,
            "upstream.organization",
        ),
        ("openai-project", &settings.project, "upstream.project"),
    ];
    for (name, value, setting) in optional {
        if let Some(value) = value {
            let value =
                HeaderValue::try_from(value.as_str()).map_err(|_| SetupError::Header(setting))?;
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    Ok(headers)
}

fn transport(error: reqwest::Error) -> UpstreamError {
    if error.is_timeout() && !error.is_connect() {
        return UpstreamError::TimedOut;
    }
    UpstreamError::Unreachable(error.without_url().into())
}

async fn read_capped(response: Response) -> Result<Vec<u8>, UpstreamError> {
    let body = read_body(response, MAX_ANSWER_BYTES).await;
    body.map_err(|error| match error {
        ReadError::TooLarge(_) => UpstreamError::Invalid("it is larger than 256 KiB"),
        ReadError::Failed(error) => transport(error),
    })
}

/// Reads an answer that is not a success as an error.
async fn refusal(response: Response) -> UpstreamError {
    let status = response.status();
    if status.is_success() || status.is_informational() || status.is_redirection() {
        return UpstreamError::Invalid("its status is not one that carries a client secret");
    }
    let (complaint, is_out_of_quota) = complaint(response).await;
    match complaint.status {
        401 | 403 => UpstreamError::KeyRejected(complaint),
        429 if is_out_of_quota => UpstreamError::QuotaExhausted(complaint),
        429 => UpstreamError::RateLimited(complaint),
        408 | 409 | 500.. => UpstreamError::Broken(complaint),
        _ => UpstreamError::Refused(complaint),
    }
}

/// Reads an error answer, and whether it says that the account has no credit left.
async fn complaint(response: Response) -> (Complaint, bool) {
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    let request = request_id(response.headers());
    let said = wire::read_complaint(&read_capped(response).await.unwrap_or_default());
    let complaint = Complaint {
        status,
        code: said.code,
        request,
        retry_after,
    };
    (complaint, said.out_of_quota)
}

/// Returns the provider's id of a request, if it is fit to be logged.
fn request_id(headers: &HeaderMap) -> Option<Box<str>> {
    let name = headers.get("x-request-id")?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let fits = (1..=MAX_ID_LENGTH).contains(&name.len()) && name.bytes().all(is_plain);
    fits.then(|| name.into())
}

/// Reads `Retry-After`, in seconds or as a date (RFC 9110 §10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(text).ok()?;
    Some(timestamp(until)?.since(upstream_time(headers)?))
}

fn upstream_time(headers: &HeaderMap) -> Option<Timestamp> {
    timestamp(httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?)
}

fn timestamp(time: std::time::SystemTime) -> Option<Timestamp> {
    time.duration_since(std::time::UNIX_EPOCH)
        .ok()
        .map(|since| Timestamp::from_seconds(since.as_secs()))
}
