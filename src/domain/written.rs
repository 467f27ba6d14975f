//! Reads values of settings as people write them, for serde: texts, lists, whole numbers, durations.
//!
//! Each error continues the sentence "the setting …" and never repeats the value, which may be a secret.

use std::convert::Infallible;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

use super::{Money, parse_duration};

/// Reads a text by `parse`.
pub fn text<'de, T, E: Display, D: Deserializer<'de>>(
    from: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, D::Error> {
    parse(&String::deserialize(from)?).map_err(Error::custom)
}

/// Reads a text by `parse`; an empty text is `None`.
pub fn optional<'de, T, E: Display, D: Deserializer<'de>>(
    from: D,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>, D::Error> {
    let text = String::deserialize(from)?;
    let given = Some(text.as_str()).filter(|text| !text.is_empty());
    given.map(parse).transpose().map_err(Error::custom)
}

/// Reads one word that can stand in a header; an empty text is `None`.
pub fn optional_word<'de, T, D>(from: D) -> Result<Option<T>, D::Error>
where
    T: for<'text> From<&'text str>,
    D: Deserializer<'de>,
{
    optional(from, |text| {
        let is_word = text.bytes().all(|byte| byte.is_ascii_graphic());
        is_word
            .then(|| text.into())
            .ok_or("must be one word of plain letters, digits and signs")
    })
}

/// Reads a path; an empty text is `None`.
pub fn optional_path<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
    optional(from, |text| Ok::<_, Infallible>(text.into()))
}

/// Reads each text of a list by `parse`. The error names every entry that is wrong.
pub fn list<'de, T, E: Display, D: Deserializer<'de>>(
    from: D,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Texts {
        List(Vec<String>),
        Joined(String),
    }
    let wrong = "must be a list of texts, or one text with commas between";
    let texts = match Texts::deserialize(from).map_err(|_: D::Error| Error::custom(wrong))? {
        Texts::List(texts) => texts,
        Texts::Joined(text) => text.split(',').map(str::to_owned).collect(),
    };
    let (mut read, mut wrong) = (Vec::with_capacity(texts.len()), Vec::new());
    for (index, text) in texts.iter().enumerate() {
        match parse(text.trim()) {
            Ok(item) => read.push(item),
            Err(error) => wrong.push(format!("entry {} of {} {error}", index + 1, texts.len())),
        }
    }
    if wrong.is_empty() {
        Ok(read)
    } else {
        Err(Error::custom(wrong.join("; ")))
    }
}

/// Reads a whole number from `LEAST` to `MOST`.
pub fn whole<'de, const LEAST: i64, const MOST: i64, T, D>(from: D) -> Result<T, D::Error>
where
    T: TryFrom<i64>,
    D: Deserializer<'de>,
{
    let number = i64::deserialize(from)?;
    let fits = (LEAST..=MOST).contains(&number);
    let number = fits.then(|| T::try_from(number).ok()).flatten();
    number.ok_or_else(|| Error::custom(format_args!("must be between {LEAST} and {MOST}")))
}

/// Reads a whole number from `LEAST` to `MOST`, for a setting that has no default.
pub fn some_whole<'de, const LEAST: i64, const MOST: i64, T, D>(
    from: D,
) -> Result<Option<T>, D::Error>
where
    T: TryFrom<i64>,
    D: Deserializer<'de>,
{
    whole::<LEAST, MOST, T, D>(from).map(Some)
}

/// Reads an amount of dollars; an empty text is `None`. Whole dollars may come without quotes.
pub fn money<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Money>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Dollars {
        Text(String),
        Whole(u32),
    }
    let wrong = |_: D::Error| Error::custom("must be an amount of dollars, like \"0.50\"");
    let text = match Dollars::deserialize(from).map_err(wrong)? {
        Dollars::Text(text) => text,
        Dollars::Whole(dollars) => dollars.to_string(),
    };
    if text.is_empty() {
        return Ok(None);
    }
    Money::written(&text).map(Some).map_err(Error::custom)
}

/// Reads a number from `LEAST` to `MOST` thousandths.
pub fn fraction<'de, const LEAST: u32, const MOST: u32, D: Deserializer<'de>>(
    from: D,
) -> Result<f64, D::Error> {
    let (least, most) = (f64::from(LEAST) / 1000.0, f64::from(MOST) / 1000.0);
    let number = f64::deserialize(from)?;
    let fits = (least..=most).contains(&number).then_some(number);
    fits.ok_or_else(|| Error::custom(format_args!("must be between {least} and {most}")))
}

/// Reads a duration from `LEAST` to `MOST` milliseconds.
pub fn lasting<'de, const LEAST: u64, const MOST: u64, D: Deserializer<'de>>(
    from: D,
) -> Result<Duration, D::Error> {
    text(from, |text| {
        let duration = parse_duration(text).map_err(|error| error.to_string())?;
        let (least, most) = (Duration::from_millis(LEAST), Duration::from_millis(MOST));
        let fits = (least..=most).contains(&duration).then_some(duration);
        fits.ok_or_else(|| format!("must be between {} and {}", spelled(LEAST), spelled(MOST)))
    })
}

/// Reads a duration from `LEAST` to `MOST` milliseconds, for a setting that has no default.
pub fn some_lasting<'de, const LEAST: u64, const MOST: u64, D: Deserializer<'de>>(
    from: D,
) -> Result<Option<Duration>, D::Error> {
    lasting::<LEAST, MOST, D>(from).map(Some)
}

/// Spells milliseconds in the largest unit that divides them.
fn spelled(millis: u64) -> String {
    let units = [("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let mut units = units.iter();
    let whole = units.find(|(_, each)| millis > 0 && millis.is_multiple_of(*each));
    whole.map_or_else(
        || format!("{millis}ms"),
        |(unit, each)| format!("{}{unit}", millis / each),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_spelled_in_the_largest_whole_unit() {
        for (millis, text) in [
            (0, "0ms"),
            (1500, "1500ms"),
            (5_400_000, "90m"),
            (86_400_000, "24h"),
        ] {
            assert_eq!(spelled(millis), text);
        }
    }
}
