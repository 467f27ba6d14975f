//! Blanks the persona's instructions in the sessions that the provider shows. Every other byte stays.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::websocket::Utf8Bytes;

/// The events that show a session.
const SHOWING: [&str; 2] = ["session.created", "session.updated"];
/// The text that replaces instructions.
const BLANK: &str = "\"\"";

#[derive(Deserialize)]
struct Event<'text> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'text, str>,
    #[serde(borrow, default)]
    session: Option<Session<'text>>,
}

#[derive(Deserialize)]
struct Session<'text> {
    #[serde(borrow, default)]
    instructions: Option<&'text RawValue>,
}

/// Returns the text without the instructions of a session, or `None` for a text that cannot be read.
pub(super) fn instructions(text: Utf8Bytes) -> Option<Utf8Bytes> {
    // Most events are deltas, which show no session.
    if text.starts_with(r#"{"type":"response."#) {
        return Some(text);
    }
    let event: Event<'_> = serde_json::from_str(&text).ok()?;
    let session = event.session.filter(|_| SHOWING.contains(&&*event.kind));
    let Some(instructions) = session.and_then(|session| session.instructions) else {
        return Some(text);
    };
    let (before, after) = around(&text, instructions.get());
    Some([before, BLANK, after].concat().into())
}

/// Returns the text before and after `part`, which borrows from `text`.
fn around<'text>(text: &'text str, part: &str) -> (&'text str, &'text str) {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    (&text[..start], &text[start + part.len()..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn re12_instructions_are_blanked_and_everything_else_is_byte_equal() {
        for (text, blanked) in [
            (
                r#"{ "type":"session.updated","session":{"a":1.00, "instructions" : "Be \"kind\".", "b":[ ]} }"#,
                r#"{ "type":"session.updated","session":{"a":1.00, "instructions" : "", "b":[ ]} }"#,
            ),
            (
                r#"{"session":{"in\u0073tructions":"x"},"type":"session.created"}"#,
                r#"{"session":{"in\u0073tructions":""},"type":"session.created"}"#,
            ),
            (
                r#"{"type":"session.created","session":{}}"#,
                r#"{"type":"session.created","session":{}}"#,
            ),
            (
                r#"{"type":"response.done","session":{"instructions":"x"}}"#,
                r#"{"type":"response.done","session":{"instructions":"x"}}"#,
            ),
        ] {
            assert_eq!(instructions(text.into()).as_deref(), Some(blanked));
        }
        assert_eq!(
            instructions(r#"{"type":"session.updated","session":{"#.into()),
            None
        );
    }
}
