//! Owns what is known of an identity beside who it is: role and name, found by JSON pointer (RFC 6901).

use serde_json::Value;

use crate::domain::DisplayName;

/// Most characters of a role.
const LONGEST_ROLE: usize = 64;

/// What claims or a look-up say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) role: Option<Box<str>>,
    pub(super) name: Option<DisplayName>,
}

impl Profile {
    /// This, and from `other` what is missing.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            role: self.role.or(other.role),
            name: self.name.or(other.name),
        }
    }
}

/// The role at `pointer`: text of one to 64 characters, nothing else. A list of roles is no role; point into it.
pub(super) fn role(document: &Value, pointer: Option<&str>) -> Option<Box<str>> {
    let text = document.pointer(pointer?)?.as_str()?.trim();
    let fits = (1..=LONGEST_ROLE).contains(&text.chars().count());
    (fits && !text.contains(char::is_control)).then(|| text.into())
}

/// The display name at `pointer`, as far as it is one.
pub(super) fn name(document: &Value, pointer: Option<&str>) -> Option<DisplayName> {
    DisplayName::clean(document.pointer(pointer?)?.as_str()?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

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
        let role = |pointer| role(&claims, Some(pointer));
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
        let name = |pointer| name(&claims, pointer).map(|name| name.as_str().to_owned());
        assert_eq!(name(Some("/name")).as_deref(), Some("Ana 7 7"));
        assert_eq!((name(Some("/absent")), name(None)), (None, None));
    }
}
