//! Accounting: every use is reserved before the mint and settled after it.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::{BrokerError, Grant, IfLeft, Inner};
use crate::audit::{Event, Who};
use crate::domain::{
    Caller, ClientSecret, EntryId, Intent, Kind, Outcome, PersonaName, Quota, Session,
    SessionChange, SessionKey, Settlement,
};
use crate::records::{Advance, Dated, Exceeded, RecordsError, ReserveError};
use crate::telemetry;
use crate::upstream::MintOrder;

/// One use that is to be accounted for.
pub(super) struct Use<'a> {
    pub(super) caller: &'a Arc<Caller>,
    pub(super) persona: &'a PersonaName,
    pub(super) session: SessionKey,
    pub(super) act: Act,
}

/// What the use does to its session.
pub(super) enum Act {
    /// Mints a client secret, and opens the session if there is one to be refreshed later.
    Mint(Option<Box<Session>>),
    /// Refreshes the session.
    Refresh,
}

impl Act {
    const fn kind(&self) -> Kind {
        match self {
            Self::Mint(_) => Kind::Mint,
            Self::Refresh => Kind::Refresh,
        }
    }
}

impl Inner {
    /// Mints what `order` says, between two changes of the records: nothing is minted that was not recorded before, and
    /// nothing is delivered whose outcome was not. The session opens with the outcome of its mint.
    pub(super) async fn mint_on_record(
        &self,
        used: Use<'_>,
        order: &MintOrder,
    ) -> Result<(EntryId, ClientSecret, Duration), BrokerError> {
        if let Some(quota) = self.spent_quota(&used) {
            return Err(self.refuse_spent(used.caller, quota));
        }
        // Refusals of our own write nothing: there may be very many of them.
        let turn = self.turn().await?;
        let id = self.reserve(&used).await?;
        match self.obtain(order, turn).await {
            Ok((secret, took)) => {
                let outcome = Outcome::Minted {
                    expires_at: secret.expires_at,
                    model: secret.upstream_session.model.as_deref().map(Into::into),
                    upstream_request: secret.upstream_request.clone(),
                };
                self.settle_minted(id, took, (outcome, used)).await?;
                Ok((id, secret, took))
            }
            Err(BrokerError::Upstream { error, took }) => {
                let facts = error.facts();
                let code = facts.code;
                let (outcome, session) = if facts.is_definite {
                    (Outcome::Failed { code }, given_back(&used))
                } else {
                    (Outcome::Uncertain { code }, SessionChange::Keep)
                };
                self.settle_if_possible(id, took, (outcome, session)).await;
                Err(BrokerError::Upstream { error, took })
            }
            Err(other) => Err(other),
        }
    }

