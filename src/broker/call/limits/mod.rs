//! Decides when a call ends, from the time and from what its side channel has shown.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::Tick;
use crate::config::{CallSettings, Farewell};
use crate::domain::{Call, EndReason, Money};

/// The corrections of a persona that are allowed within [`DRIFT_WINDOW`]. The next one ends the call.
const MAX_CORRECTIONS: usize = 3;
/// Window in which the corrections of a persona are counted.
const DRIFT_WINDOW: Duration = Duration::from_secs(10);
/// Longest time without a side channel. A call that nobody watches must not go on.
const BLIND_LIMIT: Duration = Duration::from_secs(30);
/// Longest time in which the records cannot be written. What a call uses in that time may be lost.
const UNRECORDED_LIMIT: Duration = Duration::from_mins(2);
/// Bounds the responses that are remembered as being worked on.
const MAX_REMEMBERED: usize = 64;

/// What the watch has to do for the leash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Warn the page, and the model if the operator wants it.
    Warn(Farewell),
    /// Ask the model to say goodbye.
    SayGoodbye,
    /// Cancel one response.
    Cancel(Box<str>),
    /// End the call.
    End(EndReason),
}

/// How far a goodbye has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goodbye {
    NotDue,
    /// The model was asked at the limit.
    Asked,
    /// The model works on it, or has.
    Begun,
}

/// The limits of one running call, and how near it is to each.
#[derive(Debug)]
pub(super) struct Leash {
    settings: CallSettings,
    deadline: Tick,
    opened: Tick,
    /// The first and the last sign of life.
    first_life: Option<Tick>,
    last_life: Tick,
    is_warned: bool,
    goodbye: Goodbye,
    turns: u32,
    /// True while what the model said is played.
    is_playing: bool,
    /// When the call ends after its last turn, while the last answer is still played.
    last_turn_ends: Option<Tick>,
    /// The responses that the model works on.
    responses: Vec<Box<str>>,
    /// When the persona was restored, or a response was cancelled.
    corrections: VecDeque<Tick>,
    blind_since: Option<Tick>,
    unrecorded_since: Option<Tick>,
    /// The time since which a budget lacks the money for the next answer.
    broke_since: Option<Tick>,
    has_ended: bool,
}

impl Leash {
    /// Returns the leash of a new call that ends at `deadline`.
    pub(super) fn new(settings: &CallSettings, now: Tick, deadline: Tick) -> Self {
        Self {
            settings: settings.clone(),
            deadline,
            opened: now,
            first_life: None,
            last_life: now,
            is_warned: false,
            goodbye: Goodbye::NotDue,
            turns: 0,
            is_playing: false,
            last_turn_ends: None,
            responses: Vec::new(),
            corrections: VecDeque::new(),
            blind_since: None,
            unrecorded_since: None,
            broke_since: None,
            has_ended: false,
        }
    }

    /// Returns the moment at which [`Leash::woke`] is to be called.
    pub(super) fn due(&self) -> Tick {
        let warning = (!self.is_warned).then(|| self.deadline.minus(self.settings.warn_before));
        let blind = self.blind_ends();
        let goodbye =
            (self.goodbye == Goodbye::NotDue && self.says_goodbye()).then_some(self.deadline);
        let moments = [Some(self.last_moment()), Some(self.silence_ends().0)];
        let money = self.money_ends();
        let moments =
            moments
                .into_iter()
                .chain([warning, goodbye, blind, money, self.last_turn_ends]);
        let moments = moments.flatten();
        moments.min().unwrap_or(self.deadline)
    }

