//! Random bytes for all ids and secrets of the program.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

/// Random bytes in a handle: 256 bits, which nobody guesses.
const HANDLE: usize = 32;
/// Length of these bytes in base64url.
const ENCODED: usize = 43;

/// Returns `N` bytes of the cryptographic generator.
///
/// # Panics
/// When the operating system has no randomness. Nothing safe can be done without it.
#[expect(clippy::disallowed_methods, reason = "this is the owner of randomness")]
#[expect(
    clippy::expect_used,
    reason = "without randomness every identifier would be guessable"
)]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system provides randomness");
    bytes
}

/// Returns a new handle: `prefix` and 256 random bits.
pub(super) fn random_handle(prefix: &str) -> SecretString {
    let mut text = String::with_capacity(prefix.len() + ENCODED);
    text.push_str(prefix);
    URL_SAFE_NO_PAD.encode_string(random_bytes::<HANDLE>(), &mut text);
    text.into()
}

/// Returns the text if it can be a handle with this prefix.
pub(super) fn parse_handle(prefix: &str, text: &str) -> Option<SecretString> {
    let body = text
        .strip_prefix(prefix)
        .filter(|body| body.len() == ENCODED)?;
    URL_SAFE_NO_PAD.decode(body).ok()?;
    Some(text.into())
}
