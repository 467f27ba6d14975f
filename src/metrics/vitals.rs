//! Counts requests, failures and durations for `/health`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use super::Series;
use crate::clock::{Clock, Tick};

/// The number of steps that means and shares look back.
const STEPS: usize = 30;
/// The length of a step: thirty of them are five minutes.
const STEP: Duration = Duration::from_secs(10);

/// The counts of requests, failures and durations, and all series.
pub struct Vitals {
    /// The series for Prometheus.
    pub series: Series,
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
    /// Requests of the last five minutes.
    pub recent: u64,
    /// Share of the last five minutes' requests that failed through us or upstream.
    pub error_rate: f64,
    /// Mean duration of the last five minutes' requests, in milliseconds.
    pub mean_millis: f64,
}

impl Vitals {
    /// Returns counts that start at zero now.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let series = Series::default();
        series.build_info.set([env!("CARGO_PKG_VERSION")], 1.0);
        series.process_start.set([], clock.now().as_seconds_f64());
        Self {
            series,
            started: clock.tick(),
            clock,
            requests: AtomicU64::default(),
            refreshes: AtomicU64::default(),
            recent: Mutex::default(),
        }
    }

    /// Returns the clock that the counts use.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Counts one request, its duration and whether it failed.
    pub fn count_request(&self, took: Duration, failed: bool) {
        self.requests.fetch_add(1, Relaxed);
        let number = self.step_number();
        let mut recent = self.recent.lock();
        let step = &mut recent[usize::try_from(number % STEPS as u64).unwrap_or_default()];
        if step.number != number {
            *step = Step::default();
            step.number = number;
        }
        step.requests += 1;
        step.failures += u64::from(failed);
        step.micros += u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    }

    /// Counts one refresh.
    pub fn count_refresh(&self) {
        self.refreshes.fetch_add(1, Relaxed);
    }

    /// Returns the counts of this moment.
    #[expect(clippy::cast_precision_loss, reason = "a share and a mean, for people")]
    pub fn read(&self) -> Reading {
        let newest = self.step_number();
        let recent = *self.recent.lock();
        let recent = recent
            .iter()
            .filter(|step| step.number + STEPS as u64 > newest);
        let count = |count: fn(&Step) -> u64| recent.clone().map(count).sum::<u64>();
        let requests = count(|step| step.requests);
        let each = requests.max(1) as f64;
        Reading {
            uptime: self.clock.tick().since(self.started),
            requests: self.requests.load(Relaxed),
            refreshes: self.refreshes.load(Relaxed),
            recent: requests,
            error_rate: count(|step| step.failures) as f64 / each,
            mean_millis: count(|step| step.micros) as f64 / each / 1000.0,
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
