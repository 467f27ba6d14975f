//! Counts the seconds of a session: active ones and paused ones.

use std::time::Duration;

use serde_json::{Value, json};

use super::switches::{LiveSwitches, Reports};
use crate::clock::Timestamp;

/// What is billed when a session is created, and credited to it.
const PREPAID: Duration = Duration::from_secs(15);
/// Time between two reports.
const REPORT: Duration = Duration::from_mins(1);
/// Time after which the engine is replaced, because its context is full.
const CONTEXT: Duration = Duration::from_hours(1);

/// The clock of one session.
pub(in crate::simulator::calls) struct Meter {
    begun: Timestamp,
    /// Time that was let pass at once.
    skipped: Duration,
    /// Silence after which the session pauses.
    idle_timeout: Option<Duration>,
    /// When somebody spoke last, in time of the session.
    spoken: Duration,
    /// Time of pauses that are over.
    paused: Duration,
    /// When the pause began that goes on.
    paused_since: Option<Duration>,
    /// Time of the last report, and the seconds that it said.
    reported: (Duration, f64),
    has_spoken: bool,
    has_breakdown: bool,
}

/// A change that goes with time.
pub(super) enum Change {
    Paused,
    Report(Value),
}

impl Meter {
    pub(super) fn of(session: &Value, begun: Timestamp) -> Self {
        let model = session["model"].as_str().unwrap_or_default();
        let pauses = model.starts_with("gpt-live-1.1");
        let idle = session["idle_timeout_s"].as_u64().filter(|_| pauses);
        Self {
            begun,
            skipped: Duration::ZERO,
            idle_timeout: idle.map(Duration::from_secs),
            spoken: Duration::ZERO,
            paused: Duration::ZERO,
            paused_since: None,
            reported: (Duration::ZERO, 0.0),
            has_spoken: false,
            has_breakdown: pauses,
        }
    }

    /// Returns the age of the session.
    pub(super) fn elapsed(&self, now: Timestamp) -> Duration {
        now.since(self.begun) + self.skipped
    }

    /// Lets time pass at once.
    pub(super) fn skip(&mut self, time: Duration) {
        self.skipped += time;
    }

    /// Returns the moment `now` as the session sees it.
    pub(super) fn moment(&self, now: Timestamp) -> Timestamp {
        now.plus(self.skipped)
    }

    /// Somebody speaks. Returns true when that ends a pause.
    pub(super) fn speak(&mut self, now: Timestamp) -> bool {
        let elapsed = self.elapsed(now);
        self.spoken = elapsed;
        self.has_spoken = true;
        let since = self.paused_since.take();
        self.paused += since.map_or(Duration::ZERO, |since| elapsed.saturating_sub(since));
        since.is_some()
    }

    /// Returns what time has changed until now.
    pub(super) fn changes(&mut self, now: Timestamp, switches: &LiveSwitches) -> Vec<Change> {
        let (elapsed, mut changes) = (self.elapsed(now), Vec::new());
        let pause = self.idle_timeout.map(|timeout| self.spoken + timeout);
        if let Some(pause) = pause
            && self.paused_since.is_none()
            && elapsed >= pause
        {
            self.paused_since = Some(pause);
            changes.push(Change::Paused);
        }
        if elapsed >= self.reported.0 + REPORT {
            let is_due = match switches.reports {
                Reports::EveryMinute => true,
                Reports::WhileSpoken => self.has_spoken,
                Reports::Never => false,
            };
            self.reported.0 = elapsed;
            self.has_spoken = false;
            if is_due {
                changes.push(Change::Report(self.report(now, switches)));
            }
        }
        changes
    }

    /// Returns the seconds that are billed.
    pub(in crate::simulator::calls) fn billed(&self, now: Timestamp) -> f64 {
        self.elapsed(now).max(PREPAID).as_secs_f64()
    }

    /// Returns the last usage of the session.
    pub(super) fn last(&self, now: Timestamp, switches: &LiveSwitches) -> Value {
        let mut usage = self.usage(now, switches);
        if switches.final_below_last && self.reported.1 > 0.0 {
            usage["seconds"] = json!(self.reported.1 - 0.5);
        }
        usage
    }

    fn report(&mut self, now: Timestamp, switches: &LiveSwitches) -> Value {
        let usage = self.usage(now, switches);
        self.reported.1 = usage["seconds"].as_f64().unwrap_or_default();
        let full = self.elapsed(now).as_secs_f64() / CONTEXT.as_secs_f64();
        let context = json!({"usage_ratio": full.fract() * 0.9});
        json!({"type": "session.usage.updated", "usage": usage, "context_window": context})
    }

    fn usage(&self, now: Timestamp, switches: &LiveSwitches) -> Value {
        let elapsed = self.elapsed(now);
        if !(self.has_breakdown || switches.breakdown) {
            return json!({"seconds": seconds(elapsed, switches)});
        }
        let since = self.paused_since.unwrap_or(elapsed);
        let paused = self.paused + elapsed.saturating_sub(since);
        // What was prepaid and is not used yet counts as active.
        let total = elapsed.max(PREPAID);
        let paused = Duration::from_secs(paused.as_secs());
        json!({
            "seconds": seconds(total, switches),
            "active_seconds": seconds(total.saturating_sub(paused), switches),
            "paused_seconds": paused.as_secs(),
        })
    }
}

/// Returns the seconds as the provider writes them: whole ones, or with tenths.
fn seconds(time: Duration, switches: &LiveSwitches) -> Value {
    if switches.fractions {
        return json!((time.as_secs_f64() * 10.0).floor() / 10.0);
    }
    time.as_secs().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGUN: Timestamp = Timestamp::from_seconds(1_800_000_000);

    fn after(seconds: u64) -> Timestamp {
        BEGUN.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn standby_begins_after_silence_and_ends_with_speech() {
        let session = json!({"model": "gpt-live-1.1", "idle_timeout_s": 15});
        let (mut meter, switches) = (Meter::of(&session, BEGUN), LiveSwitches::default());
        assert_eq!(meter.last(after(3), &switches)["active_seconds"], 15);
        // A pause begins when it was due, also when nobody looked.
        let changes = meter.changes(after(60), &switches);
        let [Change::Paused, Change::Report(report)] = &changes[..] else {
            unreachable!("a pause and a report are due");
        };
        let usage = json!({"seconds": 60, "active_seconds": 15, "paused_seconds": 45});
        assert_eq!(report["usage"], usage);
        assert!(meter.speak(after(75)) && !meter.speak(after(76)));
        let usage = json!({"seconds": 80, "active_seconds": 20, "paused_seconds": 60});
        assert_eq!(meter.last(after(80), &switches), usage);
    }

    #[test]
    fn fifteen_seconds_are_billed_at_least_and_the_final_usage_may_be_below_a_report() {
        let mut switches = LiveSwitches::default();
        let mut meter = Meter::of(&json!({"model": "gpt-live-1"}), BEGUN);
        assert_eq!(meter.last(after(7), &switches), json!({"seconds": 7}));
        assert!((meter.billed(after(7)) - 15.0).abs() < f64::EPSILON);
        meter.skip(Duration::from_millis(59_640));
        assert_eq!(meter.changes(after(1), &switches).len(), 1);
        switches.final_below_last = true;
        assert_eq!(meter.last(after(2), &switches)["seconds"], 59.5);
        switches = LiveSwitches {
            fractions: true,
            ..LiveSwitches::default()
        };
        assert_eq!(meter.last(after(1), &switches)["seconds"], 60.6);
    }
}
