//! Quotas: what an identity may use in a day, a week and a month of the calendar.

use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use time::{Date, UtcDateTime};

use super::{Account, Budget, CallLimits, Limit, Money, written};
use crate::clock::Timestamp;

/// A calendar month in UTC, as its first day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(Date);

impl Month {
    /// Returns the month of `moment`.
    pub fn of(moment: Timestamp) -> Self {
        Self(first_of_month(date(moment)))
    }

    /// Returns the beginning of the next month.
    pub fn end(self) -> Timestamp {
        midnight(first_of_month(
            self.0.saturating_add(time::Duration::days(31)),
        ))
    }
}

/// `2026-11`.
impl fmt::Display for Month {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let month = u8::from(self.0.month());
        write!(formatter, "{:04}-{month:02}", self.0.year())
    }
}

/// Returns the UTC day of `moment`, as `2026-11-22`.
pub fn day_of(moment: Timestamp) -> String {
    date(moment).to_string()
}

pub(super) fn first_of_month(date: Date) -> Date {
    // Every month has a first day.
    date.replace_day(1).unwrap_or(date)
}

/// Returns the beginning of a UTC day.
pub(super) fn midnight(date: Date) -> Timestamp {
    let seconds = date.midnight().assume_utc().unix_timestamp();
    Timestamp::from_seconds(u64::try_from(seconds).unwrap_or_default())
}

pub(super) fn date(moment: Timestamp) -> Date {
    let seconds = i64::try_from(moment.as_seconds()).unwrap_or(i64::MAX);
    // A moment beyond the year 9999 counts as that year.
    let moment = UtcDateTime::from_unix_timestamp(seconds).unwrap_or(UtcDateTime::MAX);
    moment.date()
}

/// What one identity may use. `None` for no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(
    default,
    deny_unknown_fields,
    expecting = "a table with sessions_per_month, minutes_per_day, minutes_per_week, minutes_per_month, money_per_day, money_per_week, money_per_month, live_calls or call"
)]
pub struct Quota {
    /// Most sessions in a month.
    #[serde(deserialize_with = "written::some_whole::<1, 1_000_000_000, _, _>")]
    pub sessions_per_month: Option<u32>,
    /// Most minutes of calls in a day.
    #[serde(deserialize_with = "written::some_whole::<1, 1_000_000, _, _>")]
    pub minutes_per_day: Option<u32>,
    /// Most minutes of calls in a week, which begins on Monday.
    #[serde(deserialize_with = "written::some_whole::<1, 1_000_000, _, _>")]
    pub minutes_per_week: Option<u32>,
    /// Most minutes of calls in a month.
    #[serde(deserialize_with = "written::some_whole::<1, 1_000_000, _, _>")]
    pub minutes_per_month: Option<u32>,
    /// Most money for calls in a day.
    #[serde(deserialize_with = "written::money")]
    pub money_per_day: Option<Money>,
    /// Most money for calls in a week, which begins on Monday.
    #[serde(deserialize_with = "written::money")]
    pub money_per_week: Option<Money>,
    /// Most money for calls in a month.
    #[serde(deserialize_with = "written::money")]
    pub money_per_month: Option<Money>,
    /// Most live calls, instead of `call.max_live`.
    #[serde(deserialize_with = "written::some_whole::<1, 10_000, _, _>")]
    pub live_calls: Option<u32>,
    /// The limits of each call.
    pub call: CallLimits,
}

impl Quota {
    /// Returns the budget of calls.
    pub fn budget(&self) -> Budget {
        let limit = |minutes: Option<u32>, money| Limit {
            seconds: minutes.map(|minutes| u64::from(minutes) * 60),
            money,
        };
        Budget {
            day: limit(self.minutes_per_day, self.money_per_day),
            week: limit(self.minutes_per_week, self.money_per_week),
            month: limit(self.minutes_per_month, self.money_per_month),
        }
    }
}

