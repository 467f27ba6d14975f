//! Terminates TLS in front of a server that speaks none.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Terminates TLS with the certificate in `folder`. Speaks `protocols`, the preferred one first.
pub fn tls(folder: &Path, protocols: &[&[u8]]) -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(folder.join("certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Terminates TLS before `server`, with the certificate in `folder`. Returns its address.
pub async fn tls_front(server: SocketAddr, folder: &Path, protocols: &[&[u8]]) -> SocketAddr {
    let tls = tls(folder, protocols);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(carry(stream, server, tls.clone()));
        }
    });
    address
}

async fn carry(stream: TcpStream, server: SocketAddr, tls: TlsAcceptor) {
    // A client that is killed amid its handshake is no failure.
    if let Ok(mut stream) = tls.accept(stream).await {
        let mut server = TcpStream::connect(server).await.unwrap();
        // Whoever ends the connection ends both sides.
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
    }
}
