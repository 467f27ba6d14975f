//! Records calls: their places and holds before any request to the provider, then their ids and outcomes.

use std::sync::Arc;
use std::time::Duration;

use super::terms::Terms;
use crate::broker::{BrokerError, Inner};
use crate::clock::seconds_up;
use crate::domain::{
    Amount, Call, CallChange, CallStep, Caller, Dial, EntryId, Kin, Kind, Mark, Outcome, Party,
    PersonaName, SessionChange, SessionId, SessionKey, SessionText, Settlement, UpstreamCall,
};
use crate::provider::{Dialect, EffectiveSession};
use crate::records::CallBounds;

/// Time after which a call that is being dialled is given up. Covers the exchange, the side channel and the records' changes.
const GIVES_UP: Duration = Duration::from_secs(45);
/// The setting of the limit on the calls of one GPT-Live model.
pub(in crate::broker) const MAX_SESSIONS: &str = "max_sessions";

impl Inner {
    /// Returns what is recorded of a call beside its use.
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

    /// Returns the group in which the provider counts a call on these terms.
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

    /// Records the call, with its place among the live calls, before any request to the provider.
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

    /// Records the provider's id of a call, and books what its creation costs.
    pub(super) async fn name(
        &self,
        row: &Call,
        call: &UpstreamCall,
        session: &SessionText,
    ) -> Result<(), BrokerError> {
        let named = CallStep::Named(call.clone()).by_anybody();
        // First the use, which can wait for a transaction: the id, which cannot, takes it along.
        let ((), named) = tokio::join!(
            self.book_creation(row, session, Mark::Measured),
            self.parts.records.change_call(row.entry, named),
        );
        let named = named.map_err(BrokerError::NotSettled)?;
        named.map(drop).ok_or(BrokerError::CallEnded)
    }

    /// Records that a call runs, how long it may last, how long the provider took, and the outcome of its entry.
    pub(super) async fn answer_call(
        &self,
        id: EntryId,
        (changes, model, upstream_request): (Vec<CallChange>, Option<Box<str>>, Option<Box<str>>),
        (lasts, took): (Duration, Duration),
    ) -> Result<Call, BrokerError> {
        let at = self.parts.clock.now();
        let outcome = Outcome::Minted {
            expires_at: at.plus(lasts),
            model,
            upstream_request,
        };
        let settlement = Settlement {
            id,
            at,
            took,
            outcome,
            session: SessionChange::Keep,
            ticket: None,
        };
        let opened = self.parts.records.answer_call(settlement, changes).await;
        opened
            .map_err(BrokerError::NotSettled)?
            .ok_or(BrokerError::CallEnded)
    }

    /// Records the outcome of a call's entry.
    pub(super) async fn settle_call(
        &self,
        entry: EntryId,
        took: Duration,
        outcome: Outcome,
    ) -> Result<(), BrokerError> {
        let settled = self
            .settle(entry, took, (outcome, SessionChange::Keep, None))
            .await;
        settled.map(drop).map_err(BrokerError::NotSettled)
    }
}
