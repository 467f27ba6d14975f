//! One call as a row of a database.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::used::UsedRow;
use crate::clock::Timestamp;
use crate::domain::{
    Account, Amount, Call, CallState, EndReason, EntryId, KeyFingerprint, Money, Network, Origin,
    Party, PersonaName, UpstreamCall, UpstreamCallId, Used,
};

/// The columns of [`CallRow`], with types.
pub(super) const CALL: &str = "entry text, upstream text, fingerprint text, party text, issuer text, subject text, \
     persona text, neighbourhood text, origin text, idempotency text, ticket text, state text, dialled_at bigint, \
     opened_at bigint, joined_at bigint, deadline_at bigint, warned bigint, ending_at bigint, ended_at bigint, \
     end_reason text, hang_up_attempts bigint, hang_up_due bigint, replica text, epoch bigint, revision bigint, \
     held_seconds bigint, held_nanodollars bigint";

macro_rules! columns_and {
    ($more:literal) => {
        concat!(
            "entry, upstream, fingerprint, party, issuer, subject, persona, neighbourhood, origin, idempotency, ticket, \
             state, dialled_at, opened_at, joined_at, deadline_at, warned, ending_at, ended_at, end_reason, \
             hang_up_attempts, hang_up_due, replica, epoch, revision, held_seconds, held_nanodollars, role, {used #}",
            $more
        )
    };
}

/// The columns of [`FoundRow`].
pub(super) const FOUND: &str = columns_and!("");

/// The same, and until when the call was surely watched.
pub(super) const CLAIMED: &str = columns_and!(", watched_until");

/// A call as it is stored. Times are in milliseconds since the Unix epoch.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct CallRow {
    pub(super) entry: String,
    upstream: Option<String>,
    fingerprint: Option<String>,
    party: String,
    issuer: Option<String>,
    subject: Option<String>,
    persona: String,
    neighbourhood: String,
    origin: Option<String>,
    idempotency: Option<Box<str>>,
    ticket: Option<Box<str>>,
    state: Cow<'static, str>,
    dialled_at: u64,
    opened_at: Option<u64>,
    joined_at: Option<u64>,
    deadline_at: u64,
    warned: u8,
    ending_at: Option<u64>,
    ended_at: Option<u64>,
    end_reason: Option<Cow<'static, str>>,
    hang_up_attempts: u32,
    hang_up_due: Option<u64>,
    replica: Box<str>,
    epoch: u32,
    revision: u64,
    held_seconds: u64,
    held_nanodollars: i64,
}

/// A call with its role and its sums of use, which its entry has.
#[derive(Deserialize)]
pub(super) struct FoundRow {
    #[serde(flatten)]
    row: CallRow,
    role: Option<Box<str>>,
    #[serde(default)]
    watched_until: Option<u64>,
    #[serde(flatten)]
    used: UsedRow,
}

impl FoundRow {
    /// Returns the call, or `None` when a later version of this program has written the row.
    pub(super) fn read(self) -> Option<Call> {
        let call = self.row.read()?;
        Some(Call {
            role: self.role,
            watched_until: self.watched_until.map(Timestamp::from_millis),
            used: self.used.read(),
            ..call
        })
    }
}

