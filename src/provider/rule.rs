//! Checks JSON values against the published rules, which are a JSON Schema.

use std::fmt;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::{Fault, say};

/// The published rules of both dialects. A text that were no JSON would leave no rule that accepts anything.
pub(super) static RULES: LazyLock<Value> = LazyLock::new(|| {
    let read = |text| serde_json::from_str::<Value>(text).unwrap_or_default();
    let mut rules = read(include_str!("session.schema.json"));
    let mut live = read(include_str!("live.schema.json"));
    if let (Value::Object(all), Value::Object(live)) = (&mut rules["$defs"], live["$defs"].take()) {
        all.extend(live);
    }
    rules
});

/// A rule: one schema.
type Rule = &'static Value;

/// Returns the published rule with this name.
pub(super) fn published(name: &str) -> Rule {
    &RULES["$defs"][name]
}

/// The place of a value in the object. Formatted only for a fault.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Root(&'a str),
    Field(&'a Path<'a>, &'a str),
    Item(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    pub(super) fn field(&'a self, name: &'a str) -> Self {
        Path::Field(self, name)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root(name) | Path::Field(Path::Root(""), name) => formatter.write_str(name),
            Path::Field(parent, name) => write!(formatter, "{parent}.{name}"),
            Path::Item(parent, index) => write!(formatter, "{parent}[{index}]"),
        }
    }
}

/// One check of a value. Strict, it fails at the first fault; open, it collects unknown fields and
/// words, and fails at everything else.
#[derive(Default)]
pub(super) struct Check {
    pub(super) is_strict: bool,
    pub(super) doubts: Vec<Fault>,
}

impl Check {
    /// Notes something unknown, or fails with it.
    fn doubt(&mut self, fault: Fault) -> Result<(), Fault> {
        if self.is_strict {
            return Err(fault);
        }
        self.doubts.push(fault);
        Ok(())
    }

    /// Checks `value`, found at `path`, against `rule`.
    pub(super) fn obey(&mut self, rule: Rule, value: &Value, path: &Path<'_>) -> Result<(), Fault> {
        let choices = choices(rule);
        let fits = |rule: &Rule| types(rule).any(|name| is_of(value, name));
        let fitting: Vec<_> = choices.iter().copied().filter(fits).collect();
        let Some(rule) = fitting.first() else {
            return Err(wrong_type(path, &choices, value));
        };
        match value {
            Value::Object(object) if kind(rule).is_some() => self.by_type(&fitting, object, path),
            Value::Object(object) => self.fields(rule, object, path),
            Value::Array(items) => {
                within_bounds(rule, value, path)?;
                let mut items = items.iter().enumerate();
                items.try_for_each(|(index, item)| {
                    self.obey(&rule["items"], item, &Path::Item(path, index))
                })
            }
            Value::String(text) => self.text(rule, text, path),
            Value::Number(_) => within_bounds(rule, value, path),
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    /// Checks an object against the one of `rules` that is for its `type`.
    fn by_type(&mut self, rules: &[Rule], object: &Object, path: &Path<'_>) -> Result<(), Fault> {
        let place = path.field("type");
        let found = object.get("type").ok_or_else(|| say::missing(&place))?;
        let wrong = || say::wrong_type(&place, "a string", &with_article(type_of(found)));
        let found = found.as_str().ok_or_else(wrong)?;
        if let Some(rule) = rules.iter().find(|rule| kind(rule) == Some(found)) {
            return self.fields(rule, object, path);
        }
        let names: Vec<_> = rules.iter().copied().filter_map(kind).collect();
        self.doubt(say::unsupported(&place, found, &names))
    }

    fn fields(&mut self, rule: Rule, object: &Object, path: &Path<'_>) -> Result<(), Fault> {
        let properties = &rule["properties"];
        let is_known = |(name, _): &(&String, _)| properties.get(name).is_some();
        let (known, others): (Vec<_>, Vec<_>) = object.iter().partition(is_known);
        // Unknown fields come first: what else is wrong may follow from a misspelt name.
        for (name, value) in others.into_iter().chain(known) {
            let place = path.field(name);
            match (properties.get(name), &rule["additionalProperties"]) {
                // The rule of this object was chosen by the value of this field.
                (Some(known), _) if !known["const"].is_null() => {}
                (Some(rule), _) | (None, rule @ Value::Object(_)) => {
                    self.obey(rule, value, &place)?;
                }
                (None, Value::Bool(true)) => {}
                (None, _) => self.doubt(say::unknown(&place))?,
            }
        }
        let mut required = words(&rule["required"]);
        let missing = required.find(|name| !object.contains_key(*name));
        missing.map_or(Ok(()), |name| Err(say::missing(&path.field(name))))
    }

    fn text(&mut self, rule: Rule, text: &str, path: &Path<'_>) -> Result<(), Fault> {
        let supported: Vec<_> = words(&rule["enum"]).collect();
        if !supported.is_empty() && !supported.contains(&text) {
            return self.doubt(say::unsupported(path, text, &supported));
        }
        match rule["pattern"].as_str() {
            Some(pattern) if !matches(pattern, text) => Err(say::misshapen(path, pattern)),
            _ => Ok(()),
        }
    }
}

type Object = Map<String, Value>;

/// Returns the rules of which a value must obey one.
fn choices(rule: Rule) -> Vec<Rule> {
    if let Some(name) = rule["$ref"].as_str() {
        return choices(published(name.trim_start_matches("#/$defs/")));
    }
    let all = rule["anyOf"].as_array();
    all.map_or_else(|| vec![rule], |all| all.iter().flat_map(choices).collect())
}

/// Returns the strings of a keyword that holds one or a list of them.
fn words(keyword: Rule) -> impl Iterator<Item = &'static str> {
    let many = keyword.as_array().into_iter().flatten();
    keyword
        .as_str()
        .into_iter()
        .chain(many.filter_map(Value::as_str))
}

fn types(rule: Rule) -> impl Iterator<Item = &'static str> {
    words(&rule["type"])
}

