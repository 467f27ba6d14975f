//! One session as it is kept, and as a row of a database.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::domain::{
    ConnectMode, EntryId, Language, Network, Origin, Party, PersonaName, Session, SessionKey,
};

/// A session, and what is needed to take back its last refresh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) session: Session,
    /// The entry of the last mint. `None` once that refresh was given back.
    pub(super) entry: Option<EntryId>,
    /// The time of the mint before the last one.
    pub(super) minted_before: Timestamp,
}

/// A session as it is stored.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct SessionRow {
    session: String,
    party: String,
    /// Separated by spaces.
    networks: String,
    persona: String,
    language: Option<String>,
    mode: String,
    origin: Option<String>,
    /// Empty once the last refresh was given back.
    entry: String,
    refreshes: u32,
    opened_at: u64,
    minted_at: u64,
    minted_before: u64,
}

impl SessionRow {
    pub(super) fn new(key: SessionKey, kept: &Kept) -> Self {
        let session = &kept.session;
        let networks: Vec<_> = session
            .networks
            .iter()
            .map(|network| network.to_text())
            .collect();
        Self {
            session: key.to_text(),
            party: session.owner.to_text(),
            networks: networks.join(" "),
            persona: session.persona.to_string(),
            language: session.language.as_ref().map(|tag| tag.as_str().to_owned()),
            mode: session.mode.as_str().to_owned(),
            origin: session.origin.as_ref().map(ToString::to_string),
            entry: kept
                .entry
                .map(|entry| entry.to_string())
                .unwrap_or_default(),
            refreshes: session.refreshes,
            opened_at: session.opened.as_millis(),
            minted_at: session.minted.as_millis(),
            minted_before: kept.minted_before.as_millis(),
        }
    }

    /// Returns the session, or `None` when a later version of this program has written the row.
    pub(super) fn read(&self) -> Option<(SessionKey, Kept)> {
        let language = self.language.as_deref().map(Language::parse);
        let origin = self.origin.as_deref().map(Origin::parse);
        let networks = self.networks.split(' ').map(Network::parse);
        let session = Session {
            persona: PersonaName::parse(&self.persona).ok()?,
            language: language.transpose().ok()?,
            mode: ConnectMode::parse(&self.mode)?,
            owner: Party::parse(&self.party)?,
            networks: networks.collect::<Option<_>>()?,
            origin: origin.transpose().ok()?,
            opened: Timestamp::from_millis(self.opened_at),
            minted: Timestamp::from_millis(self.minted_at),
            refreshes: self.refreshes,
        };
        let kept = Kept {
            session,
            entry: EntryId::parse(&self.entry),
            minted_before: Timestamp::from_millis(self.minted_before),
        };
        Some((SessionKey::parse(&self.session)?, kept))
    }
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
                mode: ConnectMode::Call,
                owner,
                networks: networks.to_vec(),
                origin: Some(Origin::parse("https://app.example.com").unwrap()),
                opened: now,
                minted: now,
                refreshes: 0,
            };
            let key = SessionKey::of(&SessionId::random());
            let kept = Kept {
                session,
                entry: Some(EntryId::new(now)),
                minted_before: now,
            };
            let row = SessionRow::new(key, &kept);
            assert_eq!(row.read(), Some((key, kept)));
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
                    persona: String::new(),
                    ..row
                },
            ];
            for row in wrong {
                assert_eq!(row.read(), None, "{row:?}");
            }
        }
    }
}
