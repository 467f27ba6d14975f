//! Reads the file of personas.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Source;
use super::complaint::nearest;
use super::document::{line_of, table};
use super::settings::Settings;
use crate::domain::{
    Language, Listener, Persona, PersonaName, Personas, SessionObject, SessionObjectError, written,
};
use crate::provider::UNKNOWN_MODEL;

/// The personas taken when the operator has written none.
const COMPILED_IN: &str = include_str!("../../config/personas.toml");
/// Read when no other file is named, and then only if it is there.
const USUAL_FILE: &str = "config/personas.toml";
const FILE: &str = "personas.file";
const DEFAULT: &str = "personas.default";

/// What a persona holds.
const FIELDS: [&str; 5] = ["public", "role", "roles", "language", "session"];

/// `[personas]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    file: String,
    #[serde(deserialize_with = "name")]
    default: PersonaName,
    strict: bool,
}

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<PersonaName, D::Error> {
    written::text(from, PersonaName::parse)
}

/// Reads the personas that the settings name; `None` when some are wrong.
pub(super) fn read(settings: &mut Settings) -> Option<Arc<Personas>> {
    let Section {
        file,
        default,
        strict,
    } = settings.table("personas")?;
    let (path, text) = text(settings, &file)?;
    let document = Document { path, text, strict };
    let all = document.personas(settings)?;
    let names: Vec<_> = all.iter().map(|persona| persona.name.clone()).collect();
    let personas = Personas::new(all, &default);
    if personas.is_err() {
        let close = nearest(default.as_str(), names.iter().map(PersonaName::as_str));
        let message = format!("names a persona that {} does not hold", document.path);
        settings.complain(DEFAULT, format_args!("{message}; the nearest is {close:?}"));
    }
    personas.map(Arc::new).ok()
}

/// The file that is to be read, by name, and its text.
fn text(settings: &mut Settings, named: &str) -> Option<(String, String)> {
    let path = if named.is_empty() { USUAL_FILE } else { named };
    match (settings.read)(Path::new(path)) {
        Ok(text) => Some((path.into(), text)),
        Err(error) if named.is_empty() && error.kind() == ErrorKind::NotFound => {
            Some(("compiled-in personas.toml".into(), COMPILED_IN.into()))
        }
        Err(error) => {
            let message = format!("{path} cannot be read: {}", error.kind());
            settings.complain(FILE, message);
            None
        }
    }
}

/// A file of personas, one in each table.
struct Document {
    path: String,
    text: String,
    /// True when what the provider may not know is refused.
    strict: bool,
}

/// Why a persona cannot serve, and where that stands if not at its name.
struct Fault(String, Option<usize>);

fn fault(message: impl Into<String>) -> Fault {
    Fault(message.into(), None)
}

impl Document {
    fn personas(&self, settings: &mut Settings) -> Option<Vec<Persona>> {
        let tables = match table(&self.text) {
            Ok(tables) => tables,
            Err(flaws) => {
                for flaw in flaws {
                    settings.complain_of(FILE, &self.line(flaw.line), flaw.message);
                }
                return None;
            }
        };
        let mut tables: Vec<_> = tables.iter().collect();
        tables.sort_by_key(|(key, _)| key.span().start);
        let mut personas = Vec::with_capacity(tables.len());
        for (key, value) in &tables {
            match persona(key.get_ref(), value.get_ref(), self.strict) {
                Ok(persona) => {
                    for doubt in persona.session.doubts() {
                        let message = format_args!(
                            "persona {:?}: {doubt} This version does not know it; it is sent as it is",
                            key.get_ref()
                        );
                        settings.warn(FILE, message);
                    }
                    personas.push(persona);
                }
                Err(faults) => {
                    for Fault(fault, at) in faults {
                        let at = at.unwrap_or(key.span().start);
                        let source = self.line(line_of(&self.text, at));
                        let message = format!("persona {:?}: {fault}", key.get_ref());
                        settings.complain_of(FILE, &source, message);
                    }
                }
            }
        }
        (personas.len() == tables.len()).then_some(personas)
    }

    fn line(&self, line: usize) -> Source {
        Source::File {
            path: self.path.clone(),
            line,
        }
    }
}

/// Reads one persona, or says all that is wrong with it.
fn persona(name: &str, value: &DeValue<'_>, is_strict: bool) -> Result<Persona, Vec<Fault>> {
    let DeValue::Table(table) = value else {
        let message = format!("must be a table, written as [{}]", name.escape_debug());
        return Err(vec![fault(message)]);
    };
    let mut faults = unknown_fields(table);
    let mut noted = |fault| faults.push(fault);
    let name = PersonaName::parse(name).map_err(|error| noted(fault(error.to_string())));
    let public = flag(table, "public").map_err(&mut noted);
    let role = word(table, "role").map_err(&mut noted);
    let roles = words(table, "roles").map_err(&mut noted);
    let language = language(table).map_err(&mut noted);
    let known = Listener {
        name: None,
        language: language.as_ref().ok().and_then(Option::as_ref),
        role: role.as_ref().ok().and_then(Option::as_deref),
    };
    let session = session(table, &known, is_strict).map_err(&mut noted);
    if let (Ok(Some(role)), Ok(roles)) = (&role, &roles)
        && !roles.is_empty()
        && !roles.contains(role)
    {
        noted(fault(
            "role is not one of roles: nobody could ever have it by role",
        ));
    }
    match (name, public, role, roles, language, session) {
        (Ok(name), Ok(public), Ok(role), Ok(roles), Ok(language), Ok(session))
            if faults.is_empty() =>
        {
            Ok(Persona {
                name,
                public,
                role,
                roles,
                language,
                session,
            })
        }
        _ => Err(faults),
    }
}

