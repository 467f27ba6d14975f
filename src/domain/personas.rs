//! Chooses personas.

use std::sync::Arc;

use super::{Language, Persona, PersonaName};

/// All personas, of which one is the default.
#[derive(Debug)]
pub struct Personas {
    all: Vec<Arc<Persona>>,
    default: usize,
}

/// Error for a set of personas that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PersonasError {
    /// The default persona is missing.
    #[error("there is no persona {0}, which the settings name as the default")]
    NoDefault(PersonaName),
}

/// Criteria by which a persona is chosen when none is named.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked<'a> {
    /// The role of the verified identity.
    pub verified_role: Option<&'a str>,
    /// The role that the request claims. Used only without a verified role, and for public personas.
    pub claimed_role: Option<&'a str>,
    /// The requested language.
    pub language: Option<&'a Language>,
}

/// How well a persona fits: by its role, which counts first, and by its language.
type Fit = (bool, LanguageFit);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum LanguageFit {
    /// The language of the default persona, as a fallback.
    Usual,
    /// The persona has no language.
    Any,
    /// The broader language: `es` for `es-MX`.
    Broader,
    Exact,
}

impl Personas {
    /// Returns a set of personas with `default` as fallback.
    pub fn new(
        all: impl IntoIterator<Item = Persona>,
        default: &PersonaName,
    ) -> Result<Self, PersonasError> {
        let all: Vec<_> = all.into_iter().map(Arc::new).collect();
        let place = all.iter().position(|persona| persona.name == *default);
        let default = place.ok_or_else(|| PersonasError::NoDefault(default.clone()))?;
        Ok(Self { all, default })
    }

    /// Returns these personas and one more, after all others.
    #[must_use]
    pub fn with(&self, persona: Persona) -> Self {
        let all = self.all.iter().cloned().chain([Arc::new(persona)]);
        Self {
            all: all.collect(),
            default: self.default,
        }
    }

    /// Returns the default persona.
    pub fn default_persona(&self) -> &Arc<Persona> {
        &self.all[self.default]
    }

