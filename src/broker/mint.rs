//! Owns how a session is opened: its persona, its first client secret, its place in the store.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::json;

use super::account::Use;
use super::{Broker, BrokerError, Grant, IfLeft, Inner};
use crate::audit::{Event, Who};
use crate::clock::{Tick, millis};
use crate::domain::{
    Asked, Caller, ClientSecret, Kind, Language, Origin, Persona, Session, SessionId,
};
use crate::upstream::{Complaint, MintOrder, Turn, UpstreamError};

/// Which persona a caller would like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The one of that name.
    Named(String),
    /// The public one that fits a role and a language best.
    Fitting {
        /// The role it says it has.
        role: Option<String>,
    },
}

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintRequest {
    /// The persona it would like.
    pub choice: Choice,
    /// The language it would like.
    pub language: Option<Language>,
    /// How long the secret should live; only ever shortens what the operator allows.
    pub lifetime: Option<Duration>,
    /// True when the session id goes along with the answer; otherwise nobody could refresh, and no session is kept.
    pub refreshable: bool,
}

impl Broker {
    /// Opens a session and mints its first client secret.
    pub async fn mint(
        &self,
        caller: Arc<Caller>,
        asked: MintRequest,
    ) -> Result<Grant, BrokerError> {
        let inner = Arc::clone(&self.0);
        let work = async move { inner.open(&caller, &asked).await };
        self.carry_through(work, IfLeft::Forget).await
    }
}

impl Inner {
    async fn open(&self, caller: &Caller, asked: &MintRequest) -> Result<Grant, BrokerError> {
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
        let session = self.seal.key(&session_id);
        let used = Use {
            kind: Kind::Mint,
            caller,
            persona: &persona,
            session,
        };
        let (entry, secret, upstream_took) = self.mint_on_record(&used, &order).await?;

        if asked.refreshable {
            let opened = Session {
                language: asked.language.clone(),
                ..Session::open(caller, persona.clone(), self.parts.clock.tick())
            };
            if let Err(error) = self.parts.store.open(session, opened).await {
                self.note_undelivered(entry, upstream_took).await;
                return Err(error.into());
            }
        }

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

    /// The persona asked for, or the one that fits best, if it admits the caller.
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

    /// Obtains one client secret from the upstream, and says how long that took.
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

/// What is written down of a mint.
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
