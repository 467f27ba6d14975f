//! `[upstream]`: the provider, our API key, timeouts and pace.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use url::Url;

use super::auth::own_hosts;
use super::fields::{self, secret};
use super::settings::Settings;
use super::{ApiKey, Mode, api_keys};
use crate::domain::written::{lasting, list, optional, optional_path, optional_word, text, whole};
use crate::domain::{is_private_enough, web_address};
use crate::http_client::Way;

/// The provider, our API key, timeouts and pace.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The provider's API, version included, without a slash at the end (but a URL without a path always shows one).
    #[serde(deserialize_with = "base_url")]
    pub base_url: Url,
    /// The same API under the address that pages reach it by, when that is another one.
    #[serde(deserialize_with = "public_url")]
    pub public_url: Option<Url>,
    /// Our API key, when there is a single one. Outside dev mode, a key is required.
    #[serde(deserialize_with = "secret")]
    pub api_key: Option<SecretString>,
    /// `[[upstream.api_keys]]`: several keys, in the order in which they are used.
    #[serde(skip)]
    pub api_keys: Vec<ApiKey>,
    /// The key before that, for the calls that it created.
    #[serde(deserialize_with = "secret")]
    pub previous_api_key: Option<SecretString>,
    /// A key of the organization's owner that reads what is billed. Only `reconcile` uses it.
    #[serde(deserialize_with = "secret")]
    pub admin_key: Option<SecretString>,
    /// The header that carries the key: as a bearer token in `authorization`, alone in any other.
    #[serde(deserialize_with = "header_name")]
    pub key_header: String,
    /// The organization that is billed, when the key belongs to several.
    #[serde(deserialize_with = "optional_word")]
    pub organization: Option<String>,
    /// The project that is billed, when the key belongs to several.
    #[serde(deserialize_with = "optional_word")]
    pub project: Option<String>,
    /// Longest time to connect.
    #[serde(deserialize_with = "lasting::<10, 120_000, _>")]
    pub connect_timeout: Duration,
    /// Longest time for a whole answer, connecting included.
    #[serde(deserialize_with = "lasting::<10, 120_000, _>")]
    pub timeout: Duration,
    /// Upper bound on requests in flight.
    #[serde(deserialize_with = "whole::<1, 100_000, _, _>")]
    pub max_in_flight: usize,
    /// Upper bound on mints started in a second.
    #[serde(deserialize_with = "whole::<1, 100_000, _, _>")]
    pub mints_per_second: u32,
    /// Longest time a mint waits for its turn.
    #[serde(deserialize_with = "lasting::<0, 120_000, _>")]
    pub max_wait: Duration,
    /// A file of certificates, in PEM, trusted beside the public ones.
    #[serde(deserialize_with = "optional_path")]
    pub ca_file: Option<PathBuf>,
    /// The address of an HTTP proxy to the provider and to issuers. It may hold a user and a password.
    #[serde(deserialize_with = "secret")]
    pub proxy: Option<SecretString>,
    /// Hosts that are reached without the proxy.
    #[serde(deserialize_with = "direct_hosts")]
    pub no_proxy: Vec<String>,
    /// Hosts of one's own network that the provider's API may be on over plain http.
    #[serde(deserialize_with = "own_hosts")]
    pub allow_plain_http: Vec<String>,
    /// Least time between two probes.
    #[serde(deserialize_with = "lasting::<1_000, 86_400_000, _>")]
    pub probe_interval: Duration,
}

const BASE_URL: &str = "upstream.base_url";
const KEY: &str = "upstream.api_key";
const KEYS: &str = "upstream.api_keys";
const PREVIOUS_KEY: &str = "upstream.previous_api_key";
const ADMIN_KEY: &str = "upstream.admin_key";
/// The key in `.env.example`.
const EXAMPLE_KEY: &str = "sk-replace-me";

impl Upstream {
    /// Returns the way to the provider and to issuers.
    pub fn way(&self) -> Way {
        Way {
            ca_file: self.ca_file.clone(),
            proxy: self.proxy.clone(),
            no_proxy: self.no_proxy.clone(),
        }
    }

    /// Returns the provider's API as pages reach it.
    pub fn page_url(&self) -> &Url {
        self.public_url.as_ref().unwrap_or(&self.base_url)
    }

