//! Owns ordinary requests: well-formed, by a client that behaves.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use reqwest::header::HeaderMap;
use reqwest::{Client, ClientBuilder, RequestBuilder};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use super::harness::{Broker, PATIENCE};

/// A client without pooled connections, so that each request stands for itself.
pub fn client() -> Client {
    builder(trusting(None)).build().unwrap()
}

/// A client at `local` that believes `certificate` alone, and finds a host at an address.
pub fn client_of(certificate: &Path, (host, address): (&str, SocketAddr), local: IpAddr) -> Client {
    builder(trusting(Some(certificate)))
        .resolve(host, address)
        .local_address(local)
        .build()
        .unwrap()
}

/// The same, and it keeps its connections, as browsers do.
pub fn browser_of(
    certificate: &Path,
    (host, address): (&str, SocketAddr),
    local: IpAddr,
) -> Client {
    builder(trusting(Some(certificate)))
        .resolve(host, address)
        .local_address(local)
        .pool_max_idle_per_host(4)
        .build()
        .unwrap()
}

fn builder(tls: ClientConfig) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .timeout(PATIENCE)
        .no_proxy()
}

/// What it takes to speak TLS with whoever shows this certificate.
pub fn trusting(certificate: Option<&Path>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    if let Some(path) = certificate {
        let pem = fs::read(path).unwrap();
        roots
            .add(CertificateDer::from_pem_slice(&pem).unwrap())
            .unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

impl Broker {
    pub fn post(&self, path: &str) -> RequestBuilder {
        client().post(self.url(path))
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        client().get(self.url(path))
    }

    /// `POST /token`, nothing else.
    pub async fn token(&self) -> Answer {
        Answer::to(self.post("/token")).await
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    pub json: Value,
}

impl Answer {
    pub async fn to(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let json = serde_json::from_str(&text).unwrap_or_default();
        Self {
            status,
            headers,
            text,
            json,
        }
    }

    /// The one value of a header, or nothing. Twice the same header is a mistake.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        first
    }

    /// The code of a failure, which must be in our layout.
    #[track_caller]
    pub fn code(&self) -> &str {
        assert_eq!(self.json["success"], false, "{self:?}");
        assert!(self.json["error"]["message"].is_string(), "{self:?}");
        assert!(self.json["error"]["type"].is_string(), "{self:?}");
        assert_eq!(
            self.header("x-request-id"),
            self.json["error"]["request_id"].as_str(),
            "{self:?}"
        );
        self.json["error"]["code"].as_str().unwrap()
    }

    /// Asserts status and code at once.
    #[track_caller]
    pub fn is(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.code()), (status, code), "{self:?}");
    }

    /// The client secret, which must be there.
    #[track_caller]
    pub fn secret(&self) -> &str {
        assert_eq!(self.status, 200, "{self:?}");
        let secret = self.json["token"].as_str().or(self.json["value"].as_str());
        let secret = secret.unwrap_or_else(|| panic!("no client secret: {self:?}"));
        assert!(secret.starts_with("ek_sim_"), "{self:?}");
        secret
    }
}
