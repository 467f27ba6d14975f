//! The measures: what is counted of every entry and summed up in reports. One line each in [`MEASURES`].

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::entry::{Entry, State};
use crate::domain::Kind;

/// One measure: its name, in reports and as a column of the tables of sums, and its value for an entry.
struct Measure {
    name: &'static str,
    of: fn(&Entry) -> u64,
    /// True for a column of entries, false for a count of entries.
    is_column: bool,
}

/// All measures, in the order of reports. A new one needs a line here, and a migration that adds its column.
const MEASURES: [Measure; 18] = [
    count("sessions", |entry| {
        u64::from(entry.kind.is_session() && entry.counts())
    }),
    count("refreshes", |entry| {
        u64::from(entry.kind == Kind::Refresh && entry.counts())
    }),
    count("uncertain", |entry| {
        u64::from(entry.state == State::Uncertain)
    }),
    count("failed", |entry| u64::from(entry.state == State::Failed)),
    count("calls", |entry| {
        u64::from(entry.kind.is_call() && entry.counts())
    }),
    column("turns", |entry| entry.used.turns),
    column("seconds", |entry| entry.used.seconds),
    column("fresh_text", |entry| entry.used.fresh_text),
    column("fresh_audio", |entry| entry.used.fresh_audio),
    column("fresh_image", |entry| entry.used.fresh_image),
    column("cached_text", |entry| entry.used.cached_text),
    column("cached_audio", |entry| entry.used.cached_audio),
    column("cached_image", |entry| entry.used.cached_image),
    column("output_text", |entry| entry.used.output_text),
    column("output_audio", |entry| entry.used.output_audio),
    column("transcribed_ms", |entry| entry.used.transcribed_ms),
    column("nanodollars", |entry| entry.used.nanodollars),
    column("estimated_nanodollars", |entry| {
        entry.used.estimated_nanodollars
    }),
];

const fn count(name: &'static str, of: fn(&Entry) -> u64) -> Measure {
    Measure {
        name,
        of,
        is_column: false,
    }
}

const fn column(name: &'static str, of: fn(&Entry) -> u64) -> Measure {
    Measure {
        name,
        of,
        is_column: true,
    }
}

/// Returns the names of all measures, in the order of reports.
pub fn measures() -> impl Iterator<Item = &'static str> {
    MEASURES.iter().map(|measure| measure.name)
}

/// Returns the names of the measures that entries have as columns.
pub(super) fn columns() -> impl Iterator<Item = &'static str> {
    let columns = MEASURES.iter().filter(|measure| measure.is_column);
    columns.map(|measure| measure.name)
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
                .map(|measure| i64::try_from((measure.of)(entry)).unwrap_or(i64::MAX)),
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
            *value = value.saturating_add(more);
        }
        self.last_at = self.last_at.max(other.last_at);
    }

    /// Takes the measures of one entry away. The time of the latest entry stays.
    pub(super) fn take(&mut self, entry: &Entry) {
        for (value, less) in self.values.iter_mut().zip(Self::of(entry).values) {
            *value = value.saturating_sub(less);
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
