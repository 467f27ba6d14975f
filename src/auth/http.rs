//! Sends HTTP GET requests to issuers, bounded in time and size.

use std::path::Path;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Credential, SetupError};
use crate::http_client::{ClientBuilder, ReadError, read_body};

/// Longest time to connect to an issuer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A client for requests to issuers. Addresses come from the operator's settings, so that private
/// networks need not be excluded.
#[derive(Clone, Debug)]
pub(super) struct Http(Client);

/// Headers of a request.
pub(super) type Headers = HeaderMap;

/// One GET request.
#[derive(Debug)]
pub(super) struct Get<'a> {
    pub(super) url: Url,
    /// Sent as bearer token.
    pub(super) credential: Option<&'a Credential>,
    pub(super) headers: Headers,
    /// Longest time until the last byte of the answer.
    pub(super) timeout: Duration,
    /// Largest answer, in bytes.
    pub(super) max_bytes: usize,
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

/// Returns `pairs` as headers that are hidden in logs; `None` when one of them cannot be sent.
pub(super) fn headers(pairs: &[(String, SecretString)]) -> Option<Headers> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(
            HeaderName::try_from(name).ok()?,
            hidden(value.expose_secret())?,
        );
    }
    Some(headers)
}

fn hidden(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Http {
    /// Returns a client that trusts the certificates in `ca_file` beside the public ones.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, SetupError> {
        ClientBuilder::new(ca_file, CONNECT_TIMEOUT, HeaderMap::new())
            .and_then(|builder| builder.build())
            .map(Self)
            .map_err(|error| SetupError::Client(error.into()))
    }

    /// Sends `get` and returns the body of its answer.
    pub(super) async fn get(&self, get: Get<'_>) -> Result<Vec<u8>, FetchError> {
        let mut headers = get.headers;
        headers
            .entry(ACCEPT)
            .or_insert(HeaderValue::from_static("application/json"));
        if let Some(credential) = get.credential {
            let bearer = hidden(&format!("Bearer {}", credential.expose()));
            headers.insert(AUTHORIZATION, bearer.ok_or(FetchError::NotUnderstood)?);
        }
        let request = self.0.get(get.url).headers(headers).timeout(get.timeout);
        let response = request.send().await.map_err(|error| failure(&error))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let body = read_body(response, get.max_bytes).await;
        body.map_err(|error| match error {
            ReadError::TooLarge(_) => FetchError::TooLarge,
            ReadError::Failed(error) => failure(&error),
        })
    }
}

fn failure(error: &reqwest::Error) -> FetchError {
    if error.is_timeout() {
        FetchError::TimedOut
    } else {
        FetchError::Unreachable
    }
}
