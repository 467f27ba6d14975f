//! Reads the presets for common issuers: an issuer from one or two settings each.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use toml::Value;
use url::Host;

use super::fields::strong;
use super::issuers::IssuerTable;
use super::settings::Settings;
use crate::domain::{Origins, endpoint};

const CLERK: &str = "auth.clerk_domain";
const ORIGINS: &str = "cors.allowed_origins";
/// The presets, with settings in braces.
const PRESETS: &str = include_str!("../../config/presets.toml");

/// One table of the presets.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preset {
    /// The setting that selects the preset.
    setting: String,
    /// Another setting, which goes with it.
    companion: Option<String>,
    /// True when the preset does without the companion.
    #[serde(default)]
    is_optional: bool,
    /// What to say of the companion when one of the two is missing.
    #[serde(default)]
    message: String,
    issuers: Vec<Value>,
}

/// Returns the presets. The tests prove that the compiled-in document can be read.
fn all() -> Vec<Preset> {
    let presets: Option<BTreeMap<String, _>> = toml::from_str(PRESETS).ok();
    presets
        .and_then(|mut all| all.remove("presets"))
        .unwrap_or_default()
}

/// Returns the settings that select a preset.
pub(super) fn names() -> Vec<String> {
    all().into_iter().map(|preset| preset.setting).collect()
}

/// Returns the issuers of the presets that are set. Clerk's accepts tokens of the listed pages only.
pub(super) fn read(
    settings: &mut Settings,
    origins: &Origins,
    plain: &[String],
) -> Vec<IssuerTable> {
    let mut values = HashMap::new();
    let mut issuers = Vec::new();
    for preset in all() {
        for name in [&preset.setting].into_iter().chain(&preset.companion) {
            let text = settings.text(name);
            match parse(name, &text, plain) {
                _ if text.is_empty() => {}
                Ok(value) => drop(values.insert(name.clone(), value)),
                Err(message) => settings.complain(name, message),
            }
        }
        let is_set = values.contains_key(&preset.setting);
        if let Some(companion) = &preset.companion {
            let is_paired = is_set == values.contains_key(companion);
            let holds = is_paired || (is_set && preset.is_optional);
            settings.require(&[companion, &preset.setting], holds, &preset.message);
        }
        issuers.extend(preset.issuers);
    }
    let patterns = origins.patterns().iter().map(ToString::to_string);
    let pages = origins.listed().map(ToString::to_string).chain(patterns);
    let pages: Vec<_> = pages.collect();
    if !pages.is_empty() {
        values.insert(ORIGINS.into(), pages.join(","));
    }
    settings.require(
        &[CLERK, ORIGINS],
        !pages.is_empty() || !values.contains_key(CLERK),
        "needs cors.allowed_origins: a Clerk token names the page that it was issued to",
    );
    let filled = issuers
        .into_iter()
        .filter_map(|issuer| filled(issuer, &values));
    filled.filter_map(|issuer| issuer.try_into().ok()).collect()
}

/// Reads the text of a setting of a preset.
fn parse(name: &str, text: &str, plain: &[String]) -> Result<String, String> {
    let read = match name {
        "auth.supabase_url" => bare_url(text, plain),
        "auth.supabase_jwt_secret" => return strong::<32>(text),
        "auth.auth0_domain" | CLERK => domain(text),
        "auth.firebase_project" => project(text),
        "auth.keycloak_realm" => realm(text, plain),
        "auth.entra_tenant" | "auth.entra_audience" => guid(text),
        "auth.cognito_pool" => pool(text),
        _ => Ok(text.to_owned()),
    };
    read.map_err(str::to_owned)
}

/// Puts the values of settings into the texts of `template`. Returns `None` when a setting has no value.
fn filled(template: Value, values: &HashMap<String, String>) -> Option<Value> {
    Some(match template {
        Value::String(text) => {
            let mut parts = text.split(['{', '}']);
            let mut filled = parts.next()?.to_owned();
            while let (Some(name), Some(rest)) = (parts.next(), parts.next()) {
                filled += values.get(name)?;
                filled += rest;
            }
            filled.into()
        }
        Value::Array(items) => {
            let items = items.into_iter().map(|item| filled(item, values));
            Value::Array(items.collect::<Option<_>>()?)
        }
        Value::Table(table) => {
            let fields = table.into_iter();
            let fields = fields.map(|(key, value)| Some((key, filled(value, values)?)));
            Value::Table(fields.collect::<Option<_>>()?)
        }
        other => other,
    })
}

/// Reads scheme, host and port.
fn bare_url(text: &str, plain: &[String]) -> Result<String, &'static str> {
    let url = endpoint(text, plain)?;
    let is_bare = url.path() == "/" && url.query().is_none();
    is_bare
        .then(|| url.as_str().trim_end_matches('/').to_owned())
        .ok_or("must end with its host, like https://abcdefgh.supabase.co")
}

/// Reads a host name.
fn domain(text: &str) -> Result<String, &'static str> {
    let lower = text.to_ascii_lowercase();
    let is_name = matches!(Host::parse(&lower), Ok(Host::Domain(name)) if name == lower);
    (is_name && lower.contains('.') && !lower.ends_with('.'))
        .then_some(lower)
        .ok_or("must be a host alone, like tenant.eu.auth0.com or clerk.example.com: no https://, no path")
}

/// Reads the id of a Firebase project. Old ids start with a domain and a colon.
fn project(text: &str) -> Result<String, &'static str> {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte);
    let is_id = text.bytes().all(is_plain);
    is_id
        .then(|| text.to_owned())
        .ok_or("must be the project's id, like my-app-1a2b3, not its name or number")
}

/// Reads the address of a Keycloak realm, as its tokens hold it in `iss`.
fn realm(text: &str, plain: &[String]) -> Result<String, &'static str> {
    let url = endpoint(text, plain)?;
    let is_realm = url.path().contains("/realms/") && url.query().is_none();
    is_realm
        .then(|| text.trim_end_matches('/').to_owned())
        .ok_or("must be the address of a realm, like https://id.example.com/realms/school")
}

/// Reads the id of an Entra ID tenant or application.
fn guid(text: &str) -> Result<String, &'static str> {
    let lower = text.to_ascii_lowercase();
    let parts: Vec<_> = lower.split('-').map(str::len).collect();
    let is_hex = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    (parts == [8, 4, 4, 4, 12] && lower.bytes().all(is_hex))
        .then_some(lower)
        .ok_or("must be an id like 8b3f2c1e-0000-4000-8000-0123456789ab, without api:// and not a name")
}

/// Reads the id of a Cognito user pool, which starts with its region. Returns the issuer of the pool.
fn pool(text: &str) -> Result<String, &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    text.split_once('_')
        .filter(|(region, id)| {
            region.contains('-') && !id.is_empty() && region.bytes().chain(id.bytes()).all(is_plain)
        })
        .map(|(region, _)| format!("https://cognito-idp.{region}.amazonaws.com/{text}"))
        .ok_or("must be the id of a user pool, like eu-central-1_AbCdEfGhI")
}
