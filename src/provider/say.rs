//! Words faults as the provider does.

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

pub(super) fn wrong_type(path: &Path<'_>, expected: &str, got: &str) -> Fault {
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

/// Words a value beyond its bounds: the bound, and the value.
pub(super) fn out_of_bounds(
    path: &Path<'_>,
    (code, what): (&'static str, &str),
    (expected, got): (&str, &str),
) -> Fault {
    let message = format!("Invalid '{path}': {what}. Expected {expected}, but got {got} instead.");
    fault(path.to_string(), code, message)
}

fn fault(param: String, code: &'static str, message: String) -> Fault {
    Fault {
        param,
        code,
        message,
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
