//! Breaks the circuit to a failing upstream, and lets one request find out whether it works again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Tick;

/// Failures in a row that open the circuit breaker.
const FAILURES_TO_OPEN: u32 = 5;
/// How long an open circuit breaker refuses requests before one may find out whether the upstream works again.
const REST: Duration = Duration::from_secs(2);

/// A circuit breaker. After a rest, one request at a time finds out whether the upstream works again.
pub(super) struct Breaker(Mutex<State>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Requests pass. Holds the failures in a row so far.
    Closed { failures: u32 },
    /// Requests are refused until then.
    Open { until: Tick },
    /// One request was let in at that moment; the others are refused until its outcome.
    HalfOpen { since: Tick },
}

impl State {
    fn rest(self, now: Tick) -> Option<Duration> {
        match self {
            Self::Open { until } if now < until => Some(until.since(now)),
            Self::HalfOpen { .. } => Some(REST),
            Self::Closed { .. } | Self::Open { .. } => None,
        }
    }
}

/// The right to ask the upstream once. Dropping it without a verdict frees its place: a request that never ended must not
/// keep everybody else out.
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    probing: Option<Tick>,
}

impl Breaker {
    pub(super) const fn new() -> Self {
        Self(Mutex::new(State::Closed { failures: 0 }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True when requests pass.
    pub(super) fn is_closed(&self) -> bool {
        matches!(*self.state(), State::Closed { .. })
    }

    /// Returns how long requests are still refused, if they are. Takes no place.
    pub(super) fn rest(&self, now: Tick) -> Option<Duration> {
        self.state().rest(now)
    }

    /// Returns a permit, or how long until it is worth asking for one again.
    pub(super) fn enter(&self, now: Tick) -> Result<Permit<'_>, Duration> {
        let mut state = self.state();
        if let Some(rest) = state.rest(now) {
            return Err(rest);
        }
        let looks = matches!(*state, State::Open { .. });
        if looks {
            *state = State::HalfOpen { since: now };
        }
        Ok(Permit {
            breaker: self,
            probing: looks.then_some(now),
        })
    }
}

impl Permit<'_> {
    /// Reports that the upstream works. Closes the circuit breaker, unless this permit is from before it opened.
    pub(super) fn succeeded(mut self) {
        let looked = self.probing.take().is_some();
        let mut state = self.breaker.state();
        if looked || matches!(*state, State::Closed { .. }) {
            *state = State::Closed { failures: 0 };
        }
    }

    /// Reports that the upstream failed. Opens the circuit breaker for `rest`, or when there were too many failures.
    pub(super) fn failed(mut self, now: Tick, rest: Option<Duration>) {
        let probing = self.probing.take().is_some();
        let mut state = self.breaker.state();
        let failures = match *state {
            State::Closed { failures } => failures + 1,
            // Another permit has opened it for longer: that stands.
            State::Open { until } if rest.is_none_or(|rest| until >= now.plus(rest)) => return,
            State::Open { .. } | State::HalfOpen { .. } => FAILURES_TO_OPEN,
        };
        *state = match rest {
            Some(rest) => State::Open {
                until: now.plus(rest.max(REST)),
            },
            None if probing || failures >= FAILURES_TO_OPEN => State::Open {
                until: now.plus(REST),
            },
            None => State::Closed { failures },
        };
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let Some(since) = self.probing else { return };
        let mut state = self.breaker.state();
        if *state == (State::HalfOpen { since }) {
            *state = State::Open { until: since };
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
    fn five_failures_in_a_row_open_it_and_fewer_do_not() {
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
