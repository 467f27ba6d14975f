//! Holds the keys of an issuer, and verifies tokens with the keys that fit them.

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

/// A key that verifies signatures, of an accepted kind and size.
pub(super) struct Key {
    kid: Option<Box<str>>,
    /// Algorithms that it may verify.
    algorithms: Vec<Algorithm>,
    decoding: DecodingKey,
}

impl Key {
    fn new(decoding: DecodingKey, algorithms: &[Algorithm]) -> Self {
        Self {
            kid: None,
            algorithms: algorithms.to_vec(),
            decoding,
        }
    }

    /// Returns the RSA key of modulus `n` and exponent `e`.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Option<Self> {
        let (n, e) = (without_zeros(n), without_zeros(e));
        let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
        let components = RsaPublicKeyComponents { n, e };
        let parsed = components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256);
        let key = DecodingKey::from_rsa_raw_components(n, e);
        let is_accepted = RSA_BITS.contains(&bits) && parsed.is_ok();
        is_accepted.then(|| Self::new(key, AlgorithmFamily::Rsa.algorithms()))
    }

    /// Returns the key of an uncompressed point on P-256 or P-384, by its size (SEC 1 §2.3.3).
    pub(super) fn point(point: &[u8]) -> Option<Self> {
        let (curve, algorithm): (&'static dyn VerificationAlgorithm, _) = match point.len() {
            65 => (&ECDSA_P256_SHA256_FIXED, Algorithm::ES256),
            97 => (&ECDSA_P384_SHA384_FIXED, Algorithm::ES384),
            _ => return None,
        };
        ParsedPublicKey::new(curve, point).ok()?;
        Some(Self::new(DecodingKey::from_ec_der(point), &[algorithm]))
    }

    /// Returns an Ed25519 key.
    pub(super) fn ed(key: &[u8]) -> Option<Self> {
        let is_accepted = key.len() == 32 && ParsedPublicKey::new(&ED25519, key).is_ok();
        is_accepted.then(|| Self::new(DecodingKey::from_ed_der(key), &[Algorithm::EdDSA]))
    }

    /// Reads one public key in PEM.
    fn pem(text: &str) -> Option<Self> {
        let is_public = |label| text.starts_with(label);
        if !is_public("-----BEGIN PUBLIC KEY-----") && !is_public("-----BEGIN RSA PUBLIC KEY-----")
        {
            return None;
        }
        let pem = text.as_bytes();
        if let Ok(key) = DecodingKey::from_ec_pem(pem) {
            return Self::point(key.try_get_as_bytes().ok()?);
        }
        if let Ok(key) = DecodingKey::from_ed_pem(pem) {
            return Self::ed(key.try_get_as_bytes().ok()?);
        }
        let key = DecodingKey::from_rsa_pem(pem).ok()?;
        let bits = RsaParameters::public_modulus_len(key.try_get_as_bytes().ok()?).ok()?;
        let is_accepted = RSA_BITS.contains(&usize::try_from(bits).ok()?);
        is_accepted.then(|| Self::new(key, AlgorithmFamily::Rsa.algorithms()))
    }

    /// Returns the same key under an id.
    pub(super) fn named(self, kid: Option<Box<str>>) -> Self {
        Self { kid, ..self }
    }

    /// Returns the key for those of its algorithms that `may_use` accepts; `None` when there are none.
    pub(super) fn limited(mut self, may_use: impl Fn(&Algorithm) -> bool) -> Option<Self> {
        self.algorithms.retain(may_use);
        (!self.algorithms.is_empty()).then_some(self)
    }
}

/// Strips leading zero bytes, which some issuers publish and the library refuses.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// All keys of an issuer.
pub(super) enum KeySet {
    /// Written in the settings. They have no ids.
    Written(Vec<Key>),
    /// Published by the issuer, as a rule under an id each.
    Published(Vec<Key>),
}

impl KeySet {
    /// Returns the set of one shared secret.
    pub(super) fn from_secret(secret: &str, allowed: &[Algorithm]) -> Result<Self, &'static str> {
        if secret.len() < MIN_SECRET_LENGTH {
            return Err("a shared secret must have at least 32 bytes (RFC 7518 §3.2)");
        }
        let decoding = DecodingKey::from_secret(secret.as_bytes());
        Ok(Self::Written(vec![Key::new(decoding, allowed)]))
    }

    /// Reads public keys in PEM, one after the other. Fails when one of them is unusable: the operator
    /// meant all of them.
    pub(super) fn from_pem(text: &str, allowed: &[Algorithm]) -> Result<Self, &'static str> {
        const BEGIN: &str = "-----BEGIN ";
        let mut keys = Vec::new();
        for block in text.split(BEGIN).skip(1) {
            let key = Key::pem(format!("{BEGIN}{block}").trim()).ok_or(NOT_PEM)?;
            let key = key.limited(|algorithm| allowed.contains(algorithm));
            keys.push(key.ok_or("one of its public keys fits none of its algorithms")?);
        }
        if keys.is_empty() {
            return Err("its PEM text holds no public key");
        }
        Ok(Self::Written(keys))
    }

    fn all(&self) -> &[Key] {
        match self {
            Self::Written(keys) | Self::Published(keys) => keys,
        }
    }

    /// Returns the number of keys.
    pub(super) fn len(&self) -> usize {
        self.all().len()
    }

    /// Returns the keys that may have signed `token`: published ones by its key id, if it has one.
    fn named<'a>(&'a self, token: &'a Compact<'_>) -> impl Iterator<Item = &'a Key> {
        let is_any = matches!(self, Self::Written(_)) || token.kid.is_none();
        let is_named = move |key: &&Key| is_any || key.kid == token.kid;
        self.all().iter().filter(is_named)
    }

    /// Returns whether `token` may be signed with one of these keys.
    pub(super) fn knows(&self, token: &Compact<'_>) -> bool {
        self.named(token).next().is_some()
    }

    /// Verifies `token`. A published set without the token's key id must have one key only. An issuer that
    /// publishes two keys under one id has both tried.
    pub(super) fn verify(&self, token: &Compact<'_>, with: Algorithm) -> Result<(), AuthError> {
        let is_written = matches!(self, Self::Written(_));
        if !is_written && token.kid.is_none() && self.len() > 1 {
            return Err(Rejected(
                "the token has no key id, and its issuer publishes several keys",
            ));
        }
        if !self.knows(token) {
            return Err(UNKNOWN_KEY);
        }
        let mut refused = Rejected("the token's algorithm is not the algorithm of its key");
        let fits = |key: &&Key| key.algorithms.contains(&with);
        for key in self.named(token).filter(fits) {
            if token.is_signed_by(&key.decoding, with)? {
                return Ok(());
            }
            refused = match token.kid {
                _ if is_written => Forged("the signature verifies under none of the issuer's keys"),
                Some(_) => {
                    Forged("the signature does not verify under the key that the token names")
                }
                // The issuer may have published another key without an id since the last fetch.
                None => Rejected("the signature does not verify under the issuer's only known key"),
            };
        }
        Err(refused)
    }
}

/// Returns the family of `algorithms`, which must have the same one.
pub(super) fn one_family(algorithms: &[Algorithm]) -> Result<AlgorithmFamily, &'static str> {
    let first = algorithms.first().ok_or("it has no algorithm")?.family();
    let is_alike = algorithms.iter().all(|other| other.family() == first);
    is_alike
        .then_some(first)
        .ok_or("its algorithms are of more than one family")
}
