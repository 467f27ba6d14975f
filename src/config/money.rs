//! `[money]`: what calls may cost everybody together, and the file of prices.

use std::sync::Arc;

use serde::Deserialize;

use super::Config;
use super::prices::{COMPILED_IN, read_prices};
use super::settings::Settings;
use crate::domain::written::money;
use crate::domain::{Budget, ConnectMode, Hold, Limit, Money, Persona, PersonaName, Prices};

const PRICES: &str = "money.prices";

/// What calls may cost everybody together.
#[derive(Clone, Debug)]
pub struct MoneySettings {
    /// Of everybody.
    pub everybody: Budget,
    /// Of all callers without identity.
    pub anonymous: Budget,
    /// The prices of the provider's models.
    pub prices: Arc<Prices>,
}

/// `[money]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    #[serde(deserialize_with = "money")]
    per_day: Option<Money>,
    #[serde(deserialize_with = "money")]
    per_month: Option<Money>,
    #[serde(deserialize_with = "money")]
    anonymous_per_day: Option<Money>,
    prices: String,
}

/// A limit in money.
#[derive(Clone, Debug)]
pub struct MoneyLimit {
    /// The name of the setting.
    pub name: String,
    /// The persona whose calls it limits; `None` for all.
    pub persona: Option<PersonaName>,
    /// The limit.
    pub most: Money,
}

impl MoneyLimit {
    /// True for a limit on the calls of the persona of this name.
    pub fn concerns(&self, persona: &str) -> bool {
        let own = self.persona.as_ref();
        own.is_none_or(|own| own.as_str() == persona)
    }
}

impl MoneySettings {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let section: Section = settings.section("money")?;
        let limit = |money| Limit {
            seconds: None,
            money,
        };
        Some(Self {
            everybody: Budget {
                day: limit(section.per_day),
                month: limit(section.per_month),
                ..Budget::default()
            },
            anonymous: Budget {
                day: limit(section.anonymous_per_day),
                ..Budget::default()
            },
            prices: Arc::new(prices(settings, &section.prices)?),
        })
    }

    /// True when the money of everybody, or of callers without identity, is limited.
    pub fn has_ceiling(&self) -> bool {
        self.everybody.limits_money() || self.anonymous.limits_money()
    }
}

/// Reads the file of prices; `None` after a complaint.
fn prices(settings: &mut Settings, named: &str) -> Option<Prices> {
    let file = settings.document(PRICES, named, ("prices.toml", COMPILED_IN))?;
    let read = read_prices(&file.text);
    read.map_err(|error| settings.complain(PRICES, format!("{}, {error}", file.path)))
        .ok()
}

impl Config {
    /// Requires that the answers of personas are bounded whose money is limited: the price of the next answer is held.
    pub(super) fn require_bounded_answers(&self, settings: &mut Settings) {
        let limits = self.money_limits();
        let Some(first) = limits.first() else {
            return;
        };
        let is_limited = |name: &str| limits.iter().any(|limit| limit.concerns(name));
        // In direct mode nothing is held.
        let is_held = |one: &Persona| one.connect != [ConnectMode::Direct];
        let personas = self.personas.iter();
        let unbounded = personas.filter(|one| !one.is_bounded() && is_held(one));
        let names = unbounded.map(|persona| persona.name.as_str());
        let names: Vec<_> = names.filter(|name| is_limited(name)).collect();
        let names = names.join(", ");
        let message = format!(
            "needs personas whose answers are bounded: set max_output_tokens in [NAME.session] of {names}"
        );
        settings.require(&[&first.name], names.is_empty(), message);
        settings.warn_if(
            self.call.persona == Hold::Free,
            "call.persona",
            "is free: pages may raise max_output_tokens, so an answer may cost more than the money held for it; set watched or locked to prevent that",
        );
    }

    /// Returns the limits in money.
    pub fn money_limits(&self) -> Vec<MoneyLimit> {
        let mut limits = Vec::new();
        let mut add = |name: String, persona: Option<&PersonaName>, most: Option<Money>| {
            limits.extend(most.map(|most| MoneyLimit {
                name,
                persona: persona.cloned(),
                most,
            }));
        };
        add("call.max_money".into(), None, self.call.max_money);
        for persona in self.personas.iter() {
            let name = format!("[{}.call] max_money", persona.name);
            let most = persona.calls.limits.max_money;
            add(name, Some(&persona.name), most);
        }
        for (name, quota) in self.quota.named() {
            add(format!("{name}.call.max_money"), None, quota.call.max_money);
            add_budget(&mut add, &format!("{name}.money_"), quota.budget());
        }
        add_budget(&mut add, "money.", self.money.everybody);
        add_budget(&mut add, "money.anonymous_", self.money.anonymous);
        limits
    }
}

fn add_budget(
    add: &mut impl FnMut(String, Option<&PersonaName>, Option<Money>),
    name: &str,
    budget: Budget,
) {
    for (period, limit) in budget.limits() {
        add(format!("{name}per_{}", period.as_str()), None, limit.money);
    }
}
