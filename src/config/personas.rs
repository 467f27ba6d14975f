//! Reads the file of personas.

use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::DeValue;

use super::SettingsFile;
use super::complaint::nearest;
use super::connect::read_mode;
use super::document::plain;
use super::fields::texts;
use super::reader::{explained, read as read_value};
use super::settings::Settings;
use crate::domain::{
    CallLimits, ConnectMode, Hold, Language, Listener, Persona, PersonaCalls, PersonaName,
    Personas, SessionObject, written,
};
use crate::provider::{Dialect, PageEvents, UNKNOWN_MODEL};

/// Used when the operator has written no personas.
const COMPILED_IN: &str = include_str!("../../config/personas.toml");
const FILE: &str = "personas.file";

/// `[personas]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    file: String,
    #[serde(deserialize_with = "name")]
    default: PersonaName,
    strict: bool,
}

/// A persona as it is written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table, written as [name]")]
struct Written {
    public: bool,
    #[serde(deserialize_with = "role")]
    role: Option<Box<str>>,
    #[serde(deserialize_with = "roles")]
    roles: Vec<Box<str>>,
    #[serde(deserialize_with = "language")]
    language: Option<Language>,
    #[serde(deserialize_with = "some_hold")]
    hold: Option<Hold>,
    greets: Option<bool>,
    video: bool,
    #[serde(deserialize_with = "some_events")]
    events: Option<PageEvents>,
    call: CallLimits,
    #[serde(deserialize_with = "connect")]
    connect: Vec<ConnectMode>,
    session: Option<toml::Value>,
}

/// Reads the personas that the settings name; `None` after a complaint.
pub(super) fn read(settings: &mut Settings) -> Option<Arc<Personas>> {
    let section: Section = settings.section("personas")?;
    let file = settings.document(FILE, &section.file, ("personas.toml", COMPILED_IN))?;
    let all = personas(settings, &file, section.strict)?;
    let names: Vec<_> = all.iter().map(|persona| persona.name.clone()).collect();
    let personas = Personas::new(all, &section.default);
    if personas.is_err() {
        let names = names.iter().map(PersonaName::as_str);
        let close = nearest(section.default.as_str(), names);
        let path = &file.path;
        settings.complain(
            "personas.default",
            format_args!("names a persona that {path} does not hold; the nearest is {close:?}"),
        );
    }
    personas.map(Arc::new).ok()
}

/// Returns the personas in the order of the file; `None` after a complaint.
fn personas(settings: &mut Settings, file: &SettingsFile, is_strict: bool) -> Option<Vec<Persona>> {
    let tables = settings.parsed(FILE, file)?;
    let mut personas = Vec::with_capacity(tables.len());
    for (key, value) in &tables {
        let name = key.get_ref();
        match persona(name, value, is_strict) {
            Ok(persona) => {
                for doubt in persona.session.doubts() {
                    let message = format_args!(
                        "persona {name:?}: {doubt} This version does not know it; it is sent as it is"
                    );
                    settings.warn(FILE, message);
                }
                personas.push(persona);
            }
            Err(faults) => {
                for fault in faults {
                    let place = place(value, &fault).unwrap_or(key.span().start);
                    let message = format_args!("persona {name:?}: {fault}");
                    settings.complain_of(FILE, &file.position(place).0, message);
                }
            }
        }
    }
    (personas.len() == tables.len()).then_some(personas)
}

/// Returns the place of the instructions when the fault is in them.
fn place(persona: &Spanned<DeValue<'_>>, fault: &str) -> Option<usize> {
    let is_there = fault.starts_with("session.instructions");
    let table = persona.get_ref().as_table().filter(|_| is_there)?;
    let session = table.get("session")?.get_ref().as_table()?;
    Some(session.get("instructions")?.span().start)
}

