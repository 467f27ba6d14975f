//! Counts requests, failures and durations for `/health`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{Clock, Tick};

/// The number of steps that means and shares look back.
const STEPS: usize = 30;
/// The length of a step: thirty of them are five minutes.
const STEP: Duration = Duration::from_secs(10);

/// Counts requests, their failures and how long they took.
pub struct Vitals {
    clock: Arc<dyn Clock>,
    started: Tick,
    requests: AtomicU64,
    refreshes: AtomicU64,
    recent: Mutex<[Step; STEPS]>,
}

#[derive(Clone, Copy, Default)]
struct Step {
    /// The step's number since the clock began. An older number marks a stale slot.
    number: u64,
    requests: u64,
    failures: u64,
    micros: u64,
}

/// The counts at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The time since the service started.
    pub uptime: Duration,
    /// Requests since the start.
    pub requests: u64,
    /// Refreshes since the start.
    pub refreshes: u64,
    /// Share of the last five minutes' requests that failed through us or upstream.
    pub error_rate: f64,
    /// Mean duration of the last five minutes' requests, in milliseconds.
    pub mean_millis: f64,
}

impl Vitals {
    /// Returns counts that start at zero now.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let started = clock.tick();
        Self {
            clock,
            started,
            requests: AtomicU64::new(0),
            refreshes: AtomicU64::new(0),
            recent: Mutex::new([Step::default(); STEPS]),
        }
    }

    /// Counts one request, its duration and whether it failed.
    pub fn count_request(&self, took: Duration, failed: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let number = self.step_number();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let step = &mut recent[usize::try_from(number % STEPS as u64).unwrap_or_default()];
        if step.number != number {
            *step = Step {
                number,
                ..Step::default()
            };
        }
        step.requests += 1;
        step.failures += u64::from(failed);
        step.micros += u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    }

    /// Counts one refresh.
    pub fn count_refresh(&self) {
        self.refreshes.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the counts of this moment.
    #[expect(clippy::cast_precision_loss, reason = "a share and a mean, for people")]
    pub fn read(&self) -> Reading {
        let newest = self.step_number();
        let mut sum = Step::default();
        for step in self
            .recent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            if step.number + STEPS as u64 > newest {
                sum.requests += step.requests;
                sum.failures += step.failures;
                sum.micros += step.micros;
            }
        }
        let each = sum.requests.max(1) as f64;
        Reading {
            uptime: self.clock.tick().since(self.started),
            requests: self.requests.load(Ordering::Relaxed),
            refreshes: self.refreshes.load(Ordering::Relaxed),
            error_rate: sum.failures as f64 / each,
            mean_millis: sum.micros as f64 / each / 1000.0,
        }
    }

    /// Returns the number of the current step. Counts from one, so that a slot that was never used is stale.
    fn step_number(&self) -> u64 {
        self.clock.tick().since(Tick::default()).as_secs() / STEP.as_secs() + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{ManualClock, Timestamp};

    #[test]
    fn shares_and_means_look_back_five_minutes_and_totals_to_the_start() {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(0)));
        let vitals = Vitals::new(Arc::clone(&clock) as Arc<dyn Clock>);
        vitals.count_request(Duration::from_millis(100), true);
        vitals.count_request(Duration::from_millis(300), false);
        let now = vitals.read();
        assert_eq!(
            (now.requests, now.error_rate, now.mean_millis),
            (2, 0.5, 200.0)
        );

        clock.advance(Duration::from_mins(5));
        vitals.count_request(Duration::from_millis(50), false);
        let later = vitals.read();
        assert_eq!(
            (later.requests, later.error_rate, later.mean_millis),
            (3, 0.0, 50.0)
        );
        assert_eq!(later.uptime, Duration::from_mins(5));
    }
}