    /// Returns the persona with this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Persona>> {
        self.all
            .iter()
            .find(|persona| persona.name.as_str() == name)
    }

    /// Returns the persona that fits best: by role and language, then role, then language, then the
    /// default. Skips personas that do not admit the verified role; `None` when none is left.
    pub fn fitting(&self, asked: &Asked<'_>) -> Option<&Arc<Persona>> {
        let admits = |persona: &&Arc<Persona>| persona.admits(asked.verified_role);
        let fits = self.all.iter().filter(admits);
        let fits = fits.filter_map(|persona| Some((self.fit(persona, asked)?, persona)));
        // In the order of the file: of two that fit alike, the first.
        let best = fits.rev().max_by_key(|(fit, _)| *fit);
        let is_better =
            |((has_role, language), _): &(Fit, _)| *has_role || *language > LanguageFit::Any;
        best.filter(is_better)
            .map(|(_, persona)| persona)
            .or_else(|| Some(self.default_persona()).filter(admits))
    }

    /// Returns how well a persona fits; `None` when it is for other roles or not public.
    fn fit(&self, persona: &Persona, asked: &Asked<'_>) -> Option<Fit> {
        let role = asked.verified_role.or(asked.claimed_role);
        let is_role = role.is_some() && persona.role.as_deref() == role;
        let is_verified = is_role && asked.verified_role.is_some();
        let is_for_others = persona.role.is_some() && !is_role;
        if is_for_others || !(persona.public || is_verified) {
            return None;
        }
        let language = self.language_fit(persona.language.as_ref(), asked.language)?;
        Some((is_role, language))
    }

    fn language_fit(
        &self,
        spoken: Option<&Language>,
        asked: Option<&Language>,
    ) -> Option<LanguageFit> {
        let Some(spoken) = spoken else {
            return Some(LanguageFit::Any);
        };
        let usual = self.default_persona().language.as_ref();
        match asked {
            Some(asked) if asked == spoken => Some(LanguageFit::Exact),
            Some(asked) if asked.falls_back_to(spoken) => Some(LanguageFit::Broader),
            _ if usual == Some(spoken) => Some(LanguageFit::Usual),
            _ => None,
        }
    }

    /// Returns all personas in the order of the operator's file.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Persona>> {
        self.all.iter()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::{Listener, PersonaCalls, SessionObject};
    use super::*;

    /// `name public? role language roles`, with `-` for nothing.
    fn persona(line: &str) -> Persona {
        let words: Vec<_> = line.split_whitespace().collect();
        let word = |place: usize| words.get(place).copied().filter(|word| *word != "-");
        let session = json!({ "type": "realtime" });
        Persona {
            name: PersonaName::parse(words[0]).unwrap(),
            public: word(1) == Some("public"),
            role: word(2).map(Into::into),
            language: word(3).map(|tag| Language::parse(tag).unwrap()),
            roles: word(4)
                .into_iter()
                .flat_map(|roles| roles.split(','))
                .map(Into::into)
                .collect(),
            calls: PersonaCalls::default(),
            connect: Vec::new(),
            session: SessionObject::new(&session, &Listener::default()).unwrap(),
        }
    }

    fn personas(lines: &[&str]) -> Personas {
        let default = PersonaName::parse("default").unwrap();
        Personas::new(lines.iter().map(|line| persona(line)), &default).unwrap()
    }

    const USUAL: [&str; 7] = [
        "default      public",
        "student      public student",
        "student-es   public student es",
        "spanish      public -       es",
        "teacher      -      teacher -  teacher",
        "teacher-es   -      teacher es teacher",
        "secret       -      -       fr",
    ];

    /// Returns the name of the persona that is picked for a verified role, a claimed role and a language.
    fn picked(personas: &Personas, verified: &str, claimed: &str, language: &str) -> String {
        let given = |text: &'static str| Some(text).filter(|text| !text.is_empty());
        let leak = |text: &str| -> &'static str { Box::leak(text.into()) };
        let language = Language::parse(language).ok();
        let asked = Asked {
            verified_role: given(leak(verified)),
            claimed_role: given(leak(claimed)),
            language: language.as_ref(),
        };
        let persona = personas.fitting(&asked);
        persona.map_or_else(|| "nobody".into(), |persona| persona.name.to_string())
    }

    #[test]
    fn the_best_fit_is_role_and_language_then_role_then_language_then_the_default() {
        let personas = personas(&USUAL);
        for (role, language, name) in [
            ("student", "es", "student-es"),
            ("student", "ES", "student-es"),
            ("student", "fr", "student"),
            ("student", "", "student"),
            ("guest", "es", "spanish"),
            ("", "es", "spanish"),
            ("", "fr", "default"),
            ("", "", "default"),
        ] {
            assert_eq!(
                picked(&personas, "", role, language),
                name,
                "claimed {role} {language}"
            );
            assert_eq!(
                picked(&personas, role, "", language),
                name,
                "verified {role} {language}"
            );
        }
    }

    #[test]
    fn a_broader_language_is_taken_before_none() {
        let personas = personas(&USUAL);
        assert_eq!(picked(&personas, "", "student", "es-MX"), "student-es");
        assert_eq!(picked(&personas, "", "", "es-419"), "spanish");
        assert_eq!(picked(&personas, "", "", "est"), "default");
        let more = [&USUAL[..], &["student-mx public student es-MX"]].concat();
        let personas = self::personas(&more);
        assert_eq!(picked(&personas, "", "student", "es-mx"), "student-mx");
        assert_eq!(picked(&personas, "", "student", "es"), "student-es");
    }

    #[test]
    fn who_asks_for_no_language_or_one_that_nobody_speaks_gets_that_of_the_default() {
        let personas = personas(&[
            "default public - en",
            "student-es public student es",
            "student-en public student en",
        ]);
        for language in ["", "fr", "en", "en-GB"] {
            assert_eq!(
                picked(&personas, "", "student", language),
                "student-en",
                "{language}"
            );
            assert_eq!(picked(&personas, "", "", language), "default", "{language}");
        }
        assert_eq!(picked(&personas, "", "student", "es"), "student-es");
        assert_eq!(picked(&personas, "", "", "es"), "default");
    }

    #[test]
    fn a_role_that_is_only_claimed_does_not_reach_a_persona_that_is_not_public() {
        let personas = personas(&USUAL);
        assert_eq!(picked(&personas, "", "teacher", ""), "default");
        assert_eq!(picked(&personas, "", "teacher", "es"), "spanish");
        assert_eq!(picked(&personas, "", "", "fr"), "default");
    }

    #[test]
    fn a_verified_role_reaches_its_personas_and_makes_claims_idle() {
        let personas = personas(&USUAL);
        assert_eq!(picked(&personas, "teacher", "", ""), "teacher");
        assert_eq!(picked(&personas, "teacher", "student", "es"), "teacher-es");
        assert_eq!(picked(&personas, "student", "teacher", ""), "student");
        assert_eq!(picked(&personas, "guest", "teacher", ""), "default");
    }

    #[test]
    fn a_persona_for_some_roles_is_never_picked_for_others_even_when_it_is_public_or_the_default() {
        let personas = personas(&[
            "default  public - - member",
            "club     public student - member",
            "mismatch public student es teacher",
        ]);
        assert_eq!(picked(&personas, "member", "", ""), "default");
        for (verified, claimed, language) in [
            ("", "", ""),
            ("", "member", ""),
            ("student", "", "es"),
            ("", "student", "es"),
        ] {
            assert_eq!(
                picked(&personas, verified, claimed, language),
                "nobody",
                "{verified} {claimed}"
            );
        }
    }

    #[test]
    fn a_missing_default_is_refused() {
        let missing = PersonaName::parse("ghost").unwrap();
        let refused = Personas::new([persona("default public")], &missing);
        assert_eq!(refused.unwrap_err(), PersonasError::NoDefault(missing));
    }
}
