//! Tickets: what opens a call, or shows who opened it.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use super::random::{parse_handle, random_handle};
use super::{Account, ConnectMode, DisplayName, EntryId, Identity, Language, Origin, PersonaName};
use crate::clock::Timestamp;

/// Prefix of tickets. OpenAI's SDKs expect it of a client secret.
const PREFIX: &str = "ek_";

/// How often the ticket of a relay can be redeemed: once, and five times more within the time of its session. Networks
/// break, and SDKs recycle their connections.
pub const RELAY_USES: u32 = 6;

/// A secret of ours that opens one call, or belongs to one. Hides itself.
#[derive(Clone, Debug)]
pub struct Ticket(SecretString);

impl Ticket {
    /// Returns a new, unguessable ticket.
    pub fn random() -> Self {
        Self(random_handle(PREFIX))
    }

    /// Parses a ticket as a caller sends it. Returns `None` for text that cannot be a ticket.
    pub fn parse(text: &str) -> Option<Self> {
        parse_handle(PREFIX, text).map(Self)
    }

    /// Returns the ticket itself, for the answer to the caller and nothing else.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// Returns the ticket in the place of a client secret, which hides itself as well.
    pub fn into_secret(self) -> SecretString {
        self.0
    }

    /// Returns the hash under which the ticket is stored: the SHA-256 digest in base64url. A ticket has 256 random bits, so
    /// a stolen database holds none.
    pub fn hash(&self) -> Box<str> {
        hash(self.expose())
    }

    /// Encrypts a name so that only the ticket can decrypt it: records that are stolen name nobody.
    pub fn seal(&self, name: &DisplayName) -> Option<Box<str>> {
        let mut text = name.as_str().as_bytes().to_vec();
        let sealed = self
            .key()?
            .seal_in_place_append_tag(nonce(), Aad::empty(), &mut text);
        sealed.ok().map(|()| URL_SAFE_NO_PAD.encode(text).into())
    }

    /// Decrypts a name that [`Ticket::seal`] encrypted.
    pub fn unseal(&self, sealed: &str) -> Option<DisplayName> {
        let mut text = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let name = self.key()?.open_in_place(nonce(), Aad::empty(), &mut text);
        DisplayName::clean(std::str::from_utf8(name.ok()?).ok()?)
    }

    /// Returns the key that the random bytes are. The hash, which is stored, does not reveal them.
    fn key(&self) -> Option<LessSafeKey> {
        let bytes = self.expose().strip_prefix(PREFIX)?;
        let bytes = URL_SAFE_NO_PAD.decode(bytes).ok()?;
        let key = UnboundKey::new(&AES_256_GCM, &bytes).ok()?;
        Some(LessSafeKey::new(key))
    }
}

/// Returns the nonce. Each key encrypts one text, so that it needs no other.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

/// A ticket as the records know it: by its hash, with what it opens and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownTicket {
    /// The hash of the ticket.
    pub hash: Box<str>,
    /// What it opens: a call or a relay.
    pub mode: ConnectMode,
    /// The account that it was minted for; `None` for a caller without identity.
    pub account: Option<Account>,
    /// The role of the account.
    pub role: Option<Box<str>>,
    /// The display name of the person, encrypted: see [`Ticket::seal`].
    pub name: Option<Box<str>>,
    /// The persona.
    pub persona: PersonaName,
    /// The language that the caller asked for.
    pub language: Option<Language>,
    /// The origin of the page that it was minted for.
    pub origin: Option<Origin>,
    /// The time at which it stops opening anything, on the database's clock. Of a relay's ticket that was redeemed: the end of
    /// the session's time.
    pub expires_at: Timestamp,
    /// How often it was redeemed.
    pub uses: u32,
    /// The entry of what it opened.
    pub entry: Option<EntryId>,
}

/// Why a ticket opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketRefusal {
    /// No ticket has that hash, or its account was signed out.
    #[error("there is no such ticket")]
    Unknown,
    /// The time of the ticket is over.
    #[error("the ticket has expired")]
    Expired,
    /// The ticket was redeemed before. If the ticket opens a relay, the relay is still up.
    #[error("the ticket was used before")]
    Used,
    /// The session that it opened has used up the limit of this name.
    #[error("the session of the ticket has used up {0}")]
    Spent(&'static str),
    /// The ticket opens something else.
    #[error("the ticket is for another mode")]
    Mode,
    /// The ticket was minted for the page of another origin.
    #[error("the ticket was minted for another origin")]
    Foreign,
}

impl KnownTicket {
    /// Checks what never changes: the ticket opens `mode`, for a page of `origin`. A request without origin comes from no
    /// page.
    pub fn admit(&self, mode: ConnectMode, origin: Option<&Origin>) -> Result<(), TicketRefusal> {
        let is_foreign = self
            .origin
            .as_ref()
            .zip(origin)
            .is_some_and(|(minted_for, shown_by)| minted_for != shown_by);
        if self.mode != mode {
            Err(TicketRefusal::Mode)
        } else if is_foreign {
            Err(TicketRefusal::Foreign)
        } else {
            Ok(())
        }
    }

    /// Checks at `now` that the ticket may still be redeemed.
    pub fn is_open(&self, now: Timestamp) -> Result<(), TicketRefusal> {
        let (is_first, is_late) = (self.uses == 0, now >= self.expires_at);
        match self.mode {
            _ if is_first && is_late => Err(TicketRefusal::Expired),
            _ if is_first => Ok(()),
            ConnectMode::Direct | ConnectMode::Call => Err(TicketRefusal::Used),
            ConnectMode::Relay if is_late => Err(TicketRefusal::Spent("max_duration")),
            ConnectMode::Relay if self.uses >= RELAY_USES => Err(TicketRefusal::Spent("redials")),
            ConnectMode::Relay => Ok(()),
        }
    }

