//! Owns personas: the operator's named presets of provider settings, and how one is picked.

use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

/// A persona's name: 1 to 64 of `a`–`z`, `0`–`9`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PersonaName(Arc<str>);

/// Why a text is not a persona's name.
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

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PersonaName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A named preset of provider settings. In direct mode a default, not a lock: whoever holds the client secret can
/// change what it sets.
pub struct Persona {
    /// What it is called.
    pub name: PersonaName,
    /// True when any caller may pick it by role or language alone.
    pub public: bool,
    /// The role it is for.
    pub role: Option<String>,
    /// The language it speaks, as a BCP 47 tag.
    pub language: Option<String>,
    /// The session object that goes upstream, already checked (see [`super::session_object`]) and written out once.
    pub session: Box<RawValue>,
}

/// Without the session object: its tools may carry credentials.
impl fmt::Debug for Persona {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Persona")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// All personas, of which one is the default.
#[derive(Debug)]
pub struct Personas {
    all: Vec<Arc<Persona>>,
    default: usize,
}

/// Why a set of personas cannot serve.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersonasError {
    /// The default is not among them.
    #[error("there is no persona {0}, which the settings name as the default")]
    NoDefault(PersonaName),
}

impl Personas {
    /// These, of which `default` is taken when a caller names none.
    pub fn new(
        all: impl IntoIterator<Item = Persona>,
        default: &PersonaName,
    ) -> Result<Self, PersonasError> {
        let all: Vec<_> = all.into_iter().map(Arc::new).collect();
        let place = all.iter().position(|persona| persona.name == *default);
        let default = place.ok_or_else(|| PersonasError::NoDefault(default.clone()))?;
        Ok(Self { all, default })
    }

    /// The one taken when nothing else is asked for.
    pub fn default_persona(&self) -> &Arc<Persona> {
        &self.all[self.default]
    }

    /// The one called `name`.
    pub fn named(&self, name: &str) -> Option<&Arc<Persona>> {
        self.all
            .iter()
            .find(|persona| persona.name.as_str() == name)
    }

    /// The public persona that fits a role and a language best: both, then the role, then the language, then the
    /// default.
    pub fn fitting(&self, role: Option<&str>, language: Option<&str>) -> &Arc<Persona> {
        let fit = |persona: &&Arc<Persona>| {
            let role_fits = role.is_some() && persona.role.as_deref() == role;
            let language_fits = language.is_some() && persona.language.as_deref() == language;
            let other_role = persona.role.is_some() && !role_fits;
            let other_language = persona.language.is_some() && !language_fits;
            let rank = u8::from(role_fits) * 2 + u8::from(language_fits);
            if other_role || other_language {
                0
            } else {
                rank
            }
        };
        let public = self.all.iter().filter(|persona| persona.public);
        public
            .rev()
            .max_by_key(fit)
            .filter(|best| fit(best) > 0)
            .unwrap_or_else(|| self.default_persona())
    }

    /// All of them, in the order of the operator's file.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Persona>> {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn persona(name: &str, public: bool, role: Option<&str>, language: Option<&str>) -> Persona {
        Persona {
            name: PersonaName::parse(name).unwrap(),
            public,
            role: role.map(Into::into),
            language: language.map(Into::into),
            session: RawValue::from_string(r#"{"type":"realtime"}"#.into()).unwrap(),
        }
    }

    fn personas() -> Personas {
        let all = [
            persona("default", true, None, None),
            persona("student", true, Some("student"), None),
            persona("student-es", true, Some("student"), Some("es")),
            persona("spanish", true, None, Some("es")),
            persona("teacher", false, Some("teacher"), None),
        ];
        Personas::new(all, &PersonaName::parse("default").unwrap()).unwrap()
    }

    #[test]
    fn the_best_fit_is_role_and_language_then_role_then_language_then_the_default() {
        let personas = personas();
        let fitting = |role, language| personas.fitting(role, language).name.to_string();
        assert_eq!(fitting(Some("student"), Some("es")), "student-es");
        assert_eq!(fitting(Some("student"), Some("fr")), "student");
        assert_eq!(fitting(Some("student"), None), "student");
        assert_eq!(fitting(Some("guest"), Some("es")), "spanish");
        assert_eq!(fitting(None, Some("es")), "spanish");
        assert_eq!(fitting(None, None), "default");
    }

    #[test]
    fn a_role_that_is_only_claimed_does_not_reach_a_persona_that_is_not_public() {
        assert_eq!(
            personas().fitting(Some("teacher"), None).name.as_str(),
            "default"
        );
    }

    #[test]
    fn a_missing_default_is_refused() {
        let missing = PersonaName::parse("ghost").unwrap();
        let refused = Personas::new([persona("default", true, None, None)], &missing);
        assert_eq!(refused.unwrap_err(), PersonasError::NoDefault(missing));
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
