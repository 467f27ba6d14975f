//! Owns the issuer of `dev`: a key that lives as long as the process, and credentials signed with it.

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

/// Nobody can own this name (RFC 6761 §6.3).
const NAME: &str = "https://dev-issuer.localhost/";
const AUDIENCE: &str = "token-broker-dev";
/// A working day, without signing in again.
const LIFETIME: Duration = Duration::from_hours(12);

/// Signs credentials for people who do not exist.
pub(super) struct DevIssuer {
    key: EncodingKey,
    public: String,
}

/// Somebody to try the broker as.
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
    /// One with a new key.
    pub(super) fn new() -> anyhow::Result<Self> {
        let help = "the key of the dev issuer cannot be made";
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).context(help)?;
        let private = pair.to_pkcs8v1().context(help)?;
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().context(help)?;
        Ok(Self {
            key: EncodingKey::from_ec_der(private.as_ref()),
            public: STANDARD.encode(public.as_ref()),
        })
    }

    /// What the broker has to know to believe it.
    pub(super) fn settings(&self) -> Issuer {
        let public = &self.public;
        Issuer {
            issuer: NAME.into(),
            audience: vec![AUDIENCE.to_owned()],
            authorized_parties: Vec::new(),
            keys: KeySource::Pem(format!(
                "-----BEGIN PUBLIC KEY-----\n{public}\n-----END PUBLIC KEY-----\n"
            )),
            algorithms: vec![Algorithm::Es256],
            required_claims: Vec::new(),
            refused_claims: Vec::new(),
            role_pointer: Some("/app_metadata/role".to_owned()),
            name_pointer: Some("/user_metadata/full_name".to_owned()),
            lookup: None,
        }
    }

    /// A credential of `person`, good from `now` on.
    pub(super) fn credential(&self, person: Person, now: Timestamp) -> anyhow::Result<String> {
        let claims = json!({
            "iss": NAME, "aud": AUDIENCE, "sub": person.subject,
            "iat": now.as_seconds(), "exp": now.plus(LIFETIME).as_seconds(),
            "app_metadata": { "role": person.role }, "user_metadata": { "full_name": person.name },
        });
        let header = Header::new(jsonwebtoken::Algorithm::ES256);
        jsonwebtoken::encode(&header, &claims, &self.key)
            .context("a credential of the dev issuer cannot be signed")
    }
}
