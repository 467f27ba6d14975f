//! Mints: a session is opened with its persona and its first client secret.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::account::{Act, Use};
use super::{Broker, BrokerError, Grant, IfLeft, Inner};
use crate::audit::{Event, Who};
use crate::clock::{Tick, millis};
use crate::domain::{
    Asked, Caller, ClientSecret, Language, Origin, Persona, Session, SessionId, SessionKey,
};
use crate::gate::Pass;
use crate::upstream::{Complaint, MintOrder, Turn, UpstreamError};

/// A caller's choice of persona.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The persona of that name.
    Named(String),
    /// The public persona that fits a role and a language best.
    Fitting {
        /// The role that the caller claims.
        role: Option<String>,
    },
}

/// A caller's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintRequest {
    /// The choice of persona.
    pub choice: Choice,
    /// The preferred language.
    pub language: Option<Language>,
    /// The lifetime of the client secret. It can only shorten what the operator allows.
    pub lifetime: Option<Duration>,
    /// True when the answer holds the session id. Otherwise nobody could refresh, and no session is kept.
    pub refreshable: bool,
}

impl Broker {
    /// Opens a session and mints its first client secret.
    pub async fn mint(
        &self,
        caller: Arc<Caller>,
        asked: MintRequest,
        pass: Pass,
    ) -> Result<Grant, BrokerError> {
        let inner = Arc::clone(&self.0);
        let work = async move { inner.open(&caller, &asked).await };
        self.carry_through(work, pass, IfLeft::Close).await
    }
}

impl Inner {
    async fn open(&self, caller: &Arc<Caller>, asked: &MintRequest) -> Result<Grant, BrokerError> {
        let persona = self.persona(caller, asked)?;
        let language = asked.language.as_ref();
        let allowed = self.rules.lifetime;
        let order = MintOrder {
            session: persona.session_for(&caller.as_listener(language)),
            lifetime: asked
                .lifetime
                .map_or(allowed, |shorter| shorter.min(allowed)),
            behalf: caller.party(),
        };
        let persona = persona.name.clone();
        let session_id = SessionId::random();
        let opened = asked.refreshable.then(|| {
            let now = self.parts.clock.now();
            let session = Session::open(caller, persona.clone(), now);
            Box::new(Session {
                language: asked.language.clone(),
                ..session
            })
        });
        let used = Use {
            caller,
            persona: &persona,
            session: SessionKey::of(&session_id),
            act: Act::Mint(opened),
        };
        let (entry, secret, upstream_took) = self.mint_on_record(used, &order).await?;

        let grant = Grant {
            session_id,
            entry,
            secret,
            persona,
            upstream_took,
        };
        self.record(Event::TokenMinted, caller, &grant);
        Ok(grant)
    }

    /// Returns the chosen persona, or the one that fits best, if it admits the caller.
    fn persona(&self, caller: &Caller, asked: &MintRequest) -> Result<Arc<Persona>, BrokerError> {
        let personas = &self.rules.personas;
        let verified_role = caller.role();
        let persona = match &asked.choice {
            Choice::Named(name) => {
                let named = personas.named(name).ok_or(BrokerError::UnknownPersona)?;
                Some(named).filter(|persona| persona.admits(verified_role))
            }
            Choice::Fitting { role } => personas.fitting(&Asked {
                verified_role,
                claimed_role: role.as_deref(),
                language: asked.language.as_ref(),
            }),
        };
        persona.cloned().ok_or(BrokerError::PersonaNotAllowed)
    }

    /// Waits for a turn to ask the upstream.
    pub(super) async fn turn(&self) -> Result<Turn, BrokerError> {
        let started: Tick = self.parts.clock.tick();
        let turn = self.parts.upstream.turn().await;
        turn.map_err(|error| BrokerError::Upstream {
            error,
            took: self.parts.clock.tick().since(started),
        })
    }

    /// Mints one client secret. Returns it and the time that it took.
    pub(super) async fn obtain(
        &self,
        order: &MintOrder,
        turn: Turn,
    ) -> Result<(ClientSecret, Duration), BrokerError> {
        let started: Tick = self.parts.clock.tick();
        let outcome = self.parts.upstream.mint(order, turn).await;
        let took = self.parts.clock.tick().since(started);
        if let Err(UpstreamError::KeyRejected(complaint)) = &outcome {
            self.note_rejected_key(complaint);
        }
        outcome
            .map(|secret| (secret, took))
            .map_err(|error| BrokerError::Upstream { error, took })
    }

    /// Records that the upstream rejects the API key.
    pub(super) fn note_rejected_key(&self, complaint: &Complaint) {
        let details = json!({ "status": complaint.status, "code": complaint.code });
        self.parts.audit.note(Event::UpstreamKeyRejected, details);
    }

    pub(super) fn record(&self, event: Event, caller: &Caller, grant: &Grant) {
        self.parts.audit.record(event, caller, || MintDetails {
            who: caller.into(),
            persona: grant.persona.as_str(),
            origin: caller.origin.as_ref().map(Origin::as_str),
            expires_at: grant.secret.expires_at.as_millis(),
            upstream_ms: millis(grant.upstream_took),
        });
    }
}

/// The details of a mint, for the audit log.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct MintDetails<'a> {
    #[serde(flatten)]
    who: Who<'a>,
    persona: &'a str,
    origin: Option<&'a str>,
    expires_at: u64,
    upstream_ms: f64,
}