    /// Returns what is due at `now`.
    pub(super) fn woke(&mut self, now: Tick) -> Vec<Act> {
        if self.has_ended {
            return Vec::new();
        }
        let is_blind = self.blind_ends().is_some_and(|end| now >= end);
        let (silence_ends, silent) = self.silence_ends();
        let reason = if now >= self.last_moment() {
            Some(EndReason::TimeLimit)
        } else if is_blind {
            Some(EndReason::Blind)
        } else if self.money_ends().is_some_and(|end| now >= end) {
            Some(EndReason::MoneyLimit)
        } else if self.last_turn_ends.is_some_and(|end| now >= end) {
            Some(EndReason::TurnLimit)
        } else {
            (now >= silence_ends).then_some(silent)
        };
        if let Some(reason) = reason {
            return self.end(reason);
        }
        let mut acts = Vec::new();
        if !self.is_warned && now >= self.deadline.minus(self.settings.warn_before) {
            self.is_warned = true;
            acts.push(Act::Warn(self.settings.farewell));
        }
        if now >= self.deadline && self.goodbye == Goodbye::NotDue {
            self.goodbye = Goodbye::Asked;
            acts.push(Act::SayGoodbye);
        }
        acts
    }

    /// Takes what the records know of a call that was watched before.
    pub(super) fn resumes(&mut self, row: &Call, now: Tick) {
        self.first_life = row.joined_at.map(|_| now);
        self.is_warned = row.is_warned;
        self.turns = u32::try_from(row.used.turns).unwrap_or(u32::MAX);
    }

    /// Forgets the responses that the model worked on: their ends may have been missed.
    pub(super) fn forgets_responses(&mut self) {
        self.responses.clear();
    }

    /// Takes the end back, because the page gave a sign of life on another replica.
    pub(super) fn goes_on(&mut self, now: Tick) {
        self.has_ended = false;
        self.lives(now);
    }

    /// Notes a sign of life: speech of either side, or work of the model.
    pub(super) fn lives(&mut self, now: Tick) {
        self.first_life.get_or_insert(now);
        self.last_life = now;
    }

    /// Notes a sign of life of the page that is no speech.
    pub(super) fn joined(&mut self, now: Tick) {
        if self.first_life.is_none() {
            self.lives(now);
        }
    }

    /// True once the page has given a sign of life.
    pub(super) const fn has_joined(&self) -> bool {
        self.first_life.is_some()
    }

    /// Returns the responses that the model works on.
    pub(super) fn responses(&self) -> &[Box<str>] {
        &self.responses
    }

    /// Notes that the model began to work on a response; `is_allowed` is false when the page has lifted a bound of the
    /// persona for it.
    pub(super) fn response_began(&mut self, id: &str, is_allowed: bool, now: Tick) -> Vec<Act> {
        self.lives(now);
        if self.broke_since.is_some() {
            let mut acts = vec![Act::Cancel(id.into())];
            acts.extend(self.end(EndReason::MoneyLimit));
            return acts;
        }
        if self.last_turn_ends.is_some() {
            return vec![Act::Cancel(id.into())];
        }
        let room = self.settings.max_parallel_responses;
        if is_allowed && self.responses.len() < room {
            self.responses.push(id.into());
            if self.goodbye == Goodbye::Asked {
                self.goodbye = Goodbye::Begun;
            }
            return Vec::new();
        }
        if self.responses.len() < MAX_REMEMBERED {
            self.responses.push(id.into());
        }
        let mut acts = vec![Act::Cancel(id.into())];
        acts.extend(self.corrected(now));
        acts
    }

    /// Notes that the model has ended its work on a response.
    pub(super) fn response_ended(&mut self, id: &str, now: Tick) -> Vec<Act> {
        self.lives(now);
        self.responses.retain(|known| **known != *id);
        self.turns += 1;
        let most = self.settings.max_turns;
        if most == 0 || self.turns < most {
            return Vec::new();
        }
        if self.is_playing {
            let end = now.plus(self.settings.grace);
            self.last_turn_ends.get_or_insert(end);
            return Vec::new();
        }
        self.end(EndReason::TurnLimit)
    }

    /// Notes that what the model says begins to be played.
    pub(super) fn is_played(&mut self, now: Tick) {
        self.lives(now);
        self.is_playing = true;
    }

    /// Notes that what the model said was played to its end, or was cut off. A page can cut off nothing, too, and that is no
    /// sign of life.
    pub(super) fn was_played(&mut self, now: Tick) -> Vec<Act> {
        if std::mem::take(&mut self.is_playing) {
            self.lives(now);
        }
        if self.broke_since.is_some() {
            return self.end(EndReason::MoneyLimit);
        }
        if self.last_turn_ends.is_some() {
            return self.end(EndReason::TurnLimit);
        }
        if self.goodbye == Goodbye::Begun {
            return self.end(EndReason::TimeLimit);
        }
        Vec::new()
    }

