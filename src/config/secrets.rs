//! Owns the settings that are secrets: which they are, how they are read, and that they are never shown.

use std::path::Path;

use secrecy::SecretString;

use super::Source;
use super::settings::Settings;
use super::value::Value;

/// The settings whose value is never shown. Each has a twin, `…_file`, that names a file with the value.
pub(super) const SECRETS: &[&str] = &[
    "upstream.api_key",
    "auth.supabase_jwt_secret",
    "session.secret",
    "ledger.url",
    "ledger.pseudonym_key",
    "redis.url",
    "ops.token",
];
/// What a secret looks like when it is shown.
pub(super) const MASK: &str = "***";

/// True for what stands in the place of a secret and is none: nothing, or a ledger that needs no password.
pub(super) fn is_harmless(name: &str, text: &str) -> bool {
    let needs_no_password = text == "memory" || text.starts_with("sqlite:");
    text.is_empty() || (name == "ledger.url" && needs_no_password)
}

impl Settings {
    /// A secret, from its own setting or from the file that its twin `…_file` names. `None` when neither is given.
    pub(super) fn secret(&mut self, name: &str) -> Option<SecretString> {
        let twin = format!("{name}_file");
        let path = self.text(&twin);
        let given = match self.entry(name).map(|entry| &entry.value) {
            Some(Value::Text(text)) if !text.is_empty() => Some(SecretString::from(text.as_str())),
            _ => None,
        };
        if path.is_empty() {
            return given;
        }
        if given.is_some() && self.source(name) != Source::Default {
            let (file, own) = (self.source(&twin), self.source(name));
            let message = format_args!(
                "is given twice: by {own}, and as a file ({twin}) by {file}; keep one"
            );
            self.complain(name, message);
            return None;
        }
        self.secret_from_file(name, &twin, Path::new(&path))
    }

    fn secret_from_file(&mut self, name: &str, twin: &str, path: &Path) -> Option<SecretString> {
        let text = match (self.read)(path) {
            Ok(text) => text,
            Err(error) => {
                let message = format_args!("names a file that cannot be read: {}", error.kind());
                self.complain(twin, message);
                return None;
            }
        };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            self.complain(twin, "names a file that is empty; it must hold the secret");
            return None;
        }
        let source = self.source(twin);
        self.set(name, Ok(Value::Text(text.into())), source);
        Some(text.into())
    }
}
