//! Owns what the algorithms of settings are called by others, and which belong together.

use crate::domain::Algorithm;
pub(super) use crate::domain::Family;

/// The algorithm that headers and key documents call `name`.
pub(super) fn named(name: &str) -> Option<Algorithm> {
    Algorithm::parse(name).ok()
}

/// The kind of key that `algorithm` needs.
pub(super) const fn family(algorithm: Algorithm) -> Family {
    algorithm.family()
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