/// Reads one persona, or returns everything that is wrong with it.
fn persona(
    name: &str,
    value: &Spanned<DeValue<'_>>,
    is_strict: bool,
) -> Result<Persona, Vec<String>> {
    let mut faults = Vec::new();
    let tree = plain(value.clone()).map_err(|message| vec![message.to_owned()])?;
    let written = read_value(tree, |mut tree, keys, message| {
        let field = keys.join(".");
        let hint = if message.starts_with("unknown field") {
            " (fields for the provider belong under session)"
        } else {
            ""
        };
        let message = explained(&field, Some("a persona"), message);
        faults.push(format!("{field} {message}{hint}").trim().to_owned());
        let (last, path) = keys.split_last()?;
        let mut tables = path.iter();
        let table = tables.try_fold(&mut tree, |table, key| table.get_mut(key))?;
        table.as_table_mut()?.remove(last)?;
        Some(tree)
    });
    let Some(written): Option<Written> = written else {
        return Err(faults);
    };
    let name = PersonaName::parse(name).map_err(|error| faults.push(error.to_string()));
    if name.as_ref() == Ok(&PersonaName::of_transcriptions()) {
        faults.push("the name is reserved: reports show transcriptions under it".into());
    }
    let session = session(&written, is_strict).map_err(|fault| faults.push(fault));
    let is_live = |session: &SessionObject| session.dialect() == Dialect::Live;
    let is_live = session.as_ref().is_ok_and(is_live);
    let calls = calls(&written, is_live);
    let (role, roles) = (written.role, written.roles);
    let mut excluded = role.iter().filter(|role| !roles.contains(role));
    if !roles.is_empty() && excluded.next().is_some() {
        faults.push("role is not one of roles: nobody could ever have it by role".into());
    }
    match (name, session) {
        (Ok(name), Ok(session)) if faults.is_empty() => Ok(Persona {
            name,
            public: written.public,
            role,
            roles,
            language: written.language,
            calls,
            connect: if is_live {
                vec![ConnectMode::Call]
            } else {
                written.connect
            },
            session,
        }),
        _ => Err(faults),
    }
}

/// Returns what holds for the calls of a persona.
fn calls(written: &Written, is_live: bool) -> PersonaCalls {
    PersonaCalls {
        hold: written.hold,
        // People may be silent in a GPT-Live session, and its model need not speak first.
        greets: written.greets.unwrap_or(!is_live),
        video: written.video,
        limits: written.call,
    }
}

/// Returns the session object as it is sent upstream. When strict, refuses what this version does not know, except models.
fn session(written: &Written, is_strict: bool) -> Result<SessionObject, String> {
    let fields = written.session.as_ref().and_then(toml::Value::as_table);
    let fields = fields.ok_or(
        "session is missing: write a table [name.session] with what the provider is to be told",
    )?;
    let mut session = table(fields).ok_or("session holds a number that JSON cannot hold")?;
    let model = session["model"].as_str().unwrap_or_default();
    let is_live = Dialect::of_model(model) == Dialect::Live;
    if is_live {
        complete_live(&mut session, written)?;
    } else if written.events.is_some() {
        return Err("events is for GPT-Live: other models have no such lists".into());
    }
    match session.get("type").map(Value::as_str) {
        None if is_live => {}
        None => session["type"] = "realtime".into(),
        Some(Some("transcription")) if transcribes(&written.connect) => {}
        Some(Some("transcription")) => {
            return Err(
                "session.type transcription needs connect = [\"direct\"], [\"relay\"] or both: calls of the broker carry conversations"
                    .into(),
            );
        }
        Some(_) => return Err("session.type is set by the broker; remove it".into()),
    }
    // TOML has no null, by which the provider switches turn detection off.
    if let Some(turn) = session.pointer_mut("/audio/input/turn_detection")
        && turn == "none"
    {
        *turn = Value::Null;
    }
    let known = Listener {
        name: None,
        language: written.language.as_ref(),
        role: written.role.as_deref(),
    };
    let session = SessionObject::new(&session, &known).map_err(|error| error.to_string())?;
    let mut doubts = session.doubts().iter();
    match doubts.find(|doubt| is_strict && doubt.code != UNKNOWN_MODEL) {
        Some(doubt) => Err(doubt.to_string()),
        None => Ok(session),
    }
}

