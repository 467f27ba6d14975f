//! Reads settings from environment variables.

use std::net::{IpAddr, SocketAddr};

use super::complaint::nearest;
use super::settings::Settings;
use super::{Source, layers};

/// The beginning of the names of our own variables.
const PREFIX: &str = "BROKER_";
/// Sets the port of `server.listen` alone.
const PORT: &str = "PORT";

const LISTEN: &str = "server.listen";

/// Names that users and platforms already have, and the settings they stand for.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("ALLOWED_ORIGINS", "cors.allowed_origins"),
    ("VOICE_AGENT_RATE_LIMIT", "limits.token"),
    ("VOICE_AGENT_TOKEN_DURATION", "session.token_seconds"),
    ("OPENAI_API_KEY", "upstream.api_key"),
    ("OPENAI_API_KEY_FILE", "upstream.api_key_file"),
    ("OPENAI_BASE_URL", "upstream.base_url"),
    ("OPENAI_ORG_ID", "upstream.organization"),
    ("OPENAI_PROJECT_ID", "upstream.project"),
    ("DATABASE_URL", "ledger.url"),
    ("REDIS_URL", "redis.url"),
    ("RUST_LOG", "log.filter"),
];

/// The variable that sets `setting`: `BROKER_LIMITS__TOKEN` for `limits.token`.
pub fn environment_name(setting: &str) -> String {
    format!("{PREFIX}{}", setting.replace('.', "__").to_uppercase())
}

/// The variable that users and platforms already have for `setting`, if there is one.
pub fn short_name(setting: &str) -> Option<&'static str> {
    let mut names = SHORT_NAMES.iter();
    names
        .find(|(_, known)| *known == setting)
        .map(|(short, _)| *short)
}

/// Lays the environment over what is there. Both names of one setting may be given if they agree.
pub(super) fn overlay(settings: &mut Settings, pairs: &[(String, String)]) {
    let given = || pairs.iter().filter(|(_, text)| !text.is_empty());
    for (name, text) in given().filter(|(name, _)| name.starts_with(PREFIX)) {
        set_by_own_name(settings, name, text);
    }
    for (name, text) in given() {
        let short = SHORT_NAMES.iter().find(|(short, _)| short == name);
        if let Some((_, setting)) = short {
            set_by_short_name(settings, setting, name, text);
        } else if name == PORT {
            set_port(settings, text);
        }
    }
}

fn set_by_own_name(settings: &mut Settings, name: &str, text: &str) {
    let source = Source::Environment(name.into());
    let mut entries = settings.entries().iter();
    let known = entries.find(|entry| environment_name(&entry.name) == name);
    let dotted = name[PREFIX.len()..].to_lowercase().replace("__", ".");
    let dotted = known.map_or(dotted, |entry| entry.name.clone());
    if layers::overlay_text(settings, &dotted, text, source.clone())
        || is_injected_by_kubernetes(name, text)
    {
        return;
    }
    let message = layers::help(&dotted).unwrap_or_else(|| {
        let known = settings
            .entries()
            .iter()
            .filter(|entry| entry.default.is_some());
        let names: Vec<_> = known.map(|entry| environment_name(&entry.name)).collect();
        let close = nearest(name, names.iter().map(String::as_str));
        format!("is not a setting; the nearest is {close}")
    });
    settings.complain_of(name, &source, message);
}

fn set_by_short_name(settings: &mut Settings, setting: &str, name: &str, text: &str) {
    let Some(entry) = settings.entry(setting) else {
        return;
    };
    let value = layers::like(entry.default.as_ref(), &translated(setting, text));
    let source = Source::Environment(name.into());
    match &entry.source {
        Source::Environment(other) if value != entry.value => {
            let message = format!("{name} and {other} say different things; keep one");
            settings.complain_of(setting, &source, message);
        }
        _ => settings.set(setting, value, source),
    }
}

/// Turns a bare number of requests into a rate per minute, as the documents of the original clients mean it.
fn translated(setting: &str, text: &str) -> String {
    let is_bare = !text.trim().is_empty() && text.trim().bytes().all(|byte| byte.is_ascii_digit());
    if setting == "limits.token" && is_bare {
        return format!("{}/60s", text.trim());
    }
    text.into()
}

fn set_port(settings: &mut Settings, text: &str) {
    let source = Source::Environment(PORT.into());
    let Ok(port) = text.trim().parse::<u16>() else {
        return settings.complain_of(LISTEN, &source, "PORT must be a number from 0 to 65535");
    };
    let listen = settings.text(LISTEN);
    let other = settings.source(LISTEN);
    if let Ok(mut address) = listen.parse::<SocketAddr>() {
        if matches!(other, Source::Environment(_)) && address.port() != port {
            let message = format!("PORT and the port of {other} say different things; keep one");
            return settings.complain_of(LISTEN, &source, message);
        }
        address.set_port(port);
        settings.set(LISTEN, address.to_string().into(), source);
    } else if let Some(address) = bare_address(&listen) {
        let address = SocketAddr::new(address, port);
        settings.set(LISTEN, address.to_string().into(), source);
    }
}

/// Gives `server.listen` the port of its default when it has none.
pub(super) fn complete_listen(settings: &mut Settings) {
    let default = settings.default_text(LISTEN).parse::<SocketAddr>();
    let bare = bare_address(&settings.text(LISTEN));
    if let (Some(address), Ok(default)) = (bare, default) {
        let whole = SocketAddr::new(address, default.port()).to_string();
        let source = settings.source(LISTEN);
        settings.set(LISTEN, whole.into(), source);
    }
}

/// An address without a port, in brackets or not.
pub(super) fn bare_address(text: &str) -> Option<IpAddr> {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(text).parse().ok()
}

/// True for a variable that Kubernetes sets in every container for a Service called `broker`, like
/// `BROKER_SERVICE_HOST` and `BROKER_PORT=tcp://…`. Those names lack the double underscore of our settings.
fn is_injected_by_kubernetes(name: &str, text: &str) -> bool {
    let is_address = ["tcp://", "udp://", "sctp://"]
        .iter()
        .any(|scheme| text.starts_with(scheme));
    let is_part = ["_TCP_", "_UDP_", "_SCTP_"]
        .iter()
        .any(|part| name.contains(part));
    let is_service = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT");
    !name.contains("__") && (is_service || (name.contains("_PORT") && (is_address || is_part)))
}
