//! Who calls: an issuer that the broker believes, and the credentials it signs.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use token_broker::clock::{Clock, SystemClock};

/// What the issuer shares with the broker.
pub const SECRET: &str = "canary-hmac-secret-that-is-long-enough-4f1d";
pub const ISSUER: &str = "https://id.example.com/";

/// A settings file in which callers must show who they are, and may call as often as they like.
pub const REQUIRED: &str = r#"
[auth]
mode = "required"
[[auth.issuers]]
issuer = "https://id.example.com/"
audience = ["authenticated"]
hmac_secret = "canary-hmac-secret-that-is-long-enough-4f1d"
algorithms = ["HS256"]
role_pointer = "/app_metadata/role"
name_pointer = "/user_metadata/full_name"

[limits]
token = "1000000/60s"
token_network = "1000000/60s"
identity = "100000/1h"
mints = "1000000/60s"
mints_daily = "1000000/24h"
[guard]
never_block = ["127.0.0.1"]
[upstream]
mints_per_second = 100000
max_in_flight = 100000
[server]
drain_delay = "0s"
"#;

/// Seconds since the Unix epoch.
pub fn now() -> u64 {
    SystemClock::new().now().as_seconds()
}

/// What the issuer says of somebody, for a day.
pub fn claims(subject: &str, role: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": "authenticated", "sub": subject,
        "iat": now() - 5, "exp": now() + 24 * 3600,
        "app_metadata": { "role": role }, "user_metadata": { "full_name": format!("{subject} Test") },
    })
}

pub fn sign(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

/// A good credential of a student.
pub fn student(subject: &str) -> String {
    sign(&claims(subject, "student"))
}

/// A good credential of a teacher.
pub fn teacher(subject: &str) -> String {
    sign(&claims(subject, "teacher"))
}
