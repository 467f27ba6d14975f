//! Owns what the algorithms of settings are called by others, and which belong together.

use crate::config::Algorithm;

/// Algorithms whose keys are of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Hmac,
    Rsa,
    Ec,
    Ed,
}

/// The algorithm that headers and key documents call `name`, exactly so written (RFC 7518 §3.1, RFC 8037 §3.1;
/// `Ed25519` is the newer name of the only `EdDSA` there is here, RFC 9864 §2.2).
pub(super) fn named(name: &str) -> Option<Algorithm> {
    Some(match name {
        "HS256" => Algorithm::Hs256,
        "HS384" => Algorithm::Hs384,
        "HS512" => Algorithm::Hs512,
        "RS256" => Algorithm::Rs256,
        "RS384" => Algorithm::Rs384,
        "RS512" => Algorithm::Rs512,
        "PS256" => Algorithm::Ps256,
        "PS384" => Algorithm::Ps384,
        "PS512" => Algorithm::Ps512,
        "ES256" => Algorithm::Es256,
        "ES384" => Algorithm::Es384,
        "EdDSA" | "Ed25519" => Algorithm::EdDsa,
        _ => return None,
    })
}

/// What it needs keys of.
pub(super) const fn family(algorithm: Algorithm) -> Family {
    match algorithm {
        Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512 => Family::Hmac,
        Algorithm::Rs256
        | Algorithm::Rs384
        | Algorithm::Rs512
        | Algorithm::Ps256
        | Algorithm::Ps384
        | Algorithm::Ps512 => Family::Rsa,
        Algorithm::Es256 | Algorithm::Es384 => Family::Ec,
        Algorithm::EdDsa => Family::Ed,
    }
}

/// What the library calls it.
pub(super) const fn library(algorithm: Algorithm) -> jsonwebtoken::Algorithm {
    use jsonwebtoken::Algorithm as Theirs;
    match algorithm {
        Algorithm::Hs256 => Theirs::HS256,
        Algorithm::Hs384 => Theirs::HS384,
        Algorithm::Hs512 => Theirs::HS512,
        Algorithm::Rs256 => Theirs::RS256,
        Algorithm::Rs384 => Theirs::RS384,
        Algorithm::Rs512 => Theirs::RS512,
        Algorithm::Ps256 => Theirs::PS256,
        Algorithm::Ps384 => Theirs::PS384,
        Algorithm::Ps512 => Theirs::PS512,
        Algorithm::Es256 => Theirs::ES256,
        Algorithm::Es384 => Theirs::ES384,
        Algorithm::EdDsa => Theirs::EdDSA,
    }
}