    /// True when the API is on a host of OpenAI's or Azure's own, and not behind a gateway.
    pub fn is_providers_own(&self) -> bool {
        let host = self.base_url.host_str().unwrap_or_default();
        host.ends_with(".openai.com") || host.ends_with(".azure.com")
    }

    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let mut upstream: Self = settings.section("upstream")?;
        upstream.api_keys = api_keys::read(settings, upstream.api_key.as_ref());
        upstream.check_keys(settings);
        let host = upstream.base_url.host_str().unwrap_or_default();
        settings.require(
            &["upstream.connect_timeout", "upstream.timeout"],
            upstream.connect_timeout <= upstream.timeout,
            "must not be longer than upstream.timeout",
        );
        settings.require_unless_dev(
            BASE_URL,
            is_private_enough(&upstream.base_url, &upstream.allow_plain_http),
            "must be https unless it is on this machine: the API key would cross the network in the clear; upstream.allow_plain_http lists exceptions in a network of your own",
        );
        settings.warn_if(
            !has_version(&upstream.base_url),
            BASE_URL,
            "has no version in its path; OpenAI's ends with /v1, Azure's with /openai/v1",
        );
        settings.warn_if(
            host.ends_with(".azure.com") && upstream.base_url.path() == "/v1",
            BASE_URL,
            "is Azure's and must end with /openai/v1",
        );
        let page_url = upstream.page_url();
        settings.warn_if(
            settings.mode == Mode::Serve && !is_private_enough(page_url, &[]),
            "upstream.public_url",
            "pages are sent to plain http, which a page on https cannot call; set the https address of the same API",
        );
        let proxy = upstream.proxy.as_ref().map(ExposeSecret::expose_secret);
        settings.require(
            &["upstream.proxy", "upstream.proxy_file"],
            proxy.is_none_or(is_proxy),
            "must be the address of an HTTP proxy, like http://proxy.example.com:3128, or with http://user:password@ at its \
             beginning; percent-encode signs like # and @ in the password",
        );
        settings.require_certificates("upstream.ca_file", upstream.ca_file.as_deref());
        Some(upstream)
    }

    fn check_keys(&self, settings: &mut Settings) {
        let key = self.api_key.as_ref().map(ExposeSecret::expose_secret);
        let host = self.base_url.host_str().unwrap_or_default();
        let previous = self.previous_api_key.as_ref();
        let previous = previous.map(ExposeSecret::expose_secret);
        let admin = self.admin_key.as_ref().map(ExposeSecret::expose_secret);
        let several = self.api_keys.iter().zip(1..).map(|(key, number)| {
            let setting = format!("{KEYS}[{number}].key");
            (setting, Some(key.secret.expose_secret()))
        });
        let single = [(KEY, key), (PREVIOUS_KEY, previous), (ADMIN_KEY, admin)];
        let single = single.map(|(setting, key)| (setting.to_owned(), key));
        for (setting, key) in single.into_iter().chain(several) {
            settings.require(
                &[&setting],
                key.is_none_or(|text| text.bytes().all(|byte| byte.is_ascii_graphic())),
                "holds a space or another character that no key has; paste the key again, without quotes",
            );
        }
        let is_example = key == Some(EXAMPLE_KEY);
        settings.warn_if(is_example, KEY, "is still the key of the example");
        let is_other = key.is_some_and(|key| !key.starts_with("sk-"));
        settings.warn_if(
            is_other && host.ends_with(".openai.com"),
            KEY,
            "does not begin with sk-, as OpenAI's keys do; paste the key alone",
        );
        settings.require(
            &[KEY, "upstream.api_key_file"],
            self.has_key() || settings.mode == Mode::Dev,
            "is required; set OPENAI_API_KEY=sk-… (or OPENAI_API_KEY_FILE=/run/secrets/openai)",
        );
    }
}

/// Returns true when a part of the path is a version, like v1.
fn has_version(base: &Url) -> bool {
    let is_version = |part: &str| {
        let number = part.strip_prefix('v').unwrap_or_default();
        number.starts_with(|first: char| first.is_ascii_digit())
    };
    base.path().split('/').any(is_version)
}

/// Reads the name of a header.
fn header_name<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    text(from, |text| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let is_name = !text.is_empty() && text.bytes().all(is_plain);
        is_name
            .then(|| text.to_ascii_lowercase())
            .ok_or("must be the name of a header, like authorization or api-key")
    })
}

/// Returns true for the address of an HTTP proxy.
fn is_proxy(text: &str) -> bool {
    web_address(text)
        .is_some_and(|url| url.path() == "/" && url.query().is_none() && url.fragment().is_none())
}

/// Reads hosts as `NO_PROXY` holds them: names, addresses, networks.
fn direct_hosts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    list(from, |text| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:/".contains(&byte);
        let is_host = !text.is_empty() && !text.contains("//") && text.bytes().all(is_plain);
        is_host
            .then(|| text.to_owned())
            .ok_or("must be a host, .domain or network, like keycloak, .internal or 10.0.0.0/8")
    })
}

fn base_url<'de, D: Deserializer<'de>>(from: D) -> Result<Url, D::Error> {
    text(from, base)
}

fn public_url<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Url>, D::Error> {
    optional(from, base)
}

/// Reads the address of an API, below which its paths are.
fn base(text: &str) -> Result<Url, &'static str> {
    let whole = "must be a whole address, like https://api.openai.com/v1";
    let user = "must not hold a user or a password; the key is upstream.api_key";
    let mut url = fields::base(text, whole, user)?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}
