//! Owns the settings of how the provider is reached.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use super::Mode;
use super::settings::Settings;

/// How the provider is reached.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The provider's API, version included, without a slash at the end (but a URL without a path always shows one).
    pub base_url: Url,
    /// Our API key. There is one outside dev mode.
    pub api_key: Option<SecretString>,
    /// The organization that is billed, when the key belongs to several.
    pub organization: Option<String>,
    /// The project that is billed, when the key belongs to several.
    pub project: Option<String>,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Longest time for a whole answer, connecting included.
    pub timeout: Duration,
    /// Most requests in flight.
    pub max_in_flight: usize,
    /// Most mints started in a second.
    pub mints_per_second: u32,
    /// Longest time a mint waits for its turn.
    pub max_wait: Duration,
    /// A file of certificates, in PEM, trusted beside the public ones.
    pub ca_file: Option<PathBuf>,
    /// Least time between two probes.
    pub probe_interval: Duration,
}

/// What `.env.example` says in place of a key.
const EXAMPLE_KEY: &str = "sk-replace-me";
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
const LONGEST_TIMEOUT: Duration = Duration::from_mins(2);

impl Upstream {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let timeouts = SHORTEST_TIMEOUT..=LONGEST_TIMEOUT;
        let probes = Duration::from_secs(1)..=Duration::from_hours(24);
        let api_key = api_key(settings);
        let connect_timeout = settings.duration("upstream.connect_timeout", timeouts.clone());
        let timeout = settings.duration("upstream.timeout", timeouts);
        settings.require(
            &["upstream.connect_timeout", "upstream.timeout"],
            connect_timeout <= timeout,
            "must not be longer than upstream.timeout",
        );
        Some(Self {
            api_key,
            organization: settings.optional("upstream.organization", header_word),
            project: settings.optional("upstream.project", header_word),
            connect_timeout,
            timeout,
            max_in_flight: settings.number("upstream.max_in_flight", 1..=100_000),
            mints_per_second: settings.number("upstream.mints_per_second", 1..=100_000),
            max_wait: settings.duration("upstream.max_wait", Duration::ZERO..=LONGEST_TIMEOUT),
            ca_file: ca_file(settings, "upstream.ca_file"),
            probe_interval: settings.duration("upstream.probe_interval", probes),
            // Last, because it alone can end the reading.
            base_url: base_url(settings)?,
        })
    }
}

fn base_url(settings: &mut Settings) -> Option<Url> {
    const BASE_URL: &str = "upstream.base_url";
    let url = settings.parsed(BASE_URL, parse_base_url)?;
    settings.require_unless_dev(
        BASE_URL,
        url.scheme() == "https" || is_loopback(&url),
        "must be https unless it is on this machine: the API key would cross the network in the clear",
    );
    if url.host_str() == Some("api.openai.com") && url.path() == "/" {
        settings.warn(BASE_URL, "has no path; OpenAI's ends with /v1");
    }
    Some(url)
}

fn parse_base_url(text: &str) -> Result<Url, &'static str> {
    let mut url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host())
        .ok_or("must be a whole address, like https://api.openai.com/v1")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or a password; the key is upstream.api_key");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must end with its path: no ? and no #");
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn api_key(settings: &mut Settings) -> Option<SecretString> {
    const KEY: &str = "upstream.api_key";
    let key = settings.secret(KEY);
    let text = key.as_ref().map(ExposeSecret::expose_secret);
    let is_clean = text.is_none_or(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
    let is_example = text == Some(EXAMPLE_KEY);
    settings.require(
        &[KEY],
        is_clean,
        "holds a space, a line break or another character that no key has; paste it again, without quotes",
    );
    if is_example {
        settings.warn(KEY, "is still the one of the example");
    }
    settings.require(
        &[KEY, "upstream.api_key_file"],
        key.is_some() || settings.mode == Mode::Dev,
        "is required; set OPENAI_API_KEY=sk-… (or OPENAI_API_KEY_FILE=/run/secrets/openai)",
    );
    key
}

fn header_word(text: &str) -> Result<String, &'static str> {
    let is_word = text.bytes().all(|byte| byte.is_ascii_graphic());
    is_word
        .then(|| text.into())
        .ok_or("must be one word of plain letters, digits and signs")
}

/// A file of certificates, if the setting names one.
pub(super) fn ca_file(settings: &mut Settings, setting: &str) -> Option<PathBuf> {
    let read = settings.read;
    settings.optional(setting, |text| {
        let path = Path::new(text);
        let held = read(path)
            .map_err(|error| format!("names a file that cannot be read: {}", error.kind()))?;
        held.contains("-----BEGIN CERTIFICATE-----")
            .then(|| path.into())
            .ok_or_else(|| "names a file without a certificate in PEM form".to_owned())
    })
}
