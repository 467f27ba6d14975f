//! Owns the way HTTP writes a moment: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110).

use crate::clock::Timestamp;

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Writes `moment` for a `Date` header. The server's own would ask the machine, and not the simulated clock.
pub(super) fn http_date(moment: Timestamp) -> String {
    let (days, second) = (moment.as_seconds() / 86_400, moment.as_seconds() % 86_400);
    let weekday = DAYS[usize::try_from(days % 7).unwrap_or_default()];
    let (year, month, day) = civil(days);
    let month = MONTHS[month];
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let second = second % 60;
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

/// Year, month from 0 and day from 1, of a day counted from 1970-01-01.
fn civil(mut days: u64) -> (u64, usize, u64) {
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= length_of_year(year) {
        days -= length_of_year(year);
        year += 1;
    }
    let february = length_of_year(year) - 337;
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    (year, month, days + 1)
}

const fn length_of_year(year: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    if is_leap { 366 } else { 365 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_http_wants_them() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_102_444_800, "Fri, 01 Jan 2100 00:00:00 GMT"),
            (13_574_563_200, "Tue, 29 Feb 2400 00:00:00 GMT"),
        ] {
            assert_eq!(http_date(Timestamp::from_seconds(seconds)), text);
        }
    }
}
