//! Reads one value of a setting with serde.

use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{self, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::value::{Value, split};

/// Why a value does not fit. Continues the sentence "the setting …" and never holds the value.
#[derive(Debug)]
pub(super) struct Fault(String);

impl Fault {
    /// Stands for mistakes that were noted already.
    pub(super) const fn noted() -> Self {
        Self(String::new())
    }
}

impl Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(format!("must be {expected}"))
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self(format!("must be {expected}"))
    }
}

/// One value; `None` reads as an empty text, list or table, as zero and as false.
#[derive(Clone, Copy)]
pub(super) struct Leaf<'a> {
    value: Option<&'a Value>,
    /// True for texts of the environment and the command line, which may stand for numbers and lists.
    is_loose: bool,
}

impl<'a> Leaf<'a> {
    /// A value of a file.
    pub(super) const fn of(value: Option<&'a Value>) -> Self {
        Self {
            value,
            is_loose: false,
        }
    }

    /// A value of the environment or the command line.
    pub(super) const fn loose(value: &'a Value) -> Self {
        Self {
            value: Some(value),
            is_loose: true,
        }
    }

    /// The text, without white space around.
    pub(super) fn text(self) -> Result<&'a str, Fault> {
        match self.value {
            None => Ok(""),
            Some(Value::Text(text)) => Ok(text.trim()),
            Some(_) => Err(Fault("must be text, in quotes".into())),
        }
    }

    /// What a loose text stands for; else `message`.
    fn parsed<T: std::str::FromStr>(self, message: &str) -> Result<T, Fault> {
        let text = self.text().ok().filter(|_| self.is_loose);
        let parsed = text.and_then(|text| text.parse().ok());
        parsed.ok_or_else(|| Fault(message.into()))
    }
}

impl<'de> Deserializer<'de> for Leaf<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_str(self.text()?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_bool(match self.value {
            None => false,
            Some(Value::Flag(flag)) => *flag,
            Some(_) => self.parsed("must be true or false, without quotes")?,
        })
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_i64(match self.value {
            None => 0,
            Some(Value::Whole(number)) => *number,
            Some(_) => self.parsed("must be a whole number, without quotes or unit")?,
        })
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_f64(match self.value {
            None => 0.0,
            Some(Value::Fraction(number)) => *number,
            Some(Value::Whole(number)) => number.to_string().parse().unwrap_or_default(),
            Some(_) => self.parsed("must be a number, without quotes or unit")?,
        })
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let items = match self.value {
            None => Vec::new(),
            Some(Value::List(items)) => items.clone(),
            Some(Value::Text(text)) => split(text),
            Some(_) => {
                let message = "must be a list of texts, or one text with commas between";
                return Err(Fault(message.into()));
            }
        };
        let items = items.into_iter().map(|item| item.trim().to_owned());
        visitor.visit_seq(de::value::SeqDeserializer::new(items))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_map(de::value::MapDeserializer::new(std::iter::empty::<(
            &str,
            &str,
        )>()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self.text() {
            Ok("") => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let word: StrDeserializer<'_, Fault> = self.text()?.into_deserializer();
        if words.contains(&self.text()?) {
            visitor.visit_enum(word)
        } else {
            Err(Fault(format!("must be one of {}", words.join(", "))))
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i128 u8 u16 u32 u64 u128 f32 char str string bytes byte_buf unit unit_struct
        struct tuple tuple_struct identifier ignored_any
    }
}
