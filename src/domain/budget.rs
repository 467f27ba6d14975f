//! Budgets of calls: what may be spent in a day, a week or a month, in time and in money.

use std::ops::{Add, AddAssign};

use time::{Date, Duration};

use super::{Money, quota};
use crate::clock::Timestamp;

/// A call with fewer seconds left is not worth its beginning.
const SHORTEST: u64 = 15;

/// A period of the calendar in UTC. A week begins on Monday.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Period {
    /// A day.
    Day,
    /// A week.
    Week,
    /// A month.
    Month,
}

impl Period {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Day, Self::Week, Self::Month];

    /// Returns the word for it in settings and errors.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// Returns the first moment of the period that contains `now`.
    pub fn start(self, now: Timestamp) -> Timestamp {
        quota::midnight(self.first(now))
    }

    /// Returns the first moment of the next period.
    pub fn end(self, now: Timestamp) -> Timestamp {
        let first = self.first(now);
        match self {
            Self::Day => quota::midnight(first.saturating_add(Duration::days(1))),
            Self::Week => quota::midnight(first.saturating_add(Duration::days(7))),
            Self::Month => quota::Month::of(now).end(),
        }
    }

    fn first(self, now: Timestamp) -> Date {
        let today = quota::date(now);
        match self {
            Self::Day => today,
            Self::Week => {
                let since_monday = today.weekday().number_days_from_monday();
                today.saturating_sub(Duration::days(i64::from(since_monday)))
            }
            Self::Month => quota::first_of_month(today),
        }
    }
}

/// Time and money.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// Seconds of calls.
    pub seconds: u64,
    /// Money.
    pub money: Money,
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            seconds: self.seconds.saturating_add(other.seconds),
            money: self.money + other.money,
        }
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The most that may be spent in one period. `None` for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Seconds of calls.
    pub seconds: Option<u64>,
    /// Money.
    pub money: Option<Money>,
}

/// The most that may be spent in each period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// In a day.
    pub day: Limit,
    /// In a week.
    pub week: Limit,
    /// In a month.
    pub month: Limit,
}

impl Budget {
    /// Returns the limit of a period.
    pub const fn of(&self, period: Period) -> Limit {
        match period {
            Period::Day => self.day,
            Period::Week => self.week,
            Period::Month => self.month,
        }
    }

    /// Returns the limits that are set.
    pub fn limits(self) -> impl Iterator<Item = (Period, Limit)> {
        let limits = Period::ALL.map(|period| (period, self.of(period)));
        let limits = limits.into_iter();
        limits.filter(|(_, limit)| *limit != Limit::default())
    }

    /// True when money is limited.
    pub fn limits_money(self) -> bool {
        self.limits().any(|(_, limit)| limit.money.is_some())
    }
}

/// The callers whose spending is summed up together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purse {
    /// One identity.
    Owner,
    /// All callers without identity.
    Anonymous,
    /// Everybody.
    Everybody,
}

impl Purse {
    /// Returns the word for it in the records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Anonymous => "anonymous",
            Self::Everybody => "everybody",
        }
    }
}

/// The budgets that hold for one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    /// The budget of the call's owner, or of all callers without identity when nobody verified owns the call.
    pub own: Budget,
    /// The budget of everybody.
    pub everybody: Budget,
}

/// A budget that is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Whose budget.
    pub purse: Purse,
    /// The period.
    pub period: Period,
    /// True when money is used up, false when time is.
    pub is_money: bool,
    /// The time at which the next period begins.
    pub resets_at: Timestamp,
}

impl Exhausted {
    /// Returns the name of the limit: `minutes_per_week`; of a limit for all callers, the name of the setting.
    pub const fn name(&self) -> &'static str {
        match (self.purse, self.is_money, self.period) {
            (Purse::Everybody, _, Period::Day) => "money.per_day",
            (Purse::Everybody, ..) => "money.per_month",
            (Purse::Anonymous, ..) => "money.anonymous_per_day",
            (Purse::Owner, false, Period::Day) => "minutes_per_day",
            (Purse::Owner, false, Period::Week) => "minutes_per_week",
            (Purse::Owner, false, Period::Month) => "minutes_per_month",
            (Purse::Owner, true, Period::Day) => "money_per_day",
            (Purse::Owner, true, Period::Week) => "money_per_week",
            (Purse::Owner, true, Period::Month) => "money_per_month",
        }
    }
}

