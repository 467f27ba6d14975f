//! Checks JSON values against rules.

use std::fmt;

use serde_json::{Map, Value};

use super::{Fault, say};

/// A rule about a JSON value.
pub(super) enum Rule {
    /// Any value.
    Anything,
    /// Null.
    Null,
    /// True or false.
    Bool,
    /// Any string.
    Text,
    /// A string that the function accepts. The pattern is for the message.
    Shaped(fn(&str) -> bool, &'static str),
    /// One of these strings.
    Word(&'static [&'static str]),
    /// A whole number from the first to the second.
    Integer(i64, i64),
    /// A number from the first to the second.
    Number(f64, f64),
    /// An object with these fields and no others.
    Object(&'static [Field]),
    /// An object whose `type` is one of these, with the fields that go with it and no others.
    ByType(&'static [(&'static str, &'static [Field])]),
    /// An object with any names, whose values all obey the rule.
    Map(&'static Rule),
    /// An array whose length lies between the two numbers, and whose items all obey the rule.
    List(&'static Rule, usize, usize),
    /// The first of these rules that is for the value's JSON type.
    Either(&'static [Rule]),
}

/// One field of an object.
pub(super) struct Field {
    name: &'static str,
    rule: Rule,
    required: bool,
}

/// Returns an optional field.
pub(super) const fn may(name: &'static str, rule: Rule) -> Field {
    Field {
        name,
        rule,
        required: false,
    }
}

/// Returns a required field.
pub(super) const fn must(name: &'static str, rule: Rule) -> Field {
    Field {
        name,
        rule,
        required: true,
    }
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
pub(super) struct Check {
    is_strict: bool,
    doubts: Vec<Fault>,
}

impl Check {
    pub(super) const fn strict() -> Self {
        Self {
            is_strict: true,
            doubts: Vec::new(),
        }
    }

    pub(super) const fn open() -> Self {
        Self {
            is_strict: false,
            doubts: Vec::new(),
        }
    }

    pub(super) fn into_doubts(self) -> Vec<Fault> {
        self.doubts
    }

    /// Notes something unknown, or fails with it.
    fn doubt(&mut self, fault: Fault) -> Result<(), Fault> {
        if self.is_strict {
            return Err(fault);
        }
        self.doubts.push(fault);
        Ok(())
    }

    /// Checks `value`, found at `path`, against `rule`.
    pub(super) fn obey(
        &mut self,
        rule: &Rule,
        value: &Value,
        path: &Path<'_>,
    ) -> Result<(), Fault> {
        match (rule, value) {
            (Rule::Anything, _)
            | (Rule::Null, Value::Null)
            | (Rule::Bool, Value::Bool(_))
            | (Rule::Text, Value::String(_)) => Ok(()),
            (Rule::Shaped(fits, pattern), Value::String(text)) => fits(text)
                .then_some(())
                .ok_or_else(|| say::misshapen(path, pattern)),
            (Rule::Word(words), Value::String(text)) if words.contains(&text.as_str()) => Ok(()),
            (Rule::Word(words), Value::String(text)) => {
                self.doubt(say::unsupported(path, text, words))
            }
            (Rule::Integer(least, most), Value::Number(number)) if !number.is_f64() => {
                integer(number.as_i64().unwrap_or(i64::MAX), (*least, *most), path)
            }
            (Rule::Number(least, most), Value::Number(number)) => {
                decimal(number.as_f64().unwrap_or(f64::MAX), (*least, *most), path)
            }
            (Rule::Object(fields), Value::Object(object)) => self.all_fields(fields, object, path),
            (Rule::ByType(kinds), Value::Object(object)) => self.by_type(kinds, object, path),
            (Rule::Map(rule), Value::Object(object)) => object
                .iter()
                .try_for_each(|(name, value)| self.obey(rule, value, &path.field(name))),
            (Rule::List(rule, least, most), Value::Array(items)) => {
                length(items.len(), (*least, *most), path)?;
                let mut items = items.iter().enumerate();
                items.try_for_each(|(index, item)| self.obey(rule, item, &Path::Item(path, index)))
            }
            (Rule::Either(rules), _) => match rules.iter().find(|rule| rule.is_for(value)) {
                Some(rule) => self.obey(rule, value, path),
                None => Err(say::wrong_type(path, &rule.names(), value)),
            },
            _ => Err(say::wrong_type(path, &rule.names(), value)),
        }
    }

    fn all_fields(
        &mut self,
        fields: &[Field],
        object: &Object,
        path: &Path<'_>,
    ) -> Result<(), Fault> {
        let is_known = |name: &str| fields.iter().any(|field| field.name == name);
        for name in object.keys().filter(|name| !is_known(name)) {
            self.doubt(say::unknown(&path.field(name)))?;
        }
        for field in fields {
            let place = path.field(field.name);
            match object.get(field.name) {
                Some(value) => self.obey(&field.rule, value, &place)?,
                None if field.required => return Err(say::missing(&place)),
                None => {}
            }
        }
        Ok(())
    }

    fn by_type(
        &mut self,
        kinds: &[(&'static str, &[Field])],
        object: &Object,
        path: &Path<'_>,
    ) -> Result<(), Fault> {
        let place = path.field("type");
        let found = match object.get("type") {
            None => return Err(say::missing(&place)),
            Some(Value::String(found)) => found,
            Some(other) => return Err(say::wrong_type(&place, "a string", other)),
        };
        if let Some((_, fields)) = kinds.iter().find(|(name, _)| name == found) {
            return self.all_fields(fields, object, path);
        }
        let names: Vec<_> = kinds.iter().map(|(name, _)| *name).collect();
        self.doubt(say::unsupported(&place, found, &names))
    }
}

impl Rule {
    /// Returns true when the rule is for values of this JSON type.
    fn is_for(&self, value: &Value) -> bool {
        match self {
            Rule::Anything => true,
            Rule::Null => value.is_null(),
            Rule::Bool => value.is_boolean(),
            Rule::Text | Rule::Shaped(..) | Rule::Word(_) => value.is_string(),
            Rule::Integer(..) => value.is_i64() || value.is_u64(),
            Rule::Number(..) => value.is_number(),
            Rule::Object(_) | Rule::ByType(_) | Rule::Map(_) => value.is_object(),
            Rule::List(..) => value.is_array(),
            Rule::Either(rules) => rules.iter().any(|rule| rule.is_for(value)),
        }
    }

    fn names(&self) -> String {
        match self {
            Rule::Anything => "a value".to_owned(),
            Rule::Null => "null".to_owned(),
            Rule::Bool => "a boolean".to_owned(),
            Rule::Text | Rule::Shaped(..) | Rule::Word(_) => "a string".to_owned(),
            Rule::Integer(..) => "an integer".to_owned(),
            Rule::Number(..) => "a number".to_owned(),
            Rule::Object(_) | Rule::ByType(_) | Rule::Map(_) => "an object".to_owned(),
            Rule::List(..) => "an array".to_owned(),
            Rule::Either(rules) => {
                let names: Vec<_> = rules.iter().map(Rule::names).collect();
                format!("one of {}", names.join(" or "))
            }
        }
    }
}

type Object = Map<String, Value>;

fn integer(got: i64, (least, most): (i64, i64), path: &Path<'_>) -> Result<(), Fault> {
    let (code, what, expected) = if got < least {
        let what = "integer below minimum value";
        (
            "integer_below_min_value",
            what,
            format!("a value >= {least}"),
        )
    } else if got > most {
        let what = "integer above maximum value";
        (
            "integer_above_max_value",
            what,
            format!("a value <= {most}"),
        )
    } else {
        return Ok(());
    };
    refuse(path, (code, what), (&expected, &got.to_string()))
}

fn decimal(got: f64, (least, most): (f64, f64), path: &Path<'_>) -> Result<(), Fault> {
    let (code, what, expected) = if got < least {
        let what = "decimal below minimum value";
        (
            "decimal_below_min_value",
            what,
            format!("a value >= {least}"),
        )
    } else if got > most {
        let what = "decimal above maximum value";
        (
            "decimal_above_max_value",
            what,
            format!("a value <= {most}"),
        )
    } else {
        return Ok(());
    };
    refuse(path, (code, what), (&expected, &got.to_string()))
}

fn length(got: usize, (least, most): (usize, usize), path: &Path<'_>) -> Result<(), Fault> {
    let (code, what, expected) = if got < least {
        let expected = format!("an array with minimum length {least}");
        ("array_below_min_length", "array too short", expected)
    } else if got > most {
        let expected = format!("an array with maximum length {most}");
        ("array_above_max_length", "array too long", expected)
    } else {
        return Ok(());
    };
    let got = format!("an array with length {got}");
    refuse(path, (code, what), (&expected, &got))
}

fn refuse(
    path: &Path<'_>,
    (code, what): (&'static str, &'static str),
    (expected, got): (&str, &str),
) -> Result<(), Fault> {
    Err(say::out_of_bounds(
        path,
        &say::Excess {
            code,
            what,
            expected,
            got,
        },
    ))
}
