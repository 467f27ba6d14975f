//! Owns how rows travel to a database and back: as one JSON array of arrays.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::database::{Fault, Severity};
use super::state::{Known, State, parse_kind};
use crate::clock::Timestamp;
use crate::domain::{Account, Intent, Outcome, Settlement};

/// Rows as text.
pub(super) fn encode<R: Serialize>(rows: &[R]) -> Result<String, Fault> {
    serde_json::to_string(rows).map_err(|error| Fault::new(Severity::Command, error))
}

/// Text as rows.
pub(super) fn decode<R: DeserializeOwned>(text: &str) -> Result<Vec<R>, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::new(Severity::Broken, error))
}

/// What a database counts with: it knows no unsigned numbers.
pub(super) fn millis(moment: Timestamp) -> i64 {
    i64::try_from(moment.as_millis()).unwrap_or(i64::MAX)
}

/// A row of entries as they are read.
type KnownRow = (
    Box<str>,
    u64,
    Box<str>,
    Box<str>,
    Option<Box<str>>,
    Option<Box<str>>,
    Option<Box<str>>,
    Box<str>,
);

/// Entries as they are read, with their ids.
pub(super) fn decode_known(text: &str) -> Result<Vec<(Box<str>, Known)>, Fault> {
    let rows: Vec<KnownRow> = decode(text)?;
    rows.into_iter().map(known).collect()
}

fn known(row: KnownRow) -> Result<(Box<str>, Known), Fault> {
    let (id, at, kind, state, issuer, subject, role, persona) = row;
    let (Some(kind), Some(state)) = (parse_kind(&kind), State::parse(&state)) else {
        return Err(Fault::new(
            Severity::Broken,
            format!("entry {id} is a {state} {kind}, which is none of ours"),
        ));
    };
    let known = Known {
        at: Timestamp::from_millis(at),
        kind,
        state,
        account: account(issuer, subject),
        role,
        persona,
    };
    Ok((id, known))
}

/// An account as it is read.
pub(super) fn account(issuer: Option<Box<str>>, subject: Option<Box<str>>) -> Option<Account> {
    issuer.zip(subject).map(|(issuer, subject)| Account {
        issuer: issuer.into(),
        subject: subject.into(),
    })
}

/// A new entry as it is written.
pub(super) fn intent_row<'a>(id: &'a str, intent: &'a Intent) -> impl Serialize + use<'a> {
    let account = intent.account.as_ref();
    (
        id,
        millis(intent.at),
        intent.kind.as_str(),
        account.map(|account| &*account.issuer),
        account.map(|account| &*account.subject),
        intent.role.as_deref(),
        intent.persona.as_str(),
        intent.network.to_string(),
        intent.origin.as_ref().map(ToString::to_string),
        &*intent.session,
        intent.request_id.to_string(),
    )
}

/// An outcome as it is written: id, outcome, code, when, milliseconds, model, the upstream's name for it, expiry.
#[derive(Debug, Serialize)]
pub(super) struct OutcomeRow(
    Box<str>,
    &'static str,
    Option<&'static str>,
    i64,
    Option<u64>,
    Option<Box<str>>,
    Option<Box<str>>,
    Option<i64>,
);

impl OutcomeRow {
    pub(super) fn new(id: Box<str>, settlement: &Settlement) -> Self {
        let outcome = settlement.outcome.as_str();
        let took = u64::try_from(settlement.took.as_millis()).ok();
        let (code, model, upstream_request, expires_at) = match &settlement.outcome {
            Outcome::Minted {
                expires_at,
                model,
                upstream_request,
            } => (
                None,
                model.clone(),
                upstream_request.clone(),
                Some(millis(*expires_at)),
            ),
            Outcome::Undelivered => (None, None, None, None),
            Outcome::Failed { code } | Outcome::Uncertain { code } => {
                (Some(*code), None, None, None)
            }
        };
        let at = millis(settlement.at);
        Self(
            id,
            outcome,
            code,
            at,
            took,
            model,
            upstream_request,
            expires_at,
        )
    }

    /// The outcome of an entry whose maker is gone.
    pub(super) fn given_up(id: Box<str>, now: Timestamp) -> Self {
        let state = Outcome::Uncertain { code: LEFT };
        Self(
            id,
            state.as_str(),
            Some(LEFT),
            millis(now),
            None,
            None,
            None,
            None,
        )
    }

    /// Keeps what an earlier outcome of the same entry said, where this one says nothing.
    pub(super) fn after(mut self, earlier: Self) -> Self {
        self.4 = self.4.or(earlier.4);
        self.5 = self.5.or(earlier.5);
        self.6 = self.6.or(earlier.6);
        self.7 = self.7.or(earlier.7);
        self
    }
}

/// The code of entries whose maker left without a word.
pub(super) const LEFT: &str = "left_pending";
