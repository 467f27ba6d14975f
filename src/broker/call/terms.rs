//! The terms of one call: the session at the provider, the limits and the money.

use std::time::Duration;

use super::allowance::Allowance;
use crate::broker::{BrokerError, Inner};
use crate::config::CallSettings;
use crate::domain::{
    Call, Caller, Hold, Language, Listener, Party, Persona, Quota, SessionText, Trace,
};
use crate::provider::EffectiveSession;

/// The terms of one call.
#[derive(Clone)]
pub(super) struct Terms {
    /// The persona's session.
    pub(super) session: SessionText,
    /// The limits.
    pub(super) settings: CallSettings,
    /// What the call may spend.
    pub(super) allowance: Allowance,
    /// The place of the request that opened the call in its trace. Another run of the broker does not know it.
    pub(super) trace: Option<Trace>,
}

impl Terms {
    /// Returns the session that is asserted on every side channel; `None` where the page may change everything.
    pub(super) fn asserted(&self) -> Option<&SessionText> {
        (self.settings.persona != Hold::Free).then_some(&self.session)
    }

    /// True when the session only transcribes.
    pub(super) fn only_transcribes(&self) -> bool {
        let session = EffectiveSession::read(self.session.as_json());
        session.is_some_and(|session| session.is_transcription)
    }

    /// True when the money of the call is limited.
    pub(super) fn is_limited(&self) -> bool {
        self.settings.max_money.is_some() || self.allowance.budgets.limit_money()
    }

    /// Returns how long a call may last.
    pub(super) fn lasts(&self, row: &Call) -> Duration {
        let granted = Duration::from_secs(row.held.seconds);
        self.settings.max_duration.min(granted)
    }
}

impl Inner {
    /// Returns the terms of a new call of `caller`. Fails when money is limited, and a model has no price.
    pub(super) fn terms(
        &self,
        caller: &Caller,
        persona: &Persona,
        language: Option<&Language>,
    ) -> Result<Terms, BrokerError> {
        let session = persona.session_for(&caller.as_listener(language));
        let terms = self.terms_of(caller.party(), (persona, session), &self.quota(caller))?;
        Ok(Terms {
            trace: caller.trace,
            ..terms
        })
    }

    /// Returns the terms of a call that is watched already. Its listener's name and language are not known any more, and an
    /// account that was erased has no quota any more.
    pub(super) fn terms_again(&self, row: &Call, persona: &Persona) -> Result<Terms, BrokerError> {
        let role = row.role.as_deref();
        let account = row.account.as_ref();
        let quotas = &self.agreement().quotas;
        let quota = account.map(|account| quotas.of(account, role));
        let listener = Listener {
            role,
            ..Listener::default()
        };
        let session = persona.session_for(&listener);
        self.terms_of(row.owner, (persona, session), &quota.unwrap_or_default())
    }

    fn terms_of(
        &self,
        owner: Party,
        (persona, session): (&Persona, SessionText),
        quota: &Quota,
    ) -> Result<Terms, BrokerError> {
        let settings = self.limits_of(persona, quota);
        let is_limited = settings.max_money.is_some();
        let allowance = self.allowance((owner, quota), &session, is_limited)?;
        Ok(Terms {
            session,
            settings,
            allowance,
            trace: None,
        })
    }

    fn limits_of(&self, persona: &Persona, quota: &Quota) -> CallSettings {
        self.rules
            .call
            .within(&quota.call)
            .of_persona(&persona.calls)
    }
}
