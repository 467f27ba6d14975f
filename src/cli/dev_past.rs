//! Makes up a month of use, so that the dashboard of dev mode has something to show. Its users are at an issuer that cannot
//! exist, and their network is one of documentation.

use std::sync::Arc;
use std::time::Duration;

use super::ledger::MEMORY;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::domain::{
    Account, CallUse, Card, EntryId, Intent, Kind, Mark, Network, PersonaName, Quota, RequestId,
    SessionId, SessionKey, Tokens, Usage,
};
use crate::records::MemoryRecords;

const ISSUER: &str = "https://example.invalid/";
const MODELS: [&str; 2] = ["gpt-realtime-2.1", "gpt-realtime-2.1-mini"];
/// The users with their roles, the most eager first.
const PEOPLE: [(&str, &str); 8] = [
    ("example-ana", "student"),
    ("example-tom", "teacher"),
    ("example-ben", "student"),
    ("example-eva", "student"),
    ("example-kim", "teacher"),
    ("example-leo", "student"),
    ("example-mia", "student"),
    ("example-zoe", "staff"),
];
const DAYS: u64 = 30;
const DAY: u64 = 24 * 60 * 60;

/// Numbers that look like chance and are the same in every run.
struct Dice(u64);

impl Dice {
    /// Returns a number from zero to below `sides`.
    fn roll(&mut self, sides: u64) -> u64 {
        // Knuth's constants (MMIX).
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Returns records in memory with a month that ends now.
pub(super) fn past(config: &Config, clock: Arc<dyn Clock>) -> MemoryRecords {
    let now = clock.now();
    let records = MemoryRecords::new(MEMORY, clock);
    let persona = &config.personas.default_persona().name;
    let mut dice = Dice(7);
    for ago in (0..DAYS).rev() {
        let day = now.start_of_day().minus(Duration::from_secs(ago * DAY));
        // The first day of 1970 was a Thursday.
        let is_weekend = matches!(day.as_seconds() / DAY % 7, 2 | 3);
        let sessions = if is_weekend { 4 } else { 12 } + dice.roll(8) + (DAYS - ago) / 5;
        for _ in 0..sessions {
            let at = day.plus(Duration::from_secs(dice.roll(DAY)));
            let model = MODELS[usize::from(dice.roll(3) == 0)];
            let card = config.money.prices.card(model, at);
            let (intent, turns) = (intent(&mut dice, persona, at), 3 + dice.roll(12));
            let uses = (0..turns).map(|turn| turn_of(&mut dice, turn, (model, card)));
            let uses: Vec<_> = uses.collect();
            let seconds = turns * (9 + dice.roll(14));
            if at < now {
                records.add_past(&intent, seconds, uses);
            }
        }
    }
    records
}

fn intent(dice: &mut Dice, persona: &PersonaName, at: Timestamp) -> Intent {
    // The smaller of two numbers, so that the first users are the busiest.
    let sides = PEOPLE.len() as u64;
    let place = dice.roll(sides).min(dice.roll(sides));
    let (subject, role) = PEOPLE[usize::try_from(place).unwrap_or_default()];
    Intent {
        id: EntryId::new(at),
        at,
        kind: Kind::Call,
        account: Some(Account {
            issuer: ISSUER.into(),
            subject: subject.into(),
        }),
        role: Some(role.into()),
        persona: persona.clone(),
        network: Network::of([192, 0, 2, 1].into()),
        origin: None,
        session: SessionKey::of(&SessionId::random()),
        request_id: RequestId::random(),
        quota: Quota::default(),
    }
}

/// Returns the use of one answer: what was said before comes from the cache. One answer of twelve was cut off, so that it is
/// estimated.
fn turn_of(dice: &mut Dice, turn: u64, (model, card): (&str, Option<&Card>)) -> CallUse {
    let tokens = |text, audio| Tokens {
        text,
        audio,
        image: 0,
    };
    let usage = Usage {
        fresh: tokens(20 + dice.roll(40), 40 + dice.roll(90)),
        cached: tokens(180 + turn * 30, turn * 90),
        output: tokens(25 + dice.roll(50), 90 + dice.roll(240)),
        ..Usage::default()
    };
    let is_cut = dice.roll(12) == 0;
    let cost = card.map(|card| card.cost(&usage).money);
    CallUse {
        id: format!("example_{turn}").into(),
        is_turn: true,
        model: model.into(),
        mark: if is_cut {
            Mark::Estimated
        } else {
            Mark::Measured
        },
        usage,
        cost: cost.unwrap_or_default(),
    }
}