/// True when a persona of these modes may transcribe only.
fn transcribes(modes: &[ConnectMode]) -> bool {
    !modes.is_empty() && !modes.contains(&ConnectMode::Call)
}

/// Completes the session object of a GPT-Live persona. What its page may send and see is always said: without lists, the
/// page would see the instructions and could change the backend.
fn complete_live(session: &mut Value, written: &Written) -> Result<(), &'static str> {
    const LISTS: [&str; 2] = ["allowed_client_events", "allowed_server_events"];
    if !written.connect.is_empty() && written.connect != [ConnectMode::Call] {
        return Err("connect must be [\"call\"] or left out: GPT-Live has calls only");
    }
    if session.get("safety_identifier").is_some() {
        return Err("session.safety_identifier is set by the broker; remove it");
    }
    if session["delegation"]["responses"]["tool_choice"] == "required" {
        return Err(
            "session.delegation.responses.tool_choice must not be required: the backend calls its tools without end then",
        );
    }
    match (session.get("client"), written.events) {
        (None, events) => session["client"] = events.unwrap_or_default().as_client(),
        (Some(_), Some(_)) => {
            return Err("events and session.client say the same: leave one of them out");
        }
        (Some(client), None) => {
            let is_list = |list: &str| client["data_channel"][list].is_array();
            if !LISTS.into_iter().all(is_list) {
                return Err(
                    "session.client.data_channel needs the lists allowed_client_events and allowed_server_events: \
                     without them the page may send and see everything",
                );
            }
        }
    }
    Ok(())
}

/// Returns a table as JSON, which has no dates. Returns `None` for the numbers that JSON cannot hold (nan and inf).
fn table(fields: &toml::Table) -> Option<Value> {
    let fields = fields.iter();
    let members = fields.map(|(key, value)| Some((key.clone(), json(value)?)));
    members.collect::<Option<Map<_, _>>>().map(Value::Object)
}

fn json(value: &toml::Value) -> Option<Value> {
    Some(match value {
        toml::Value::String(text) => text.as_str().into(),
        toml::Value::Integer(number) => (*number).into(),
        toml::Value::Float(number) => Number::from_f64(*number)?.into(),
        toml::Value::Boolean(is_true) => (*is_true).into(),
        toml::Value::Datetime(date) => date.to_string().into(),
        toml::Value::Array(items) => items.iter().map(json).collect::<Option<Vec<_>>>()?.into(),
        toml::Value::Table(fields) => table(fields)?,
    })
}

// --- how fields are written

fn name<'de, D: Deserializer<'de>>(from: D) -> Result<PersonaName, D::Error> {
    written::text(from, PersonaName::parse)
}

fn role<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Box<str>>, D::Error> {
    written::text(from, |text| match text {
        "" => Err("must be text, in quotes, and not empty"),
        text => Ok(Some(text.into())),
    })
}

fn roles<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Box<str>>, D::Error> {
    let wrong = "must be a list of texts, like [\"teacher\"], and not empty";
    some_of(texts(from)?, wrong)
}

fn some_hold<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Hold>, D::Error> {
    Hold::deserialize(from).map(Some)
}

fn some_events<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PageEvents>, D::Error> {
    PageEvents::deserialize(from).map(Some)
}

fn connect<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ConnectMode>, D::Error> {
    let wrong = "must be a list of modes, like [\"call\"], and not empty";
    some_of(written::list(from, read_mode)?, wrong)
}

/// Refuses an empty list with the message `wrong`.
fn some_of<T, E: Error>(items: Vec<T>, wrong: &str) -> Result<Vec<T>, E> {
    let some = Some(items).filter(|items| !items.is_empty());
    some.ok_or_else(|| Error::custom(wrong))
}

fn language<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Language>, D::Error> {
    written::text(from, |text| Language::parse(text).map(Some))
}
