//! Refreshes: mint again under a live session.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::audited::note_persona;
use super::grant::{Act, Use};
use super::{Broker, BrokerError, Grant, Inner, Latest};
use crate::audit::Event;
use crate::domain::{Caller, Refusal, SessionId, SessionKey};
use crate::gate::Pass;

/// A client secret is handed over again only while it lives for at least this long, in seconds.
const WORTH_IT: u64 = 10;

impl Broker {
    /// Mints again under the session of `id`. Within `session.min_refresh_interval` of the last mint, returns the last client
    /// secret instead, if this replica minted it and it lives long enough: the caller may have lost it. That is no second
    /// mint. A ticket is never returned twice.
    pub async fn refresh(
        &self,
        caller: Arc<Caller>,
        id: SessionId,
        pass: Pass,
    ) -> Result<Arc<Grant>, BrokerError> {
        let key = SessionKey::of(&id);
        let (inner, owner) = (Arc::clone(&self.0), Arc::clone(&caller));
        let work = Box::pin(async move { inner.refresh(&owner, id, key).await });
        let refreshed = self.carry_through(caller, work, pass).await;
        match refreshed {
            Err(BrokerError::Refused(Refusal::TooSoon { .. })) => {
                let latest = self.0.latest.get(&key);
                let again = latest.filter(|latest| self.0.is_worth_it(latest));
                let again = again.map(|Latest { grant, .. }| {
                    note_persona(&grant.persona);
                    Grant {
                        upstream_took: Duration::ZERO,
                        ..(*grant).clone()
                    }
                });
                again.map_or(refreshed, |grant| Ok(Arc::new(grant)))
            }
            refreshed => refreshed,
        }
    }
}

impl Inner {
    /// Judges the session first, so that a refusal takes no turn at the upstream. The session then moves on before the
    /// mint, in the transaction that records it: of two refreshes at once only one mints.
    async fn refresh(
        &self,
        caller: &Arc<Caller>,
        session_id: SessionId,
        key: SessionKey,
    ) -> Result<Arc<Grant>, BrokerError> {
        let opening = self
            .sessions
            .judge(key, caller, &self.refresh_rules)
            .await?;
        let session = &opening.session;
        // A session that has outlived its persona has ended. The caller's role may have changed since.
        let agreement = self.agreement();
        let persona = agreement.personas.named(session.persona.as_str());
        let persona = persona.ok_or(BrokerError::UnknownSession)?;
        if !persona.admits(caller.role()) {
            return Err(BrokerError::PersonaNotAllowed);
        }
        let mode = persona.mode(self.rules.connect, Some(session.mode));
        let mode = mode.ok_or(BrokerError::UnknownSession)?;
        // A second refresh at this moment gets the new client secret or a refusal.
        self.latest.remove(&key);
        let grant = self
            .grant(Use {
                caller,
                persona,
                mode,
                language: session.language.as_ref(),
                lifetime: None,
                session_id,
                act: Act::Refresh,
            })
            .await?;
        self.parts.vitals.count_refresh();
        if opening.address_changed {
            let opened_from = session.networks.first().map(ToString::to_string);
            let what = json!({ "allowed": true, "openedFrom": opened_from });
            self.record(Event::SessionMismatch, caller, what);
        }
        Ok(grant)
    }

    /// True when the client secret lives long enough to be handed over again, and no other replica can have minted a
    /// later one.
    pub(super) fn is_worth_it(&self, latest: &Latest) -> bool {
        let now = self.parts.clock.tick();
        now.since(latest.since) < self.refresh_rules.min_interval
            && latest.grant.secret.seconds_left(now) >= WORTH_IT
    }
}