fn unknown_fields(table: &DeTable<'_>) -> Vec<Fault> {
    let names = table.keys().map(|key| key.get_ref().as_ref());
    names
        .filter(|name| !FIELDS.contains(name))
        .map(|name| {
            let close = nearest(name, FIELDS);
            let name = name.escape_debug();
            fault(format!(
                "{name} is not a field of a persona; the nearest is {close} \
                 (what goes to the provider stands under session)"
            ))
        })
        .collect()
}

fn flag(table: &DeTable<'_>, name: &str) -> Result<bool, Fault> {
    let wrong = || fault(format!("{name} must be true or false, without quotes"));
    let value = table.get(name).map(Spanned::get_ref);
    value.map_or(Ok(false), |value| value.as_bool().ok_or_else(wrong))
}

fn word(table: &DeTable<'_>, name: &str) -> Result<Option<Box<str>>, Fault> {
    let wrong = || fault(format!("{name} must be text, in quotes, and not empty"));
    let Some(value) = table.get(name) else {
        return Ok(None);
    };
    let text = value.get_ref().as_str().filter(|text| !text.is_empty());
    text.map(|text| Some(text.into())).ok_or_else(wrong)
}

fn words(table: &DeTable<'_>, name: &str) -> Result<Vec<Box<str>>, Fault> {
    let wrong = || {
        fault(format!(
            "{name} must be a list of texts, like [\"teacher\"], and not empty"
        ))
    };
    let Some(value) = table.get(name) else {
        return Ok(Vec::new());
    };
    let items = value.get_ref().as_array().filter(|items| !items.is_empty());
    let items = items.ok_or_else(wrong)?.iter();
    let texts = items.map(|item| item.get_ref().as_str().filter(|text| !text.is_empty()));
    texts
        .map(|text| text.map(Into::into).ok_or_else(wrong))
        .collect()
}

fn language(table: &DeTable<'_>) -> Result<Option<Language>, Fault> {
    let parse =
        |tag: Box<str>| Language::parse(&tag).map_err(|error| fault(format!("language {error}")));
    word(table, "language")?.map(parse).transpose()
}

/// Returns the session object as it is sent upstream, checked. Strict, it may hold no field and no word
/// that this version does not know.
fn session(
    table: &DeTable<'_>,
    known: &Listener<'_>,
    is_strict: bool,
) -> Result<SessionObject, Fault> {
    let value = table.get("session").map(Spanned::get_ref);
    let Some(given @ DeValue::Table(fields)) = value else {
        let message =
            "session is missing: write a table [name.session] with what the provider is to be told";
        return Err(fault(message));
    };
    let mut session =
        json(given).ok_or_else(|| fault("session holds a number that JSON cannot hold"))?;
    if session.get("type").is_some() {
        return Err(fault("session.type is set by the broker; remove it"));
    }
    session["type"] = "realtime".into();
    switch_off_turn_detection(&mut session);
    let session = SessionObject::new(&session, known).map_err(|error| {
        let at = match &error {
            SessionObjectError::Instructions(_) => fields.get("instructions"),
            SessionObjectError::Rule(_) | SessionObjectError::Unwritable(_) => None,
        };
        Fault(error.to_string(), at.map(|value| value.span().start))
    })?;
    let mut doubts = session.doubts().iter();
    match doubts.find(|doubt| is_strict && doubt.code != UNKNOWN_MODEL) {
        Some(doubt) => Err(fault(doubt.to_string())),
        None => Ok(session),
    }
}

/// TOML has no null, which is how the provider wants push-to-talk to be written: we take `"none"`.
fn switch_off_turn_detection(session: &mut Value) {
    if let Some(turn) = session.pointer_mut("/audio/input/turn_detection")
        && turn == "none"
    {
        *turn = Value::Null;
    }
}

/// The same value in JSON; `None` when a number does not fit.
fn json(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()?
            .into(),
        DeValue::Float(number) => {
            let number = number.as_str().parse().ok()?;
            serde_json::Number::from_f64(number)?.into()
        }
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(moment) => moment.to_string().into(),
        DeValue::Array(items) => {
            let items = items.iter().map(|item| json(item.get_ref()));
            Value::Array(items.collect::<Option<_>>()?)
        }
        DeValue::Table(table) => {
            let fields = table
                .iter()
                .map(|(key, value)| Some((key.get_ref().to_string(), json(value.get_ref())?)));
            Value::Object(fields.collect::<Option<_>>()?)
        }
    })
}
