//! Writes figures for people: money, counts, spans and moments.

use crate::clock::Timestamp;
use crate::domain::day_of;

/// Returns nano-dollars for people: whole cents, or four decimal places below a dollar.
pub(super) fn dollars(nanos: u64) -> String {
    let unit = if nanos >= 1_000_000_000 {
        10_000_000
    } else {
        100_000
    };
    let rounded = nanos.saturating_add(unit / 2) / unit * unit;
    let (whole, part) = (rounded / 1_000_000_000, rounded % 1_000_000_000);
    let part = if unit == 10_000_000 {
        format!("{:02}", part / unit)
    } else {
        format!("{:04}", part / unit)
    };
    format!("${}.{part}", grouped(whole))
}

/// Returns a number with commas between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns seconds as `1:05`, or `2:01:05` from an hour on.
pub(super) fn span(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{}:{minutes:02}:{seconds:02}", grouped(hours))
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// Returns a moment as `2026-12-01 21:45:03`, in UTC.
pub(super) fn moment_of(moment: Timestamp) -> String {
    let second = moment.since(moment.start_of_day()).as_secs();
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!(
        "{} {hour:02}:{minute:02}:{:02}",
        day_of(moment),
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(grouped),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [0, 12_345_678, 999_999_999, 1_005_000_000, 1_234_567_000_000].map(dollars),
            ["$0.0000", "$0.0123", "$1.0000", "$1.01", "$1,234.57"]
        );
        assert_eq!([5, 65, 7_265].map(span), ["0:05", "1:05", "2:01:05"]);
        assert_eq!(
            moment_of(Timestamp::from_seconds(1_640_998_923)),
            "2022-01-01 01:02:03"
        );
    }
}
