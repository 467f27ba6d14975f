//! Amounts of money in whole nano-dollars.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

const NANOS: i64 = 1_000_000_000;

/// An amount of money in nano-dollars (0.000000001 US dollars). Sums saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Money(i64);

impl Money {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// Returns the amount of `nanos` nano-dollars.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Returns the nano-dollars.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Returns the amount of a count of nano-dollars. What is too much is the largest amount.
    pub fn from_count(nanos: u64) -> Self {
        Self(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    /// Returns the nano-dollars as a count: zero for a negative amount.
    pub fn as_count(self) -> u64 {
        u64::try_from(self.0).unwrap_or_default()
    }

    /// Reads an amount in dollars with at most nine decimal places: `12`, `0.017`. Returns `None` for other texts,
    /// negative amounts and more than nine billion dollars.
    pub fn parse(dollars: &str) -> Option<Self> {
        let (whole, part) = dollars.split_once('.').unwrap_or((dollars, "0"));
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 9 {
            return None;
        }
        let whole: i64 = whole.parse().ok()?;
        let part: i64 = format!("{part:0<9}").parse().ok()?;
        whole.checked_mul(NANOS)?.checked_add(part).map(Self)
    }

    /// Reads an amount that a limit can have: more than nothing.
    pub fn written(dollars: &str) -> Result<Self, &'static str> {
        let money = Self::parse(dollars).filter(|money| *money > Self::ZERO);
        money.ok_or("must be an amount of dollars, like \"0.50\"")
    }
}

/// Dollars with two to nine decimal places: `0.50`, `-0.010296`.
impl fmt::Display for Money {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (nanos, dollar) = (self.0.unsigned_abs(), NANOS.unsigned_abs());
        let part = format!("{:09}", nanos % dollar);
        let (cents, rest) = part.split_at(2);
        let rest = rest.trim_end_matches('0');
        write!(formatter, "{sign}{}.{cents}{rest}", nanos / dollar)
    }
}

impl Add for Money {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Money {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Money {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_and_written_in_dollars() {
        for (text, nanos, written) in [
            ("0", 0, "0.00"),
            ("12", 12 * NANOS, "12.00"),
            ("0.017", 17_000_000, "0.017"),
            ("0.000000001", 1, "0.000000001"),
            ("0.5", NANOS / 2, "0.50"),
        ] {
            let money = Money::parse(text).unwrap();
            assert_eq!(
                (money.as_nanos(), money.to_string()),
                (nanos, written.into())
            );
        }
        for wrong in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1,5",
            "1e3",
            "$1",
            " 1",
            "0.0000000001",
            "9300000000",
        ] {
            assert_eq!(Money::parse(wrong), None, "{wrong}");
        }
        assert_eq!(Money::from_nanos(-10_296_000).to_string(), "-0.010296");
        assert_eq!(
            Money::from_nanos(i64::MIN).to_string(),
            "-9223372036.854775808"
        );
    }
}
