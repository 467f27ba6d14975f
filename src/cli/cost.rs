//! Says what a call of each persona needs at least, and which limits in money are too small for it.

use super::check::Finding;
use super::check::Verdict::{Broken, Fine, Warning};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::domain::{ConnectMode, Listener, Need};

/// Looks at prices and at limits in money, as they are at `now`.
pub(super) fn findings(config: &Config, now: Timestamp) -> Vec<Finding> {
    let limits = config.money_limits();
    let mut found = Vec::new();
    let (mut least, mut unpriced) = (Vec::new(), Vec::new());
    for persona in config.personas.iter() {
        let session = persona.session_for(&Listener::default());
        match Need::of(&session, &config.money.prices, now) {
            Ok(need) => least.push((persona.name.as_str(), need.least())),
            Err(error) => unpriced.push(format!("{} ({error})", persona.name)),
        }
    }
    let shown = least.iter().map(|(name, least)| format!("{name} ${least}"));
    let shown: Vec<_> = shown.collect();
    if !shown.is_empty() {
        let text = format!("a call needs at least: {}", shown.join(", "));
        found.push(Fine(text).of("money"));
    }
    if !unpriced.is_empty() {
        let then = if limits.is_empty() {
            "what their calls cost is not counted, or not all of it"
        } else {
            "calls of them are refused, because money is limited"
        };
        let text = format!("personas without a price: {}; {then}", unpriced.join(", "));
        found.push(Warning(text).of("money"));
    }
    for limit in &limits {
        let (name, most) = (&limit.name, limit.most);
        let beyond = least
            .iter()
            .filter(|(name, least)| *least > most && limit.concerns(name));
        let names: Vec<_> = beyond.map(|(name, _)| *name).collect();
        if !names.is_empty() {
            let text = format!(
                "{name}: ${most} is less than a call needs of {}; raise it, or lower max_output_tokens",
                names.join(", ")
            );
            found.push(Broken(text).of("money"));
        }
    }
    let modes = config.personas.iter().flat_map(|persona| &persona.connect);
    let mut modes = modes.chain([&config.connect.mode]);
    let has_calls = modes.any(|mode| *mode != ConnectMode::Direct);
    if has_calls && !config.money.has_ceiling() {
        let text = "neither money.per_day nor money.per_month is set: calls may cost as much as other limits let through";
        found.push(Warning(text.into()).of("money"));
    }
    found
}
