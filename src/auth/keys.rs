//! Holds the keys of an issuer, and verifies tokens with the keys that fit them.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};
use jsonwebtoken::{AlgorithmFamily, DecodingKey};

use super::AuthError;
use super::AuthError::{Forged, Rejected};
use super::compact::Compact;
use crate::domain::Algorithm;

/// Accepted sizes of RSA moduli, in bits: smaller ones are not safe (RFC 7518 §3.3), larger ones are
/// slow.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Shortest shared secret, in bytes: the size of the hash (RFC 7518 §3.2).
const MIN_SECRET_LENGTH: usize = 32;

/// Complaint about a block of a PEM text.
const NOT_PEM: &str = "one of its PEM blocks is no accepted public key: RSA from 2048 to 8192 bits, \
    P-256, P-384 or Ed25519";

/// Error for a key id that is not among the issuer's keys.
pub(super) const UNKNOWN_KEY: AuthError = Rejected("the token is signed with an unknown key");

/// A key that verifies signatures.
pub(super) struct Key {
    kid: Option<Box<str>>,
    /// Algorithms that the settings allow, the kind of key supports, and the key itself names.
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({:?}, {:?})", self.kid, self.algorithms)
    }
}

/// A public key of an accepted kind and size.
pub(super) struct Material {
    decoding: DecodingKey,
    /// Algorithms that a key of this kind supports.
    possible: &'static [Algorithm],
}

impl Material {
    /// Returns the RSA key of modulus `n` and exponent `e`.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Option<Self> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
        let components = RsaPublicKeyComponents { n, e };
        let parsed = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
        (RSA_BITS.contains(&bits) && parsed.is_ok()).then(|| Self {
            decoding: DecodingKey::from_rsa_raw_components(n, e),
            possible: AlgorithmFamily::Rsa.algorithms(),
        })
    }

    /// Returns the RSA key of a PEM text, when its size is accepted.
    fn rsa_der(decoding: DecodingKey) -> Option<Self> {
        let der = decoding.try_get_as_bytes().ok()?;
        let bits = RsaParameters::public_modulus_len(der).ok()?;
        let fits = RSA_BITS.contains(&usize::try_from(bits).ok()?);
        fits.then_some(Self {
            decoding,
            possible: AlgorithmFamily::Rsa.algorithms(),
        })
    }

    /// Returns the key of an uncompressed point on P-256 or P-384, by its size (SEC 1 §2.3.3).
    pub(super) fn point(point: &[u8]) -> Option<Self> {
        let (curve, possible): (&'static dyn VerificationAlgorithm, &[_]) = match point.len() {
            65 => (&ECDSA_P256_SHA256_FIXED, &[Algorithm::ES256]),
            97 => (&ECDSA_P384_SHA384_FIXED, &[Algorithm::ES384]),
            _ => return None,
        };
        ParsedPublicKey::new(curve, point).ok()?;
        Some(Self {
            decoding: DecodingKey::from_ec_der(point),
            possible,
        })
    }

    /// Returns an Ed25519 key.
    pub(super) fn ed(key: &[u8]) -> Option<Self> {
        (key.len() == 32 && ParsedPublicKey::new(&ED25519, key).is_ok()).then(|| Self {
            decoding: DecodingKey::from_ed_der(key),
            possible: &[Algorithm::EdDSA],
        })
    }

    /// Reads one public key in PEM.
    fn pem(text: &str) -> Option<Self> {
        let labels = [
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN RSA PUBLIC KEY-----",
        ];
        if !labels.iter().any(|label| text.starts_with(label)) {
            return None;
        }
        let pem = text.as_bytes();
        if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            return Self::point(key.try_get_as_bytes().ok()?);
        }
        if let Ok(key) = DecodingKey::from_ed_pem(pem) {
            return Self::ed(key.try_get_as_bytes().ok()?);
        }
        Self::rsa_der(DecodingKey::from_rsa_pem(pem).ok()?)
    }

    /// Returns the key for those of `allowed` that it supports; `None` when there are none.
    pub(super) fn key(self, kid: Option<Box<str>>, allowed: &[Algorithm]) -> Option<Key> {
        let fits = |algorithm: &&Algorithm| self.possible.contains(algorithm);
        let algorithms: Vec<_> = allowed.iter().filter(fits).copied().collect();
        (!algorithms.is_empty()).then_some(Key {
            kid,
            algorithms,
            decoding: self.decoding,
        })
    }
}

