//! Session ids, and the keys under which sessions are stored.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use super::random::{parse_handle, random_handle};

/// Prefix of session ids. The provider's ids begin with `sess_`.
const PREFIX: &str = "rts_";

/// The handle that a caller refreshes a session with. Whoever holds it, and passes the binding checks, can mint: its
/// `Debug` form shows nothing of it.
#[derive(Clone, Debug)]
pub struct SessionId(SecretString);

impl SessionId {
    /// Returns a new, unguessable id.
    pub fn random() -> Self {
        Self(random_handle(PREFIX))
    }

    /// Parses an id as a caller sends it. Returns `None` for text that cannot be a session id.
    pub fn parse(text: &str) -> Option<Self> {
        parse_handle(PREFIX, text).map(Self)
    }

    /// Returns the id itself, for the answer to the caller and nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// The name under which a session is stored: the SHA-256 of its id. An id has 256 random bits, so a stolen database
/// opens no session, and no key is needed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey([u8; 32]);

impl fmt::Debug for SessionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionKey(…)")
    }
}

impl SessionKey {
    /// The key that no other key comes before.
    pub const LEAST: Self = Self([0; 32]);

    /// Returns the key of the session that `id` opens.
    pub fn of(id: &SessionId) -> Self {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, id.expose().as_bytes()).as_ref());
        Self(key)
    }

    /// Returns the whole key as text.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Decodes a key that [`SessionKey::to_text`] encoded. Returns `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// Returns the session's name in entries: half of the key, as text.
    pub fn label(&self) -> Box<str> {
        URL_SAFE_NO_PAD.encode(&self.0[..16]).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_ids_are_unguessable_and_hide_themselves() {
        let id = SessionId::random();
        assert!(SessionId::parse(id.expose()).is_some());
        assert!(!id.expose().starts_with("sess_"));
        assert!(!format!("{id:?}").contains(id.expose()));
        let ids: std::collections::HashSet<_> = (0..100_000)
            .map(|_| SessionId::random().expose().to_owned())
            .collect();
        assert_eq!(ids.len(), 100_000);
    }

    #[test]
    fn text_that_cannot_be_a_session_id_is_rejected_without_a_look_up() {
        let real = SessionId::random();
        for wrong in [
            "",
            "rts_",
            "sess_abc",
            &real.expose()[1..],
            &format!("{}A", real.expose()),
            &"é".repeat(47),
        ] {
            assert!(SessionId::parse(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn a_session_key_is_the_sha_256_of_the_id_and_shows_nothing_of_it() {
        let id = SessionId::parse(&format!("{PREFIX}{}", "A".repeat(43))).unwrap();
        let key = SessionKey::of(&id);
        // printf 'rts_%s' AAAA… | openssl dgst -sha256 -binary | base64url
        assert_eq!(key.to_text(), "XKxCv2w5HP37QIav5HxMcsK-VbR4Rvsk8h3Rv69VhVA");
        assert_ne!(key, SessionKey::of(&SessionId::random()));
        assert_eq!(format!("{key:?}"), "SessionKey(…)");
        assert_eq!(SessionKey::parse(&key.to_text()), Some(key));
        assert_eq!(SessionKey::parse(&key.to_text()[1..]), None);
        assert!(key.to_text().starts_with(&key.label()[..20]));
    }
}
