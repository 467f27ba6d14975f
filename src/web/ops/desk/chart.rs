//! Draws stacked bars, one for each day, as positions in a picture.

use std::collections::BTreeMap;

use crate::clock::Timestamp;
use crate::domain::day_of;

/// The height of the highest bar, in units of the picture.
const HEIGHT: u64 = 160;
/// The width of all bars together.
const WIDTH: u64 = 900;
/// Most parts of a bar. The smallest ones are one part.
const PARTS: usize = 5;
const DAY: std::time::Duration = std::time::Duration::from_hours(24);

/// Stacked bars.
pub(super) struct Chart {
    pub(super) title: String,
    /// The parts, the largest first.
    pub(super) legend: Vec<String>,
    pub(super) bars: Vec<Bar>,
    /// The value of the highest bar, for people.
    pub(super) most: String,
}

/// One bar.
pub(super) struct Bar {
    /// The label of the bar, and its value for people.
    pub(super) title: String,
    pub(super) label: String,
    pub(super) parts: Vec<Part>,
}

/// One part of a bar.
pub(super) struct Part {
    pub(super) place: usize,
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) width: u64,
    pub(super) height: u64,
}

/// One value: the day, the part and the number.
pub(super) type Point = (String, String, u64);

/// Returns the days from `since` until `now`.
fn days(since: Timestamp, now: Timestamp) -> Vec<String> {
    let mut days = vec![day_of(since)];
    let (mut day, last) = (since.start_of_day(), now.start_of_day());
    while day < last {
        day = day.plus(DAY);
        days.push(day_of(day));
    }
    days
}

impl Chart {
    /// Draws `points`, with a bar for each day from the first moment until the second one.
    pub(super) fn daily(
        title: String,
        points: &[Point],
        (since, now): (Timestamp, Timestamp),
        write: fn(u64) -> String,
    ) -> Self {
        let (legend, days) = (legend(points), days(since, now));
        let mut sums: BTreeMap<(&str, usize), u64> = BTreeMap::new();
        for (day, part, number) in points {
            let place = legend.iter().position(|name| name == part);
            let place = place.unwrap_or(PARTS - 1);
            *sums.entry((day, place)).or_default() += number;
        }
        let sums_of = |day: &str| -> Vec<u64> {
            let of = |place| sums.get(&(day, place)).copied().unwrap_or_default();
            (0..PARTS).map(of).collect()
        };
        let totals = days.iter().map(|day| sums_of(day).iter().sum::<u64>());
        let most = totals.max().unwrap_or_default();
        let step = WIDTH / (days.len() as u64).max(1);
        let bars = days.iter().zip(0..).map(|(day, number)| {
            let sums = sums_of(day);
            Bar {
                title: format!("{day}: {}", write(sums.iter().sum())),
                label: day.clone(),
                parts: stack(&sums, (number * step, step), most),
            }
        });
        Self {
            title,
            bars: bars.collect(),
            legend,
            most: write(most),
        }
    }

    /// Returns the label of the first bar.
    pub(super) fn first(&self) -> &str {
        self.bars.first().map_or("", |bar| &bar.label)
    }

    /// Returns the label of the last bar.
    pub(super) fn last(&self) -> &str {
        self.bars.last().map_or("", |bar| &bar.label)
    }
}

/// Returns the names of the parts, the largest first. When there are too many, the last name is that of the rest.
fn legend(points: &[Point]) -> Vec<String> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, part, number) in points {
        *sums.entry(part).or_default() += number;
    }
    let mut names: Vec<_> = sums.into_iter().collect();
    names.sort_by_key(|(_, sum)| std::cmp::Reverse(*sum));
    let mut legend: Vec<_> = names.iter().map(|(name, _)| (*name).to_owned()).collect();
    if legend.len() > PARTS {
        legend.truncate(PARTS - 1);
        legend.push("others".to_owned());
    }
    legend
}

/// Returns the parts of one bar that begins at `x`, from the ground up.
fn stack(sums: &[u64], (x, step): (u64, u64), most: u64) -> Vec<Part> {
    let (mut parts, mut below) = (Vec::new(), 0_u64);
    let scaled = |sum: u64| {
        let height = u128::from(sum) * u128::from(HEIGHT) / u128::from(most.max(1));
        u64::try_from(height).unwrap_or(HEIGHT)
    };
    for (place, sum) in sums.iter().enumerate().filter(|(_, sum)| **sum > 0) {
        let (low, high) = (scaled(below), scaled(below.saturating_add(*sum)));
        below = below.saturating_add(*sum);
        parts.push(Part {
            place,
            x,
            y: HEIGHT - high.max(low + 1).min(HEIGHT),
            width: (step * 4 / 5).max(1),
            height: (high - low).max(1),
        });
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_without_use_have_an_empty_bar_and_small_parts_are_one() {
        let since = Timestamp::from_seconds(1_640_995_200);
        let point = |day: &str, part: &str, number| (day.to_owned(), part.to_owned(), number);
        let mut points = vec![
            point("2022-01-01", "student", 30),
            point("2022-01-03", "teacher", 10),
        ];
        for number in 0..9 {
            points.push(point("2022-01-03", &format!("role-{number}"), 1));
        }
        let write = |number: u64| number.to_string();
        let now = since.plus(DAY * 2);
        let chart = Chart::daily(String::new(), &points, (since, now), write);
        assert_eq!(chart.bars.len(), 3);
        let legend = ["student", "teacher", "role-0", "role-1", "others"];
        assert_eq!(chart.legend, legend);
        assert_eq!(chart.most, "30");
        assert_eq!((chart.first(), chart.last()), ("2022-01-01", "2022-01-03"));
        assert_eq!(chart.bars[0].parts[0].height, HEIGHT);
        assert_eq!(chart.bars[1].parts.len(), 0);
        assert_eq!(chart.bars[2].title, "2022-01-03: 19");
        let parts = &chart.bars[2].parts;
        assert_eq!(parts.len(), 4);
        let sum: u64 = parts.iter().map(|part| part.height).sum();
        assert_eq!(sum, 19 * HEIGHT / 30);
        for (below, above) in parts.iter().zip(&parts[1..]) {
            assert_eq!(above.y + above.height, below.y);
        }
    }
}
