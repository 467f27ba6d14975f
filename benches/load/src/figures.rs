//! What was measured, by subject and figure, one value a round.

use std::collections::BTreeMap;

/// All figures of a run.
#[derive(Default)]
pub struct Figures(BTreeMap<(&'static str, &'static str), Vec<f64>>);

impl Figures {
    pub fn note(&mut self, subject: &'static str, figure: &'static str, value: f64) {
        eprintln!("  {subject}: {figure} {}", short(value));
        self.0.entry((subject, figure)).or_default().push(value);
    }

    fn values(&self, subject: &'static str, figure: &'static str) -> &[f64] {
        self.0.get(&(subject, figure)).map_or(&[], Vec::as_slice)
    }

    /// The middle value; not a number when there is none.
    pub fn median(&self, subject: &'static str, figure: &'static str) -> f64 {
        median(self.values(subject, figure).to_vec())
    }

    /// The middle value, and in parentheses the least and the greatest.
    pub fn shown(&self, subject: &'static str, figure: &'static str) -> String {
        let values = self.values(subject, figure);
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match values {
            [] => "–".to_owned(),
            [only] => short(*only),
            _ => format!(
                "{} ({}–{})",
                short(self.median(subject, figure)),
                short(least),
                short(most)
            ),
        }
    }

    /// The middle of what `compare` makes of two figures of the same round.
    pub fn by_round(
        &self,
        (one, of_one): (&'static str, &'static str),
        (other, of_other): (&'static str, &'static str),
        compare: impl Fn(f64, f64) -> f64,
    ) -> f64 {
        let pairs = self
            .values(one, of_one)
            .iter()
            .zip(self.values(other, of_other));
        median(pairs.map(|(one, other)| compare(*one, *other)).collect())
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.get(middle) {
        None => f64::NAN,
        Some(upper) if values.len() % 2 == 1 => *upper,
        Some(upper) => f64::midpoint(values[middle - 1], *upper),
    }
}

/// As many digits as mean something.
pub fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        medium if medium >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}
