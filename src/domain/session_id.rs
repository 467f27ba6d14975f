//! Owns the handles of sessions, and what they are called where they are stored and recorded.

use std::fmt;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use super::random_bytes;

/// Tells ours from the provider's, which begin `sess_`.
const PREFIX: &str = "rts_";
/// Random bytes in a session id: 256 bits.
const ID_BYTES: usize = 32;
/// Length of a session id as text: the prefix and 32 bytes in base64url.
const ID_LENGTH: usize = PREFIX.len() + 43;

/// The handle a caller refreshes with. Whoever holds it (and passes the binding checks) can mint: it hides itself.
#[derive(Clone, Debug)]
pub struct SessionId(SecretString);

impl SessionId {
    /// A new, unguessable one.
    pub fn random() -> Self {
        let mut text = String::with_capacity(ID_LENGTH);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(random_bytes::<ID_BYTES>(), &mut text);
        Self(text.into())
    }

    /// Reads one as a caller sends it; `None` when it cannot be one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let body = text
            .strip_prefix(PREFIX)
            .filter(|_| text.len() == ID_LENGTH)?;
        URL_SAFE_NO_PAD.decode(body).ok()?;
        Some(Self(text.into()))
    }

    /// The handle itself. For the answer to the caller, and nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// A session's place in a store: a keyed hash of its id, so that a stolen store opens nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey([u8; 32]);

impl fmt::Debug for SessionKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionKey(…)")
    }
}

impl SessionKey {
    /// All of it.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// All of it, as text.
    pub fn to_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// Reads what `to_text` wrote; `None` when it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// What records call the session: half of the key, as text.
    pub fn label(&self) -> Box<str> {
        URL_SAFE_NO_PAD.encode(&self.0[..16]).into()
    }
}

/// Turns session ids into session keys.
#[derive(Debug)]
pub struct SessionSeal(hmac::Key);

impl SessionSeal {
    /// A seal that only this process has: its sessions live as long as it does.
    pub fn random() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &random_bytes::<32>()))
    }

    /// The seal of all who know `secret`: their sessions are each other's.
    pub fn keyed(secret: &[u8]) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        // A key of its own for this purpose, so that the secret may have another one some day.
        let key = hmac::sign(&secret, b"session seal 1");
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()))
    }

    /// The key under which the session of `id` is stored.
    pub fn key(&self, id: &SessionId) -> SessionKey {
        let tag = hmac::sign(&self.0, id.expose().as_bytes());
        let mut key = [0; 32];
        key.copy_from_slice(tag.as_ref());
        SessionKey(key)
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
    fn what_cannot_be_a_session_id_is_not_looked_up() {
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
    fn a_key_says_nothing_without_the_seal() {
        let (seal, id) = (SessionSeal::random(), SessionId::random());
        assert_eq!(seal.key(&id), seal.key(&id));
        assert_ne!(seal.key(&id), SessionSeal::random().key(&id));
        assert_eq!(format!("{:?}", seal.key(&id)), "SessionKey(…)");
        let text = seal.key(&id).to_text();
        assert_eq!(SessionKey::parse(&text), Some(seal.key(&id)));
        assert_eq!(SessionKey::parse(&text[1..]), None);
    }

    #[test]
    fn who_knows_the_secret_has_the_same_seal_and_nobody_else() {
        let (seal, id) = (SessionSeal::keyed(b"one"), SessionId::random());
        assert_eq!(seal.key(&id), SessionSeal::keyed(b"one").key(&id));
        assert_ne!(seal.key(&id), SessionSeal::keyed(b"two").key(&id));
    }
}