/// Strips leading zero bytes, which some issuers publish and the library refuses.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// All keys of an issuer.
#[derive(Debug, Default)]
pub(super) struct KeySet(Vec<Key>);

impl KeySet {
    /// Returns a set of `keys`.
    pub(super) fn of(keys: Vec<Key>) -> Self {
        Self(keys)
    }

    /// Returns the set of one shared secret.
    pub(super) fn from_secret(secret: &str, allowed: &[Algorithm]) -> Result<Self, &'static str> {
        if secret.len() < MIN_SECRET_LENGTH {
            return Err("a shared secret must have at least 32 bytes (RFC 7518 §3.2)");
        }
        Ok(Self(vec![Key {
            kid: None,
            algorithms: allowed.to_vec(),
            decoding: DecodingKey::from_secret(secret.as_bytes()),
        }]))
    }

    /// Reads public keys in PEM, one after the other. Fails when one of them is unusable: the operator
    /// meant all of them.
    pub(super) fn from_pem(text: &str, allowed: &[Algorithm]) -> Result<Self, &'static str> {
        let mut keys = Vec::new();
        let starts: Vec<_> = text
            .match_indices("-----BEGIN ")
            .map(|found| found.0)
            .collect();
        for (nth, start) in starts.iter().enumerate() {
            let end = starts.get(nth + 1).copied().unwrap_or(text.len());
            let material = Material::pem(text[*start..end].trim()).ok_or(NOT_PEM)?;
            keys.push(
                material
                    .key(None, allowed)
                    .ok_or("one of its public keys fits none of its algorithms")?,
            );
        }
        if keys.is_empty() {
            return Err("its PEM text holds no public key");
        }
        Ok(Self(keys))
    }

    /// Returns the number of keys.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether `token` may be signed with one of these keys: its key id is among them, or it
    /// has none.
    pub(super) fn knows(&self, token: &Compact<'_>) -> bool {
        match &token.kid {
            Some(kid) => self.0.iter().any(|key| key.kid.as_ref() == Some(kid)),
            None => !self.0.is_empty(),
        }
    }

    /// Verifies `token` with the keys of its key id, or, when it has none, with the issuer's only
    /// key. An issuer that publishes two keys under one id has both tried.
    pub(super) fn verify_named(
        &self,
        token: &Compact<'_>,
        with: Algorithm,
    ) -> Result<(), AuthError> {
        if token.kid.is_none() && self.0.len() > 1 {
            return Err(Rejected(
                "the token has no key id, and its issuer publishes several keys",
            ));
        }
        let is_named = |key: &&Key| token.kid.is_none() || key.kid == token.kid;
        let mut named = self.0.iter().filter(is_named).peekable();
        if named.peek().is_none() {
            return Err(UNKNOWN_KEY);
        }
        let mut fitting = named
            .filter(|key| key.algorithms.contains(&with))
            .peekable();
        if fitting.peek().is_none() {
            return Err(Rejected(
                "the token's algorithm is not the algorithm of its key",
            ));
        }
        for key in fitting {
            if token.is_signed_by(&key.decoding, with)? {
                return Ok(());
            }
        }
        Err(match token.kid {
            Some(_) => Forged("the signature does not verify under the key that the token names"),
            // The issuer may have published another key without an id since the last fetch.
            None => Rejected("the signature does not verify under the issuer's only known key"),
        })
    }

    /// Verifies `token` with any key that fits `with`. Configured keys have no ids.
    pub(super) fn verify_any(&self, token: &Compact<'_>, with: Algorithm) -> Result<(), AuthError> {
        for key in self.0.iter().filter(|key| key.algorithms.contains(&with)) {
            if token.is_signed_by(&key.decoding, with)? {
                return Ok(());
            }
        }
        Err(Forged(
            "the signature verifies under none of the issuer's keys",
        ))
    }
}

/// Returns the family of `algorithms`, which must have the same one.
pub(super) fn one_family(algorithms: &[Algorithm]) -> Result<AlgorithmFamily, &'static str> {
    let first = algorithms.first().ok_or("it has no algorithm")?.family();
    let is_alike = |other: &Algorithm| other.family() == first;
    algorithms
        .iter()
        .all(is_alike)
        .then_some(first)
        .ok_or("its algorithms are of more than one family")
}
