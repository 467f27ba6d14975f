//! Names a call at the provider, and the API key that created it.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};

use crate::provider::Dialect;

/// How the id of a Realtime call begins.
const CALL: &str = "rtc_";
/// How the id of a relay's session begins.
const RELAY: &str = "sess_";
/// How the id of a GPT-Live session usually begins.
const LIVE: &str = "live_";
/// Stands before the id of a GPT-Live session that begins otherwise, so that no id means two things.
const OTHER_LIVE: &str = "live.";
/// The longest id of a call that is accepted, in bytes.
const MAX_LENGTH: usize = 128;
/// Bytes of the digest that name a key. Enough to tell apart the few keys of one operator.
const FINGERPRINT_BYTES: usize = 8;

/// The provider's id of a call, or of a relay's session. Starts with `rtc_`, `sess_`, `live_` or `live.`, and holds letters,
/// digits, `_` and `-` only: it becomes part of paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamCallId(Box<str>);

impl UpstreamCallId {
    /// Returns the id in `text`, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut kinds = [CALL, RELAY, LIVE, OTHER_LIVE].into_iter();
        let name = kinds.find_map(|kind| text.strip_prefix(kind))?;
        let whole = text.strip_prefix(OTHER_LIVE).unwrap_or(text);
        (is_plain(whole) && !name.is_empty()).then(|| Self(text.into()))
    }

    /// Returns the id of the GPT-Live session that the provider calls `text`, if that may become part of a path.
    pub fn of_live(text: &str) -> Option<Self> {
        is_plain(text).then(|| {
            Self::parse(text)
                .filter(Self::is_live)
                .unwrap_or_else(|| Self(format!("{OTHER_LIVE}{text}").into()))
        })
    }

    /// Returns the id as callers and records write it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the id as the provider writes it.
    pub fn as_provider_writes(&self) -> &str {
        self.0.strip_prefix(OTHER_LIVE).unwrap_or(&self.0)
    }

    /// Returns how the call speaks with the provider.
    pub fn dialect(&self) -> Dialect {
        if self.is_live() {
            Dialect::Live
        } else {
            Dialect::Realtime
        }
    }

    /// True when this names a GPT-Live session.
    pub fn is_live(&self) -> bool {
        self.0.starts_with(LIVE) || self.0.starts_with(OTHER_LIVE)
    }

    /// True when this names the session of a relay. Only who holds its sockets can end it.
    pub fn is_of_relay(&self) -> bool {
        self.0.starts_with(RELAY)
    }

    /// True when the upstream session `session` is the one of this call. The provider names both alike: `rtc_u0_A1` is the call
    /// of `sess_u0_A1`. A GPT-Live session has one id.
    pub fn is_of(&self, session: &str) -> bool {
        match self.0.strip_prefix(CALL) {
            Some(name) => session.strip_prefix(RELAY) == Some(name),
            None => self.is_live() && self.as_provider_writes() == session,
        }
    }
}

/// True for one to [`MAX_LENGTH`] letters, digits, `_` and `-`.
fn is_plain(id: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=MAX_LENGTH).contains(&id.len()) && id.bytes().all(is_plain)
}

/// A name of an API key that does not tell the key: the first 8 bytes of its SHA-256 digest, in hex.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyFingerprint(Box<str>);

impl KeyFingerprint {
    /// Returns the fingerprint of `key`.
    pub fn of(key: &str) -> Self {
        let digest = digest(&SHA256, key.as_bytes());
        let mut text = String::new();
        for byte in digest.as_ref().iter().take(FINGERPRINT_BYTES) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text.into())
    }

    /// Returns the fingerprint that was written as `text`.
    pub fn from_written(text: &str) -> Self {
        Self(text.into())
    }

    /// Returns the fingerprint as it is written in records.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A call at the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamCall {
    /// The id of the call.
    pub id: UpstreamCallId,
    /// The key that created the call. The provider knows the call by this key only.
    pub key: KeyFingerprint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_plain_and_bounded() {
        let longest = format!("rtc_{}", "a".repeat(MAX_LENGTH - 4));
        for id in [
            "rtc_u0_A-1",
            "sess_A1",
            "live_u1_A",
            "live.sess_A1",
            longest.as_str(),
        ] {
            assert_eq!(UpstreamCallId::parse(id).unwrap().as_str(), id);
        }
        let too_long = format!("{longest}a");
        for wrong in [
            "", "rtc_", "sess_", "ek_1", "rtc_a/b", "rtc_a b", "rtc_ä", "live_", "live.",
            "live.a.b", &too_long,
        ] {
            assert_eq!(UpstreamCallId::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_session_of_gpt_live_has_any_plain_id_and_is_never_taken_for_another_call() {
        let longest = "a".repeat(MAX_LENGTH);
        for (id, name) in [
            ("live_u1_A", "live_u1_A"),
            ("sess_A1", "live.sess_A1"),
            ("rtc_A1", "live.rtc_A1"),
            ("live_", "live.live_"),
            ("-", "live.-"),
            (&longest, &format!("live.{longest}")),
        ] {
            let read = UpstreamCallId::of_live(id).unwrap();
            assert_eq!((read.as_str(), read.as_provider_writes()), (name, id));
            assert!(read.is_live() && !read.is_of_relay() && read.is_of(id));
            assert_eq!(UpstreamCallId::parse(name), Some(read));
        }
        for wrong in [
            "",
            "..",
            "a/b",
            "a?b",
            "a#b",
            "%2f",
            "https://a",
            &"a".repeat(129),
        ] {
            assert_eq!(UpstreamCallId::of_live(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_call_and_its_session_share_their_name() {
        let id = UpstreamCallId::parse("rtc_u0_A1").unwrap();
        assert!(id.is_of("sess_u0_A1"));
        for other in ["sess_u0_A2", "rtc_u0_A1", "u0_A1", "sess_", ""] {
            assert!(!id.is_of(other), "{other}");
        }
    }

    #[test]
    fn a_fingerprint_is_stable_and_does_not_tell_the_key() {
        let fingerprint = KeyFingerprint::of("sk-test");
        assert_eq!(fingerprint, KeyFingerprint::of("sk-test"));
        assert_ne!(fingerprint, KeyFingerprint::of("sk-other"));
        assert_eq!(fingerprint.as_str().len(), 2 * FINGERPRINT_BYTES);
        assert_eq!(
            KeyFingerprint::from_written(fingerprint.as_str()),
            fingerprint
        );
    }
}
