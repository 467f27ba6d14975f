//! Circuit breaker: stops requests to a failing upstream, and probes with one request whether it works again.

use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::Tick;

/// Failures in a row that open the circuit breaker.
const FAILURES_TO_OPEN: u32 = 5;
/// How long an open circuit breaker refuses requests before one request may probe the upstream.
const REST: Duration = Duration::from_secs(2);

/// A circuit breaker. After a rest, one request at a time probes whether the upstream works again.
pub(super) struct Breaker(Mutex<State>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Requests pass. Holds the failures in a row so far.
    Closed { failures: u32 },
    /// Requests are refused until this time.
    Open { until: Tick },
    /// One request probes the upstream; the others are refused until its outcome.
    HalfOpen,
}

impl State {
    fn rest(self, now: Tick) -> Option<Duration> {
        match self {
            Self::Open { until } if now < until => Some(until.since(now)),
            Self::HalfOpen => Some(REST),
            Self::Closed { .. } | Self::Open { .. } => None,
        }
    }
}

/// The right to send one request to the upstream. Dropping it without a verdict frees its place: a request that never ended
/// must not block all others.
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
}

impl Breaker {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(State::Closed { failures: 0 }))
    }

    /// Returns how long requests are still refused, if they are. Takes no place.
    pub(super) fn rest(&self, now: Tick) -> Option<Duration> {
        self.0.lock().rest(now)
    }

    /// Returns a permit, or the time until the next one may be available.
    pub(super) fn enter(&self, now: Tick) -> Result<Permit<'_>, Duration> {
        let mut state = self.0.lock();
        if let Some(rest) = state.rest(now) {
            return Err(rest);
        }
        let is_probe = matches!(*state, State::Open { .. });
        if is_probe {
            *state = State::HalfOpen;
        }
        Ok(Permit {
            breaker: self,
            is_probe,
        })
    }
}

impl Permit<'_> {
    /// Reports that the upstream works. Closes the circuit breaker, unless this permit is from before it opened.
    pub(super) fn succeeded(self) {
        let mut state = self.breaker.0.lock();
        if self.is_probe || matches!(*state, State::Closed { .. }) {
            *state = State::Closed { failures: 0 };
        }
    }

    /// Reports that the upstream failed. Opens the circuit breaker for `rest`, or when there were too many failures.
    pub(super) fn failed(self, now: Tick, rest: Option<Duration>) {
        let mut state = self.breaker.0.lock();
        let until = now.plus(rest.unwrap_or_default().max(REST));
        *state = match *state {
            State::Closed { failures: few } if rest.is_none() && few + 1 < FAILURES_TO_OPEN => {
                State::Closed { failures: few + 1 }
            }
            // Another permit has opened it, for long enough.
            State::Open { until: set } if rest.is_none() || set >= until => return,
            _ => State::Open { until },
        };
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.breaker.0.lock();
        if self.is_probe && *state == State::HalfOpen {
            let until = Tick::default();
            *state = State::Open { until };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::from_duration(Duration::from_millis(millis))
    }

    fn opened() -> Breaker {
        let breaker = Breaker::new();
        for _ in 0..FAILURES_TO_OPEN {
            breaker.enter(at(0)).ok().unwrap().failed(at(0), None);
        }
        breaker
    }

    #[test]
    fn five_failures_in_a_row_open_the_breaker_and_fewer_do_not() {
        let breaker = Breaker::new();
        for _ in 0..FAILURES_TO_OPEN - 1 {
            breaker.enter(at(0)).ok().unwrap().failed(at(0), None);
        }
        breaker.enter(at(0)).ok().unwrap().succeeded();
        for _ in 0..FAILURES_TO_OPEN - 1 {
            breaker.enter(at(0)).ok().unwrap().failed(at(0), None);
        }
        assert!(breaker.enter(at(0)).is_ok());
        assert_eq!(
            opened().enter(at(500)).err(),
            Some(Duration::from_millis(1500))
        );
    }

    #[test]
    fn after_the_rest_one_looks_and_the_others_wait() {
        let breaker = opened();
        let look = breaker.enter(at(2000)).ok().unwrap();
        assert!(breaker.enter(at(2000)).is_err());
        look.succeeded();
        assert!(breaker.enter(at(2001)).is_ok());
    }

    #[test]
    fn a_failed_look_means_another_rest() {
        let breaker = opened();
        breaker.enter(at(2000)).ok().unwrap().failed(at(2100), None);
        assert_eq!(breaker.enter(at(2100)).err(), Some(REST));
    }

    #[test]
    fn a_look_that_never_ended_frees_its_place() {
        let breaker = opened();
        drop(breaker.enter(at(2000)).ok().unwrap());
        assert!(breaker.enter(at(2000)).is_ok());
    }

    #[test]
    fn a_late_success_does_not_cancel_a_rest() {
        let breaker = Breaker::new();
        let (slow, refused) = (
            breaker.enter(at(0)).ok().unwrap(),
            breaker.enter(at(0)).ok().unwrap(),
        );
        refused.failed(at(0), Some(Duration::from_secs(20)));
        slow.succeeded();
        assert_eq!(breaker.enter(at(1000)).err(), Some(Duration::from_secs(19)));
    }

    #[test]
    fn a_rest_that_was_asked_for_is_kept_at_once_and_by_all() {
        let breaker = Breaker::new();
        let (first, second) = (
            breaker.enter(at(0)).ok().unwrap(),
            breaker.enter(at(0)).ok().unwrap(),
        );
        first.failed(at(0), Some(Duration::from_secs(7)));
        second.failed(at(100), None);
        assert_eq!(breaker.enter(at(1000)).err(), Some(Duration::from_secs(6)));
    }
}
