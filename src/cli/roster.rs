//! Lists which callers get which persona.

use std::collections::BTreeSet;
use std::iter::once;

use serde::Serialize;

use super::table;
use crate::config::{AuthMode, Config};
use crate::domain::{Asked, Language};

/// The persona of one kind of caller.
#[derive(Serialize)]
pub(super) struct RosterRow<'a> {
    /// The role; `None` for callers without one.
    role: Option<&'a str>,
    /// True when the role was verified, false when it is only what the caller says.
    verified: bool,
    /// The language that is asked for; `None` when none is.
    language: Option<&'a str>,
    /// The persona; `None` when the caller is refused.
    persona: Option<&'a str>,
}

/// Returns all kinds of caller that the personas and quotas tell apart, by role, each in all languages.
pub(super) fn roster(config: &Config) -> Vec<RosterRow<'_>> {
    let personas = || config.personas.iter();
    let named = personas().flat_map(|persona| persona.role.iter().chain(&persona.roles));
    let roles = named.chain(config.quota.roles.keys());
    let roles = roles.chain(&config.auth.default_role);
    let roles: BTreeSet<&str> = roles.map(|role| &**role).collect();
    let mut languages: Vec<Option<&Language>> = vec![None];
    for persona in personas() {
        if !languages.contains(&persona.language.as_ref()) {
            languages.push(persona.language.as_ref());
        }
    }
    let mut kinds = vec![(None, false)];
    for role in roles {
        kinds.extend((config.auth.mode != AuthMode::Off).then_some((Some(role), true)));
        kinds.extend((config.auth.mode != AuthMode::Required).then_some((Some(role), false)));
    }
    let mut roster = Vec::new();
    for (role, verified) in kinds {
        for language in &languages {
            let persona = config.personas.fitting(&Asked {
                verified_role: role.filter(|_| verified),
                claimed_role: role.filter(|_| !verified),
                language: *language,
            });
            roster.push(RosterRow {
                role,
                verified,
                language: language.map(Language::as_str),
                persona: persona.map(|persona| persona.name.as_str()),
            });
        }
    }
    roster
}

/// Returns the same as a table for people: a line for each role, a column for each language.
pub(super) fn table(roster: &[RosterRow<'_>]) -> String {
    let kind = |row: &RosterRow<'_>| match row.role {
        None => "no role".to_owned(),
        Some(role) if row.verified => format!("{role}, verified"),
        Some(role) => format!("{role}, claimed"),
    };
    let languages = roster.iter().take_while(|row| row.role.is_none());
    let languages = languages.map(|row| row.language.unwrap_or("any language").to_owned());
    let head = once("who gets".to_owned()).chain(languages).collect();
    let mut rows: Vec<Vec<_>> = vec![head];
    for line in roster.chunk_by(|one, next| kind(one) == kind(next)) {
        let got = line
            .iter()
            .map(|row| row.persona.unwrap_or("(refused)").to_owned());
        rows.push(line.first().map(kind).into_iter().chain(got).collect());
    }
    table::table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    fn table(settings: &[(&str, &str)]) -> String {
        let config = Config::from_pairs(Mode::Dev, settings).unwrap();
        super::table(&roster(&config))
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
