//! Owns how a session is written down on the server.

use serde::{Deserialize, Serialize};

use crate::clock::Tick;
use crate::domain::{Language, Network, Origin, Party, PersonaName, Session};

/// What a session is, without whose, when and how often.
#[derive(Serialize, Deserialize)]
struct Record {
    persona: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    language: Option<String>,
    network: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
}

/// When a session was opened and when it last minted, on this process' clock, and how often it was refreshed.
#[derive(Clone, Copy)]
pub(super) struct Course {
    pub(super) opened: Tick,
    pub(super) minted: Tick,
    pub(super) refreshes: u32,
}

/// Writes a session down. `None` never happens: all of it is plain text.
pub(super) fn write(session: &Session) -> Option<String> {
    let record = Record {
        persona: session.persona.as_str().into(),
        language: session
            .language
            .as_ref()
            .map(|language| language.as_str().into()),
        network: session.network.to_text(),
        origin: session.origin.as_ref().map(|origin| origin.as_str().into()),
    };
    serde_json::to_string(&record).ok()
}

/// Reads what `write` wrote, of a session of `owner`; `None` when it is something else.
pub(super) fn read(text: &str, owner: Party, course: Course) -> Option<Session> {
    let record: Record = serde_json::from_str(text).ok()?;
    let language = record.language.map(|tag| Language::parse(&tag));
    let origin = record.origin.map(|text| Origin::parse(&text));
    Some(Session {
        persona: PersonaName::parse(&record.persona).ok()?,
        language: language.transpose().ok()?,
        owner,
        network: Network::parse(&record.network)?,
        origin: origin.transpose().ok()?,
        opened: course.opened,
        minted: course.minted,
        refreshes: course.refreshes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Naming;

    #[test]
    fn what_was_written_is_read_again_and_nothing_else_is() {
        let course = Course {
            opened: Tick::from_nanos(1),
            minted: Tick::from_nanos(2),
            refreshes: 7,
        };
        let network = Network::of("2001:db8::1".parse().unwrap());
        let account = Naming::Plain.account(&"https://id.example.com/".into(), "ana");
        for owner in [Party::Network(network), Party::Identity(account.key())] {
            let session = Session {
                persona: PersonaName::parse("teacher").unwrap(),
                language: Some(Language::parse("es-MX").unwrap()),
                owner,
                network,
                origin: Some(Origin::parse("https://app.example.com").unwrap()),
                opened: course.opened,
                minted: course.minted,
                refreshes: course.refreshes,
            };
            let text = write(&session).unwrap();
            assert_eq!(read(&text, owner, course), Some(session));
            let elsewhere = text.replace(&network.to_text(), "zz");
            for wrong in ["", "{}", "[]", &text[1..], &elsewhere] {
                assert!(read(wrong, owner, course).is_none(), "{wrong}");
            }
        }
    }
}
