//! Reads role and display name from claims or a look-up, by JSON pointer (RFC 6901).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use crate::domain::DisplayName;

/// Longest role, in characters.
const MAX_ROLE_LENGTH: usize = 64;

/// Role and display name of an identity, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) role: Option<Box<str>>,
    pub(super) name: Option<DisplayName>,
}

impl Profile {
    /// Fills what is missing from `other`.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            role: self.role.or(other.role),
            name: self.name.or(other.name),
        }
    }
}

/// Warnings about a role pointer that leads nowhere.
const NO_ROLE: &str = "the role pointer finds no role, the identity gets the default role; compare the \
    pointer with a token's claims";
const NO_KNOWN_ROLE: &str = "the role pointer finds several values, none of which a persona or a quota \
    names; the identity gets the default role";

/// Roles that a persona or a quota names, the preferred ones first.
pub(super) type KnownRoles = Arc<[Box<str>]>;

/// Where role and display name are found in one issuer's documents.
#[derive(Debug)]
pub(super) struct Pointers {
    pub(super) issuer: Arc<str>,
    pub(super) role: Option<String>,
    pub(super) name: Option<String>,
    pub(super) known_roles: KnownRoles,
    /// True once the log has said that the role pointer finds no role, or when it need not.
    pub(super) is_warned: AtomicBool,
}

impl Pointers {
    /// Reads what `document` says. Warns once when the role pointer finds no role although personas
    /// or quotas depend on roles.
    pub(super) fn read(&self, document: &Value) -> Profile {
        let name = |pointer| DisplayName::clean(document.pointer(pointer)?.as_str()?);
        let role = |pointer: &String| self.role(document.pointer(pointer));
        let role = self.role.as_ref().map(role).transpose();
        Profile {
            role: role.unwrap_or_else(|warning| {
                self.warn(warning);
                None
            }),
            name: self.name.as_deref().and_then(name),
        }
    }

    /// Reads a role: a text, or the preferred known role among the members of a list or the keys of an
    /// object, whose order says nothing. Returns a warning when there is none.
    fn role(&self, value: Option<&Value>) -> Result<Box<str>, &'static str> {
        let values: Vec<&str> = match value {
            Some(Value::String(text)) => {
                let text = text.trim();
                let fits = (1..=MAX_ROLE_LENGTH).contains(&text.chars().count());
                let is_role = fits && !text.contains(char::is_control);
                return is_role.then(|| text.into()).ok_or(NO_ROLE);
            }
            Some(Value::Array(members)) => members.iter().filter_map(Value::as_str).collect(),
            Some(Value::Object(members)) => members.keys().map(String::as_str).collect(),
            _ => return Err(NO_ROLE),
        };
        let known = self
            .known_roles
            .iter()
            .find(|known| values.contains(&&***known));
        known.cloned().ok_or(NO_KNOWN_ROLE)
    }

    fn warn(&self, message: &str) {
        if !self.known_roles.is_empty() && !self.is_warned.swap(true, Ordering::Relaxed) {
            let (issuer, role_pointer) = (&*self.issuer, &self.role);
            tracing::warn!(issuer, ?role_pointer, "{message}");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pointers(role: &str, name: Option<&str>) -> Pointers {
        Pointers {
            issuer: "https://id.example.com/".into(),
            role: Some(role.into()),
            name: name.map(Into::into),
            known_roles: ["teacher", "student"].map(Into::into).into(),
            is_warned: AtomicBool::new(false),
        }
    }

    fn role(document: &Value, pointer: &str) -> Option<Box<str>> {
        pointers(pointer, None).read(document).role
    }

    #[test]
    fn roles_and_names_are_texts_at_pointers() {
        let claims = json!({
            "app_metadata": { "role": " teacher ", "roles": ["a", "b"], "level": 3 },
            "https://school.example/role": "family",
            "long": "a".repeat(65),
            "fits": "a".repeat(64),
            "line": "a\nb",
            "blank": "  ",
            "name": "Ana\u{0}{{ 7*7 }}",
        });
        let role = |pointer| role(&claims, pointer);
        assert_eq!(role("/app_metadata/role").as_deref(), Some("teacher"));
        assert_eq!(role("/app_metadata/roles/1").as_deref(), Some("b"));
        assert_eq!(
            role("/https:~1~1school.example~1role").as_deref(),
            Some("family")
        );
        assert!(role("/fits").is_some());
        for nothing in [
            "/app_metadata/roles",
            "/app_metadata/level",
            "/app_metadata",
            "/app_metadata/roles/2",
            "/absent",
            "/long",
            "/line",
            "/blank",
            "role",
            "",
        ] {
            assert_eq!(role(nothing), None, "{nothing}");
        }
        let name = |pointer| {
            let profile = pointers("/absent", pointer).read(&claims);
            profile.name.map(|name| name.as_str().to_owned())
        };
        assert_eq!(name(Some("/name")).as_deref(), Some("Ana 7 7"));
        assert_eq!((name(Some("/absent")), name(None)), (None, None));
    }

    #[test]
    fn f05_the_known_member_of_a_list_or_key_of_an_object_is_the_role_in_any_order() {
        for roles in [
            json!(["offline_access", "teacher", "uma_authorization"]),
            json!(["student", "teacher"]),
            json!(["teacher", "student"]),
            json!([7, null, "teacher"]),
            json!({ "student": { "2601": "school" }, "teacher": {} }),
        ] {
            let claims = json!({ "realm_access": { "roles": roles } });
            let found = role(&claims, "/realm_access/roles");
            assert_eq!(found.as_deref(), Some("teacher"), "{claims}");
        }
        for roles in [
            json!([]),
            json!(["Teacher", "guest"]),
            json!({ "guest": {} }),
        ] {
            let claims = json!({ "realm_access": { "roles": roles } });
            assert_eq!(role(&claims, "/realm_access/roles"), None, "{claims}");
        }
    }
}
