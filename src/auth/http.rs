//! Sends HTTP requests to issuers, bounded in time and size.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::task::TaskTracker;
use url::Url;

use super::SetupError;
use crate::clock::Clock;
use crate::domain::is_private_enough;
use crate::http_client::{ClientBuilder, ReadError, Way, read_body};

/// Longest time to connect to an issuer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Client, clock and tasks of all requests to issuers. Addresses come from the operator's settings, so
/// that private networks need not be excluded.
#[derive(Clone)]
pub(super) struct Fetcher {
    client: Client,
    plain: Arc<[String]>,
    pub(super) clock: Arc<dyn Clock>,
    /// Tracks fetches, which outlive the callers that wait for them.
    pub(super) tasks: TaskTracker,
}

/// Why an issuer did not answer a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The connection failed.
    #[error("the issuer cannot be reached")]
    Unreachable,
    /// The answer was not complete in time.
    #[error("the issuer did not answer in time")]
    TimedOut,
    /// The answer has another status than 200. Redirects are not followed.
    #[error("the issuer answered with status {0}")]
    Status(u16),
    /// The answer exceeds the size limit.
    #[error("the issuer's answer is too large")]
    TooLarge,
    /// The answer could not be parsed.
    #[error("the issuer's answer could not be parsed")]
    NotUnderstood,
}

impl From<reqwest::Error> for FetchError {
    fn from(error: reqwest::Error) -> Self {
        if error.is_timeout() {
            Self::TimedOut
        } else {
            Self::Unreachable
        }
    }
}

impl Fetcher {
    /// Returns a fetcher that goes this `way`, and may ask the hosts of `plain` over plain http.
    pub(super) fn new(
        way: &Way,
        plain: &[String],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, SetupError> {
        let json = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        Ok(Self {
            client: ClientBuilder::new(way, CONNECT_TIMEOUT, json)?.build()?,
            plain: plain.into(),
            clock,
            tasks: TaskTracker::new(),
        })
    }

    /// Refuses plain http to other hosts than those allowed: whoever can change the answer can be anybody.
    pub(super) fn admit(&self, url: &Url) -> Result<(), &'static str> {
        is_private_enough(url, &self.plain)
            .then_some(())
            .ok_or("its addresses must be https; plain http is for loopback and auth.allow_plain_http only")
    }

    /// Returns a GET request to `url`. Its answer must be complete within `timeout`.
    pub(super) fn get(&self, url: Url, timeout: Duration) -> RequestBuilder {
        self.client.get(url).timeout(timeout)
    }
}

/// Headers of a request.
pub(super) type Headers = HeaderMap;

/// Returns `pairs` as headers that are hidden in logs; `None` when one of them cannot be sent.
pub(super) fn headers(pairs: &[(String, SecretString)]) -> Option<Headers> {
    let hidden = |(name, value): &(String, SecretString)| {
        let mut value = HeaderValue::try_from(value.expose_secret()).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::try_from(name).ok()?, value))
    };
    pairs.iter().map(hidden).collect()
}

/// Sends `request`. Returns the body of its answer, which may have `max_bytes`.
pub(super) async fn send(request: RequestBuilder, max_bytes: usize) -> Result<Vec<u8>, FetchError> {
    let response = request.send().await?;
    if response.status() != StatusCode::OK {
        return Err(FetchError::Status(response.status().as_u16()));
    }
    let body = read_body(response, max_bytes).await;
    body.map_err(|error| match error {
        ReadError::TooLarge(_) => FetchError::TooLarge,
        ReadError::Failed(error) => error.into(),
    })
}
