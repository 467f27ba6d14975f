//! Refreshes: mint again under a live session.

use std::sync::Arc;

use serde_json::json;

use super::account::{Act, Use};
use super::{Broker, BrokerError, Grant, IfLeft, Inner};
use crate::audit::Event;
use crate::domain::{Caller, Opening, Origin, Persona, Refusal, Session, SessionId, SessionKey};
use crate::gate::Pass;
use crate::records::LookUpError;
use crate::upstream::MintOrder;

impl Broker {
    /// Mints again under the session of `id`.
    pub async fn refresh(
        &self,
        caller: Arc<Caller>,
        id: SessionId,
        pass: Pass,
    ) -> Result<Grant, BrokerError> {
        let inner = Arc::clone(&self.0);
        let work = async move { inner.refresh(&caller, id).await };
        self.carry_through(work, pass, IfLeft::Keep).await
    }
}

impl Inner {
    /// Judges the session first, so that a refusal takes no turn at the upstream. The session then moves on before the
    /// mint, in the transaction that records it: of two refreshes at once only one mints.
    async fn refresh(
        &self,
        caller: &Arc<Caller>,
        session_id: SessionId,
    ) -> Result<Grant, BrokerError> {
        let key = SessionKey::of(&session_id);
        let judged = self.sessions.judge(key, caller, &self.rules.refresh).await;
        let granted = match judged {
            Ok(opening) => self.refresh_as(caller, (session_id, key), opening).await,
            Err(LookUpError::Unknown) => Err(BrokerError::UnknownSession),
            Err(LookUpError::Refused(refusal)) => Err(BrokerError::Refused(refusal)),
            Err(LookUpError::Crowded) => Err(BrokerError::Crowded),
            Err(LookUpError::Unavailable(error)) => {
                self.note_records(&error);
                Err(BrokerError::NotRecorded(error))
            }
        };
        match granted {
            Err(BrokerError::Refused(refusal)) => self.refused(caller, key, refusal),
            granted => granted,
        }
    }

    async fn refresh_as(
        &self,
        caller: &Arc<Caller>,
        (session_id, key): (SessionId, SessionKey),
        opening: Opening,
    ) -> Result<Grant, BrokerError> {
        let persona = self.persona_of(caller, &opening.session)?;
        let language = opening.session.language.as_ref();
        let order = MintOrder {
            session: persona.session_for(&caller.as_listener(language)),
            lifetime: self.rules.lifetime,
            behalf: caller.party(),
        };
        let used = Use {
            caller,
            persona: &opening.session.persona,
            session: key,
            act: Act::Refresh,
        };
        let (entry, secret, upstream_took) = self.mint_on_record(used, &order).await?;
        let grant = Grant {
            session_id,
            entry,
            secret,
            persona: opening.session.persona.clone(),
            upstream_took,
        };
        self.parts.vitals.count_refresh();
        self.note_move(caller, &opening);
        self.record(Event::TokenRefreshed, caller, &grant);
        Ok(grant)
    }

    /// Returns the session's persona, if the caller may still use it: the caller's role may have changed since. A session
    /// that has outlived its persona has ended.
    fn persona_of(&self, caller: &Caller, session: &Session) -> Result<&Arc<Persona>, BrokerError> {
        let persona = self.rules.personas.named(session.persona.as_str());
        let persona = persona.ok_or(BrokerError::UnknownSession)?;
        let admitted = persona.admits(caller.role());
        admitted
            .then_some(persona)
            .ok_or(BrokerError::PersonaNotAllowed)
    }

    /// Keeps a grant for its caller, under the session's key: only the session's owner gets past its checks.
    pub(super) fn keep(&self, grant: Grant) {
        let key = SessionKey::of(&grant.session_id);
        self.undelivered.keep(key, grant, self.parts.clock.tick());
    }

    /// Delivers a kept grant to a caller who repeats a request, and records a stranger's attempt.
    fn refused(
        &self,
        caller: &Caller,
        key: SessionKey,
        refusal: Refusal,
    ) -> Result<Grant, BrokerError> {
        let kept = match refusal {
            Refusal::TooSoon { .. } => self.undelivered.take(key, self.parts.clock.tick()),
            Refusal::Foreign | Refusal::Network => {
                let origin = caller.origin.as_ref().map(Origin::as_str);
                let details = || json!({ "allowed": false, "origin": origin });
                self.parts
                    .audit
                    .record(Event::SessionMismatch, caller, details);
                None
            }
            Refusal::Exhausted | Refusal::Ended => None,
        };
        kept.ok_or(BrokerError::Refused(refusal))
    }

    fn note_move(&self, caller: &Caller, opening: &Opening) {
        if opening.address_changed {
            let opened_from = opening.session.networks.first().map(ToString::to_string);
            let details = || json!({ "allowed": true, "openedFrom": opened_from });
            self.parts
                .audit
                .record(Event::SessionMismatch, caller, details);
        }
    }
}
