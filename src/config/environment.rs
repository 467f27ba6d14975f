//! Names of environment variables, and the settings that they stand for.

use std::net::{IpAddr, SocketAddr};

use toml::Value;

use super::Source;
use super::fields::in_numbers;
use super::settings::{Entry, Settings};

/// The beginning of the names of our own variables.
const PREFIX: &str = "BROKER_";
/// Sets the port of `server.listen` alone.
const PORT: &str = "PORT";
/// May be a bare number of requests per minute, as the documents of the original clients have it.
const RATE_LIMIT: &str = "VOICE_AGENT_RATE_LIMIT";
/// Variables by which other programs find a proxy, in any case.
const PROXIES: [&str; 2] = ["HTTPS_PROXY", "ALL_PROXY"];
const LISTEN: &str = "server.listen";

/// Names that users and platforms already have, and the settings they stand for.
const SHORT_NAMES: &[(&str, &str)] = &[
    ("ALLOWED_ORIGINS", "cors.allowed_origins"),
    (RATE_LIMIT, "limits.token"),
    ("VOICE_AGENT_TOKEN_DURATION", "session.token_seconds"),
    ("OPENAI_API_KEY", "upstream.api_key"),
    ("OPENAI_API_KEY_FILE", "upstream.api_key_file"),
    ("OPENAI_ADMIN_KEY", "upstream.admin_key"),
    ("OPENAI_BASE_URL", "upstream.base_url"),
    ("OPENAI_ORG_ID", "upstream.organization"),
    ("OPENAI_PROJECT_ID", "upstream.project"),
    ("DATABASE_URL", "ledger.url"),
    ("REDIS_URL", "redis.url"),
    ("RUST_LOG", "log.filter"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "otel.endpoint"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "otel.headers"),
    ("OTEL_SERVICE_NAME", "otel.service"),
];

/// Returns the variable of a setting: `BROKER_LIMITS__TOKEN` for `limits.token`.
pub fn environment_name(setting: &str) -> String {
    format!("{PREFIX}{}", setting.replace('.', "__").to_uppercase())
}

/// Returns the variable that users and platforms already have for `setting`, if there is one.
pub fn short_name(setting: &str) -> Option<&'static str> {
    let mut names = SHORT_NAMES.iter();
    let (short, _) = names.find(|(_, known)| *known == setting)?;
    Some(short)
}

/// Layers the environment over the settings. Both names of one setting may be given if they agree.
pub(super) fn overlay(settings: &mut Settings, variables: &[(String, String)]) {
    for (variable, text) in variables.iter().filter(|(_, text)| !text.is_empty()) {
        let short = SHORT_NAMES.iter().find(|(short, _)| short == variable);
        let Some(name) = short
            .map(|(_, name)| (*name).to_owned())
            .or_else(|| setting_of(settings, variable, text))
        else {
            continue;
        };
        let is_bare = text.trim().bytes().all(|byte| byte.is_ascii_digit());
        let source = Source::Environment(variable.clone());
        if variable == RATE_LIMIT && is_bare {
            settings.overlay_text(&name, &format!("{}/60s", text.trim()), source);
        } else {
            settings.overlay_text(&name, text, source);
        }
    }
}

/// Returns the setting that one of our own variables stands for.
fn setting_of(settings: &Settings, variable: &str, text: &str) -> Option<String> {
    let rest = variable.strip_prefix(PREFIX)?;
    let mut names = settings.entries.iter().map(|entry| &entry.name);
    let known = names.find(|name| environment_name(name) == variable);
    let name = known.map_or_else(|| rest.to_lowercase().replace("__", "."), Clone::clone);
    (!is_injected_by_kubernetes(variable, text)).then_some(name)
}

/// Warns when the environment names a proxy, which only `upstream.proxy` makes the broker use.
pub(super) fn warn_of_proxy(settings: &mut Settings, variables: &[(String, String)]) {
    let is_used = ["upstream.proxy", "upstream.proxy_file"].map(|name| settings.text(name));
    if is_used.iter().any(|text| !text.is_empty()) {
        return;
    }
    let names_proxy = |name: &str| PROXIES.iter().any(|known| known.eq_ignore_ascii_case(name));
    let mut given = variables.iter().filter(|(_, text)| !text.is_empty());
    if let Some((name, _)) = given.find(|(name, _)| names_proxy(name)) {
        let message = format!(
            "{name} is set and not used; set upstream.proxy if the internet is reached only through a proxy"
        );
        settings.warn("upstream.proxy", message);
    }
}

/// Gives `server.listen` the port of `PORT`, or the port of its default when it has none.
pub(super) fn complete_listen(settings: &mut Settings, variables: &[(String, String)]) {
    let Some(listen) = settings.entry(LISTEN) else {
        return;
    };
    let (given, source) = (in_numbers(listen.text()), listen.source.clone());
    let default = listen.default.as_ref().and_then(Value::as_str);
    let default: Option<SocketAddr> = default.and_then(|text| text.parse().ok());
    let whole: Option<SocketAddr> = given.parse().ok();
    let mut variables = variables.iter();
    let by_variable = variables.find(|(name, text)| name == PORT && !text.is_empty());
    let by_variable = by_variable.map(|(_, text)| text.trim().parse::<u16>());
    let port_source = Source::Environment(PORT.into());
    let (port, source) = match (whole.map(|whole| whole.port()), by_variable, source) {
        (_, Some(Err(_)), _) => {
            let message = "PORT must be a number from 0 to 65535";
            return settings.complain_of(LISTEN, &port_source, message);
        }
        (Some(own), Some(Ok(port)), Source::Environment(name)) if own != port => {
            let message = format!("PORT and the port of {name} say different things; keep one");
            return settings.complain_of(LISTEN, &port_source, message);
        }
        (Some(_), _, Source::Flag(_)) | (Some(_), None, _) => return,
        (_, Some(Ok(port)), _) => (port, port_source),
        (None, None, source) => (default.map_or(0, |default| default.port()), source),
    };
    let address = whole.map(|whole| whole.ip());
    if let Some(address) = address.or_else(|| bare_address(&given)) {
        let path = LISTEN.split('.').map(str::to_owned).collect();
        let text = SocketAddr::new(address, port).to_string();
        settings.set(Entry::new(path, text.into(), source));
    }
}

/// Reads an address without a port, in brackets or not.
pub(super) fn bare_address(text: &str) -> Option<IpAddr> {
    let inside = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inside.unwrap_or(text).parse().ok()
}

/// Returns true for a variable that Kubernetes sets in every container for a Service called `broker`, like
/// `BROKER_SERVICE_HOST` and `BROKER_PORT=tcp://…`. The names of our own variables have a double underscore.
fn is_injected_by_kubernetes(name: &str, text: &str) -> bool {
    let is_protocol = ["TCP", "UDP", "SCTP"].iter().any(|protocol| {
        name.contains(&format!("_{protocol}_"))
            || text.starts_with(&format!("{}://", protocol.to_lowercase()))
    });
    let is_service = name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT");
    !name.contains("__") && (is_service || (name.contains("_PORT") && is_protocol))
}
