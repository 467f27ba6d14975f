//! Issues tokens in dev mode, with a key that lives as long as the process.

use std::time::Duration;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use crate::clock::{Clock, SystemClock};
use crate::config::{Algorithm, Config, DemoPerson, Issuer, KeySource};
use crate::domain::random_bytes;

/// A name that nobody can own (RFC 6761 §6.3).
const NAME: &str = "https://dev-issuer.localhost/";
const AUDIENCE: &str = "token-broker-dev";
/// A working day without signing in again.
const LIFETIME: Duration = Duration::from_hours(12);
/// Role of the made-up person whose quota is small.
pub(super) const STUDENT: &str = "student";
/// Made-up people to try the broker as: name and role.
const PEOPLE: [(&str, &str); 2] = [("Sam", STUDENT), ("Toni", "teacher")];

/// Makes the broker trust an issuer with a new key, and adds people with its credentials to the try-it page.
pub(super) fn vouch(config: &mut Config) -> anyhow::Result<()> {
    let secret = STANDARD.encode(random_bytes::<48>());
    let key = EncodingKey::from_secret(secret.as_bytes());
    config.auth.issuers.push(Issuer {
        audience: vec![AUDIENCE.to_owned()],
        role_pointer: Some("/app_metadata/role".to_owned()),
        name_pointer: Some("/user_metadata/full_name".to_owned()),
        ..Issuer::new(NAME, KeySource::Hmac(secret.into()), vec![Algorithm::HS256])
    });
    let now = SystemClock::new().now();
    for (name, role) in PEOPLE {
        let claims = json!({
            "iss": NAME, "aud": AUDIENCE, "sub": format!("dev-{role}"),
            "iat": now.as_seconds(), "exp": now.plus(LIFETIME).as_seconds(),
            "app_metadata": { "role": role }, "user_metadata": { "full_name": name },
        });
        let bearer = jsonwebtoken::encode(&Header::default(), &claims, &key);
        let bearer = bearer.context("a token of the dev issuer cannot be signed")?;
        config.demo.people.push(DemoPerson { name, role, bearer });
    }
    Ok(())
}
