//! Owns the list of who gets which persona.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::config::{AuthMode, Config};
use crate::domain::{Asked, Language, Persona};

/// What one kind of caller gets.
#[derive(Serialize)]
pub(super) struct Place {
    /// Its role; `None` when it has none.
    role: Option<Box<str>>,
    /// True when the role was verified, false when it is only what the caller says.
    verified: bool,
    /// The language it asks for; `None` when it asks for none.
    language: Option<Box<str>>,
    /// The persona it gets; `None` when it is refused.
    persona: Option<Box<str>>,
}

/// All kinds of caller that the personas and quotas tell apart, by role, each in all languages.
pub(super) fn roster(config: &Config) -> Vec<Place> {
    let personas = || config.personas.iter();
    let named = personas().flat_map(|persona| persona.role.iter().chain(&persona.roles));
    let roles: BTreeSet<&str> = named
        .chain(config.quota.roles.keys())
        .chain(&config.auth.default_role)
        .map(|role| &**role)
        .collect();
    let mut languages: Vec<&Language> = Vec::new();
    for language in personas().filter_map(|persona| persona.language.as_ref()) {
        if !languages.contains(&language) {
            languages.push(language);
        }
    }
    let claims_count = config.auth.mode != AuthMode::Required;
    let verifies = config.auth.mode != AuthMode::Off;
    let mut kinds = vec![(None, false)];
    for role in roles {
        kinds.extend(verifies.then_some((Some(role), true)));
        kinds.extend(claims_count.then_some((Some(role), false)));
    }
    let asked = [None].into_iter().chain(languages.into_iter().map(Some));
    let kinds = kinds.into_iter();
    kinds
        .flat_map(|(role, verified)| {
            asked
                .clone()
                .map(move |language| (role, verified, language))
        })
        .map(|(role, verified, language)| place(config, (role, verified), language))
        .collect()
}

fn place(
    config: &Config,
    (role, verified): (Option<&str>, bool),
    language: Option<&Language>,
) -> Place {
    let persona = config.personas.fitting(&Asked {
        verified_role: role.filter(|_| verified),
        claimed_role: role.filter(|_| !verified),
        language,
    });
    let name = |persona: &Persona| persona.name.as_str().into();
    Place {
        role: role.map(Into::into),
        verified,
        language: language.map(|language| language.as_str().into()),
        persona: persona.map(|persona| name(persona)),
    }
}

/// The same as a table for people: a line for each role, a column for each language.
pub(super) fn lines(places: &[Place]) -> Vec<String> {
    if places.is_empty() {
        return Vec::new();
    }
    let first = |place: &&Place| place.role.is_none();
    let languages = places
        .iter()
        .filter(first)
        .map(|place| place.language.as_deref());
    let head = languages.map(|language| language.unwrap_or("any language").to_owned());
    let head: Vec<_> = ["who gets".to_owned()].into_iter().chain(head).collect();
    let mut rows = vec![head];
    for line in
        places.chunk_by(|one, next| (&one.role, one.verified) == (&next.role, next.verified))
    {
        let who = match line.first() {
            Some(Place {
                role: Some(role),
                verified: true,
                ..
            }) => format!("{role}, verified"),
            Some(Place {
                role: Some(role), ..
            }) => format!("{role}, claimed"),
            _ => "no role".to_owned(),
        };
        let got = line
            .iter()
            .map(|place| place.persona.as_deref().unwrap_or("(refused)").to_owned());
        rows.push([who].into_iter().chain(got).collect());
    }
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let padded = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(padded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    fn table(settings: &[(&str, &str)]) -> String {
        let config = Config::from_pairs(Mode::Dev, settings).unwrap();
        lines(&roster(&config)).join("\n")
    }

    #[test]
    fn the_list_says_what_each_role_gets_in_each_language() {
        let shipped = [
            ("personas.file", "config/personas.toml"),
            ("auth.mode", "optional"),
        ];
        assert_eq!(
            table(&shipped),
            "\
who gets           any language  en          es
no role            default       default     default
family, verified   family-en     family-en   family-es
family, claimed    family-en     family-en   family-es
student, verified  student-en    student-en  student-es
student, claimed   student-en    student-en  student-es
teacher, verified  teacher-en    teacher-en  teacher-es
teacher, claimed   default       default     default"
        );
    }

    #[test]
    fn roles_that_only_have_a_quota_are_listed_and_claims_that_do_not_count_are_not() {
        let strict = [
            ("personas.file", "tests/api/personas.toml"),
            ("auth.mode", "required"),
            ("quota.guest.sessions_per_month", "5"),
        ];
        let table = table(&strict);
        assert!(table.contains("guest, verified"), "{table}");
        assert!(!table.contains("claimed"), "{table}");
    }
}
