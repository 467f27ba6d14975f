//! Builds the HTTP clients of the broker and reads their answers within bounds.

use std::path::Path;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::redirect;

use crate::tls::{self, TlsError};

/// How long an idle connection is kept for the next request.
const IDLE: Duration = Duration::from_mins(1);

/// The settings of HTTP clients to one party. Every client that is built from it has connections of its own.
#[derive(Debug)]
pub struct ClientBuilder {
    tls: rustls::ClientConfig,
    connect_timeout: Duration,
    headers: HeaderMap,
}

/// Why an HTTP client could not be built.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The file of certificates cannot be used, or TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The library refused the settings.
    #[error("the HTTP client could not be built")]
    Library(#[source] reqwest::Error),
}

impl ClientBuilder {
    /// Returns a builder of clients that trust the public roots and the certificates of `ca_file`, and that send `headers`
    /// with every request.
    pub fn new(
        ca_file: Option<&Path>,
        connect_timeout: Duration,
        headers: HeaderMap,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            tls: tls::client_config(ca_file)?,
            connect_timeout,
            headers,
        })
    }

    /// Builds a client that follows no redirects and takes no proxy from the environment. It speaks HTTP/2 where the
    /// server does.
    #[expect(
        clippy::disallowed_methods,
        reason = "every client is built here, so that all have the same TLS roots and bounds"
    )]
    pub fn build(&self) -> Result<reqwest::Client, ClientError> {
        reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .default_headers(self.headers.clone())
            .user_agent(concat!("realtime-token-broker/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.connect_timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(ClientError::Library)
    }
}

/// Why an answer could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The answer is larger than allowed.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The connection failed.
    #[error(transparent)]
    Failed(#[from] reqwest::Error),
}

/// Reads the body of `response`, at most `most` bytes of it.
pub async fn read_body(mut response: reqwest::Response, most: usize) -> Result<Vec<u8>, ReadError> {
    let announced = response.content_length().unwrap_or_default();
    let announced = usize::try_from(announced).unwrap_or(usize::MAX);
    let mut body = Vec::with_capacity(announced.min(most));
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > most {
            return Err(ReadError::TooLarge(most));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
