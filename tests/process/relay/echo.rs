//! A provider that confirms every session and sends audio back as it came: the least that a relay can talk to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{SinkExt, StreamExt};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;

use crate::kit::programs::self_signed;
use crate::kit::scratch::Scratch;

/// The sessions so far.
static SESSIONS: AtomicUsize = AtomicUsize::new(0);

/// The provider.
pub struct Echo {
    pub address: SocketAddr,
    /// The file of its certificate, when it speaks TLS.
    pub certificate: Option<String>,
    open: Arc<AtomicUsize>,
    _scratch: Option<Scratch>,
}

impl Echo {
    pub async fn start() -> Self {
        Self::with(None).await
    }

    pub async fn over_tls() -> Self {
        let scratch = Scratch::new();
        self_signed(scratch.path(), "DNS:localhost,IP:127.0.0.1");
        Self::with(Some(scratch)).await
    }

    async fn with(scratch: Option<Scratch>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = scratch.as_ref().map(acceptor);
        let open = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tcp.set_nodelay(true).unwrap();
                let (tls, counted) = (tls.clone(), Arc::clone(&counted));
                tokio::spawn(async move {
                    counted.fetch_add(1, Ordering::SeqCst);
                    match tls {
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(tcp).await {
                                answer(stream).await;
                            }
                        }
                        None if wants_models(&tcp).await => list_models(tcp).await,
                        None => answer(tcp).await,
                    }
                    counted.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        let certificate = scratch.as_ref().map(|scratch| {
            let path = scratch.path().join("certificate.pem");
            path.to_str().unwrap().to_owned()
        });
        Self {
            address,
            certificate,
            open,
            _scratch: scratch,
        }
    }

    pub fn base_url(&self) -> String {
        let scheme = if self.certificate.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://localhost:{}/v1", self.address.port())
    }

    /// The connections that are up.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

fn acceptor(scratch: &Scratch) -> TlsAcceptor {
    let file = |name| scratch.path().join(name);
    let certificate = CertificateDer::from_pem_file(file("certificate.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// True for a gateway that asks which models there are.
async fn wants_models(tcp: &TcpStream) -> bool {
    let mut head = [0; 14];
    tcp.peek(&mut head).await.is_ok() && head.starts_with(b"GET /v1/models")
}

async fn list_models(mut tcp: TcpStream) {
    let list = r#"{"object":"list","data":[{"id":"gpt-realtime","object":"model"}]}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{list}",
        list.len()
    );
    // A gateway that leaves asks again.
    let _ = tcp.read(&mut [0; 4096]).await;
    let _ = tcp.write_all(answer.as_bytes()).await;
}

/// Serves one connection until its end.
async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin) {
    let Ok(mut socket) = accept_async(stream).await else {
        return;
    };
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else {
            continue;
        };
        let audio = text.split_once(r#""audio":""#).filter(|_| is_append(&text));
        let answer = match audio {
            Some((_, audio)) => {
                format!(r#"{{"type":"response.output_audio.delta","delta":"{audio}"#)
            }
            None => confirmation(&text),
        };
        if socket.send(Message::Text(answer.into())).await.is_err() {
            return;
        }
    }
}

fn is_append(text: &str) -> bool {
    text.starts_with(r#"{"type":"input_audio_buffer.append""#)
}

/// The session as it was asked for.
fn confirmation(update: &str) -> String {
    let asked: Value = serde_json::from_str(update).unwrap();
    let mut session = asked["session"].clone();
    let number = SESSIONS.fetch_add(1, Ordering::SeqCst);
    session["id"] = format!("sess_{number:020}").into();
    json!({"type": "session.updated", "event_id": "event_1", "session": session}).to_string()
}
