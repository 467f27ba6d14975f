//! Client of OpenAI's HTTP API: one attempt at a time, with the API key that no other module holds.

mod calls;
mod costs;
mod keys;
mod models;
mod socket;
mod transcription;

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};

pub use self::costs::{Billed, Bills};
use self::keys::Keys;
use super::connections::Connections;
use super::wire::{self, SecretForm};
use super::{Complaint, MintOrder, Minter, Probe, UpstreamError};
use crate::clock::{Clock, Timestamp};
use crate::config::{ApiKey, Upstream};
use crate::domain::{ClientSecret, KeyFingerprint, Party, SafetyKey, below};
use crate::http_client::{ClientBuilder, ClientError, ReadError, read_body};

/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
const TOO_LARGE: UpstreamError = UpstreamError::Invalid("it is larger than 256 KiB");
/// The longest request id that is taken from an answer.
const MAX_ID_LENGTH: usize = 128;
/// A stable, hashed name of the end user: <https://platform.openai.com/docs/guides/safety-best-practices>.
const SAFETY_IDENTIFIER: HeaderName = HeaderName::from_static("openai-safety-identifier");
const ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");
const PROJECT: HeaderName = HeaderName::from_static("openai-project");

/// A client of OpenAI's HTTP API.
pub struct OpenAi {
    connections: Connections,
    /// The client of side channels and hang-ups. It speaks HTTP/1.1 only: a request that got no answer takes its connection
    /// with it, so that the next one does not wait on the same dead connection.
    http1: Client,
    keys: Keys,
    mint_url: Url,
    models_url: Url,
    calls_url: Url,
    socket_url: Url,
    /// Where GPT-Live sessions are created.
    sessions_url: Url,
    transcriptions_url: Url,
    form: SecretForm,
    /// Turns the party an order is on behalf of into a safety identifier. The records keep its key, so that an identifier
    /// is stable over restarts, over a new API key, and the same in every replica.
    pseudonyms: hmac::Key,
    clock: Arc<dyn Clock>,
}

/// Why no client for the upstream could be built.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A setting that is sent with every request is missing, or cannot be sent.
    #[error("{0} is missing or holds characters that no header can carry")]
    Header(&'static str),
    /// An admin key would be sent to somebody else than OpenAI, or in the clear.
    #[error(
        "upstream.admin_key goes to OpenAI only, over https: set upstream.base_url to https://api.openai.com/v1 for this command"
    )]
    NotOpenAi,
    /// The HTTP client could not be built.
    #[error(
        "the HTTP client for the upstream could not be built (see upstream.ca_file and upstream.proxy)"
    )]
    Client(#[from] ClientError),
}

impl OpenAi {
    /// Returns a client for the upstream of `settings`, whose safety identifiers are made with `safety_key`.
    pub fn new(
        settings: &Upstream,
        safety_key: &SafetyKey,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let builder = ClientBuilder::new(
            &settings.way(),
            settings.connect_timeout,
            headers(settings)?,
        )?;
        Ok(Self {
            http1: builder.build_http1()?,
            connections: Connections::new(builder)?,
            keys: Keys::new(settings)?,
            mint_url: below(&settings.base_url, "realtime/client_secrets"),
            models_url: below(&settings.base_url, "models"),
            calls_url: below(&settings.base_url, "realtime/calls"),
            socket_url: below(&settings.base_url, "realtime"),
            sessions_url: below(&settings.base_url, "live/sessions"),
            transcriptions_url: below(&settings.base_url, "audio/transcriptions"),
            form: SecretForm::of(settings),
            pseudonyms: hmac::Key::new(hmac::HMAC_SHA256, safety_key.expose()),
            clock,
        })
    }

    /// Returns the name by which the provider knows a party.
    fn pseudonym(&self, behalf: &Party) -> String {
        let tag = match behalf {
            Party::Network(network) => hmac::sign(&self.pseudonyms, network.to_string().as_bytes()),
            Party::Identity(key) => hmac::sign(&self.pseudonyms, key.as_bytes()),
        };
        URL_SAFE_NO_PAD.encode(tag)
    }
}

