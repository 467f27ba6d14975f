//! Words faults as the provider does.

use serde_json::Value;

use super::Fault;
use super::rule::Path;

/// Longest quoted part of a wrong value, in characters. The value may be a misplaced secret.
const QUOTED: usize = 64;

pub(super) fn unknown(path: &Path<'_>) -> Fault {
    let param = shorten(&path.to_string());
    let message = format!("Unknown parameter: '{param}'.");
    fault(param, "unknown_parameter", message)
}

pub(super) fn missing(path: &Path<'_>) -> Fault {
    let message = format!("Missing required parameter: '{path}'.");
    fault(path.to_string(), "missing_required_parameter", message)
}

pub(super) fn wrong_type(path: &Path<'_>, expected: &str, got: &Value) -> Fault {
    let got = kind_of(got);
    let message = format!("Invalid type for '{path}': expected {expected}, but got {got} instead.");
    fault(path.to_string(), "invalid_type", message)
}

pub(super) fn unsupported(path: &Path<'_>, got: &str, supported: &[&str]) -> Fault {
    let message = format!(
        "Invalid value: '{}'. Supported values are: {}.",
        shorten(got),
        list(supported)
    );
    fault(path.to_string(), "invalid_value", message)
}

pub(super) fn misshapen(path: &Path<'_>, pattern: &str) -> Fault {
    let message = format!(
        "Invalid '{path}': string does not match pattern. Expected a string that matches the pattern '{pattern}'."
    );
    fault(path.to_string(), "invalid_value", message)
}

pub(super) fn unfit(path: &Path<'_>, field: &str, model: &str) -> Fault {
    let message = format!(
        "Invalid value: '{field}' is not supported with model '{}'.",
        shorten(model)
    );
    fault(path.to_string(), "invalid_value", message)
}

/// A value beyond its bounds: the direction, the bound, and the value.
pub(super) struct Excess<'a> {
    pub(super) code: &'static str,
    pub(super) what: &'static str,
    pub(super) expected: &'a str,
    pub(super) got: &'a str,
}

pub(super) fn out_of_bounds(path: &Path<'_>, excess: &Excess<'_>) -> Fault {
    let Excess {
        what,
        expected,
        got,
        ..
    } = excess;
    let message = format!("Invalid '{path}': {what}. Expected {expected}, but got {got} instead.");
    fault(path.to_string(), excess.code, message)
}

fn fault(param: String, code: &'static str, message: String) -> Fault {
    Fault {
        param,
        code,
        message,
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// `'a'`, `'a' and 'b'`, `'a', 'b', and 'c'`.
fn list(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
    match quoted.as_slice() {
        [] => String::new(),
        [only] => only.clone(),
        [first, second] => format!("{first} and {second}"),
        [begin @ .., last] => format!("{}, and {last}", begin.join(", ")),
    }
}

pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
