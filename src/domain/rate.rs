//! Parses rates and durations: `10/60s`, `15m`.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// A number of admissions in any stretch as long as the window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rate {
    /// Number of admissions.
    pub limit: u32,
    /// Length of the window.
    pub window: Duration,
}

/// Error for a text that is no rate or duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// No `/` between number and window.
    #[error("must be written as a number, a slash and a duration, like 10/60s")]
    Shape,
    /// The number is out of range.
    #[error("must allow between 1 and {MAX_LIMIT}")]
    Limit,
    /// The window is no duration, or out of range.
    #[error("must have a window between 1s and 24h, like 60s, 15m or 1h")]
    Window,
    /// The text is no number with a unit.
    #[error("must be a whole number and a unit, like 250ms, 60s, 15m or 1h")]
    Duration,
}

/// Largest number. Every admission in a window is remembered.
const MAX_LIMIT: u32 = 10_000_000;
const MIN_WINDOW: Duration = Duration::from_secs(1);
const MAX_WINDOW: Duration = Duration::from_hours(24);

impl Rate {
    /// Reads `10/60s`.
    pub fn parse(text: &str) -> Result<Self, RateError> {
        let (limit, window) = text.split_once('/').ok_or(RateError::Shape)?;
        let limit = limit.trim().parse().ok();
        let window = parse_duration(window.trim()).ok();
        let is_watchable = |window: &_| (MIN_WINDOW..=MAX_WINDOW).contains(window);
        Ok(Self {
            limit: limit
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or(RateError::Limit)?,
            window: window.filter(is_watchable).ok_or(RateError::Window)?,
        })
    }
}

impl TryFrom<String> for Rate {
    type Error = RateError;

    fn try_from(text: String) -> Result<Self, RateError> {
        Self::parse(&text)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}s", self.limit, self.window.as_secs())
    }
}

/// Reads a whole number with a unit: `ms`, `s`, `m`, `h` or `d`.
pub fn parse_duration(text: &str) -> Result<Duration, RateError> {
    let unit_at = text
        .find(|letter: char| !letter.is_ascii_digit())
        .ok_or(RateError::Duration)?;
    let (number, unit) = text.split_at(unit_at);
    let number: u64 = number.parse().map_err(|_| RateError::Duration)?;
    let millis_each = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(RateError::Duration),
    };
    number
        .checked_mul(millis_each)
        .map(Duration::from_millis)
        .ok_or(RateError::Duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_people_write_them() {
        assert_eq!(
            Rate::parse("10/60s"),
            Ok(Rate {
                limit: 10,
                window: Duration::from_mins(1)
            })
        );
        assert_eq!(
            Rate::parse("10 / 1h"),
            Ok(Rate {
                limit: 10,
                window: Duration::from_hours(1)
            })
        );
        assert_eq!(Rate::parse("10"), Err(RateError::Shape));
        assert_eq!(Rate::parse("0/60s"), Err(RateError::Limit));
        assert_eq!(Rate::parse("-1/60s"), Err(RateError::Limit));
        assert_eq!(Rate::parse("10/60"), Err(RateError::Window));
        assert_eq!(Rate::parse("10/0s"), Err(RateError::Window));
        assert_eq!(Rate::parse("10/25h"), Err(RateError::Window));
    }

    #[test]
    fn durations_need_a_unit_and_cannot_overflow() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2d"), Ok(Duration::from_hours(48)));
        for wrong in [
            "",
            "60",
            "s",
            "-1s",
            "1.5s",
            "1 s",
            "60sec",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert_eq!(parse_duration(wrong), Err(RateError::Duration), "{wrong:?}");
        }
    }
}
