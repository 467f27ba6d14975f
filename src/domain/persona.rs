//! Personas: named presets of provider settings.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::instructions::{Instructions, InstructionsError, Listener};
use super::{CallLimits, ConnectMode, Hold, Language};
use crate::provider::{self, Dialect, EffectiveSession};

/// A persona's name: 1 to 64 of `a`–`z`, `0`–`9`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonaName(Arc<str>);

/// Error for a text that is no persona's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a persona's name is 1 to 64 of a-z, 0-9, - and _")]
pub struct PersonaNameError;

impl PersonaName {
    /// Reads a name.
    pub fn parse(text: &str) -> Result<Self, PersonaNameError> {
        let clean = text.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte)
        });
        ((1..=64).contains(&text.len()) && clean)
            .then(|| Self(text.into()))
            .ok_or(PersonaNameError)
    }

    /// Returns the name under which transcriptions are recorded, which have no persona.
    pub fn of_transcriptions() -> Self {
        Self("transcription".into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PersonaName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A named preset of provider settings. In direct mode it is a default, not a lock: the holder of the
/// client secret can change its settings.
#[derive(Debug)]
pub struct Persona {
    /// The name of the persona.
    pub name: PersonaName,
    /// True when any caller may choose it by role or language alone.
    pub public: bool,
    /// Role by which it is chosen.
    pub role: Option<Box<str>>,
    /// Verified roles that may use it; empty when everybody may.
    pub roles: Vec<Box<str>>,
    /// Language that it speaks.
    pub language: Option<Language>,
    /// What holds for its calls.
    pub calls: PersonaCalls,
    /// The modes in which pages may use it. Empty: the usual mode of the settings, and those with more control.
    pub connect: Vec<ConnectMode>,
    /// Session object that is sent upstream.
    pub session: SessionObject,
}

/// What holds for the calls of one persona.
#[derive(Clone, Copy, Debug)]
pub struct PersonaCalls {
    /// How firmly a call is held to the persona, instead of `call.persona`.
    pub hold: Option<Hold>,
    /// True when the page lets the model speak first. A call without a sign of life from its page then ends as not joined.
    pub greets: bool,
    /// True when the page may send video.
    pub video: bool,
    /// The limits of each call.
    pub limits: CallLimits,
}

impl Default for PersonaCalls {
    fn default() -> Self {
        Self {
            hold: None,
            greets: true,
            video: false,
            limits: CallLimits::default(),
        }
    }
}

impl Persona {
    /// Returns true when callers of this verified role (or without a role) may use it.
    pub fn admits(&self, role: Option<&str>) -> bool {
        self.roles.is_empty() || self.roles.iter().any(|known| role == Some(&**known))
    }

    /// True when the length of the model's answers is limited, or nothing answers.
    pub fn is_bounded(&self) -> bool {
        let session = EffectiveSession::read(self.session.written.as_json());
        session.is_some_and(|session| session.is_bounded())
    }

    /// Returns its model, if it names one.
    pub fn model(&self) -> Option<Box<str>> {
        EffectiveSession::read(self.session.written.as_json())?.model()
    }

    /// Returns the mode in which a page uses the persona: the one that it `asked` for, or else the `usual` one, or else the
    /// first one of the persona's own. Returns `None` when the persona may not be used so.
    pub fn mode(&self, usual: ConnectMode, asked: Option<ConnectMode>) -> Option<ConnectMode> {
        let allows = |mode: &ConnectMode| {
            if self.connect.is_empty() {
                *mode >= usual
            } else {
                self.connect.contains(mode)
            }
        };
        match asked {
            Some(asked) => Some(asked).filter(allows),
            None => [usual].iter().chain(&self.connect).copied().find(allows),
        }
    }

    /// Returns the session object for `listener`. The persona's language and role replace missing ones.
    pub fn session_for(&self, listener: &Listener<'_>) -> SessionText {
        self.session.written_for(&Listener {
            name: listener.name,
            language: listener.language.or(self.language.as_ref()),
            role: listener.role.or(self.role.as_deref()),
        })
    }
}

/// A session object, checked against the provider's rules (see [`provider`]) and serialised once, except
/// for instructions that are templates.
pub struct SessionObject {
    /// For a listener of whom nothing is known.
    written: SessionText,
    spoken: Option<Spoken>,
    doubts: Vec<provider::Fault>,
}

/// A session object whose instructions are a template.
struct Spoken {
    dialect: Dialect,
    instructions: Instructions,
    /// JSON of all other fields without the opening brace: `"model":…}`.
    rest: Box<str>,
}

/// Error for a session object that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SessionObjectError {
    /// The object breaks the provider's rules.
    #[error(transparent)]
    Rule(#[from] provider::Fault),
    /// The instructions cannot be used.
    #[error("session.instructions: {0}")]
    Instructions(#[from] InstructionsError),
    /// The object cannot be written.
    #[error("session cannot be written as JSON")]
    Unwritable(#[from] serde_json::Error),
}

impl SessionObject {
    /// Checks `session`. Accepts fields, words and models that this version does not know, see
    /// [`SessionObject::doubts`]. `known` replaces what a listener does not say.
    pub fn new(session: &Value, known: &Listener<'_>) -> Result<Self, SessionObjectError> {
        let doubts = provider::doubts(session)?;
        let text = session["instructions"].as_str().unwrap_or_default();
        let dialect = Dialect::of_model(session["model"].as_str().unwrap_or_default());
        let spoken = Instructions::parse(text, known)?.map(|instructions| Spoken {
            dialect,
            instructions,
            rest: without_instructions(session),
        });
        let written = match &spoken {
            Some(spoken) => spoken.write(known)?,
            None => SessionText(to_raw_value(session)?.into(), dialect),
        };
        Ok(Self {
            written,
            spoken,
            doubts,
        })
    }

    /// Returns how a call with the session speaks with the provider.
    pub const fn dialect(&self) -> Dialect {
        self.written.dialect()
    }

    /// Returns the fields, words and models that this version does not know. The provider may.
    pub fn doubts(&self) -> &[provider::Fault] {
        &self.doubts
    }

    /// Returns the session object for `listener`.
    pub(super) fn written_for(&self, listener: &Listener<'_>) -> SessionText {
        let spoken = self.spoken.as_ref();
        // The instructions were checked, so writing them does not fail. If it did, a greeting without a
        // name would be better than none.
        let written = spoken.and_then(|spoken| spoken.write(listener).ok());
        written.unwrap_or_else(|| self.written.clone())
    }
}

/// Returns the JSON of `session` without its instructions and the opening brace. A type or a model follows the comma.
fn without_instructions(session: &Value) -> Box<str> {
    let mut others = session.clone();
    if let Some(fields) = others.as_object_mut() {
        fields.remove("instructions");
    }
    others.to_string()[1..].into()
}

impl Spoken {
    fn write(&self, listener: &Listener<'_>) -> Result<SessionText, SessionObjectError> {
        let text = self.instructions.speak_to(listener);
        let text = serde_json::to_string(&text.ok_or(InstructionsError::TooLong)?)?;
        let json = format!("{{\"instructions\":{text},{}", self.rest);
        let json = RawValue::from_string(json)?;
        Ok(SessionText(json.into(), self.dialect))
    }
}

/// A serialised session object. Cheap to clone. Hides itself: its tools may carry credentials.
#[derive(Clone)]
pub struct SessionText(Arc<RawValue>, Dialect);

impl SessionText {
    /// Returns how a call with this session speaks with the provider.
    pub const fn dialect(&self) -> Dialect {
        self.1
    }

    /// Returns the JSON.
    pub fn as_json(&self) -> &RawValue {
        &self.0
    }
}

impl fmt::Debug for SessionText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionText(…)")
    }
}

/// Hides the content: its tools may carry credentials.
impl fmt::Debug for SessionObject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SessionObject(…)")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::DisplayName;
    use super::*;

    fn persona(session: &Value, roles: &[&str]) -> Persona {
        let language = Language::parse("es").unwrap();
        let known = Listener {
            name: None,
            language: Some(&language),
            role: Some("student"),
        };
        Persona {
            name: PersonaName::parse("one").unwrap(),
            public: true,
            role: Some("student".into()),
            roles: roles.iter().map(|&role| role.into()).collect(),
            calls: PersonaCalls::default(),
            session: SessionObject::new(session, &known).unwrap(),
            language: Some(language),
            connect: Vec::new(),
        }
    }

    fn spoken() -> Value {
        json!({
            "type": "realtime", "model": "gpt-realtime-2.1", "audio": { "output": { "voice": "marin" } },
            "instructions": "{% if name %}Say \"{{ name }}\".\n{% endif %}Speak {{ language }} to a {{ role }}.",
            "tools": [{ "type": "mcp", "server_label": "canary", "server_url": "https://canary.example", "authorization": "canary" }],
        })
    }

    fn written(persona: &Persona, listener: &Listener<'_>) -> Value {
        serde_json::from_str(persona.session_for(listener).as_json().get()).unwrap()
    }

    #[test]
    fn only_the_instructions_differ_from_listener_to_listener() {
        let (persona, name) = (
            persona(&spoken(), &[]),
            DisplayName::clean("Ana \\ \"B\"").unwrap(),
        );
        let mexican = Language::parse("es-MX").unwrap();
        let listener = Listener {
            name: Some(&name),
            language: Some(&mexican),
            role: Some("teacher"),
        };
        for (listener, text) in [
            (Listener::default(), "Speak es to a student."),
            (listener, "Say \"Ana B\".\nSpeak es-MX to a teacher."),
        ] {
            let mut expected = spoken();
            expected["instructions"] = text.into();
            assert_eq!(written(&persona, &listener), expected);
        }
    }

    #[test]
    fn a_session_that_is_the_same_for_everybody_is_written_once() {
        let session = json!({ "type": "realtime", "instructions": "Speak { plainly } }}." });
        let (persona, name) = (persona(&session, &[]), DisplayName::clean("Ana").unwrap());
        let named = Listener {
            name: Some(&name),
            ..Listener::default()
        };
        let (first, second) = (
            persona.session_for(&Listener::default()),
            persona.session_for(&named),
        );
        assert!(Arc::ptr_eq(&first.0, &second.0));
        assert_eq!(written(&persona, &named), session);
    }

    #[test]
    fn a_persona_for_some_roles_admits_these_alone_and_nobody_without_one() {
        let limited = persona(&spoken(), &["teacher", "head"]);
        for (role, is_admitted) in [
            (Some("teacher"), true),
            (Some("head"), true),
            (Some("Teacher"), false),
            (Some("student"), false),
            (None, false),
        ] {
            assert_eq!(limited.admits(role), is_admitted, "{role:?}");
        }
        let open = persona(&spoken(), &[]);
        assert!(open.admits(None) && open.admits(Some("anything")));
    }

    #[test]
    fn a_page_may_ask_for_more_control_than_is_usual_and_for_less_only_where_the_persona_says_so() {
        use ConnectMode::{Call, Direct, Relay};

        let mut persona = persona(&spoken(), &[]);
        for (own, usual, asked, mode) in [
            (&[][..], Direct, None, Some(Direct)),
            (&[], Direct, Some(Call), Some(Call)),
            (&[], Call, None, Some(Call)),
            (&[], Call, Some(Direct), None),
            (&[Call], Direct, None, Some(Call)),
            (&[Call], Direct, Some(Direct), None),
            (&[Direct, Call], Call, None, Some(Call)),
            (&[Direct, Call], Call, Some(Direct), Some(Direct)),
            (&[], Direct, Some(Relay), Some(Relay)),
            (&[], Relay, Some(Call), None),
            (&[Call], Direct, Some(Relay), None),
        ] {
            persona.connect = own.to_vec();
            let chosen = persona.mode(usual, asked);
            assert_eq!(chosen, mode, "{own:?} {usual:?} {asked:?}");
        }
    }

    #[test]
    fn what_a_persona_sends_is_not_shown() {
        let persona = persona(&spoken(), &[]);
        let shown = format!(
            "{persona:?} {:?}",
            persona.session_for(&Listener::default())
        );
        assert!(
            !shown.contains("canary") && !shown.contains("Speak"),
            "{shown}"
        );
    }

    #[test]
    fn names_are_plain() {
        for wrong in ["", "A", "a b", "a/b", "é", &"a".repeat(65)] {
            assert_eq!(
                PersonaName::parse(wrong),
                Err(PersonaNameError),
                "{wrong:?}"
            );
        }
    }
}
