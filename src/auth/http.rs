//! Owns HTTP towards issuers: one bounded GET, straight to where the settings say.

use std::path::Path;
use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Credential, SetupError};
use crate::http_client::{ClientBuilder, ReadError, read_body};

/// Longest time until a connection stands.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// An HTTP client that follows no redirects, asks no proxy and reads no more than it was told to. What names resolve
/// to is not restricted: addresses come from the operator's settings only, and issuers on private networks are usual.
#[derive(Debug)]
pub(super) struct Http(reqwest::Client);

/// One GET.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) url: Url,
    /// Goes along as bearer.
    pub(super) credential: Option<&'a Credential>,
    pub(super) headers: Headers,
    /// Until the last byte of the answer.
    pub(super) timeout: Duration,
    /// Largest answer, in bytes.
    pub(super) most: usize,
}

/// Headers that hide themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct Headers(HeaderMap);

impl Headers {
    /// These; `None` when one of them cannot be sent.
    pub(super) fn of(pairs: &[(String, SecretString)]) -> Option<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let mut value = HeaderValue::try_from(value.expose_secret()).ok()?;
            value.set_sensitive(true);
            headers.append(HeaderName::try_from(name).ok()?, value);
        }
        Some(Self(headers))
    }
}

/// Why nothing came of asking an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// No connection, or it broke.
    #[error("it cannot be reached")]
    Unreachable,
    /// No answer, or not all of it.
    #[error("it did not answer in time")]
    TimedOut,
    /// Another status than 200. Redirects are not followed.
    #[error("it answered with status {0}")]
    Status(u16),
    /// A larger answer than anybody needs.
    #[error("its answer is too large")]
    TooLarge,
    /// An answer of another form.
    #[error("its answer is not what it should be")]
    NotUnderstood,
}

impl Http {
    /// A client that also believes the certificates in `ca_file`.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, SetupError> {
        ClientBuilder::new(ca_file, CONNECT_TIMEOUT, HeaderMap::new())
            .and_then(|builder| builder.build())
            .map(Self)
            .map_err(|error| SetupError::Client(error.into()))
    }

    /// What is at an address.
    pub(super) async fn get(&self, ask: Ask<'_>) -> Result<Vec<u8>, FetchError> {
        let mut headers = ask.headers.0;
        headers
            .entry(ACCEPT)
            .or_insert(HeaderValue::from_static("application/json"));
        if let Some(credential) = ask.credential {
            let line = format!("Bearer {}", credential.expose());
            let mut bearer = HeaderValue::try_from(line).map_err(|_| FetchError::NotUnderstood)?;
            bearer.set_sensitive(true);
            headers.insert(AUTHORIZATION, bearer);
        }
        let request = self.0.get(ask.url).headers(headers).timeout(ask.timeout);
        let response = request.send().await.map_err(|error| failure(&error))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status().as_u16()));
        }
        let body = read_body(response, ask.most).await;
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