    /// Notes that the persona had to be restored. Ends the call when that happens too often.
    pub(super) fn corrected(&mut self, now: Tick) -> Vec<Act> {
        while let Some(first) = self.corrections.front()
            && now.since(*first) >= DRIFT_WINDOW
        {
            self.corrections.pop_front();
        }
        self.corrections.push_back(now);
        if self.corrections.len() > MAX_CORRECTIONS {
            return self.end(EndReason::PersonaViolation);
        }
        Vec::new()
    }

    /// Notes that the side channel is lost, or is back.
    pub(super) fn sees(&mut self, sees: bool, now: Tick) {
        match (sees, self.blind_since) {
            (true, _) => self.blind_since = None,
            (false, None) => self.blind_since = Some(now),
            (false, Some(_)) => {}
        }
    }

    /// Notes whether the records can be written.
    pub(super) fn is_recorded(&mut self, is_recorded: bool, now: Tick) {
        match (is_recorded, self.unrecorded_since) {
            (true, _) => self.unrecorded_since = None,
            (false, None) => self.unrecorded_since = Some(now),
            (false, Some(_)) => {}
        }
    }

    /// Notes the price of the call so far.
    pub(super) fn has_cost(&mut self, cost: Money) -> Vec<Act> {
        match self.settings.max_money {
            Some(most) if cost >= most => self.end(EndReason::MoneyLimit),
            _ => Vec::new(),
        }
    }

    /// Notes that no budget has the money for the next answer. The last one may be heard: the call ends when it was played,
    /// when the next one begins, or after the grace.
    pub(super) fn is_broke(&mut self, now: Tick) -> Vec<Act> {
        self.broke_since.get_or_insert(now);
        if std::mem::replace(&mut self.is_warned, true) {
            return Vec::new();
        }
        vec![Act::Warn(Farewell::None)]
    }

    /// Returns the moment at which a call without money ends.
    fn money_ends(&self) -> Option<Tick> {
        let since = self.broke_since?;
        Some(since.plus(self.settings.grace))
    }

    /// Returns why a call that was warned ends, and how long it goes on until then at most.
    pub(super) fn ends_soon(&self, now: Tick) -> (EndReason, Duration) {
        let last = self.last_moment();
        match self.money_ends().filter(|end| *end < last) {
            Some(end) => (EndReason::MoneyLimit, end.since(now)),
            None => (EndReason::TimeLimit, last.since(now)),
        }
    }

    /// Returns the moment at which the call ends because nobody sees or records it.
    fn blind_ends(&self) -> Option<Tick> {
        let blind = self.blind_since.map(|since| since.plus(BLIND_LIMIT));
        let unrecorded = self
            .unrecorded_since
            .map(|since| since.plus(UNRECORDED_LIMIT));
        blind.into_iter().chain(unrecorded).min()
    }

    /// Ends the call, once.
    pub(super) fn end(&mut self, reason: EndReason) -> Vec<Act> {
        if std::mem::replace(&mut self.has_ended, true) {
            return Vec::new();
        }
        vec![Act::End(reason)]
    }

    /// Returns the moment at which the call ends even in the middle of a goodbye.
    fn last_moment(&self) -> Tick {
        if self.says_goodbye() {
            self.deadline.plus(self.settings.grace)
        } else {
            self.deadline
        }
    }

    /// True when the model is to say goodbye, and can be asked to.
    fn says_goodbye(&self) -> bool {
        self.settings.farewell == Farewell::Goodbye && self.blind_since.is_none()
    }

    /// Returns the moment at which a silent call ends, and the reason.
    fn silence_ends(&self) -> (Tick, EndReason) {
        let idle = (
            self.last_life.plus(self.settings.idle_timeout),
            EndReason::Idle,
        );
        let must_join = self.first_life.is_none();
        let join = self.opened.plus(self.settings.join_timeout);
        if must_join && join < idle.0 {
            (join, EndReason::NotJoined)
        } else {
            idle
        }
    }
}
