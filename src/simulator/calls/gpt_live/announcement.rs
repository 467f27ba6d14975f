//! Writes the webhook by which the provider announces a session.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::clock::Timestamp;
use crate::simulator::calls::live::token;

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
