//! The measures: what is counted of every entry and summed up in reports. One line each in [`MEASURES`].

use std::collections::HashMap;

use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::state::{Known, State};
use super::statement::{Column, number};
use crate::domain::Kind;

/// One measure: its name, in reports and as a column of the tables of sums, and its value for one entry.
struct Measure {
    name: &'static str,
    of: fn(&Known) -> i64,
}

/// All measures, in the order of reports. A new one needs a line here, and a migration that adds its column.
const MEASURES: [Measure; 4] = [
    measure("sessions", |known| known.counts_as(Kind::Mint)),
    measure("refreshes", |known| known.counts_as(Kind::Refresh)),
    measure("uncertain", |known| {
        i64::from(known.state == State::Uncertain)
    }),
    measure("failed", |known| i64::from(known.state == State::Failed)),
];

const fn measure(name: &'static str, of: fn(&Known) -> i64) -> Measure {
    Measure { name, of }
}

/// Returns the names of all measures, in the order of reports.
pub fn measures() -> impl Iterator<Item = &'static str> {
    MEASURES.iter().map(|measure| measure.name)
}

/// Returns the columns of all measures.
pub(super) fn columns() -> Vec<Column> {
    measures().map(number).collect()
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
    pub(super) fn of(known: &Known) -> Self {
        Self {
            values: MEASURES.each_ref().map(|measure| (measure.of)(known)),
            last_at: known.at.as_millis(),
        }
    }

    /// Returns the sum of the measure of that name; zero when there is no such measure.
    pub fn get(&self, name: &str) -> u64 {
        let mut named = measures().zip(self.values);
        let value = named.find(|(measure, _)| *measure == name);
        value.map_or(0, |(_, value)| u64::try_from(value).unwrap_or_default())
    }

    /// Returns all sums, in the order of reports.
    pub fn values(&self) -> impl Iterator<Item = u64> {
        self.values
            .into_iter()
            .map(|value| u64::try_from(value).unwrap_or_default())
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

    /// Returns the change that takes these sums away again. The time of the latest entry stays.
    pub(super) fn taken_back(self) -> Self {
        Self {
            values: self.values.map(|value| -value),
            last_at: 0,
        }
    }
}

/// As a map, so that rows and reports name each measure.
impl Serialize for Sums {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(MEASURES.len() + 1))?;
        for (name, value) in measures().zip(self.values) {
            map.serialize_entry(name, &value)?;
        }
        map.serialize_entry("last_at", &self.last_at)?;
        map.end()
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
