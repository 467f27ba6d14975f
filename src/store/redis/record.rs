//! Owns how a session is written down on the server.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::clock::Tick;
use crate::domain::{IdentityKey, Language, Network, Origin, Party, PersonaName, Session};

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
        network: bits(session.network),
        origin: session.origin.as_ref().map(|origin| origin.as_str().into()),
    };
    serde_json::to_string(&record).ok()
}

/// Reads what `write` and `party` wrote; `None` when it is something else.
pub(super) fn read(text: &str, whose: &str, course: Course) -> Option<Session> {
    let record: Record = serde_json::from_str(text).ok()?;
    let language = record.language.map(|tag| Language::parse(&tag));
    let origin = record.origin.map(|text| Origin::parse(&text));
    Some(Session {
        persona: PersonaName::parse(&record.persona).ok()?,
        language: language.transpose().ok()?,
        owner: read_party(whose)?,
        network: read_network(&record.network)?,
        origin: origin.transpose().ok()?,
        opened: course.opened,
        minted: course.minted,
        refreshes: course.refreshes,
    })
}

/// Whom a session belongs to, as text.
pub(super) fn party(party: Party) -> String {
    match party {
        Party::Network(network) => format!("n{}", bits(network)),
        Party::Identity(key) => format!("i{}", URL_SAFE_NO_PAD.encode(key.as_bytes())),
    }
}

/// Reads what `party` wrote.
pub(super) fn read_party(text: &str) -> Option<Party> {
    if let Some(network) = text.strip_prefix('n') {
        return read_network(network).map(Party::Network);
    }
    let key = URL_SAFE_NO_PAD.decode(text.strip_prefix('i')?).ok()?;
    let key = IdentityKey::from_bytes(key.try_into().ok()?);
    Some(Party::Identity(key))
}

fn bits(network: Network) -> String {
    format!("{:x}", network.to_bits())
}

fn read_network(text: &str) -> Option<Network> {
    Network::from_bits(u128::from_str_radix(text, 16).ok()?)
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
            let (text, whose) = (write(&session).unwrap(), party(owner));
            assert_eq!(read(&text, &whose, course), Some(session));
            for wrong in ["", "x", "n", "nzz", "i", "iAAAA"] {
                assert!(read(&text, wrong, course).is_none(), "{wrong}");
            }
            assert!(read("{}", &whose, course).is_none());
        }
    }
}
