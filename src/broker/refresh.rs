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
use crate::store::Stored;
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
    async fn refresh(&self, caller: &Caller, session_id: SessionId) -> Result<Grant, BrokerError> {
        let key = self.seal.key(&session_id);
        let stored = self.parts.store.find(key).await?;
        let before = stored.ok_or(BrokerError::UnknownSession { foreign: false })?;
        let now = self.parts.clock.tick();
        let opening = match before.session.refresh(caller, now, &self.rules.refresh) {
            Ok(opening) => opening,
            Err(refusal) => return self.refused(caller, key, refusal),
        };
        let persona = self.persona_of(caller, &opening.session)?;
        self.take_place(key, &before, &opening.session).await?;
        let minted = self.mint_under(caller, key, (&opening.session, persona));
        match minted.await {
            Ok((entry, secret, upstream_took)) => {
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
            Err(error) => {
                if error.minted_nothing() {
                    self.give_back(key, &before).await;
                }
                Err(error)
            }
        }
    }

    /// Taken before the mint, over the revision that was read: of two refreshes at once only one gets further.
    async fn take_place(
        &self,
        key: SessionKey,
        before: &Stored,
        after: &Session,
    ) -> Result<(), BrokerError> {
        let taken = self
            .parts
            .store
            .save(key, after.clone(), before.revision)
            .await?;
        let wait = self.rules.refresh.min_interval;
        taken.then_some(()).ok_or(BrokerError::TooSoon { wait })
    }

    /// The session's persona, if the caller may still use it: its role may have changed since the session was opened.
    fn persona_of(&self, caller: &Caller, session: &Session) -> Result<&Arc<Persona>, BrokerError> {
        let personas = &self.rules.personas;
        // Personas do not change while the service runs, so the session's own is there.
        let persona = personas
            .named(session.persona.as_str())
            .unwrap_or_else(|| personas.default_persona());
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
            persona: Arc::clone(persona),
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
            Refusal::Ended => Err(BrokerError::UnknownSession { foreign: false }),
            Refusal::Foreign => {
                let details = || json!({ "allowed": false, "origin": caller.origin.as_ref().map(Origin::as_str) });
                self.parts
                    .audit
                    .record(Event::SessionMismatch, caller, details);
                Err(BrokerError::UnknownSession { foreign: true })
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
