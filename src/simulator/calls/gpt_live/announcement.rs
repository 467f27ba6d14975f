//! Writes the webhook by which the provider announces a session.

use std::io;
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

use crate::clock::Timestamp;
use crate::simulator::calls::Registry;
use crate::simulator::calls::live::token;

/// The waits before a webhook is repeated that was not taken.
const REPEATS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
];

/// Bytes of an answer that are read at most.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// The webhook `live.transport.connected`, signed by the rules of Standard Webhooks.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// The headers that sign it.
    pub headers: [(&'static str, String); 3],
    /// Its body.
    pub body: String,
}

impl Announcement {
    /// Announces the session `id`. A secret that is not base64 after `whsec_` signs as the empty one.
    pub(in crate::simulator::calls) fn of(id: &str, secret: &str, now: Timestamp) -> Self {
        let name = format!("evt_{}", token::<16>());
        let body = json!({
            "id": name,
            "object": "event",
            "created_at": now.as_seconds(),
            "type": "live.transport.connected",
            "data": {"session_id": id, "type": "webrtc"},
        });
        let (body, seconds) = (body.to_string(), now.as_seconds().to_string());
        let key = STANDARD.decode(secret.trim_start_matches("whsec_"));
        let key = hmac::Key::new(HMAC_SHA256, &key.unwrap_or_default());
        let signed = format!("{name}.{seconds}.{body}");
        let signature = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
        Self {
            headers: [
                ("webhook-id", name),
                ("webhook-timestamp", seconds),
                ("webhook-signature", format!("v1,{signature}")),
            ],
            body,
        }
    }
}

/// Sends an announcement in the background, and again when nobody takes it. A repeated webhook has the same id.
pub(super) fn send(calls: &Registry, announcement: Announcement, url: String) {
    let (clock, stop) = (calls.clock.clone(), calls.stop.clone());
    calls.tasks.spawn(async move {
        let sending = async {
            for wait in REPEATS {
                if post(&url, &announcement).await.unwrap_or(false) {
                    return;
                }
                clock.sleep(wait).await;
            }
        };
        stop.run_until_cancelled(sending).await;
    });
}

/// Sends an announcement once, over a connection of its own and without TLS. Returns whether it was taken.
async fn post(url: &str, announcement: &Announcement) -> io::Result<bool> {
    let wrong = |_| io::ErrorKind::InvalidInput;
    let url = Url::parse(url).map_err(wrong)?;
    let Announcement { headers, body } = announcement;
    let (host, path, length) = (url.authority(), url.path(), body.len());
    let signed = headers.iter();
    let signed = signed.map(|(name, value)| format!("{name}: {value}\r\n"));
    let signed: String = signed.collect();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n{signed}\r\n{body}"
    );
    let addresses = url.socket_addrs(|| None)?;
    let mut stream = TcpStream::connect(&*addresses).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
    Ok(answer.starts_with(b"HTTP/1.1 2"))
}
