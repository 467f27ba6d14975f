//! Builds the HTTP clients of the broker and reads their answers within bounds.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{NoProxy, Proxy, RequestBuilder, Response, StatusCode, redirect};
use secrecy::{ExposeSecret, SecretString};

use crate::clock::Clock;
use crate::tls::{self, TlsError};

/// How long an idle connection is kept for the next request.
const IDLE: Duration = Duration::from_mins(1);

/// Hosts that are never reached through a proxy.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// The way to other servers.
#[derive(Clone, Debug, Default)]
pub struct Way {
    /// A file of certificates, in PEM, trusted beside the public ones.
    pub ca_file: Option<PathBuf>,
    /// The address of an HTTP proxy. It may hold a user and a password.
    pub proxy: Option<SecretString>,
    /// Hosts that are reached without the proxy: names with all below them, addresses, networks.
    pub no_proxy: Vec<String>,
}

impl Way {
    fn proxy(&self) -> Result<Option<Proxy>, reqwest::Error> {
        let Some(address) = &self.proxy else {
            return Ok(None);
        };
        let direct = format!("{LOOPBACK},{}", self.no_proxy.join(","));
        let proxy = Proxy::all(address.expose_secret())?;
        Ok(Some(proxy.no_proxy(NoProxy::from_string(&direct))))
    }
}

/// The settings of HTTP clients to one party. Every client that is built from it has connections of its own.
#[derive(Debug)]
pub struct ClientBuilder {
    tls: rustls::ClientConfig,
    proxy: Option<Proxy>,
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
    /// Returns a builder of clients that go this `way` and send `headers` with every request.
    pub fn new(
        way: &Way,
        connect_timeout: Duration,
        headers: HeaderMap,
    ) -> Result<Self, ClientError> {
        Ok(Self {
            tls: tls::client_config(way.ca_file.as_deref())?,
            proxy: way.proxy().map_err(ClientError::Library)?,
            connect_timeout,
            headers,
        })
    }

    /// Builds a client that follows no redirects and takes no proxy from the environment. It speaks HTTP/2 where the
    /// server does.
    pub fn build(&self) -> Result<reqwest::Client, ClientError> {
        let client = self.client(self.tls.clone()).build();
        client.map_err(ClientError::Library)
    }

    /// Builds a client as [`ClientBuilder::build`] does, which speaks HTTP/1.1 only: a connection must, to become a WebSocket.
    pub fn build_http1(&self) -> Result<reqwest::Client, ClientError> {
        let mut tls = self.tls.clone();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let client = self.client(tls).http1_only().build();
        client.map_err(ClientError::Library)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "every client is built here, so that all have the same TLS roots and bounds"
    )]
    fn client(&self, tls: rustls::ClientConfig) -> reqwest::ClientBuilder {
        let builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .default_headers(self.headers.clone())
            .user_agent(concat!("realtime-token-broker/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.connect_timeout)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .tcp_nodelay(true)
            .pool_idle_timeout(IDLE);
        match &self.proxy {
            Some(proxy) => builder.proxy(proxy.clone()),
            None => builder,
        }
    }
}

/// Why a request came to nothing. Never names the address, which may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum Unserved {
    /// The server answered so.
    #[error("the server answered with status {0}")]
    Refused(StatusCode),
    /// The server does not answer in time.
    #[error("the server did not answer in time")]
    TimedOut,
    /// The server cannot be reached.
    #[error("the server cannot be reached")]
    Unreachable(#[source] reqwest::Error),
}

/// Sends a request. Returns the answer if it begins within `limit` and is a success.
pub async fn send(
    request: RequestBuilder,
    limit: Duration,
    clock: &dyn Clock,
) -> Result<Response, Unserved> {
    let answer = clock.timeout(limit, request.send()).await;
    let answer = match answer.map_err(|_| Unserved::TimedOut)? {
        Err(error) if error.is_timeout() => return Err(Unserved::TimedOut),
        answer => answer.map_err(|error| Unserved::Unreachable(error.without_url()))?,
    };
    let status = answer.status();
    let is_served = status.is_success();
    is_served.then_some(answer).ok_or(Unserved::Refused(status))
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
