//! Parses JSON objects without repeated members, which different parsers would read differently.

use serde_json::Value;

/// Parses an object. Returns `None` when a member is repeated at any depth (RFC 7515 §4 and RFC 7519
/// §4 allow that) or the text is something else. The library bounds the depth at 128.
pub(super) fn object(bytes: &[u8]) -> Option<Value> {
    let value = serde_json::from_slice(bytes).ok()?;
    // Of a repeated member, the library keeps the last one only.
    let is_whole = members_in(&value) == colons_in(bytes);
    Some(value).filter(|value| value.is_object() && is_whole)
}

/// Returns the number of members of all objects in `value`.
fn members_in(value: &Value) -> usize {
    match value {
        Value::Object(members) => members.len() + members.values().map(members_in).sum::<usize>(),
        Value::Array(items) => items.iter().map(members_in).sum(),
        _ => 0,
    }
}

/// Returns the number of colons outside of strings: in a valid text, one for each member.
fn colons_in(json: &[u8]) -> usize {
    let (mut colons, mut is_in_string, mut is_escaped) = (0, false, false);
    for byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => is_in_string = !is_in_string,
            b':' if !is_in_string => colons += 1,
            _ => {}
        }
    }
    colons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_without_repeated_members_is_read_as_by_any_parser() {
        let text = r#"{":\"::\\":"::","a":null,"b":[true,-1,2,1.5,"é"],"c":{"a":{}}}"#;
        let usual: Value = serde_json::from_str(text).unwrap();
        assert_eq!(object(text.as_bytes()), Some(usual));
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