#[async_trait]
impl Minter for OpenAi {
    async fn mint(
        &self,
        order: &MintOrder,
        key: &KeyFingerprint,
    ) -> Result<ClientSecret, UpstreamError> {
        let key = self.keys.choose(key);
        let sent = self.clock.tick();
        // Held until the answer is read.
        let connection = self.connections.take();
        let request = connection
            .post(self.mint_url.clone())
            .header(&self.keys.header, &key.value)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .header(SAFETY_IDENTIFIER, self.pseudonym(&order.behalf))
            .body(wire::mint_body(order));
        let response = request.send().await.map_err(transport)?;
        if response.status() != StatusCode::OK {
            return Err(refusal(response).await);
        }
        let answered = time(response.headers(), &DATE).unwrap_or_else(|| self.clock.now());
        let upstream_request = request_id(response.headers());
        let body = read_capped(response).await?;
        let form = (&self.form, &key.secret);
        let mut secret = wire::read_secret(&body, form, order, (sent, answered))?;
        secret.upstream_request = upstream_request;
        Ok(secret)
    }

    async fn probe(&self, key: &KeyFingerprint) -> Result<Probe, UpstreamError> {
        let sent = self.clock.tick();
        let connection = self.connections.take();
        let key = self.keys.choose(key);
        let asked = connection.get(self.models_url.clone());
        let asked = asked.header(&self.keys.header, &key.value);
        let response = asked.send().await.map_err(transport)?;
        let latency = self.clock.tick().since(sent);
        let upstream_time = time(response.headers(), &DATE);
        // The list of models may be long, so it is not read.
        let refusal = if response.status() == StatusCode::OK {
            None
        } else {
            match refusal(response).await {
                // A key that may only mint is refused the list; the upstream answers all the same.
                UpstreamError::KeyRejected(complaint)
                    if complaint.status == 403 || complaint.lacks_permission() =>
                {
                    Some(complaint)
                }
                // A gateway may mint without a list of models.
                UpstreamError::Refused(complaint) if complaint.is_absence() => Some(complaint),
                error => return Err(error),
            }
        };
        Ok(Probe {
            latency,
            upstream_time,
            refusal,
        })
    }

    fn load(&self, keys: &[ApiKey]) -> Result<(), SetupError> {
        self.keys.load(keys)
    }
}

/// Returns the headers of every request but the one with the key.
fn headers(settings: &Upstream) -> Result<HeaderMap, SetupError> {
    let mut headers = HeaderMap::new();
    for (setting, name, text) in [
        (
            "upstream.organization",
            ORGANIZATION,
            &settings.organization,
        ),
        ("upstream.project", PROJECT, &settings.project),
    ] {
        if let Some(text) = text {
            headers.insert(name, sensitive(text, setting)?);
        }
    }
    Ok(headers)
}

/// Returns the value of a header that no log may show.
fn sensitive(text: &str, setting: &'static str) -> Result<HeaderValue, SetupError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| SetupError::Header(setting))?;
    value.set_sensitive(true);
    Ok(value)
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
        ReadError::TooLarge(_) => TOO_LARGE,
        ReadError::Failed(error) => transport(error),
    })
}

/// Reads an answer that is not a success as an error.
async fn refusal(response: Response) -> UpstreamError {
    let status = response.status().as_u16();
    if status < 400 {
        return UpstreamError::Invalid("its status is neither the expected one nor an error");
    }
    let (request, retry_after) = (
        request_id(response.headers()),
        retry_after(response.headers()),
    );
    let body = read_capped(response).await.unwrap_or_default();
    let (code, is_out_of_credit) = wire::read_complaint(&body);
    let complaint = Complaint {
        status,
        code,
        request,
        retry_after,
        key: None,
    };
    match status {
        401 | 403 => UpstreamError::KeyRejected(complaint),
        429 if is_out_of_credit => UpstreamError::QuotaExhausted(complaint),
        429 => UpstreamError::RateLimited(complaint),
        408 | 409 | 500.. => UpstreamError::Broken(complaint),
        _ => UpstreamError::Refused(complaint),
    }
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
    match text.trim().parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => Some(time(headers, &RETRY_AFTER)?.since(time(headers, &DATE)?)),
    }
}

/// Reads a header that holds a date.
fn time(headers: &HeaderMap, name: &HeaderName) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()?;
    let since = date.duration_since(UNIX_EPOCH).ok()?;
    Some(Timestamp::from_seconds(since.as_secs()))
}
