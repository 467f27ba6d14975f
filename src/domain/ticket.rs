//! Tickets: what the holder of a call shows.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use super::random_bytes;

/// Prefix of tickets. OpenAI's SDKs expect it of a client secret.
const PREFIX: &str = "ek_";
/// Random bytes in a ticket: 256 bits.
const RANDOM_BYTES: usize = 32;
/// Length of a ticket as text: the prefix and 32 bytes in base64url.
const LENGTH: usize = PREFIX.len() + 43;

/// A secret of ours that opens one call, or belongs to one. Hides itself.
#[derive(Clone, Debug)]
pub struct Ticket(SecretString);

impl Ticket {
    /// Returns a new, unguessable ticket.
    pub fn random() -> Self {
        let mut text = String::with_capacity(LENGTH);
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(random_bytes::<RANDOM_BYTES>(), &mut text);
        Self(text.into())
    }

    /// Parses a ticket as a caller sends it. Returns `None` for text that cannot be a ticket.
    pub fn parse(text: &str) -> Option<Self> {
        let body = text.strip_prefix(PREFIX).filter(|_| text.len() == LENGTH)?;
        URL_SAFE_NO_PAD.decode(body).ok()?;
        Some(Self(text.into()))
    }

    /// Returns the ticket itself, for the answer to the caller and nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the hash under which the ticket is stored: the SHA-256 digest in base64url. A ticket has 256 random bits, so
    /// a stolen database holds none.
    pub fn hash(&self) -> Box<str> {
        hash(self.expose())
    }
}

/// Returns the SHA-256 digest of `text` in base64url.
pub fn hash(text: &str) -> Box<str> {
    URL_SAFE_NO_PAD
        .encode(digest(&SHA256, text.as_bytes()))
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_read_as_it_was_written_and_hides_itself() {
        let ticket = Ticket::random();
        let again = Ticket::parse(ticket.expose()).unwrap();
        assert_eq!(again.hash(), ticket.hash());
        assert_ne!(Ticket::random().hash(), ticket.hash());
        assert!(!format!("{ticket:?}").contains(&ticket.expose()[3..]));
        for wrong in ["", "ek_", "ek_sim_abc", &ticket.expose()[1..]] {
            assert!(Ticket::parse(wrong).is_none(), "{wrong}");
        }
    }
}
