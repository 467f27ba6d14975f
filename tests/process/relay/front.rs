//! Relays behind the real nginx, and through a proxy on the way to the provider.

use std::sync::Arc;

use serde_json::json;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::super::nginx_front::{Front, HOST, over_tls};
use super::{Client, left, received};
use crate::kit::answer::Answer;
use crate::kit::connect_proxy::ConnectProxy;
use crate::kit::executable::Launch;
use crate::kit::http::trusting;
use crate::kit::provider::simulator;

/// A client that connects to nginx over TLS, as browsers do.
async fn through(front: &Front, path: &str) -> Client<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(front.https).await.unwrap();
    let connector = TlsConnector::from(Arc::new(trusting(Some(&front.nginx.certificate()))));
    let tls = connector.connect(HOST.try_into().unwrap(), tcp).await;
    let url = front.url(path).replace("https://", "wss://");
    let request = url.into_client_request().unwrap();
    Client(client_async(request, tls.unwrap()).await.unwrap().0)
}

#[tokio::test]
async fn relays_pass_the_real_nginx_with_their_events_and_their_close_codes() {
    let front = Front::new().await;
    for path in ["/realtime", "/v1/realtime?persona=default"] {
        let mut client = through(&front, path).await;
        client.hear("session.created").await;
        client.turn().await;
        let audio = "A".repeat(1024 * 1024);
        let append = json!({"type": "input_audio_buffer.append", "audio": audio});
        client.say(&append).await;
        client.turn().await;
        let frame = CloseFrame {
            code: 4000.into(),
            reason: "bye".into(),
        };
        client.0.close(Some(frame)).await.unwrap();
        assert_eq!(client.end().await.0, Some((4000, "bye".to_owned())));
    }
    // What is refused before the upgrade keeps its status and its body.
    let plain = Answer::to(front.get("/v1/realtime")).await;
    plain.is(400, "bad_request");
    assert_eq!(plain.json["error"]["param"], "Upgrade");
}

#[tokio::test]
async fn relays_reach_the_provider_through_the_proxy() {
    let simulator = simulator(&[]).await;
    let (_nginx, base_url, certificate) = over_tls(&simulator).await;
    let base_url = base_url.replace("localhost", "api.provider.test");
    let proxy = ConnectProxy::start(None).await;
    let launch = Launch::of(&["serve"]).towards(&base_url);
    let launch = launch.set("upstream.proxy", &proxy.url());
    let broker = launch.set("upstream.ca_file", &certificate).start().await;
    let mut client = Client::of(&broker).await;
    client.turn().await;
    client.0.close(None).await.unwrap();
    left(&simulator).await;
    assert_eq!(received(&simulator).len(), 1);
    let asked = proxy.requests();
    assert!(
        !asked.is_empty()
            && asked
                .iter()
                .all(|line| line.starts_with("CONNECT api.provider.test:")),
        "{asked:?}"
    );
}
