//! One session as it is stored: how it is opened, refreshed and given back.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::domain::{
    EntryId, Language, Network, Origin, Party, PersonaName, Refusal, Session, SessionKey,
};

/// A session as it is stored.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct SessionRow {
    pub(super) session: Box<str>,
    pub(super) party: Box<str>,
    /// Separated by spaces.
    networks: String,
    persona: Box<str>,
    language: Option<Box<str>>,
    origin: Option<Box<str>>,
    /// The entry of the last mint. Empty once that refresh was given back.
    entry: Box<str>,
    refreshes: u32,
    opened_at: u64,
    minted_at: u64,
    /// The time of the mint before the last one, for a refresh that is given back.
    minted_before: u64,
}

impl SessionRow {
    /// Returns the row of a session that `entry` opens.
    pub(super) fn open(key: SessionKey, session: &Session, entry: EntryId) -> Self {
        let now = session.opened.as_millis();
        Self {
            session: key.to_text().into(),
            party: session.owner.to_text().into(),
            networks: networks_text(&session.networks),
            persona: session.persona.as_str().into(),
            language: session.language.as_ref().map(|tag| tag.as_str().into()),
            origin: session.origin.as_ref().map(|origin| origin.as_str().into()),
            entry: entry.to_string().into(),
            refreshes: 0,
            opened_at: now,
            minted_at: now,
            minted_before: now,
        }
    }

    /// Returns the session, or `None` when a later version of this program has written the row.
    pub(super) fn read(&self) -> Option<Session> {
        let language = self.language.as_deref().map(Language::parse);
        let origin = self.origin.as_deref().map(Origin::parse);
        let networks = self.networks.split(' ').map(Network::parse);
        Some(Session {
            persona: PersonaName::parse(&self.persona).ok()?,
            language: language.transpose().ok()?,
            owner: Party::parse(&self.party)?,
            networks: networks.collect::<Option<_>>()?,
            origin: origin.transpose().ok()?,
            opened: Timestamp::from_millis(self.opened_at),
            minted: Timestamp::from_millis(self.minted_at),
            refreshes: self.refreshes,
        })
    }

    /// Refreshes the session for `entry`, if `judge` allows it at `now`.
    pub(super) fn advance(
        &mut self,
        entry: EntryId,
        judge: impl FnOnce(&Session) -> Result<Session, Refusal>,
    ) -> Result<Session, Refusal> {
        let after = judge(&self.read().ok_or(Refusal::Ended)?)?;
        self.networks = networks_text(&after.networks);
        self.entry = entry.to_string().into();
        self.refreshes = after.refreshes;
        self.minted_before = self.minted_at;
        self.minted_at = after.minted.as_millis();
        Ok(after)
    }

    /// Takes back the refresh that `entry` made. Returns false when another entry has refreshed the session since.
    pub(super) fn give_back(&mut self, entry: EntryId) -> bool {
        let is_last = self.is_of(entry);
        if is_last {
            self.entry = Box::default();
            self.refreshes = self.refreshes.saturating_sub(1);
            self.minted_at = self.minted_before;
        }
        is_last
    }

    /// True when `entry` made the last mint of the session.
    pub(super) fn is_of(&self, entry: EntryId) -> bool {
        *self.entry == *entry.to_string()
    }

    pub(super) const fn minted_at(&self) -> u64 {
        self.minted_at
    }

    pub(super) const fn opened_at(&self) -> u64 {
        self.opened_at
    }
}

fn networks_text(networks: &[Network]) -> String {
    let texts: Vec<_> = networks.iter().map(|network| network.to_text()).collect();
    texts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Naming, SessionId};

    #[test]
    fn a_session_is_read_as_it_was_written_and_other_text_is_not_read() {
        let networks = ["2001:db8::1", "203.0.113.7"];
        let networks = networks.map(|text| Network::of(text.parse().unwrap()));
        let account = Naming::Plain.account(&"https://id.example.com/".into(), "ana");
        for owner in [Party::Network(networks[0]), Party::Identity(account.key())] {
            let now = Timestamp::from_seconds(7);
            let session = Session {
                persona: PersonaName::parse("teacher").unwrap(),
                language: Some(Language::parse("es-MX").unwrap()),
                owner,
                networks: networks.to_vec(),
                origin: Some(Origin::parse("https://app.example.com").unwrap()),
                opened: now,
                minted: now,
                refreshes: 0,
            };
            let key = SessionKey::of(&SessionId::random());
            let row = SessionRow::open(key, &session, EntryId::new(now));
            assert_eq!(row.read(), Some(session));
            let wrong = [
                SessionRow {
                    party: "x".into(),
                    ..row.clone()
                },
                SessionRow {
                    networks: "zz".into(),
                    ..row.clone()
                },
                SessionRow {
                    persona: "".into(),
                    ..row
                },
            ];
            for row in wrong {
                assert_eq!(row.read(), None, "{row:?}");
            }
        }
    }
}
