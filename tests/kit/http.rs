//! HTTP clients that behave.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use reqwest::{Client, ClientBuilder};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::waiting::PATIENCE;

/// A client without pooled connections, so that each request stands for itself.
pub fn client() -> Client {
    builder(trusting(None)).build().unwrap()
}

/// A client that keeps its connections.
pub fn keeping_client() -> Client {
    builder(trusting(None))
        .pool_max_idle_per_host(4)
        .build()
        .unwrap()
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
