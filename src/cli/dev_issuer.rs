//! Issues tokens in dev mode, with a key that lives as long as the process.

use std::time::Duration;

use anyhow::Context;
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;

use crate::clock::Timestamp;
use crate::config::{Algorithm, Issuer, KeySource};

/// A name that nobody can own (RFC 6761 §6.3).
const NAME: &str = "https://dev-issuer.localhost/";
const AUDIENCE: &str = "token-broker-dev";
/// A working day without signing in again.
const LIFETIME: Duration = Duration::from_hours(12);

/// Signs tokens for made-up people.
pub(super) struct DevIssuer {
    key: EncodingKey,
    public: String,
}

/// A made-up person to try the broker as.
#[derive(Clone, Copy)]
pub(super) struct Person {
    pub(super) subject: &'static str,
    pub(super) role: &'static str,
    pub(super) name: &'static str,
}

pub(super) const STUDENT: Person = Person {
    subject: "dev-student",
    role: "student",
    name: "Sam",
};
pub(super) const TEACHER: Person = Person {
    subject: "dev-teacher",
    role: "teacher",
    name: "Toni",
};

impl DevIssuer {
    /// Returns an issuer with a new key.
    pub(super) fn new() -> anyhow::Result<Self> {
        let help = "the key of the dev issuer cannot be generated";
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).context(help)?;
        let private = pair.to_pkcs8v1().context(help)?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().context(help)?;
        Ok(Self {
            key: EncodingKey::from_ec_der(private.as_ref()),
            public: STANDARD.encode(public.as_ref()),
        })
    }

    /// Returns the entry by which the broker trusts this issuer.
    pub(super) fn settings(&self) -> Issuer {
        let public = &self.public;
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n");
        Issuer {
            audience: vec![AUDIENCE.to_owned()],
            role_pointer: Some("/app_metadata/role".to_owned()),
            name_pointer: Some("/user_metadata/full_name".to_owned()),
            ..Issuer::new(NAME, KeySource::Pem(pem), vec![Algorithm::ES256])
        }
    }

    /// Returns a token of `person`, valid from `now` on.
    pub(super) fn credential(&self, person: Person, now: Timestamp) -> anyhow::Result<String> {
        let claims = json!({
            "iss": NAME, "aud": AUDIENCE, "sub": person.subject,
            "iat": now.as_seconds(), "exp": now.plus(LIFETIME).as_seconds(),
            "app_metadata": { "role": person.role }, "user_metadata": { "full_name": person.name },
        });
        let header = Header::new(jsonwebtoken::Algorithm::ES256);
        jsonwebtoken::encode(&header, &claims, &self.key)
            .context("a token of the dev issuer cannot be signed")
    }
}
