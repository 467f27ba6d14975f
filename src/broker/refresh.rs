//! Owns how a client secret is minted again under a live session.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::account::Use;
use super::{Broker, BrokerError, Grant, IfLeft, Inner};
use crate::audit::Event;
use crate::domain::{
    Caller, ClientSecret, EntryId, Kind, Opening, Origin, Persona, Refusal, Session, SessionId,
    SessionKey,
};
use crate::gate::Used;
use crate::store::{Advance, Stored};
use crate::upstream::MintOrder;

impl Broker {
    /// Mints again under the session of `id`.
    pub async fn refresh(&self, caller: Arc<Caller>, id: SessionId) -> Result<Grant, BrokerError> {
        let inner = Arc::clone(&self.0);
        let work = async move { inner.refresh(&caller, id).await };
        self.carry_through(work, IfLeft::Keep).await
    }
}

impl Inner {
    /// The session moves on before the mint, in the step that reads it: of two refreshes at once only one gets further.
    async fn refresh(&self, caller: &Caller, session_id: SessionId) -> Result<Grant, BrokerError> {
        let key = self.seal.key(&session_id);
        let ripeness = self.rules.refresh.ripe_for(caller);
        let found = self.parts.store.advance(key, ripeness).await;
        let found = found.map_err(BrokerError::NotLookedUp)?;
        let found = found.ok_or(BrokerError::UnknownSession)?;
        let granted = match self.judge(caller, &found) {
            Ok(opening) => self.refresh_as(caller, (session_id, key), opening).await,
            Err(refusal) => self.refused(caller, key, refusal),
        };
        let is_in_vain = granted
            .as_ref()
            .is_err_and(|error| error.used() != Used::Mint);
        if found.moved && is_in_vain {
            self.give_back(key, &found.before).await;
        }
        granted
    }

    /// Whether `caller` may refresh what was found; a session that has not moved on was not ripe.
    fn judge(&self, caller: &Caller, found: &Advance) -> Result<Opening, Refusal> {
        let now = self.parts.clock.tick();
        let opening = found
            .before
            .session
            .refresh(caller, now, &self.rules.refresh)?;
        // The store looked a moment earlier.
        let wait = Duration::ZERO;
        found
            .moved
            .then_some(opening)
            .ok_or(Refusal::TooSoon { wait })
    }

    async fn refresh_as(
        &self,
        caller: &Caller,
        (session_id, key): (SessionId, SessionKey),
        opening: Opening,
    ) -> Result<Grant, BrokerError> {
        let persona = self.persona_of(caller, &opening.session)?;
        let minted = self.mint_under(caller, key, (&opening.session, persona));
        let (entry, secret, upstream_took) = minted.await?;
        let persona = opening.session.persona.clone();
        let grant = Grant {
            session_id,
            entry,
            secret,
            persona,
            upstream_took,
        };
        self.parts.vitals.count_refresh();
        self.note_move(caller, &opening);
        self.record(Event::TokenRefreshed, caller, &grant);
        Ok(grant)
    }

    /// The session's persona, if the caller may still use it: its role may have changed since the session was opened. A
    /// session that has outlived its persona, in a store that survives restarts, has ended.
    fn persona_of(&self, caller: &Caller, session: &Session) -> Result<&Arc<Persona>, BrokerError> {
        let persona = self.rules.personas.named(session.persona.as_str());
        let persona = persona.ok_or(BrokerError::UnknownSession)?;
        let admitted = persona.admits(caller.role());
        admitted
            .then_some(persona)
            .ok_or(BrokerError::PersonaNotAllowed)
    }

    async fn mint_under(
        &self,
        caller: &Caller,
        key: SessionKey,
        (session, persona): (&Session, &Arc<Persona>),
    ) -> Result<(EntryId, ClientSecret, Duration), BrokerError> {
        let order = MintOrder {
            session: persona.session_for(&caller.as_listener(session.language.as_ref())),
            lifetime: self.rules.lifetime,
            behalf: caller.party(),
        };
        let used = Use {
            kind: Kind::Refresh,
            caller,
            persona: &session.persona,
            session: key,
        };
        self.mint_on_record(&used, &order).await
    }

    /// For its caller, who may come back for it. Kept under the session's key, which only its owner gets past.
    pub(super) fn keep(&self, grant: Grant) {
        let key = self.seal.key(&grant.session_id);
        self.undelivered.keep(key, grant, self.parts.clock.tick());
    }

    /// Nothing was minted, so nothing was used up: the session stands as it stood.
    async fn give_back(&self, key: SessionKey, before: &Stored) {
        let restored = self
            .parts
            .store
            .save(key, before.session.clone(), before.revision + 1)
            .await;
        if let Err(error) = restored {
            tracing::warn!(%error, "a refresh that failed upstream stays counted");
        }
    }

    fn refused(
        &self,
        caller: &Caller,
        key: SessionKey,
        refusal: Refusal,
    ) -> Result<Grant, BrokerError> {
        match refusal {
            Refusal::TooSoon { wait } => self
                .undelivered
                .take(key, self.parts.clock.tick())
                .ok_or(BrokerError::TooSoon { wait }),
            Refusal::Exhausted => Err(BrokerError::Exhausted),
            Refusal::Ended => Err(BrokerError::UnknownSession),
            Refusal::Foreign => {
                let details = || json!({ "allowed": false, "origin": caller.origin.as_ref().map(Origin::as_str) });
                self.parts
                    .audit
                    .record(Event::SessionMismatch, caller, details);
                Err(BrokerError::UnknownSession)
            }
        }
    }

    fn note_move(&self, caller: &Caller, opening: &Opening) {
        if opening.address_changed {
            let details =
                || json!({ "allowed": true, "openedFrom": opening.session.network.to_string() });
            self.parts
                .audit
                .record(Event::SessionMismatch, caller, details);
        }
    }
}
