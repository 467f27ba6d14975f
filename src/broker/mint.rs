//! Mints: a session is opened with its persona and its first client secret.

use std::sync::Arc;
use std::time::Duration;

use super::grant::{Act, Use};
use super::{Broker, BrokerError, Grant, Inner};
use crate::domain::{
    Asked, Caller, ConnectMode, KnownTicket, Language, Persona, PersonaName, Session, SessionId,
};
use crate::gate::Pass;
use crate::provider::Dialect;

/// The persona that a caller asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The name of a persona. Without a name, the public persona is chosen that fits role and language best.
    pub persona: Option<String>,
    /// The role that the caller claims.
    pub role: Option<String>,
    /// The preferred language.
    pub language: Option<Language>,
}

impl Choice {
    /// Returns the choice that was made when the ticket was minted.
    pub(super) fn of_ticket(ticket: &KnownTicket) -> Self {
        Self {
            persona: Some(ticket.persona.as_str().to_owned()),
            role: None,
            language: ticket.language.clone(),
        }
    }
}

/// A caller's request for a client secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MintRequest {
    /// The persona.
    pub choice: Choice,
    /// How the page wants to connect; `None` for the mode of the persona or of the settings.
    pub connect: Option<ConnectMode>,
    /// The lifetime of the client secret. It can only shorten what the operator allows.
    pub lifetime: Option<Duration>,
    /// True when the answer holds the session id. Otherwise nobody could refresh, and no session is kept.
    pub refreshable: bool,
    /// The dialect of the path that the page used; `None` when the path serves both dialects.
    pub dialect: Option<Dialect>,
}

impl Broker {
    /// Opens a session and mints its first client secret.
    pub async fn mint(
        &self,
        caller: Arc<Caller>,
        asked: MintRequest,
        pass: Pass,
    ) -> Result<Arc<Grant>, BrokerError> {
        let (inner, owner) = (Arc::clone(&self.0), Arc::clone(&caller));
        let work = Box::pin(async move { inner.open(&owner, &asked).await });
        self.carry_through(caller, work, pass).await
    }
}

impl Inner {
    async fn open(
        &self,
        caller: &Arc<Caller>,
        asked: &MintRequest,
    ) -> Result<Arc<Grant>, BrokerError> {
        let choice = &asked.choice;
        let persona = self.persona(caller, choice)?;
        let mode = persona.mode(self.rules.connect, asked.connect);
        let is_spoken = asked
            .dialect
            .is_none_or(|dialect| dialect == persona.session.dialect());
        let mode = mode.filter(|_| is_spoken);
        let mode = mode.ok_or(BrokerError::ModeNotAllowed)?;
        let opened = asked.refreshable.then(|| {
            let session = Session::open(caller, persona.name.clone(), self.parts.clock.now());
            Box::new(Session {
                language: choice.language.clone(),
                mode,
                ..session
            })
        });
        self.grant(Use {
            caller,
            persona: &persona,
            mode,
            language: choice.language.as_ref(),
            lifetime: asked.lifetime,
            session_id: SessionId::random(),
            act: Act::Mint(opened),
        })
        .await
    }

    /// Returns the chosen persona, or the one that fits best, if it admits the caller.
    pub(super) fn persona(
        &self,
        caller: &Caller,
        asked: &Choice,
    ) -> Result<Arc<Persona>, BrokerError> {
        let (agreement, own) = (self.agreement(), caller.personas());
        let personas = &agreement.personas;
        let usual = own.first().map(PersonaName::as_str);
        let persona = match asked.persona.as_deref().or(usual) {
            Some(name) => {
                let named = personas.named(name).ok_or(BrokerError::UnknownPersona)?;
                let is_own = own.is_empty() || own.contains(&named.name);
                Some(named).filter(|persona| is_own && persona.admits(caller.role()))
            }
            None => personas.fitting(&Asked {
                verified_role: caller.role(),
                claimed_role: asked.role.as_deref(),
                language: asked.language.as_ref(),
            }),
        };
        persona.cloned().ok_or(BrokerError::PersonaNotAllowed)
    }
}
