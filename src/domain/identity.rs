//! Verified identities of callers, and their names in records.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{DisplayName, Network, PersonaName};

/// Stands for the issuer of the operator's own programs, which show a service key.
pub const SERVICE_KEYS: &str = "service-key";

/// The name of an identity in records: its issuer, and its subject or a keyed hash of it. In reports, callers without
/// identity have empty names.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// `iss` of the token.
    pub issuer: Arc<str>,
    /// `sub` of the token, or a keyed hash of issuer and subject.
    pub subject: Arc<str>,
}

impl Account {
    /// Returns the account as 256 bits: a hash of issuer and subject, each with its length.
    pub fn key(&self) -> IdentityKey {
        IdentityKey(digest(&self.issuer, &self.subject))
    }
}

/// An account as 256 bits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityKey([u8; 32]);

impl IdentityKey {
    /// Returns all 256 bits.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns half of the bits, for counting.
    pub fn to_bits(self) -> u128 {
        let half = self.0.first_chunk().copied().unwrap_or_default();
        u128::from_be_bytes(half)
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("IdentityKey(…)")
    }
}

/// How records name identities.
#[derive(Clone, Debug)]
pub enum Naming {
    /// By their subject.
    Plain,
    /// By a keyed hash, so that records alone do not identify anybody.
    Pseudonymous(Arc<hmac::Key>),
}

impl Naming {
    /// Returns pseudonymous naming with `secret` as key.
    pub fn keyed(secret: &[u8]) -> Self {
        Self::Pseudonymous(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, secret)))
    }

    /// Returns the account of `subject` at `issuer`.
    pub fn account(&self, issuer: &Arc<str>, subject: &str) -> Account {
        let subject = match self {
            Self::Plain => subject.into(),
            Self::Pseudonymous(key) => {
                let tag = hmac::sign(key, &digest(issuer, subject));
                let text = URL_SAFE_NO_PAD.encode(tag.as_ref());
                format!("anon_{text}").into()
            }
        };
        Account {
            issuer: Arc::clone(issuer),
            subject,
        }
    }
}

fn digest(issuer: &str, subject: &str) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in [issuer, subject] {
        // With its length, so that no two pairs have the same bytes.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// The identity that a caller acts for, after its token was verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name of the identity in records.
    pub account: Account,
    /// The account as 256 bits.
    pub key: IdentityKey,
    /// The verified role, or the default role; `None` when there is neither.
    pub role: Option<Box<str>>,
    /// The display name.
    pub name: Option<DisplayName>,
    /// The personas that the identity may use, the default one first. Empty: the personas of its role.
    pub personas: Arc<[PersonaName]>,
}

/// Whom a session belongs to: the identity it was opened for, or else the network it was opened from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// Nobody verified: whoever calls from there.
    Network(Network),
    /// A verified identity.
    Identity(IdentityKey),
}

impl Party {
    /// As text, for where sessions are stored.
    pub fn to_text(self) -> String {
        match self {
            Self::Network(network) => format!("n{}", network.to_text()),
            Self::Identity(key) => format!("i{}", URL_SAFE_NO_PAD.encode(key.0)),
        }
    }

    /// Reads what `to_text` wrote; `None` when it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(network) = text.strip_prefix('n') {
            return Network::parse(network).map(Self::Network);
        }
        let key = URL_SAFE_NO_PAD.decode(text.strip_prefix('i')?).ok()?;
        key.try_into().ok().map(IdentityKey).map(Self::Identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(issuer: &str, subject: &str) -> Account {
        Naming::Plain.account(&issuer.into(), subject)
    }

    #[test]
    fn accounts_are_different_keys_exactly_when_issuer_or_subject_differ() {
        let key = |issuer, subject| account(issuer, subject).key();
        assert_eq!(key("https://a", "b"), key("https://a", "b"));
        assert_ne!(key("https://a", "b"), key("https://ab", ""));
        assert_ne!(key("ab", "c"), key("a", "bc"));
        assert_eq!(format!("{:?}", key("a", "b")), "IdentityKey(…)");
    }

    #[test]
    fn a_party_is_read_as_it_was_written_and_nothing_else_is_one() {
        let network = Network::of("2001:db8::1".parse().unwrap());
        let ana = account("https://id.example.com/", "ana").key();
        for party in [Party::Network(network), Party::Identity(ana)] {
            assert_eq!(Party::parse(&party.to_text()), Some(party));
        }
        for wrong in ["", "x", "n", "nzz", "i", "iAAAA"] {
            assert_eq!(Party::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_pseudonym_hides_the_subject_and_depends_on_the_secret() {
        let issuer: Arc<str> = "https://id.example.com/".into();
        let named = |secret: &[u8], subject| Naming::keyed(secret).account(&issuer, subject);
        let ana = named(b"one", "ana");
        assert_eq!(ana, named(b"one", "ana"));
        assert_ne!(ana, named(b"two", "ana"));
        assert_ne!(ana, named(b"one", "ben"));
        assert!(!ana.subject.contains("ana"));
    }
}
