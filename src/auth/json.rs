//! Parses JSON without repeated members, which different parsers would read differently.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Parses an object. Returns `None` when a member is repeated at any depth (RFC 7515 §4 and RFC 7519
/// §4 allow that) or the text is something else. The library bounds the depth at 128.
pub(super) fn object(bytes: &[u8]) -> Option<Value> {
    value(bytes).filter(Value::is_object)
}

/// Parses any JSON, as [`object`] does.
pub(super) fn value(bytes: &[u8]) -> Option<Value> {
    let Strict(value) = serde_json::from_slice(bytes).ok()?;
    Some(value)
}

/// A value that is read without [`Value`]'s own reader, for which the key of a `RawValue` is special: it would parse the
/// text of that member as JSON, which is not what was signed, and count the depth from the start again.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON without repeated members")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Strict(value)) = access.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((name, Strict(value))) = access.next_entry::<String, _>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is repeated"));
            }
        }
        Ok(members.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_object_without_repeated_members_is_read_as_by_any_parser() {
        let text = r#"{":\"::\\":"::","a":null,"b":[true,-1,2,1.5,"é"],"c":{"a":{}}}"#;
        let usual: Value = serde_json::from_str(text).unwrap();
        assert_eq!(object(text.as_bytes()), Some(usual));
    }

    #[test]
    fn the_key_of_a_raw_value_is_a_member_like_any_other() {
        let key = "$serde_json::private::RawValue";
        let text = json!({ key: r#"{"a":1}"# }).to_string();
        let read = object(text.as_bytes()).unwrap();
        assert_eq!(read.as_object().unwrap().len(), 1);
        assert_eq!(read[key], r#"{"a":1}"#);
        // Each text would begin a depth of its own.
        let mut nested = "1".to_owned();
        for _ in 0..8 {
            nested = json!({ key: "[".repeat(100) + &nested + &"]".repeat(100) }).to_string();
        }
        let read = object(nested.as_bytes()).unwrap();
        assert!(read[key].as_str().unwrap().starts_with("[[["));
        let key = Value::from(key);
        let repeated = format!("{{{key}:\"1\",{key}:\"2\"}}");
        assert_eq!(object(repeated.as_bytes()), None);
    }

    #[test]
    fn repeated_members_and_texts_that_are_no_object_are_refused() {
        let deep = "{\"a\":".repeat(200) + "1" + &"}".repeat(200);
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{":\\":":\"::","b":1,"b":2}"#,
            r#"{"b":[{"a":1,"c":2,"a":3}]}"#,
            "[]",
            "1",
            "null",
            "",
            "{",
            "{}{}",
            r#"{"exp":1e999}"#,
            "{\"a\":\"\u{0}\"}",
            &deep,
        ] {
            assert_eq!(object(text.as_bytes()), None, "{text}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}"), None);
    }
}