/// Returns the `type` of the objects that the rule is for, if it is for objects of one.
fn kind(rule: Rule) -> Option<&'static str> {
    rule["properties"]["type"]["const"].as_str()
}

fn is_of(value: &Value, name: &str) -> bool {
    name == type_of(value) || (name == "number" && value.is_number())
}

/// Returns the JSON type of `value`, in the provider's words.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "decimal number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn with_article(name: &str) -> String {
    match name {
        "null" => name.to_owned(),
        "integer" | "array" | "object" => format!("an {name}"),
        _ => format!("a {name}"),
    }
}

/// Returns the fault of a value at `path` that is of none of the types that `rules` are for.
fn wrong_type(path: &Path<'_>, rules: &[Rule], value: &Value) -> Fault {
    let types = rules.iter().copied().flat_map(types);
    let mut names: Vec<_> = types.map(with_article).collect();
    names.dedup();
    let expected = names.join(" or ");
    let one_of = if names.len() > 1 { "one of " } else { "" };
    let got = with_article(type_of(value));
    say::wrong_type(path, &format!("{one_of}{expected}"), &got)
}

/// Returns whether `text` matches a pattern of the rules. A pattern that is not listed matches nothing.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    let is_small = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let begins = |prefix| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty())
    };
    match pattern {
        "^.+$" => !text.is_empty(),
        "^voice_.+$" => begins("voice_"),
        "^https?://.+$" => begins("https://") || begins("http://"),
        "^[a-zA-Z0-9_-]{1,64}$" => (1..=64).contains(&text.len()) && text.bytes().all(is_word),
        "^tunnel_[a-z0-9]{32}$" => text
            .strip_prefix("tunnel_")
            .is_some_and(|id| id.len() == 32 && id.bytes().all(is_small)),
        // The name of an event.
        r"^(error|info|[a-z0-9_]+(\.[a-z0-9_]+)+)$" => {
            let is_part = |part: &str| {
                let is_letter = |byte: u8| is_small(byte) || byte == b'_';
                !part.is_empty() && part.bytes().all(is_letter)
            };
            let is_dotted = text.contains('.') && text.split('.').all(is_part);
            text.len() <= 256 && (is_dotted || ["error", "info"].contains(&text))
        }
        _ => false,
    }
}

/// Checks a number, or the length of a list, against the bounds of `rule`.
fn within_bounds(rule: Rule, value: &Value, path: &Path<'_>) -> Result<(), Fault> {
    let length = value.as_array().map(|items| Value::from(items.len()));
    let (lowest, highest, kind) = match &length {
        Some(_) => ("minItems", "maxItems", "array"),
        None if types(rule).any(|name| name == "integer") => ("minimum", "maximum", "integer"),
        None => ("minimum", "maximum", "decimal"),
    };
    let got = length.as_ref().unwrap_or(value);
    let is_below = got.as_f64() < rule[lowest].as_f64();
    let most = rule[highest].as_f64();
    let is_above = most.is_some() && got.as_f64() > most;
    let (code, what) = match (kind, is_below) {
        _ if !is_below && !is_above => return Ok(()),
        ("array", true) => ("array_below_min_length", "array too short"),
        ("array", false) => ("array_above_max_length", "array too long"),
        ("integer", true) => ("integer_below_min_value", "integer below minimum value"),
        ("integer", false) => ("integer_above_max_value", "integer above maximum value"),
        (_, true) => ("decimal_below_min_value", "decimal below minimum value"),
        (_, false) => ("decimal_above_max_value", "decimal above maximum value"),
    };
    let (bound, sign, word) = if is_below {
        (&rule[lowest], ">=", "minimum")
    } else {
        (&rule[highest], "<=", "maximum")
    };
    let (expected, got) = match kind {
        "array" => (
            format!("an array with {word} length {bound}"),
            format!("an array with length {got}"),
        ),
        _ => (format!("a value {sign} {bound}"), got.to_string()),
    };
    Err(say::out_of_bounds(path, (code, what), (&expected, &got)))
}
