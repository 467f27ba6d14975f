//! The key behind `OpenAI-Safety-Identifier`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretSlice};

use super::random_bytes;

/// The secret that safety identifiers are derived from. The records keep it, so that identifiers are stable over
/// restarts and the same in every replica. Its `Debug` form shows nothing of it.
#[derive(Clone, Debug)]
pub struct SafetyKey(SecretSlice<u8>);

impl SafetyKey {
    /// Returns a new random key of 256 bits.
    pub fn random() -> Self {
        Self(random_bytes::<32>().to_vec().into())
    }

    /// Decodes a key that [`SafetyKey::expose_text`] encoded. Returns `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        (bytes.len() == 32).then(|| Self(bytes.into()))
    }

    /// Returns the key as text. Only the records may keep it.
    pub fn expose_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.expose())
    }

    /// Returns the key's bytes. Only the upstream's client may use them.
    pub fn expose(&self) -> &[u8] {
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_safety_key_survives_its_text_form_and_never_shows_in_debug_output() {
        let key = SafetyKey::random();
        let text = key.expose_text();
        let again = SafetyKey::parse(&text).unwrap();
        assert_eq!(again.expose(), key.expose());
        assert_ne!(SafetyKey::random().expose(), key.expose());
        assert!(!format!("{key:?}").contains(&text));
        for wrong in ["", "AAAA", &text[1..]] {
            assert!(SafetyKey::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
