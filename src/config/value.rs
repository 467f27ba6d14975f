//! Owns the kinds of value a setting can have before it means anything.

use toml::de::DeValue;

/// A setting's value. May be a secret, so it has no `Debug`.
#[derive(Clone, PartialEq)]
pub(super) enum Value {
    Text(String),
    Whole(i64),
    Fraction(f64),
    Flag(bool),
    List(Vec<String>),
    /// What no setting can be.
    Other,
}

impl Value {
    /// What stands in a file.
    pub(super) fn of(value: &DeValue<'_>) -> Self {
        let known = match value {
            DeValue::String(text) => Some(Self::Text(text.to_string())),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .map(Self::Whole),
            DeValue::Float(number) => number.as_str().parse().ok().map(Self::Fraction),
            DeValue::Boolean(flag) => Some(Self::Flag(*flag)),
            DeValue::Array(array) => {
                let texts = array.iter().map(|item| item.get_ref().as_str());
                texts
                    .map(|text| text.map(Into::into))
                    .collect::<Option<_>>()
                    .map(Self::List)
            }
            DeValue::Datetime(_) | DeValue::Table(_) => None,
        };
        known.unwrap_or(Self::Other)
    }

    /// Reads a value of a file as one of the kind that `self`, the default, is; else says what it must be.
    pub(super) fn same_kind(&self, value: &DeValue<'_>) -> Result<Self, &'static str> {
        match (self, Self::of(value)) {
            (Self::List(_), Self::Text(text)) => Ok(Self::List(split(&text))),
            (Self::Fraction(_), Self::Whole(_)) => match value {
                DeValue::Integer(number) => self.parse(number.as_str()),
                _ => Err(self.expected()),
            },
            (kind, value) if kind.is_like(&value) => Ok(value),
            _ => Err(self.expected()),
        }
    }

    /// Reads a text as the kind that `self`, the default, is; else says what it must be. What is text by default
    /// stays text, so that a secret made of digits is not taken for a number.
    pub(super) fn parse(&self, text: &str) -> Result<Self, &'static str> {
        let value = match self {
            Self::Text(_) => Some(Self::Text(text.into())),
            Self::Whole(_) => text.trim().parse().ok().map(Self::Whole),
            Self::Fraction(_) => text.trim().parse().ok().map(Self::Fraction),
            Self::Flag(_) => text.trim().parse().ok().map(Self::Flag),
            Self::List(_) => Some(Self::List(split(text))),
            Self::Other => None,
        };
        value.ok_or(self.expected())
    }

    /// For people, as the environment would give it.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Whole(number) => number.to_string(),
            Self::Fraction(number) => number.to_string(),
            Self::Flag(flag) => flag.to_string(),
            Self::List(items) => items.join(","),
            Self::Other => String::new(),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }

    const fn expected(&self) -> &'static str {
        match self {
            Self::Text(_) => "must be text, in quotes",
            Self::Whole(_) => "must be a whole number, without quotes or unit",
            Self::Fraction(_) => "must be a number, without quotes or unit",
            Self::Flag(_) => "must be true or false, without quotes",
            Self::List(_) => "must be a list of texts, or one text with commas between",
            Self::Other => "must be something else",
        }
    }
}

pub(super) fn split(text: &str) -> Vec<String> {
    let items = text.split(',').map(str::trim);
    items
        .filter(|item| !item.is_empty())
        .map(Into::into)
        .collect()
}