    /// Returns the ticket after its redemption at `now`, for `entry`, which may last `lasts`.
    pub fn redeem(
        &self,
        (entry, lasts): (EntryId, Duration),
        now: Timestamp,
    ) -> Result<Self, TicketRefusal> {
        self.is_open(now)?;
        let begins = self.mode == ConnectMode::Relay && self.uses == 0;
        Ok(Self {
            uses: self.uses + 1,
            entry: Some(entry),
            expires_at: if begins {
                now.plus(lasts)
            } else {
                self.expires_at
            },
            ..self.clone()
        })
    }

    /// Returns the identity that the bearer of `ticket` acts for.
    pub fn identity(&self, ticket: &Ticket) -> Option<Arc<Identity>> {
        let account = self.account.clone()?;
        Some(Arc::new(Identity {
            key: account.key(),
            account,
            role: self.role.clone(),
            name: self.name.as_ref().and_then(|name| ticket.unseal(name)),
            // The ticket is for one persona.
            personas: Arc::default(),
        }))
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

    /// Tickets are compared by their hashes alone. Those of two tickets say nothing of how much the tickets have in common, so
    /// that the time of a comparison says nothing either.
    #[test]
    fn ti10_a_guess_that_is_almost_right_is_as_wrong_as_any_other() {
        let alike = |one: &str, other: &str| {
            let pairs = one.bytes().zip(other.bytes());
            pairs.take_while(|(one, other)| one == other).count()
        };
        let (mut near, mut far) = (0, 0);
        for _ in 0..10_000 {
            let ticket = Ticket::random();
            let text = ticket.expose();
            let (start, last) = text.split_at(text.len() - 2);
            let other = if last.starts_with('A') { "B" } else { "A" };
            let guess = Ticket::parse(&format!("{start}{other}{}", &last[1..])).unwrap();
            near += alike(&ticket.hash(), &guess.hash());
            far += alike(&ticket.hash(), &Ticket::random().hash());
        }
        // One letter in 64 is the same by chance.
        assert!(near < 400 && far < 400, "{near}, {far}");
    }

    #[test]
    fn only_the_ticket_itself_decrypts_the_name_that_was_stored_beside_its_hash() {
        let (ticket, other) = (Ticket::random(), Ticket::random());
        let name = DisplayName::clean("Ana García").unwrap();
        let sealed = ticket.seal(&name).unwrap();
        assert!(!sealed.contains("Ana"), "{sealed}");
        assert_eq!(ticket.unseal(&sealed), Some(name));
        assert_eq!(other.unseal(&sealed), None);
        assert_eq!(ticket.unseal("x"), None);
    }

    fn known(origin: Option<&str>) -> KnownTicket {
        KnownTicket {
            hash: Ticket::random().hash(),
            mode: ConnectMode::Call,
            account: None,
            role: None,
            name: None,
            persona: PersonaName::parse("teacher").unwrap(),
            language: None,
            origin: origin.map(|text| Origin::parse(text).unwrap()),
            expires_at: Timestamp::from_seconds(160),
            uses: 0,
            entry: None,
        }
    }

    #[test]
    fn ti2_ti3_a_ticket_is_redeemed_once_until_it_expires() {
        let (at, ticket) = (Timestamp::from_seconds, known(None));
        let entry = EntryId::new(at(1));
        let opens = (entry, Duration::from_mins(10));
        assert_eq!(ticket.redeem(opens, at(160)), Err(TicketRefusal::Expired));
        let used = ticket.redeem(opens, at(159)).unwrap();
        assert_eq!((used.uses, used.entry), (1, Some(entry)));
        for second in [159, 161] {
            assert_eq!(used.redeem(opens, at(second)), Err(TicketRefusal::Used));
        }
    }

    #[test]
    fn ti5_the_ticket_of_a_relay_is_redeemed_five_times_more_within_the_time_of_its_session() {
        let at = Timestamp::from_seconds;
        let mut ticket = KnownTicket {
            mode: ConnectMode::Relay,
            ..known(None)
        };
        let opens = (EntryId::new(at(1)), Duration::from_mins(10));
        assert_eq!(ticket.redeem(opens, at(160)), Err(TicketRefusal::Expired));
        for second in [150, 200, 300, 400, 500, 749] {
            ticket = ticket.redeem(opens, at(second)).unwrap();
            assert_eq!(ticket.expires_at, at(750));
            assert_eq!(
                ticket.is_open(at(750)),
                Err(TicketRefusal::Spent("max_duration"))
            );
        }
        assert_eq!(
            ticket.is_open(at(749)),
            Err(TicketRefusal::Spent("redials"))
        );
    }

    #[test]
    fn ti6_a_ticket_is_for_its_mode_and_for_pages_of_its_origin() {
        let page = |text| Origin::parse(text).unwrap();
        let (ours, theirs) = (page("https://a.example"), page("https://b.example"));
        let ticket = known(Some("https://a.example"));
        let call = ConnectMode::Call;
        assert_eq!(ticket.admit(call, Some(&ours)), Ok(()));
        assert_eq!(ticket.admit(call, None), Ok(()));
        let refused = ticket.admit(call, Some(&theirs));
        assert_eq!(refused, Err(TicketRefusal::Foreign));
        assert_eq!(known(None).admit(call, Some(&theirs)), Ok(()));
        let refused = ticket.admit(ConnectMode::Relay, Some(&ours));
        assert_eq!(refused, Err(TicketRefusal::Mode));
    }
}
