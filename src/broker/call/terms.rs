//! What holds for one call: what the provider is told, and the limits.

use crate::broker::Inner;
use crate::config::CallSettings;
use crate::domain::{Call, Caller, Hold, Language, Listener, Persona, Quota, SessionText};

/// What holds for one call.
#[derive(Clone)]
pub(super) struct Terms {
    /// The persona's session.
    pub(super) session: SessionText,
    /// The limits.
    pub(super) settings: CallSettings,
}

impl Terms {
    /// Returns the session that is asserted on every side channel; `None` where the page may change everything.
    pub(super) fn asserted(&self) -> Option<&SessionText> {
        (self.settings.persona != Hold::Free).then_some(&self.session)
    }
}

impl Inner {
    /// Returns the terms of a new call of `caller`.
    pub(super) fn terms(
        &self,
        caller: &Caller,
        persona: &Persona,
        language: Option<&Language>,
    ) -> Terms {
        Terms {
            session: persona.session_for(&caller.as_listener(language)),
            settings: self.limits_of(persona, &self.quota(caller)),
        }
    }

    /// Returns the terms of a call that is watched already. Its listener's name and language are not known any more.
    pub(super) fn terms_again(&self, row: &Call, persona: &Persona) -> Terms {
        let role = row.role.as_deref();
        let account = row.account.as_ref();
        let quota = account.map(|account| self.rules.quotas.of(account, role));
        let listener = Listener {
            role,
            ..Listener::default()
        };
        Terms {
            session: persona.session_for(&listener),
            settings: self.limits_of(persona, &quota.unwrap_or_default()),
        }
    }

    fn limits_of(&self, persona: &Persona, quota: &Quota) -> CallSettings {
        self.rules
            .call
            .within(&quota.call)
            .of_persona(&persona.calls)
    }
}
