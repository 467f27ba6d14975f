//! Who calls in tests: an issuer that the broker believes, and the credentials it signs.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::harness::{PAGE, START};

/// What the issuer shares with the broker.
pub const SECRET: &str = "a-secret-of-tests-that-is-long-enough-4f1d";
pub const ISSUER: &str = "https://id.example.com/";

/// A settings file in which callers must show who they are.
pub const REQUIRED: &str = r#"
[auth]
mode = "required"
[[auth.issuers]]
issuer = "https://id.example.com/"
audience = ["authenticated"]
hmac_secret = "a-secret-of-tests-that-is-long-enough-4f1d"
algorithms = ["HS256"]
role_pointer = "/app_metadata/role"
name_pointer = "/user_metadata/full_name"
"#;

/// The same, but they need not.
pub fn optional() -> String {
    REQUIRED.replace("required", "optional")
}

/// What the issuer says of somebody.
pub fn claims(subject: &str, role: &str) -> Value {
    json!({
        "iss": ISSUER, "aud": "authenticated", "sub": subject, "azp": PAGE,
        "iat": START.as_seconds(), "exp": START.as_seconds() + 40 * 24 * 3600,
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

/// A good credential of a student.
pub fn student(subject: &str) -> String {
    sign(&claims(subject, "student"))
}

/// A good credential of a teacher.
pub fn teacher(subject: &str) -> String {
    sign(&claims(subject, "teacher"))
}
