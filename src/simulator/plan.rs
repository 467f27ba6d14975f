//! Keeps the plan of failures: which fault comes next, and how often.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;

use super::fault::{Fault, FaultError};

/// Most entries of one plan.
pub(super) const MAX_PLANNED: usize = 64;

/// Number of occurrences of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// This many times.
    Exactly(u32),
    /// Every time, until the plan is cleared.
    UntilCleared,
}

impl From<u32> for Times {
    fn from(times: u32) -> Self {
        Self::Exactly(times)
    }
}

/// One entry of the plan. Written `FAULT` (until cleared), `3xFAULT`, `models+FAULT` or `models+3xFAULT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The fault.
    pub fault: Fault,
    /// Number of occurrences.
    pub times: Times,
    /// True when the list of models fails too, and not only the mint.
    pub models: bool,
}

impl FromStr for Planned {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let (models, text) = match text.strip_prefix("models+") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        // No fault begins with a number and an `x`.
        let counted = text
            .split_once('x')
            .and_then(|(times, fault)| Some((times.parse().ok()?, fault)));
        let (times, fault) = match counted {
            Some((0, _)) => return Err(FaultError),
            Some((times, fault)) => (Times::Exactly(times), fault),
            None => (Times::UntilCleared, text),
        };
        Ok(Self {
            fault: fault.parse()?,
            times,
            models,
        })
    }
}

impl fmt::Display for Planned {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.models {
            formatter.write_str("models+")?;
        }
        if let Times::Exactly(times) = self.times {
            write!(formatter, "{times}x")?;
        }
        self.fault.fmt(formatter)
    }
}

/// The operation of the simulator that a fault may hit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Mint,
    Models,
}

/// Planned faults, in order.
#[derive(Default)]
pub(super) struct Plan(VecDeque<Planned>);

impl Plan {
    /// Appends an entry. Returns false when the plan is full.
    pub(super) fn add(&mut self, planned: Planned) -> bool {
        let fits = self.0.len() < MAX_PLANNED;
        if fits && planned.times != Times::Exactly(0) {
            self.0.push_back(planned);
        }
        fits
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes the next fault for this operation.
    pub(super) fn take(&mut self, place: Place) -> Option<Fault> {
        let next = self.0.front_mut()?;
        if place == Place::Models && !next.models {
            return None;
        }
        let fault = next.fault.clone();
        if let Times::Exactly(left) = &mut next.times {
            *left -= 1;
            if *left == 0 {
                self.0.pop_front();
            }
        }
        Some(fault)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Planned> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(entries: &[&str]) -> Plan {
        let mut plan = Plan::default();
        for entry in entries {
            assert!(plan.add(entry.parse().unwrap()));
        }
        plan
    }

    #[test]
    fn faults_happen_in_order_and_as_often_as_planned() {
        let mut plan = plan(&["2x500", "1xhang", "garbage"]);
        let happened: Vec<_> = (0..5)
            .map(|_| plan.take(Place::Mint).unwrap().to_string())
            .collect();
        assert_eq!(happened, ["500", "500", "hang", "garbage", "garbage"]);
        plan.clear();
        assert_eq!(plan.take(Place::Mint), None);
    }

    #[test]
    fn the_list_of_models_fails_only_when_the_entry_says_so() {
        let mut plan = plan(&["1x500", "models+1xhang"]);
        assert_eq!(plan.take(Place::Models), None);
        assert_eq!(
            plan.take(Place::Mint),
            Some(Fault::ServerError {
                status: 500,
                retry_after: None
            })
        );
        assert_eq!(plan.take(Place::Models), Some(Fault::Hang));
        assert_eq!(plan.take(Place::Mint), None);
    }

    #[test]
    fn a_plan_has_a_bound() {
        let mut plan = plan(&["hang"; MAX_PLANNED]);
        assert!(!plan.add("hang".parse().unwrap()));
        assert_eq!(plan.entries().count(), MAX_PLANNED);
    }

    #[test]
    fn an_entry_is_written_as_it_is_read() {
        for text in [
            "429:7",
            "3x429:7",
            "models+503",
            "models+12xslow:2s",
            "redirect:http://x/3x",
        ] {
            let planned: Planned = text.parse().unwrap();
            assert_eq!(planned.to_string(), text);
        }
        for wrong in ["0x500", "x500", "-1x500", "models+", "5x"] {
            assert!(wrong.parse::<Planned>().is_err(), "{wrong}");
        }
    }
}