impl CallRow {
    pub(super) fn new(call: &Call) -> Self {
        let millis = |moment: Option<Timestamp>| moment.map(Timestamp::as_millis);
        let upstream = call.upstream.as_ref();
        let account = call.account.as_ref();
        Self {
            entry: call.entry.to_string(),
            upstream: upstream.map(|upstream| upstream.id.as_str().to_owned()),
            fingerprint: upstream.map(|upstream| upstream.key.as_str().to_owned()),
            party: call.owner.to_text(),
            issuer: account.map(|account| account.issuer.to_string()),
            subject: account.map(|account| account.subject.to_string()),
            persona: call.persona.to_string(),
            neighbourhood: call.neighbourhood.to_text(),
            origin: call.origin.as_ref().map(ToString::to_string),
            idempotency: call.idempotency.clone(),
            ticket: call.ticket.clone(),
            state: call.state.as_str().into(),
            dialled_at: call.dialled_at.as_millis(),
            opened_at: millis(call.opened_at),
            joined_at: millis(call.joined_at),
            deadline_at: call.deadline_at.as_millis(),
            warned: u8::from(call.is_warned),
            ending_at: millis(call.ending_at),
            ended_at: millis(call.ended_at),
            end_reason: call.end_reason.map(|reason| reason.as_str().into()),
            hang_up_attempts: call.hang_up_attempts,
            hang_up_due: millis(call.hang_up_due),
            replica: call.replica.clone(),
            epoch: call.epoch,
            revision: call.revision,
            held_seconds: call.held.seconds,
            held_nanodollars: call.held.money.as_nanos(),
        }
    }

    /// Returns the call without what its entry has of it, or `None` when a later version of this program has written the row.
    pub(super) fn read(self) -> Option<Call> {
        let moment = |millis: Option<u64>| millis.map(Timestamp::from_millis);
        let upstream = self.upstream.as_deref().map(UpstreamCallId::parse);
        let upstream = match upstream {
            Some(id) => Some(UpstreamCall {
                id: id?,
                key: KeyFingerprint::from_written(&self.fingerprint.unwrap_or_default()),
            }),
            None => None,
        };
        let end_reason = match self.end_reason {
            Some(word) => Some(EndReason::parse(&word)?),
            None => None,
        };
        let named = self.issuer.zip(self.subject);
        let origin = self.origin.as_deref().map(Origin::parse);
        Some(Call {
            entry: EntryId::parse(&self.entry)?,
            upstream,
            owner: Party::parse(&self.party)?,
            account: named.map(|(issuer, subject)| Account {
                issuer: issuer.into(),
                subject: subject.into(),
            }),
            role: None,
            persona: PersonaName::parse(&self.persona).ok()?,
            neighbourhood: Network::parse(&self.neighbourhood)?,
            origin: origin.transpose().ok()?,
            idempotency: self.idempotency,
            ticket: self.ticket,
            state: CallState::parse(&self.state)?,
            dialled_at: Timestamp::from_millis(self.dialled_at),
            opened_at: moment(self.opened_at),
            joined_at: moment(self.joined_at),
            deadline_at: Timestamp::from_millis(self.deadline_at),
            is_warned: self.warned != 0,
            ending_at: moment(self.ending_at),
            ended_at: moment(self.ended_at),
            end_reason,
            hang_up_attempts: self.hang_up_attempts,
            hang_up_due: moment(self.hang_up_due),
            replica: self.replica,
            epoch: self.epoch,
            watched_until: None,
            held: Amount {
                seconds: self.held_seconds,
                money: Money::from_nanos(self.held_nanodollars),
            },
            used: Used::default(),
            revision: self.revision,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn row(state: &str, reason: &Value) -> Option<Call> {
        let entry = EntryId::new(Timestamp::from_seconds(1)).to_string();
        let network = Network::around([192, 0, 2, 1].into());
        let row = json!({
            "entry": entry, "party": Party::Network(network).to_text(),
            "persona": "default", "neighbourhood": network.to_text(), "state": state, "dialled_at": 1, "deadline_at": 2,
            "warned": 0, "end_reason": reason, "hang_up_attempts": 0, "replica": "", "epoch": 0, "revision": 0,
            "held_seconds": 0, "held_nanodollars": 0,
        });
        serde_json::from_value::<CallRow>(row).unwrap().read()
    }

    #[test]
    fn a_row_of_a_later_version_is_passed_over_and_breaks_nothing() {
        assert!(row("ended", &"operator".into()).is_some());
        assert!(row("open", &Value::Null).is_some());
        assert!(row("ended", &"of_tomorrow".into()).is_none());
        assert!(row("paused", &Value::Null).is_none());
    }
}
