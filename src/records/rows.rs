//! Rows on their way to a database and back: JSON arrays of objects whose members are columns.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::database::{Fault, Severity};
use super::state::{Known, State, parse_kind};
use crate::clock::Timestamp;
use crate::domain::{Account, Intent, Outcome, Settlement};

/// Encodes rows.
pub(super) fn encode<R: Serialize>(rows: &[R]) -> Result<String, Fault> {
    serde_json::to_string(rows).map_err(|error| Fault::new(Severity::Command, error))
}

/// Decodes rows.
pub(super) fn decode<R: DeserializeOwned>(text: &str) -> Result<Vec<R>, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::new(Severity::Broken, error))
}

/// Returns the moment as databases store it: they know no unsigned numbers.
pub(super) fn millis(moment: Timestamp) -> i64 {
    i64::try_from(moment.as_millis()).unwrap_or(i64::MAX)
}

/// Names one entry.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct IdRow<T = Box<str>> {
    pub(super) id: T,
}

/// Names the oldest rows from before a moment.
#[derive(Debug, Serialize)]
pub(super) struct BeforeRow {
    pub(super) before: i64,
    pub(super) most: u32,
}

/// An entry as it is read.
#[derive(Debug, Deserialize)]
struct KnownRow {
    id: Box<str>,
    at: u64,
    kind: Box<str>,
    outcome: Box<str>,
    issuer: Option<Box<str>>,
    subject: Option<Box<str>>,
    role: Option<Box<str>>,
    persona: Box<str>,
}

/// Decodes entries, with their ids.
pub(super) fn decode_known(text: &str) -> Result<Vec<(Box<str>, Known)>, Fault> {
    let rows: Vec<KnownRow> = decode(text)?;
    rows.into_iter().map(known).collect()
}

fn known(row: KnownRow) -> Result<(Box<str>, Known), Fault> {
    let (Some(kind), Some(state)) = (parse_kind(&row.kind), State::parse(&row.outcome)) else {
        let KnownRow {
            id, kind, outcome, ..
        } = row;
        let unknown = format!("entry {id} has the unknown kind {kind} or outcome {outcome}");
        return Err(Fault::new(Severity::Broken, unknown));
    };
    let known = Known {
        at: Timestamp::from_millis(row.at),
        kind,
        state,
        account: account(row.issuer, row.subject),
        role: row.role,
        persona: row.persona,
    };
    Ok((row.id, known))
}

/// Returns the account of a row's issuer and subject.
pub(super) fn account(issuer: Option<Box<str>>, subject: Option<Box<str>>) -> Option<Account> {
    issuer.zip(subject).map(|(issuer, subject)| Account {
        issuer: issuer.into(),
        subject: subject.into(),
    })
}

/// A new entry as it is written.
#[derive(Debug, Serialize)]
pub(super) struct IntentRow<'a> {
    id: &'a str,
    at: i64,
    kind: &'static str,
    outcome: &'static str,
    issuer: Option<&'a str>,
    subject: Option<&'a str>,
    role: Option<&'a str>,
    persona: &'a str,
    network: String,
    origin: Option<String>,
    session: Box<str>,
    request_id: String,
}

impl<'a> IntentRow<'a> {
    pub(super) fn new(id: &'a str, intent: &'a Intent) -> Self {
        let account = intent.account.as_ref();
        Self {
            id,
            at: millis(intent.at),
            kind: intent.kind.as_str(),
            outcome: "pending",
            issuer: account.map(|account| &*account.issuer),
            subject: account.map(|account| &*account.subject),
            role: intent.role.as_deref(),
            persona: intent.persona.as_str(),
            network: intent.network.to_string(),
            origin: intent.origin.as_ref().map(ToString::to_string),
            session: intent.session.label(),
            request_id: intent.request_id.to_string(),
        }
    }
}

/// An outcome as it is written.
#[derive(Debug, Default, Serialize)]
pub(super) struct OutcomeRow {
    id: Box<str>,
    outcome: &'static str,
    code: Option<&'static str>,
    settled_at: i64,
    latency_ms: Option<u64>,
    model: Option<Box<str>>,
    upstream_request: Option<Box<str>>,
    expires_at: Option<i64>,
}

impl OutcomeRow {
    pub(super) fn new(id: Box<str>, settlement: &Settlement) -> Self {
        let row = Self {
            id,
            outcome: settlement.outcome.as_str(),
            settled_at: millis(settlement.at),
            latency_ms: u64::try_from(settlement.took.as_millis()).ok(),
            ..Self::default()
        };
        match &settlement.outcome {
            Outcome::Minted {
                expires_at,
                model,
                upstream_request,
            } => Self {
                model: model.clone(),
                upstream_request: upstream_request.clone(),
                expires_at: Some(millis(*expires_at)),
                ..row
            },
            Outcome::Undelivered => row,
            Outcome::Failed { code } | Outcome::Uncertain { code } => Self {
                code: Some(code),
                ..row
            },
        }
    }

    /// Returns the outcome of an entry whose maker is gone.
    pub(super) fn given_up(id: Box<str>, now: Timestamp) -> Self {
        Self {
            id,
            outcome: Outcome::Uncertain { code: LEFT }.as_str(),
            code: Some(LEFT),
            settled_at: millis(now),
            ..Self::default()
        }
    }

    /// Keeps the values of an earlier outcome of the same entry where this one has none.
    pub(super) fn after(self, earlier: Self) -> Self {
        Self {
            latency_ms: self.latency_ms.or(earlier.latency_ms),
            model: self.model.or(earlier.model),
            upstream_request: self.upstream_request.or(earlier.upstream_request),
            expires_at: self.expires_at.or(earlier.expires_at),
            ..self
        }
    }
}

/// The code of entries whose maker left without a word.
const LEFT: &str = "left_pending";
