//! `[call]`: the limits of calls, and what is watched while they run.

use std::time::Duration;

use serde::Deserialize;

use super::settings::Settings;
use crate::domain::written::{lasting, money, whole};
use crate::domain::{CallLimits, Hold, LONGEST_CALL, Money, PersonaCalls};

/// The limits of calls.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CallSettings {
    /// Longest life of a call after its answer.
    #[serde(deserialize_with = "lasting::<15_000, LONGEST_CALL, _>")]
    pub max_duration: Duration,
    /// Longest time without speech from either side.
    #[serde(deserialize_with = "lasting::<5_000, LONGEST_CALL, _>")]
    pub idle_timeout: Duration,
    /// Longest time after the answer without a sign of life from the page.
    #[serde(deserialize_with = "lasting::<5_000, 600_000, _>")]
    pub join_timeout: Duration,
    /// How long before its end a call is warned of it.
    #[serde(deserialize_with = "lasting::<0, 600_000, _>")]
    pub warn_before: Duration,
    /// Longest time after the limit that a spoken goodbye may take, or the rest of the last answer.
    #[serde(deserialize_with = "lasting::<0, 10_000, _>")]
    pub grace: Duration,
    /// What the model is told before the end.
    pub farewell: Farewell,
    /// Most answers of the model in one call; 0 for no limit.
    #[serde(deserialize_with = "whole::<0, 1_000_000, _, _>")]
    pub max_turns: u32,
    /// Most money that one call may cost; `None` for no limit.
    #[serde(deserialize_with = "money")]
    pub max_money: Option<Money>,
    /// Most answers that the model may work on at a time.
    #[serde(deserialize_with = "whole::<1, 100, _, _>")]
    pub max_parallel_responses: usize,
    /// Most live calls of one identity.
    #[serde(deserialize_with = "whole::<1, 10_000, _, _>")]
    pub max_live: u32,
    /// Most live calls of callers without identity from one neighbourhood.
    #[serde(deserialize_with = "whole::<1, 10_000, _, _>")]
    pub max_live_network: u32,
    /// Most live calls of all callers without identity.
    #[serde(deserialize_with = "whole::<0, 1_000_000, _, _>")]
    pub max_live_anonymous: u32,
    /// Most live calls of everybody.
    #[serde(deserialize_with = "whole::<0, 1_000_000, _, _>")]
    pub max_live_total: u32,
    /// How firmly a call is held to its persona.
    pub persona: Hold,
    /// True when the addresses of the page's computer are removed from its offer.
    pub strip_candidates: bool,
}

/// What the model is told before a limit ends its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Farewell {
    /// Nothing.
    None,
    /// That little time is left.
    Warn,
    /// To say goodbye.
    Goodbye,
}

impl CallSettings {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let call: Self = settings.section("call")?;
        settings.require(
            &["call.warn_before", "call.max_duration"],
            call.warn_before < call.max_duration,
            "must be shorter than call.max_duration",
        );
        settings.require(
            &["call.max_live_anonymous", "call.max_live_total"],
            call.max_live_anonymous <= call.max_live_total,
            "must not be more than call.max_live_total",
        );
        Some(call)
    }

    /// Returns the settings for the calls of a persona.
    #[must_use]
    pub fn of_persona(&self, calls: &PersonaCalls) -> Self {
        let mut settings = self.within(&calls.limits);
        settings.persona = calls.hold.unwrap_or(self.persona);
        if !calls.greets || settings.persona == Hold::Locked {
            // The page may be silent until somebody speaks.
            settings.join_timeout = settings.idle_timeout;
        }
        settings
    }

    /// Leaves of the limits what a session has not used yet. Returns the name of a limit that is used up.
    pub fn leave_rest(
        &mut self,
        time: Duration,
        turns: u64,
        cost: Money,
    ) -> Result<(), &'static str> {
        self.max_duration = self.max_duration.min(time);
        if self.max_turns > 0 {
            let left = u64::from(self.max_turns).saturating_sub(turns);
            self.max_turns = u32::try_from(left).unwrap_or(u32::MAX);
            (left > 0).then_some(()).ok_or("max_turns")?;
        }
        self.max_money = self.max_money.map(|most| most - cost);
        let is_broke = self.max_money.is_some_and(|left| left <= Money::ZERO);
        (!is_broke).then_some(()).ok_or("max_money")
    }

    /// Returns the settings with the smaller ones of both limits.
    #[must_use]
    pub fn within(&self, limits: &CallLimits) -> Self {
        let fewer = |most: u32, own: Option<u32>| match own {
            Some(own) if most == 0 || own < most => own,
            _ => most,
        };
        let money = self.max_money.into_iter().chain(limits.max_money);
        Self {
            max_duration: least(self.max_duration, limits.max_duration),
            idle_timeout: least(self.idle_timeout, limits.idle_timeout),
            join_timeout: least(self.join_timeout, limits.join_timeout),
            max_turns: fewer(self.max_turns, limits.max_turns),
            max_money: money.min(),
            max_parallel_responses: least(
                self.max_parallel_responses,
                limits.max_parallel_responses,
            ),
            ..self.clone()
        }
    }
}

fn least<T: Ord>(usual: T, own: Option<T>) -> T {
    match own {
        Some(own) => own.min(usual),
        None => usual,
    }
}
