//! Owns how every use is accounted for: reserved before the mint, settled after it.

use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::spent::SpentQuota;
use super::{BrokerError, Inner};
use crate::audit::{Event, Who};
use crate::domain::{
    Caller, ClientSecret, EntryId, Intent, Kind, Outcome, PersonaName, Quota, SessionKey,
    Settlement,
};
use crate::records::{RecordsError, ReserveError};
use crate::telemetry;
use crate::upstream::MintOrder;

/// One use that is to be accounted for.
pub(super) struct Use<'a> {
    pub(super) kind: Kind,
    pub(super) caller: &'a Caller,
    pub(super) persona: &'a PersonaName,
    pub(super) session: SessionKey,
}

impl Inner {
    /// Mints what `order` says, between two lines of the ledger: nothing is minted that was not written down before, and
    /// nothing is handed out whose outcome was not.
    pub(super) async fn mint_on_record(
        &self,
        used: &Use<'_>,
        order: &MintOrder,
    ) -> Result<(EntryId, ClientSecret, Duration), BrokerError> {
        if let Some(quota) = self.spent_quota(used) {
            return Err(self.refuse_spent(used.caller, quota));
        }
        // Our own refusals write nothing: there may be very many of them.
        let turn = self.turn().await?;
        let id = self.reserve(used).await?;
        match self.obtain(order, turn).await {
            Ok((secret, took)) => {
                let outcome = Outcome::Minted {
                    expires_at: secret.expires_at,
                    model: secret.upstream_session.model.as_deref().map(Into::into),
                    upstream_request: secret.upstream_request.clone(),
                };
                self.settle(id, took, outcome).await.map_err(|error| {
                    self.note_ledger(&error);
                    BrokerError::NotSettled(error)
                })?;
                Ok((id, secret, took))
            }
            Err(BrokerError::Upstream { error, took }) => {
                let facts = error.facts();
                let code = facts.code;
                let outcome = if facts.is_definite {
                    Outcome::Failed { code }
                } else {
                    Outcome::Uncertain { code }
                };
                self.settle_if_possible(id, took, outcome).await;
                Err(BrokerError::Upstream { error, took })
            }
            Err(other) => Err(other),
        }
    }

    /// The identity's quota, if it was found used up a moment ago.
    fn spent_quota(&self, used: &Use<'_>) -> Option<SpentQuota> {
        let identity = used.caller.identity.as_deref()?;
        let spent = self.spent.of(identity.key, &*self.parts.clock);
        spent.filter(|_| used.kind == Kind::Mint)
    }

    fn refuse_spent(&self, caller: &Caller, quota: SpentQuota) -> BrokerError {
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

    async fn reserve(&self, used: &Use<'_>) -> Result<EntryId, BrokerError> {
        let (now, caller) = (self.parts.clock.now(), used.caller);
        let identity = caller.identity.as_deref();
        let id = EntryId::new(now);
        let quota = match used.kind {
            Kind::Mint => identity.map_or_else(Quota::default, |known| self.rules.quotas.of(known)),
            Kind::Refresh => Quota::default(),
        };
        let intent = Intent {
            id,
            at: now,
            kind: used.kind,
            account: identity.map(|known| known.account.clone()),
            role: identity.and_then(|known| known.role.clone()),
            persona: used.persona.clone(),
            network: caller.neighbourhood(),
            origin: caller.origin.clone(),
            session: used.session.label(),
            request_id: caller.request_id.clone(),
            quota,
        };
        match self.parts.ledger.reserve(intent).await {
            Ok(()) => Ok(id),
            Err(ReserveError::QuotaExceeded { limit, resets_at }) => {
                let quota = SpentQuota { limit, resets_at };
                if let Some(identity) = identity {
                    let now = self.parts.clock.tick();
                    self.spent.note(identity.key, quota, now);
                }
                Err(self.refuse_spent(caller, quota))
            }
            Err(ReserveError::Unavailable(error)) => {
                self.note_ledger(&error);
                Err(BrokerError::NotRecorded(error))
            }
        }
    }

    async fn settle(
        &self,
        id: EntryId,
        took: Duration,
        outcome: Outcome,
    ) -> Result<(), RecordsError> {
        let at = self.parts.clock.now();
        let settlement = Settlement {
            id,
            at,
            took,
            outcome,
        };
        self.parts.ledger.settle(settlement).await
    }

    /// For what changes nothing for the caller: an intent that stays without outcome counts as uncertain.
    async fn settle_if_possible(&self, id: EntryId, took: Duration, outcome: Outcome) {
        if let Err(error) = self.settle(id, took, outcome).await {
            self.note_ledger(&error);
        }
    }

    /// A client secret was minted that nobody gets.
    pub(super) async fn note_undelivered(&self, id: EntryId, took: Duration) {
        self.settle_if_possible(id, took, Outcome::Undelivered)
            .await;
    }

    fn note_ledger(&self, error: &RecordsError) {
        let cause = telemetry::chain(error);
        self.parts
            .audit
            .note(Event::LedgerUnavailable, json!({ "cause": cause }));
    }
}

/// What is written down of a quota that is used up.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QuotaDetails<'a> {
    policy: &'static str,
    limit: u32,
    resets_at: u64,
    #[serde(flatten)]
    who: Who<'a>,
}