    /// Records a mint that succeeded, and opens its session in the same transaction.
    async fn settle_minted(
        &self,
        id: EntryId,
        took: Duration,
        (outcome, used): (Outcome, Use<'_>),
    ) -> Result<(), BrokerError> {
        let key = used.session;
        let change = match used.act {
            Act::Mint(Some(session)) => SessionChange::Open {
                key,
                most: self.rules.sessions.of(session.owner),
                session,
            },
            Act::Mint(None) | Act::Refresh => SessionChange::Keep,
        };
        let settled = self.settle(id, took, (outcome, change)).await;
        let opened = settled.map_err(|error| {
            self.note_records(&error);
            BrokerError::NotSettled(error)
        })?;
        if let Some(opened) = opened {
            self.sessions.opened(key, opened);
        }
        Ok(())
    }

    /// Returns the identity's quota, if it was found used up a moment ago.
    fn spent_quota(&self, used: &Use<'_>) -> Option<Exceeded> {
        let identity = used.caller.identity.as_deref()?;
        let spent = self.spent.of(identity.key, &*self.parts.clock);
        spent.filter(|_| used.act.kind() == Kind::Mint)
    }

    fn refuse_spent(&self, caller: &Caller, quota: Exceeded) -> BrokerError {
        let details = || QuotaDetails {
            policy: "sessions_per_month",
            limit: quota.limit,
            resets_at: quota.resets_at.as_millis(),
            who: caller.into(),
        };
        self.parts
            .audit
            .record(Event::QuotaExceeded, caller, details);
        BrokerError::QuotaExceeded {
            wait: quota.resets_at.since(self.parts.clock.now()),
        }
    }

    /// Records a use that is about to happen. A refresh moves its session on in the same transaction.
    async fn reserve(&self, used: &Use<'_>) -> Result<EntryId, BrokerError> {
        let (intent, key) = (self.intent(used), used.session);
        let id = intent.id;
        let reserved = match used.act {
            Act::Mint(_) => self.parts.records.reserve(intent).await,
            Act::Refresh => {
                let asked = Advance {
                    caller: Arc::clone(used.caller),
                    rules: self.rules.refresh,
                };
                let moved = self.parts.records.advance(intent, asked).await;
                moved.map(|moved| self.sessions.learn(key, moved))
            }
        };
        reserved.map(|()| id).map_err(|error| match error {
            ReserveError::QuotaExceeded(quota) => {
                if let Some(identity) = used.caller.identity.as_deref() {
                    let now = self.parts.clock.tick();
                    self.spent.note(identity.key, quota, now);
                }
                self.refuse_spent(used.caller, quota)
            }
            ReserveError::Unknown => {
                self.sessions.forget(key);
                BrokerError::UnknownSession
            }
            ReserveError::Refused(refusal) => {
                // What the cache knows of the session is out of date.
                self.sessions.forget(key);
                BrokerError::Refused(refusal)
            }
            ReserveError::Unavailable(error) => {
                self.note_records(&error);
                BrokerError::NotRecorded(error)
            }
        })
    }

    fn intent(&self, used: &Use<'_>) -> Intent {
        let (now, caller, kind) = (self.parts.clock.now(), used.caller, used.act.kind());
        let identity = caller.identity.as_deref();
        let quota = match kind {
            Kind::Mint => identity.map_or_else(Quota::default, |known| self.rules.quotas.of(known)),
            Kind::Refresh => Quota::default(),
        };
        Intent {
            id: EntryId::new(now),
            at: now,
            kind,
            account: identity.map(|known| known.account.clone()),
            role: identity.and_then(|known| known.role.clone()),
            persona: used.persona.clone(),
            network: caller.neighbourhood(),
            origin: caller.origin.clone(),
            session: used.session,
            request_id: caller.request_id.clone(),
            quota,
        }
    }

    async fn settle(
        &self,
        id: EntryId,
        took: Duration,
        (outcome, session): (Outcome, SessionChange),
    ) -> Result<Option<Dated>, RecordsError> {
        let settlement = Settlement {
            id,
            at: self.parts.clock.now(),
            took,
            outcome,
            session,
        };
        self.parts.records.settle(settlement).await
    }

    /// Settles a use whose caller gets the same answer either way. An intent that stays without outcome counts as
    /// uncertain.
    async fn settle_if_possible(
        &self,
        id: EntryId,
        took: Duration,
        change: (Outcome, SessionChange),
    ) {
        if let Err(error) = self.settle(id, took, change).await {
            self.note_records(&error);
        }
    }

    /// Records that nobody got the client secret.
    pub(super) async fn note_undelivered(&self, grant: &Grant, if_left: IfLeft) {
        let session = match if_left {
            IfLeft::Close => SessionChange::Close(SessionKey::of(&grant.session_id)),
            IfLeft::Keep => SessionChange::Keep,
        };
        let change = (Outcome::Undelivered, session);
        self.settle_if_possible(grant.entry, grant.upstream_took, change)
            .await;
    }

    pub(super) fn note_records(&self, error: &RecordsError) {
        let cause = telemetry::chain(error);
        self.parts
            .audit
            .note(Event::LedgerUnavailable, json!({ "cause": cause }));
    }
}

/// Returns the change that gives a refresh back which minted nothing.
const fn given_back(used: &Use<'_>) -> SessionChange {
    match used.act {
        Act::Mint(_) => SessionChange::Keep,
        Act::Refresh => SessionChange::GiveBack(used.session),
    }
}

/// The details of a refusal by quota, for the audit log.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QuotaDetails<'a> {
    policy: &'static str,
    limit: u32,
    resets_at: u64,
    #[serde(flatten)]
    who: Who<'a>,
}
