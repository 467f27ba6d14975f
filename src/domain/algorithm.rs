//! Signature algorithms of credentials, and the kinds of key they need.

use std::fmt;

/// Signature algorithms (RFC 7518, RFC 8037) that credentials may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "their names are their meaning")]
pub enum Algorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

/// A kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A secret that issuer and verifier share.
    Hmac,
    /// RSA key pairs.
    Rsa,
    /// Key pairs on NIST curves.
    Ec,
    /// Key pairs on Edwards curves.
    Ed,
}

const ALL: [(&str, Algorithm); 12] = [
    ("HS256", Algorithm::Hs256),
    ("HS384", Algorithm::Hs384),
    ("HS512", Algorithm::Hs512),
    ("RS256", Algorithm::Rs256),
    ("RS384", Algorithm::Rs384),
    ("RS512", Algorithm::Rs512),
    ("PS256", Algorithm::Ps256),
    ("PS384", Algorithm::Ps384),
    ("PS512", Algorithm::Ps512),
    ("ES256", Algorithm::Es256),
    ("ES384", Algorithm::Es384),
    ("EdDSA", Algorithm::EdDsa),
];

/// Why a text is not the name of an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlgorithmError;

impl fmt::Display for AlgorithmError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ALL.map(|(name, _)| name);
        write!(formatter, "must be one of {}", names.join(", "))
    }
}

impl std::error::Error for AlgorithmError {}

impl Algorithm {
    /// Reads the name that headers and key documents use (RFC 7518 §3.1, RFC 8037 §3.1). `Ed25519` is the newer name of the
    /// only `EdDSA` that is known here (RFC 9864 §2.2).
    pub fn parse(text: &str) -> Result<Self, AlgorithmError> {
        let name = if text == "Ed25519" { "EdDSA" } else { text };
        let found = ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, found)| *found).ok_or(AlgorithmError)
    }

    /// The kind of key that signatures of this algorithm need.
    pub const fn family(self) -> Family {
        match self {
            Self::Hs256 | Self::Hs384 | Self::Hs512 => Family::Hmac,
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => {
                Family::Rsa
            }
            Self::Es256 | Self::Es384 => Family::Ec,
            Self::EdDsa => Family::Ed,
        }
    }
}