impl Budgets {
    /// Returns the limits that are set, with whose and which period they are.
    pub fn limits(&self, is_anonymous: bool) -> impl Iterator<Item = (Purse, Period, Limit)> {
        let own = if is_anonymous {
            Purse::Anonymous
        } else {
            Purse::Owner
        };
        let purses = [(own, self.own), (Purse::Everybody, self.everybody)];
        purses.into_iter().flat_map(|(purse, budget)| {
            let limits = budget.limits();
            limits.map(move |(period, limit)| (purse, period, limit))
        })
    }

    /// True when money is limited.
    pub fn limit_money(&self) -> bool {
        self.own.limits_money() || self.everybody.limits_money()
    }

    /// Grants a call what is left of the time that it wants, and all of the money. `spent` says what was spent and is held
    /// already. Fails when no time is left, or less money than wanted.
    pub fn grant(
        &self,
        is_anonymous: bool,
        (want, now): (Amount, Timestamp),
        spent: impl Fn(Purse, Period) -> Amount,
    ) -> Result<Amount, Exhausted> {
        let mut granted = want;
        for (purse, period, limit) in self.limits(is_anonymous) {
            let spent = spent(purse, period);
            let exhausted = |is_money| Exhausted {
                purse,
                period,
                is_money,
                resets_at: period.end(now),
            };
            if limit
                .money
                .is_some_and(|most| spent.money + want.money > most)
            {
                return Err(exhausted(true));
            }
            let left = limit.seconds.map(|most| most.saturating_sub(spent.seconds));
            if left.is_some_and(|left| left < want.seconds.min(SHORTEST)) {
                return Err(exhausted(false));
            }
            granted.seconds = granted.seconds.min(left.unwrap_or(u64::MAX));
        }
        Ok(granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::day_of;

    fn cents(number: i64) -> Money {
        Money::from_nanos(number * 10_000_000)
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn days_weeks_and_months_begin_in_utc_and_weeks_on_monday() {
        // Wednesday, 30 December 2026, 12:00 UTC.
        let now = at(1_798_632_000);
        let spans = Period::ALL.map(|period| (day_of(period.start(now)), day_of(period.end(now))));
        let expected = [
            ("2026-12-30", "2026-12-31"),
            ("2026-12-28", "2027-01-04"),
            ("2026-12-01", "2027-01-01"),
        ];
        for (span, (start, end)) in spans.iter().zip(expected) {
            assert_eq!((span.0.as_str(), span.1.as_str()), (start, end));
        }
        for period in Period::ALL {
            assert!(
                period.end(Timestamp::from_millis(u64::MAX)) > now,
                "no panic"
            );
        }
    }

    #[test]
    fn a_call_gets_the_time_that_is_left_and_the_money_or_nothing() {
        let limit = |seconds, money| Limit { seconds, money };
        let budgets = Budgets {
            own: Budget {
                week: limit(Some(1_800), None),
                month: limit(None, Some(cents(50))),
                ..Budget::default()
            },
            ..Budgets::default()
        };
        let want = Amount {
            seconds: 600,
            money: cents(10),
        };
        let grant = |seconds, money| {
            let spent = Amount { seconds, money };
            budgets.grant(false, (want, at(1_798_632_000)), |_, _| spent)
        };
        let seconds = |granted: Result<Amount, Exhausted>| granted.map(|amount| amount.seconds);
        assert_eq!(seconds(grant(0, Money::ZERO)), Ok(600));
        assert_eq!(seconds(grant(1_500, cents(40))), Ok(300));
        let over = grant(1_800, Money::ZERO).unwrap_err();
        assert_eq!(over.name(), "minutes_per_week");
        assert_eq!(day_of(over.resets_at), "2027-01-04");
        let over = grant(0, cents(41)).unwrap_err();
        assert_eq!((over.period, over.is_money), (Period::Month, true));
        assert_eq!(over.purse, Purse::Owner);
        let nothing = budgets.grant(true, (want, at(0)), |purse, _| {
            assert_eq!(purse, Purse::Anonymous);
            Amount::default()
        });
        assert_eq!(nothing, Ok(want));
        let free = Budgets::default();
        let granted = free.grant(false, (want, at(0)), |_, _| panic!("nobody asks"));
        assert_eq!(granted, Ok(want));
    }
}
