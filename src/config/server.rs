//! Owns the settings of how the service listens.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::environment::bare_address;
use super::settings::Settings;
use super::{Mode, networks};

/// How the service listens.
#[derive(Clone, Debug)]
pub struct Server {
    /// The address and port of the public listener.
    pub listen: SocketAddr,
    /// What stands before every public path: empty, or `/like/this` without a slash at the end.
    pub base_path: String,
    /// The names the service answers to, in lower case, with a port where one was given. Empty: to any.
    pub hosts: Vec<String>,
    /// The proxies whose word about the client address is taken.
    pub trusted_proxies: Vec<IpNet>,
    /// True when a paid request without `Origin` is refused.
    pub require_origin: bool,
    /// Most connections at once.
    pub max_connections: usize,
    /// Longest time for the head of a request.
    pub header_timeout: Duration,
    /// Longest time for the body of a request.
    pub body_timeout: Duration,
    /// Longest time that a write may stand still.
    pub write_timeout: Duration,
    /// Time between saying "not ready" and closing the listener.
    pub drain_delay: Duration,
    /// Longest time for requests in flight to end.
    pub drain_timeout: Duration,
}

/// Orchestrators kill after thirty seconds.
const LONGEST_DRAIN: Duration = Duration::from_secs(30);
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
const LONGEST_TIMEOUT: Duration = Duration::from_mins(5);
/// What a developer's own machine calls itself.
const LOCALHOST: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

impl Server {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let timeouts = SHORTEST_TIMEOUT..=LONGEST_TIMEOUT;
        let drains = Duration::ZERO..=LONGEST_DRAIN;
        let listen = listen(settings);
        let server = Self {
            listen: listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0))),
            base_path: settings
                .parsed("server.base_path", base_path)
                .unwrap_or_default(),
            hosts: hosts(settings),
            trusted_proxies: settings.list("server.trusted_proxies", networks::parse),
            require_origin: settings.flag("server.require_origin"),
            max_connections: settings.number("server.max_connections", 1..=1_000_000),
            header_timeout: settings.duration("server.header_timeout", timeouts.clone()),
            body_timeout: settings.duration("server.body_timeout", timeouts.clone()),
            write_timeout: settings.duration("server.write_timeout", timeouts),
            drain_delay: settings.duration("server.drain_delay", drains.clone()),
            drain_timeout: settings.duration("server.drain_timeout", drains),
        };
        server.check(settings);
        listen.map(|_| server)
    }

    fn check(&self, settings: &mut Settings) {
        settings.require(
            &["server.drain_timeout", "server.drain_delay"],
            self.drain_delay + self.drain_timeout <= LONGEST_DRAIN,
            "must be at most 30s together with server.drain_delay, before orchestrators lose patience",
        );
        settings.require_unless_dev(
            "server.trusted_proxies",
            !self.trusted_proxies.iter().any(networks::is_half_the_world),
            "must name the proxies you run, not half the internet: whoever is trusted can claim any client address",
        );
        let is_public = !self.listen.ip().is_loopback();
        if settings.mode == Mode::Serve && is_public && self.trusted_proxies.is_empty() {
            settings.warn(
                "server.trusted_proxies",
                "is empty; if a proxy stands in front, every caller shares one address and one allowance",
            );
        }
    }
}

fn listen(settings: &mut Settings) -> Option<SocketAddr> {
    let default_port = settings
        .default_text("server.listen")
        .parse::<SocketAddr>()
        .map_or(0, |default| default.port());
    settings.parsed("server.listen", |text| {
        let bare = |text| bare_address(text).map(|address| SocketAddr::new(address, default_port));
        text.parse().ok().or_else(|| bare(text)).ok_or(
            "must be an address and a port, like 127.0.0.1:8080, [::1]:8080 or, for all addresses, 0.0.0.0:8080",
        )
    })
}

fn base_path(text: &str) -> Result<String, &'static str> {
    let inner = text.strip_prefix('/').unwrap_or(text);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Ok(String::new());
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~".contains(&byte);
    let mut segments = inner.split('/');
    let is_path = segments.all(|segment| !segment.is_empty() && segment.bytes().all(is_plain));
    is_path
        .then(|| format!("/{inner}"))
        .ok_or("must be a path of letters, digits, - and _, like /api/voice-agent, or empty")
}

fn hosts(settings: &mut Settings) -> Vec<String> {
    let hosts = settings.list("server.hosts", host);
    match settings.mode {
        Mode::Dev if hosts.is_empty() => LOCALHOST.map(Into::into).to_vec(),
        _ => hosts,
    }
}

fn host(text: &str) -> Result<String, &'static str> {
    let lower = text.to_ascii_lowercase();
    let (name, port) = match lower.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
        _ => (lower.as_str(), None),
    };
    let is_port = |port: &str| port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_name = match name.strip_prefix('[') {
        Some(_) => matches!(bare_address(name), Some(IpAddr::V6(_))),
        None => name.split('.').all(is_label),
    };
    (is_name && port.is_none_or(is_port))
        .then_some(lower)
        .ok_or("must be a host, like app.example.com or app.example.com:8443: no scheme, no path, no wildcard")
}

fn is_label(label: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !label.is_empty() && label.bytes().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_path_is_brought_into_one_form() {
        for (text, path) in [
            ("", ""),
            ("/", ""),
            ("/api", "/api"),
            ("api/", "/api"),
            ("/api/voice-agent/", "/api/voice-agent"),
        ] {
            assert_eq!(base_path(text), Ok(path.into()), "{text:?}");
        }
        for wrong in [
            "/a//", "/a//b", "/a/../b", "/a b", "/a%2f", "/a?b", "/{a}", "/é", "/*",
        ] {
            assert!(base_path(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_host_is_a_name_and_perhaps_a_port() {
        for (text, known) in [
            ("App.Example.com", "app.example.com"),
            ("localhost:8080", "localhost:8080"),
            ("[::1]:8080", "[::1]:8080"),
            ("[::1]", "[::1]"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(host(text), Ok(known.into()), "{text:?}");
        }
        for wrong in [
            "https://a.example",
            "a.example/",
            "*.example.com",
            "a b",
            "a:",
            "a:0",
            "a:b",
            "::1",
            "[::1",
            "u@a.example",
            "a..b",
            "[1.2.3.4]",
        ] {
            assert!(host(wrong).is_err(), "{wrong:?}");
        }
    }
}
