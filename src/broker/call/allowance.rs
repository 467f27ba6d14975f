//! The money of one call: what its next answer needs, and the budgets in which that money is held.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::{BrokerError, Inner};
use crate::domain::{Budgets, Money, Need, Party, Quota, SessionText, Tokens, Usage};

/// What a call may spend.
#[derive(Clone)]
pub(super) struct Allowance {
    pub(super) budgets: Budgets,
    /// `None` for a session without a price, where money is not limited.
    need: Option<Arc<Need>>,
    /// The money that is held for the call. What the call has cost is part of it.
    held: Money,
}

impl Allowance {
    /// Returns the money that is held for a call before it is dialled.
    pub(super) fn opening(&self) -> Money {
        let need = self.limited();
        need.map(Need::least).unwrap_or_default()
    }

    /// Returns the tokens of instructions and tools: the context of the first answer.
    pub(super) fn prompt(&self) -> Tokens {
        let need = self.need.as_deref();
        need.map(Need::prompt).unwrap_or_default()
    }

    /// Returns an estimate of the output while the model may have spoken for this long.
    pub(super) fn spoken(&self, length: Duration) -> Tokens {
        let spoken = Usage::spoken(length);
        let longest = self.need.as_deref().map_or(u64::MAX, Need::longest);
        Tokens {
            audio: spoken.audio.min(longest),
            ..spoken
        }
    }

    /// Takes what is held for the call.
    pub(super) const fn holds(&mut self, held: Money) {
        self.held = held;
    }

    /// Returns the money that has to be held for a call that has cost `spent`, so that `answers` more, each of which reads
    /// `context`, stay within the hold. `None` when so much is held, or no budget limits money.
    pub(super) fn lacks(&self, spent: Money, context: Tokens, answers: usize) -> Option<Money> {
        let next = self.limited()?.next_answer(context);
        let needed = (0..answers).fold(spent, |sum, _| sum + next);
        (needed > self.held).then_some(needed)
    }

    /// Returns the need of a call whose money is limited by a budget.
    fn limited(&self) -> Option<&Need> {
        let need = self.need.as_deref();
        need.filter(|_| self.budgets.limit_money())
    }
}

impl Inner {
    /// Returns what calls of `owner`, whose quota is `quota`, may spend on `session`. Fails when money is limited, here or as
    /// `is_limited` says, and a model has no price.
    pub(super) fn allowance(
        &self,
        (owner, quota): (Party, &Quota),
        session: &SessionText,
        is_limited: bool,
    ) -> Result<Allowance, BrokerError> {
        let budgets = self.budgets(owner, quota);
        let prices = &self.agreement().money.prices;
        let need = match Need::of(session, prices, self.parts.clock.now()) {
            Err(unpriced) if is_limited || budgets.limit_money() => {
                return Err(BrokerError::NoPrice(unpriced));
            }
            need => need.ok().map(Arc::new),
        };
        Ok(Allowance {
            budgets,
            need,
            held: Money::ZERO,
        })
    }

    /// Returns the budgets that hold for `owner`, whose quota is `quota`.
    pub(super) fn budgets(&self, owner: Party, quota: &Quota) -> Budgets {
        let money = &self.agreement().money;
        Budgets {
            own: match owner {
                Party::Identity(_) => quota.budget(),
                Party::Network(_) => money.anonymous,
            },
            everybody: money.everybody,
        }
    }
}
