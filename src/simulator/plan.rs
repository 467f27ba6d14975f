//! Keeps the plan of failures: which fault comes next, and how often.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::fault::{Fault, FaultError};

/// Most entries of one plan.
const MAX_PLANNED: usize = 64;
/// Message for a plan with more entries.
pub(super) const TOO_LONG: &str = "a plan of faults has at most 64 entries";

/// One entry of the plan. Written `FAULT` (until cleared), `3xFAULT`, `models+FAULT` or `models+3xFAULT`. In the same way,
/// `calls+`, `join+` and `hangup+` plan failures of calls only, and `transcribe+` those of transcriptions.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Planned {
    fault: Fault,
    /// Number of failures. Absent: until the plan is cleared.
    times: Option<NonZeroU32>,
    /// True when the list of models fails too, and not only the mint.
    #[serde(default)]
    models: bool,
    /// The operation on calls that fails. Absent: none, but the mint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    of_calls: Option<OfCalls>,
}

/// An operation on calls.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum OfCalls {
    /// The exchange of SDP.
    Calls,
    /// The start of a side channel.
    Join,
    /// The hang-up.
    Hangup,
    /// The transcription of a recording.
    Transcribe,
}

impl FromStr for Planned {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let of_models = text.strip_prefix("models+");
        let text = of_models.unwrap_or(text);
        let of_calls = PREFIXES.iter().find_map(|(prefix, operation)| {
            let rest = text.strip_prefix(prefix)?;
            Some((rest, *operation))
        });
        let text = of_calls.map_or(text, |(rest, _)| rest);
        // No fault begins with a number and an `x`.
        let counted = text
            .split_once('x')
            .and_then(|(times, fault)| Some((Some(times.parse().ok()?), fault)));
        let (times, fault) = counted.unwrap_or((None, text));
        Ok(Self {
            fault: fault.to_owned().try_into()?,
            times,
            models: of_models.is_some(),
            of_calls: of_calls.map(|(_, operation)| operation),
        })
    }
}

const PREFIXES: [(&str, OfCalls); 4] = [
    ("calls+", OfCalls::Calls),
    ("join+", OfCalls::Join),
    ("hangup+", OfCalls::Hangup),
    ("transcribe+", OfCalls::Transcribe),
];

/// The operation of the simulator that a fault may hit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Mint,
    Models,
    Call(OfCalls),
}

/// Planned faults, in order.
#[derive(Default, Serialize)]
pub(super) struct Plan(VecDeque<Planned>);

impl Plan {
    /// Returns a plan of these entries; `None` when there are too many.
    pub(super) fn of(entries: Vec<Planned>) -> Option<Self> {
        (entries.len() <= MAX_PLANNED).then(|| Self(entries.into()))
    }

    /// Appends an entry unless the plan is full.
    pub(super) fn add(&mut self, planned: Planned) {
        if self.0.len() < MAX_PLANNED {
            self.0.push_back(planned);
        }
    }

    /// Takes the next fault for this operation.
    pub(super) fn take(&mut self, operation: Operation) -> Option<Fault> {
        let of_calls = match operation {
            Operation::Mint | Operation::Models => None,
            Operation::Call(operation) => Some(operation),
        };
        let at = self.0.iter().position(|entry| entry.of_calls == of_calls)?;
        let next = self.0.get_mut(at)?;
        if operation == Operation::Models && !next.models {
            return None;
        }
        let fault = next.fault.clone();
        if let Some(times) = next.times {
            next.times = NonZeroU32::new(times.get() - 1);
            if next.times.is_none() {
                self.0.remove(at);
            }
        }
        Some(fault)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan(entries: &[&str]) -> Plan {
        let entries = entries.iter().map(|entry| entry.parse().unwrap());
        Plan::of(entries.collect()).unwrap()
    }

    fn take(plan: &mut Plan, operation: Operation) -> Option<String> {
        plan.take(operation).map(String::from)
    }

    #[test]
    fn faults_happen_in_order_and_as_often_as_planned() {
        let mut plan = plan(&["2x500", "1xhang", "garbage"]);
        let happened: Vec<_> = (0..5)
            .map(|_| take(&mut plan, Operation::Mint).unwrap())
            .collect();
        assert_eq!(happened, ["500", "500", "hang", "garbage", "garbage"]);
        assert_eq!(take(&mut Plan::default(), Operation::Mint), None);
    }

    #[test]
    fn the_list_of_models_fails_only_when_the_entry_says_so() {
        let mut plan = plan(&["1x500", "models+1xhang"]);
        assert_eq!(take(&mut plan, Operation::Models), None);
        assert_eq!(take(&mut plan, Operation::Mint).as_deref(), Some("500"));
        assert_eq!(take(&mut plan, Operation::Models).as_deref(), Some("hang"));
        assert_eq!(take(&mut plan, Operation::Mint), None);
    }

    #[test]
    fn failures_of_calls_wait_for_their_operation_and_keep_nobody_else_waiting() {
        let mut plan = plan(&["hangup+1x500", "join+1xhang"]);
        assert_eq!(take(&mut plan, Operation::Mint), None);
        let join = Operation::Call(OfCalls::Join);
        assert_eq!(take(&mut plan, join).as_deref(), Some("hang"));
        assert_eq!(take(&mut plan, join), None);
    }

    #[test]
    fn a_plan_has_a_bound() {
        let mut plan = plan(&["hang"; MAX_PLANNED]);
        plan.add("hang".parse().unwrap());
        assert_eq!(plan.0.len(), MAX_PLANNED);
        let too_many = vec!["hang".parse().unwrap(); MAX_PLANNED + 1];
        assert!(Plan::of(too_many).is_none());
        assert!(TOO_LONG.contains(&MAX_PLANNED.to_string()));
    }

    #[test]
    fn an_entry_says_the_fault_how_often_and_where() {
        for (text, fault, times, models) in [
            ("429:7", "429:7", None, false),
            ("3x429:7", "429:7", Some(3), false),
            ("models+503", "503", None, true),
            ("models+12xslow:2s", "slow:2s", Some(12), true),
            ("redirect:http://x/3x", "redirect:http://x/3x", None, false),
        ] {
            let planned: Planned = text.parse().unwrap();
            let entry = json!({ "fault": fault, "times": times, "models": models });
            assert_eq!(json!(planned), entry, "{text}");
        }
        for wrong in ["0x500", "x500", "-1x500", "models+", "5x"] {
            assert!(wrong.parse::<Planned>().is_err(), "{wrong}");
        }
    }
}
