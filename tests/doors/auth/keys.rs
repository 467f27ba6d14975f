//! Keys that sign, and what they sign: written out by hand, so that anything can be written.

use std::sync::{Arc, OnceLock};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key that signs with one algorithm, which credentials call `kid`.
pub struct Signer {
    pub kid: &'static str,
    pub algorithm: &'static str,
    key: Kind,
}

enum Kind {
    Secret(Vec<u8>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
    Rsa(Arc<RsaKeyPair>),
}

/// Slow to make, so all share it.
fn shared_rsa() -> Arc<RsaKeyPair> {
    static KEY: OnceLock<Arc<RsaKeyPair>> = OnceLock::new();
    let make = || Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap());
    Arc::clone(KEY.get_or_init(make))
}

impl Signer {
    pub fn es256(kid: &'static str) -> Self {
        Self::ec(kid, "ES256", &ECDSA_P256_SHA256_FIXED_SIGNING)
    }

    pub fn es384(kid: &'static str) -> Self {
        Self::ec(kid, "ES384", &ECDSA_P384_SHA384_FIXED_SIGNING)
    }

    fn ec(
        kid: &'static str,
        algorithm: &'static str,
        curve: &'static EcdsaSigningAlgorithm,
    ) -> Self {
        let key = Kind::Ec(EcdsaKeyPair::generate(curve).unwrap());
        Self {
            kid,
            algorithm,
            key,
        }
    }

    pub fn ed(kid: &'static str) -> Self {
        let key = Kind::Ed(Ed25519KeyPair::generate().unwrap());
        Self {
            kid,
            algorithm: "EdDSA",
            key,
        }
    }

    /// All RSA signers have the same key.
    pub fn rs256(kid: &'static str) -> Self {
        let key = Kind::Rsa(shared_rsa());
        Self {
            kid,
            algorithm: "RS256",
            key,
        }
    }

    pub fn ps256(kid: &'static str) -> Self {
        let key = Kind::Rsa(shared_rsa());
        Self {
            kid,
            algorithm: "PS256",
            key,
        }
    }

    pub fn hs256(secret: impl AsRef<[u8]>) -> Self {
        let key = Kind::Secret(secret.as_ref().to_vec());
        Self {
            kid: "",
            algorithm: "HS256",
            key,
        }
    }

    /// The public half, as issuers publish it.
    pub fn jwk(&self) -> Value {
        let mut jwk = match &self.key {
            Kind::Secret(secret) => json!({ "kty": "oct", "k": encode(secret) }),
            Kind::Ec(key) => {
                let point = &key.public_key().as_ref()[1..];
                let (x, y) = point.split_at(point.len() / 2);
                let curve = if x.len() == 32 { "P-256" } else { "P-384" };
                json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
            }
            Kind::Ed(key) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key().as_ref()) })
            }
            Kind::Rsa(key) => {
                let parts = PublicKeyComponents::<Vec<u8>>::from(key.public_key());
                json!({ "kty": "RSA", "n": encode(parts.n), "e": encode(parts.e) })
            }
        };
        jwk["use"] = "sig".into();
        jwk["alg"] = self.algorithm.into();
        if !self.kid.is_empty() {
            jwk["kid"] = self.kid.into();
        }
        jwk
    }

    /// The public half in PEM (PKCS #1 for RSA), as operators write it down.
    pub fn pem(&self) -> String {
        let (label, der) = match &self.key {
            Kind::Rsa(key) => ("RSA PUBLIC KEY", key.public_key().as_ref().to_vec()),
            Kind::Ed(key) => {
                let prefix = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
                ("PUBLIC KEY", [&prefix, key.public_key().as_ref()].concat())
            }
            Kind::Ec(key) => {
                use aws_lc_rs::encoding::AsDer;
                let der: aws_lc_rs::encoding::PublicKeyX509Der<'_> =
                    key.public_key().as_der().unwrap();
                ("PUBLIC KEY", der.as_ref().to_vec())
            }
            Kind::Secret(secret) => ("SECRET", secret.clone()),
        };
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        let lines: Vec<_> = text
            .as_bytes()
            .chunks(64)
            .map(String::from_utf8_lossy)
            .collect();
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            lines.join("\n")
        )
    }

    /// The header that an honest issuer writes.
    pub fn header(&self) -> Value {
        let mut header = json!({ "alg": self.algorithm, "typ": "JWT" });
        if !self.kid.is_empty() {
            header["kid"] = self.kid.into();
        }
        header
    }

    /// An honest credential.
    pub fn token(&self, claims: &Value) -> String {
        self.with(&self.header(), claims)
    }

    /// One with this header, signed all the same.
    pub fn with(&self, header: &Value, claims: &Value) -> String {
        self.raw(&header.to_string(), &claims.to_string())
    }

    /// One of these texts, signed all the same.
    pub fn raw(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        format!("{signed}.{}", encode(self.sign(signed.as_bytes())))
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Kind::Secret(secret) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                hmac::sign(&key, message).as_ref().to_vec()
            }
            Kind::Ec(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Kind::Ed(key) => key.sign(message).as_ref().to_vec(),
            Kind::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                if self.algorithm == "PS256" {
                    key.sign(&RSA_PSS_SHA256, &random, message, &mut signature)
                        .unwrap();
                } else {
                    key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature)
                        .unwrap();
                }
                signature
            }
        }
    }
}

/// A document of these keys.
pub fn jwks(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}