/// The quota of every identity: its own, that of its role, or that of everybody else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quotas {
    /// The quota of identities whose role has none.
    pub everybody: Quota,
    /// The quotas of roles.
    pub roles: HashMap<Box<str>, Quota>,
    /// The exceptions of accounts.
    pub accounts: HashMap<Account, Quota>,
}

impl Quotas {
    /// Returns the quota of `account`, whose verified role is `role`.
    pub fn of(&self, account: &Account, role: Option<&str>) -> Quota {
        let own = self.accounts.get(account);
        let role = || self.roles.get(role?);
        own.or_else(role).copied().unwrap_or(self.everybody)
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn at(text: &str) -> Timestamp {
        let moment = OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339);
        Timestamp::from_seconds(moment.unwrap().unix_timestamp().try_into().unwrap())
    }

    #[test]
    fn months_begin_and_end_in_utc_whatever_the_season_or_the_year() {
        for (moment, month, end) in [
            ("2026-11-22T05:00:00Z", "2026-11", "2026-12-01T00:00:00Z"),
            ("2026-12-31T23:59:59Z", "2026-12", "2027-01-01T00:00:00Z"),
            ("2027-01-01T00:00:00Z", "2027-01", "2027-02-01T00:00:00Z"),
            ("2028-02-29T12:00:00Z", "2028-02", "2028-03-01T00:00:00Z"),
            ("2027-02-28T23:59:59Z", "2027-02", "2027-03-01T00:00:00Z"),
            ("2100-02-28T23:59:59Z", "2100-02", "2100-03-01T00:00:00Z"),
            // Clocks in Europe and America change on these days; UTC does not.
            ("2026-03-29T01:30:00Z", "2026-03", "2026-04-01T00:00:00Z"),
            ("2026-11-01T06:30:00Z", "2026-11", "2026-12-01T00:00:00Z"),
        ] {
            assert_eq!(Month::of(at(moment)).to_string(), month, "{moment}");
            assert_eq!(Month::of(at(moment)).end(), at(end), "{moment}");
        }
    }

    #[test]
    fn the_last_moment_of_a_month_and_the_first_of_the_next_are_a_millisecond_apart() {
        let end = Month::of(at("2026-11-22T05:00:00Z")).end();
        let last = Timestamp::from_millis(end.as_millis() - 1);
        assert_eq!(Month::of(last).to_string(), "2026-11");
        assert_eq!(Month::of(end).to_string(), "2026-12");
    }

    #[test]
    fn a_moment_beyond_the_calendar_is_no_panic() {
        let month = Month::of(Timestamp::from_millis(u64::MAX));
        assert!(month.end() > Timestamp::from_seconds(0));
    }

    #[test]
    fn an_exception_comes_before_the_role_and_the_role_before_everybody() {
        let quota = |limit| Quota {
            sessions_per_month: Some(limit),
            ..Quota::default()
        };
        let account = |subject: &str| Account {
            issuer: "https://id".into(),
            subject: subject.into(),
        };
        let quotas = Quotas {
            everybody: quota(1),
            roles: HashMap::from([("student".into(), quota(2))]),
            accounts: HashMap::from([(account("ana"), quota(3))]),
        };
        let limit = |subject, role| quotas.of(&account(subject), role).sessions_per_month;
        assert_eq!(limit("ana", Some("student")), Some(3));
        assert_eq!(limit("ben", Some("student")), Some(2));
        assert_eq!(limit("ben", Some("teacher")), Some(1));
        assert_eq!(limit("ben", None), Some(1));
        assert_eq!(
            Quotas::default().of(&account("ben"), None),
            Quota::default()
        );
    }

    #[test]
    fn a_day_is_utc_and_never_a_panic() {
        assert_eq!(day_of(Timestamp::from_millis(0)), "1970-01-01");
        assert_eq!(
            day_of(Timestamp::from_millis(1_795_305_599_999)),
            "2026-11-21"
        );
        assert_eq!(
            day_of(Timestamp::from_millis(1_795_305_600_000)),
            "2026-11-22"
        );
        assert_eq!(day_of(Timestamp::from_millis(u64::MAX)), "9999-12-31");
    }
}
