//! The issuer that the broker believes, and the credentials that it signs.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::PAGE;

/// The secret that the issuer and the broker share.
pub const SECRET: &str = "canary-hmac-secret-that-is-long-enough-4f1d";
pub const ISSUER: &str = "https://id.example.com/";

/// A settings file in which callers must show a credential.
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
"#;

/// Settings under which every caller may call as often as it likes.
const LIMITS: &str = r#"
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

/// Returns [`REQUIRED`] with limits that no caller reaches.
pub fn unlimited() -> String {
    [REQUIRED, LIMITS].concat()
}

/// Returns [`REQUIRED`] with credentials that callers need not show.
pub fn optional() -> String {
    REQUIRED.replace("required", "optional")
}

/// Returns what the issuer says of somebody from `now` on, for so many days.
pub fn claims_at(now: u64, days: u64, (subject, role): (&str, &str)) -> Value {
    json!({
        "iss": ISSUER, "aud": "authenticated", "sub": subject, "azp": PAGE,
        "iat": now, "exp": now + days * 24 * 3600,
        "app_metadata": { "role": role }, "user_metadata": { "full_name": format!("{subject} Test") },
    })
}

pub fn sign(claims: &Value) -> String {
    sign_with(claims, SECRET)
}

pub fn sign_with(claims: &Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}
