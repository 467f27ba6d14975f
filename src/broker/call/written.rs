//! Writes calls down, with their places and their holds, before anything is asked of the provider.

use std::sync::Arc;
use std::time::Duration;

use super::terms::Terms;
use crate::broker::{BrokerError, Inner};
use crate::clock::seconds_up;
use crate::domain::{
    Amount, Call, Caller, Dial, Kin, Kind, Party, PersonaName, SessionId, SessionKey,
};
use crate::provider::{Dialect, EffectiveSession};
use crate::records::CallBounds;

/// A call that is being dialled is given up after so much time: the exchange, the side channel, and changes of the records.
const GIVES_UP: Duration = Duration::from_secs(45);
/// The setting of the limit on the calls of one GPT-Live model.
pub(in crate::broker) const MAX_SESSIONS: &str = "max_sessions";

impl Inner {
    /// Returns what is written down of a call beside its use.
    pub(super) fn to_dial(
        &self,
        caller: &Arc<Caller>,
        terms: &Terms,
        (idempotency, ticket): (Option<Box<str>>, Option<Box<str>>),
    ) -> Dial {
        Dial {
            caller: Arc::clone(caller),
            idempotency,
            ticket,
            uses: 0,
            replica: self.watches.replica.clone(),
            gives_up: GIVES_UP,
            want: Amount {
                seconds: seconds_up(terms.settings.max_duration),
                money: terms.allowance.opening(),
            },
            budgets: terms.allowance.budgets,
            kin: self.kin(terms),
        }
    }

    /// Returns the calls that the provider counts together with one on these terms.
    fn kin(&self, terms: &Terms) -> Option<Kin> {
        let most = self.rules.live.max_sessions;
        if terms.session.dialect() == Dialect::Realtime || most == 0 {
            return None;
        }
        let model = EffectiveSession::read(terms.session.as_json())?.model();
        let agreement = self.agreement();
        let personas = agreement.personas.iter();
        let personas = personas.filter(|persona| persona.model() == model);
        Some(Kin {
            personas: personas.map(|persona| persona.name.clone()).collect(),
            most,
        })
    }

    /// Writes the call down, with its place among the live calls, before anything is asked of the provider.
    pub(super) async fn write_down(
        &self,
        (kind, persona): (Kind, &PersonaName),
        dial: Dial,
    ) -> Result<Call, BrokerError> {
        let (rules, caller) = (&self.rules.call, Arc::clone(&dial.caller));
        let caller = &*caller;
        let session = SessionKey::of(&SessionId::random());
        let intent = self.intent(caller, persona, (kind, session));
        let bounds = CallBounds {
            owner: match caller.crowd() {
                Party::Identity(_) => self.quota(caller).live_calls.unwrap_or(rules.max_live),
                Party::Network(_) => rules.max_live_network,
            },
            anonymous: rules.max_live_anonymous,
            total: rules.max_live_total,
        };
        let opened = self.parts.records.open_call(intent, dial, bounds).await;
        let opened = opened.map_err(|error| self.not_reserved(caller, error));
        // Another persona may have another model.
        if let Err(BrokerError::TooManyCalls(limit)) = &opened
            && *limit != MAX_SESSIONS
        {
            let now = self.parts.clock.tick();
            self.watches.full.insert(caller.crowd(), (*limit, now));
        }
        opened
    }
}
