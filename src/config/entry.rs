//! One setting: its name, its default, its value and who gave it.

use toml::Value;

use super::Source;

/// Fields of tables that are secrets, or hold secrets.
const SECRET_FIELDS: [&str; 2] = ["hmac_secret", "lookup_headers"];
/// What is shown in place of a secret.
const MASK: &str = "***";
/// One setting: its name, its default, and the value that won.
pub(super) struct Entry {
    /// The parts of the name. The tables of a list are `[1]`, `[2]` and so on.
    pub(super) path: Vec<String>,
    /// The parts, joined by dots.
    pub(super) name: String,
    /// What `config/default.toml` says; `None` for names that only the operator knows.
    pub(super) default: Option<Value>,
    pub(super) value: Value,
    pub(super) source: Source,
    pub(super) is_secret: bool,
}

impl Entry {
    /// A setting that stands at `value`.
    pub(super) fn new(path: Vec<String>, value: Value, source: Source) -> Self {
        let name = joined(path.iter().map(String::as_str));
        Self {
            is_secret: path
                .iter()
                .any(|part| SECRET_FIELDS.contains(&part.as_str())),
            default: (source == Source::Default).then(|| value.clone()),
            path,
            name,
            value,
            source,
        }
    }

    /// True for an empty secret, and for a ledger that needs no password.
    fn is_harmless(&self, text: &str) -> bool {
        let needs_no_password = text == "memory" || text.starts_with("sqlite:");
        text.is_empty() || (self.name == "ledger.url" && needs_no_password)
    }

    /// The value, fit to be shown.
    pub(super) fn shown(&self) -> String {
        match shown(&self.value) {
            text if self.is_secret && !self.is_harmless(&text) => MASK.into(),
            text => text,
        }
    }
}

/// The full name of a setting, or of a table: `auth.issuers[1].issuer`.
pub(super) fn joined<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut name = String::new();
    for part in parts {
        if !name.is_empty() && !part.starts_with('[') {
            name.push('.');
        }
        name.push_str(part);
    }
    name
}

/// A value for people, as the environment would give it.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Float(number) => number.to_string(),
        Value::Array(items) => {
            let texts: Vec<_> = items.iter().map(shown).collect();
            texts.join(",")
        }
        other => other.to_string(),
    }
}
