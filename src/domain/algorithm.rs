//! Names the signature algorithms of tokens (RFC 7518, RFC 8037).

use std::fmt;

pub use jsonwebtoken::{Algorithm, AlgorithmFamily as Family};

/// Error for a text that is not the name of an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlgorithmError;

impl fmt::Display for AlgorithmError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let families = [Family::Hmac, Family::Rsa, Family::Ec, Family::Ed];
        let all = families.iter().flat_map(Family::algorithms);
        let names: Vec<_> = all.map(|algorithm| format!("{algorithm:?}")).collect();
        write!(formatter, "must be one of {}", names.join(", "))
    }
}

impl std::error::Error for AlgorithmError {}

/// Reads the name that headers, key documents and settings use, which is case-sensitive (RFC 7518
/// §3.1). `Ed25519` is the newer name of the only `EdDSA` that is supported (RFC 9864 §2.2).
pub fn algorithm(name: &str) -> Result<Algorithm, AlgorithmError> {
    match name {
        "Ed25519" => Ok(Algorithm::EdDSA),
        name => name.parse().map_err(|_| AlgorithmError),
    }
}
