//! Owns the conversation with OpenAI: one attempt at a time, with the API key that nobody else uses.

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

use super::wire::{self, Timing};
use super::{MintOrder, Minter, Probe, Turn, UpstreamError};
use crate::clock::{Clock, Tick, Timestamp};
use crate::config::Upstream;
use crate::domain::{ClientSecret, Party};
use crate::http_client::{ClientError, ClientSettings, ReadError, read_body};

/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// A stable, hashed name of the end user: <https://platform.openai.com/docs/guides/safety-best-practices>.
const SAFETY_IDENTIFIER: HeaderName = HeaderName::from_static("openai-safety-identifier");
/// Longest time a free look may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// OpenAI's HTTP API.
pub struct OpenAi {
    http: reqwest::Client,
    mint_url: reqwest::Url,
    models_url: reqwest::Url,
    /// Turns the party an order is on behalf of into a safety identifier. Derived from the API key: stable across
    /// restarts and machines, and of no use to anybody who does not have the key already.
    pseudonyms: hmac::Key,
    clock: Arc<dyn Clock>,
}

/// Why no client for the upstream could be made.
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
    /// A client for the upstream of `settings`.
    pub fn new(settings: &Upstream, clock: Arc<dyn Clock>) -> Result<Self, SetupError> {
        let api_key = settings.api_key.as_ref().ok_or(SetupError::Key)?;
        let http = ClientSettings {
            ca_file: settings.ca_file.as_deref(),
            connect_timeout: settings.connect_timeout,
            headers: default_headers(settings, api_key)?,
        }
        .build()?;
        let secret = api_key.expose_secret().as_bytes();
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = hmac::sign(&root, b"realtime-token-broker safety identifier v1");
        Ok(Self {
            http,
            mint_url: endpoint(settings, &["realtime", "client_secrets"])?,
            models_url: endpoint(settings, &["models"])?,
            pseudonyms: hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref()),
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

    /// The upstream's time in its own words, or else ours.
    fn time_of(&self, response: &Response) -> Timestamp {
        upstream_time(response.headers()).unwrap_or_else(|| self.clock.now())
    }
}

#[async_trait]
impl Minter for OpenAi {
    async fn mint(&self, order: &MintOrder, _: Turn) -> Result<ClientSecret, UpstreamError> {
        let sent: Tick = self.clock.tick();
        let request = self
            .http
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
        let upstream_request = request_name(response.headers());
        let mut secret = wire::read_secret(&read_capped(response).await?, order, timing)?;
        secret.upstream_request = upstream_request;
        Ok(secret)
    }

    async fn probe(&self) -> Result<Probe, UpstreamError> {
        let sent = self.clock.tick();
        let asked = self
            .http
            .get(self.models_url.clone())
            .timeout(PROBE_TIMEOUT);
        let response = asked.send().await.map_err(transport)?;
        // A key that may only mint is refused the list of models; the upstream answers all the same. The list itself,
        // which may be long, is not read.
        let lists_models = response.status() == StatusCode::OK;
        if !lists_models && response.status() != StatusCode::FORBIDDEN {
            return Err(refusal(response).await);
        }
        let latency = self.clock.tick().since(sent);
        Ok(Probe {
            latency,
            upstream_time: upstream_time(response.headers()),
            lists_models,
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

/// What an answer that is not a success means.
async fn refusal(response: Response) -> UpstreamError {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    if status.is_success() || status.is_informational() || status.is_redirection() {
        return UpstreamError::Invalid("its status is not one that carries a client secret");
    }
    let complaint = wire::read_complaint(&read_capped(response).await.unwrap_or_default());
    match status.as_u16() {
        status @ (401 | 403) => UpstreamError::KeyRejected { status },
        429 if complaint.out_of_quota => UpstreamError::QuotaExhausted,
        429 => UpstreamError::RateLimited { retry_after },
        status @ (408 | 409 | 500..) => UpstreamError::Broken {
            status,
            retry_after,
        },
        status => UpstreamError::Refused {
            status,
            code: complaint.code,
        },
    }
}

/// The provider's name for a request of ours, if it is one that can be written down.
fn request_name(headers: &HeaderMap) -> Option<Box<str>> {
    let name = headers.get("x-request-id")?.to_str().ok()?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    let fits = (1..=128).contains(&name.len()) && name.bytes().all(is_plain);
    fits.then(|| name.into())
}

/// `Retry-After` as seconds or as a date (RFC 9110 §10.2.3).
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
