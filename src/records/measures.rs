//! The measures: what is counted of every entry and summed up in reports. One line each in [`MEASURES`].

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::entry::{Entry, State};
use crate::domain::Kind;

/// One measure: its name, in reports and as a column of the tables of sums, and whether it counts an entry.
struct Measure {
    name: &'static str,
    counts: fn(&Entry) -> bool,
}

/// All measures, in the order of reports. A new one needs a line here, and a migration that adds its column.
const MEASURES: [Measure; 4] = [
    measure("sessions", |entry| {
        entry.kind.is_session() && entry.counts()
    }),
    measure("refreshes", |entry| {
        entry.kind == Kind::Refresh && entry.counts()
    }),
    measure("uncertain", |entry| entry.state == State::Uncertain),
    measure("failed", |entry| entry.state == State::Failed),
];

const fn measure(name: &'static str, counts: fn(&Entry) -> bool) -> Measure {
    Measure { name, counts }
}

/// Returns the names of all measures, in the order of reports.
pub fn measures() -> impl Iterator<Item = &'static str> {
    MEASURES.iter().map(|measure| measure.name)
}

/// The sums of all measures over some entries, or a change of such sums, and the time of the latest entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    values: [i64; MEASURES.len()],
    /// The time of the latest entry, in milliseconds since the Unix epoch.
    pub last_at: u64,
}

impl Sums {
    /// Returns the measures of one entry.
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            values: MEASURES
                .each_ref()
                .map(|measure| i64::from((measure.counts)(entry))),
            last_at: entry.at().as_millis(),
        }
    }

    /// Returns the sum of the measure of that name; zero when there is no such measure.
    pub fn get(&self, name: &str) -> u64 {
        let mut named = measures().zip(self.values());
        let value = named.find(|(measure, _)| *measure == name);
        value.map_or(0, |(_, value)| value)
    }

    /// Returns all sums, in the order of reports.
    pub fn values(&self) -> impl Iterator<Item = u64> {
        let values = self.values.into_iter();
        values.map(|value| u64::try_from(value).unwrap_or_default())
    }

    /// True when no measure changes.
    pub(super) fn is_zero(&self) -> bool {
        self.values == [0; MEASURES.len()]
    }

    /// Adds `other`.
    pub(super) fn add(&mut self, other: Self) {
        for (value, more) in self.values.iter_mut().zip(other.values) {
            *value += more;
        }
        self.last_at = self.last_at.max(other.last_at);
    }

    /// Takes the measures of one entry away. The time of the latest entry stays.
    pub(super) fn take(&mut self, entry: &Entry) {
        for (value, less) in self.values.iter_mut().zip(Self::of(entry).values) {
            *value -= less;
        }
    }
}

/// As a map, so that rows and reports name each measure.
impl Serialize for Sums {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let last_at = i64::try_from(self.last_at).unwrap_or(i64::MAX);
        let values = measures().zip(self.values);
        serializer.collect_map(values.chain([("last_at", last_at)]))
    }
}

impl<'de> Deserialize<'de> for Sums {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map = HashMap::<String, i64>::deserialize(deserializer)?;
        let value = |name: &str| map.get(name).copied().unwrap_or_default();
        Ok(Self {
            values: MEASURES.each_ref().map(|measure| value(measure.name)),
            last_at: u64::try_from(value("last_at")).unwrap_or_default(),
        })
    }
}
