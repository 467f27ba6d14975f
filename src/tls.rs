//! Configures TLS for clients: the public roots, compiled in, and the operator's own certificates.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Error of the TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The operator's file of certificates cannot be used.
    #[error("{path} cannot be used: it must hold PEM certificates")]
    Roots {
        /// Path of the file.
        path: String,
        /// Reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The library refused its own settings.
    #[error("TLS cannot be set up")]
    Library(#[from] rustls::Error),
}

/// Reads a file that holds at least one usable certificate.
pub fn pem(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unusable = |source| TlsError::Roots {
        path: path.display().to_string(),
        source,
    };
    let pem = std::fs::read(path).map_err(|error| unusable(error.into()))?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|error| unusable(error.into()))?;
    if RootCertStore::empty()
        .add_parsable_certificates(certificates)
        .0
        == 0
    {
        return Err(unusable(io::Error::from(io::ErrorKind::InvalidData).into()));
    }
    Ok(pem)
}

/// Returns TLS settings for a client that trusts the public roots (an empty container has none) and
/// the certificates in `ca_file`.
pub fn client_config(ca_file: Option<&Path>) -> Result<rustls::ClientConfig, TlsError> {
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    if let Some(path) = ca_file {
        let pem = pem(path)?;
        let certificates = CertificateDer::pem_slice_iter(&pem);
        roots.add_parsable_certificates(certificates.filter_map(Result::ok));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // reqwest leaves a ready configuration as it is; without this, HTTP/2 would silently never be spoken.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
