//! Random bytes for all ids and secrets of the program.

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
