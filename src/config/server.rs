//! `[server]`: listeners, proxies and timeouts.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer};

use super::environment::bare_address;
use super::fields::socket_address;
use super::settings::Settings;
use super::{Mode, Source, networks};
use crate::domain::written::{lasting, list, text, whole};

/// Listeners, proxies and timeouts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The address and port of the public listener.
    #[serde(deserialize_with = "socket_address")]
    pub listen: SocketAddr,
    /// Prefix of every public path: empty, or `/like/this` without a slash at the end.
    #[serde(deserialize_with = "base_path")]
    pub base_path: String,
    /// Host names that the service answers to, in lower case, with a port where one was given. Empty: any name.
    #[serde(deserialize_with = "hosts")]
    pub hosts: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is trusted.
    #[serde(deserialize_with = "networks::read")]
    pub trusted_proxies: Vec<IpNet>,
    /// True refuses paid requests without `Origin`.
    pub require_origin: bool,
    /// Upper bound on connections.
    #[serde(deserialize_with = "whole::<1, 1_000_000, _, _>")]
    pub max_connections: usize,
    /// Upper bound on connections from one address that is neither private nor a trusted proxy.
    #[serde(deserialize_with = "whole::<1, 1_000_000, _, _>")]
    pub max_connections_per_address: usize,
    /// Longest time that an idle connection is kept open after an answer.
    #[serde(deserialize_with = "lasting::<10, TWO_HOURS, _>")]
    pub keep_alive: Duration,
    /// Upper bound on the time for the head of a request, and for the first byte on a new connection.
    #[serde(deserialize_with = "lasting::<10, FIVE_MINUTES, _>")]
    pub header_timeout: Duration,
    /// Longest time for the body of a request.
    #[serde(deserialize_with = "lasting::<10, FIVE_MINUTES, _>")]
    pub body_timeout: Duration,
    /// Longest time that a write may wait for the caller to read.
    #[serde(deserialize_with = "lasting::<10, FIVE_MINUTES, _>")]
    pub write_timeout: Duration,
    /// Time between answering "not ready" and closing the listener.
    #[serde(deserialize_with = "lasting::<0, 30_000, _>")]
    pub drain_delay: Duration,
    /// Longest time for requests in flight to end.
    #[serde(deserialize_with = "lasting::<0, 30_000, _>")]
    pub drain_timeout: Duration,
}

/// Orchestrators kill after thirty seconds.
const LONGEST_DRAIN: Duration = Duration::from_secs(30);
/// In milliseconds.
const FIVE_MINUTES: u64 = 300_000;
/// In milliseconds. Balancers keep idle connections for up to an hour, and the broker has to keep them longer.
const TWO_HOURS: u64 = 7_200_000;
/// The names of a developer's own machine.
pub const LOCALHOST: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

impl Server {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let mut server: Self = settings.section("server")?;
        if settings.mode == Mode::Dev && server.hosts.is_empty() {
            server.hosts = LOCALHOST.map(Into::into).to_vec();
        }
        settings.require(
            &["server.drain_timeout", "server.drain_delay"],
            server.drain_delay + server.drain_timeout <= LONGEST_DRAIN,
            "must be at most 30s together with server.drain_delay: orchestrators kill after that",
        );
        settings.require_unless_dev(
            "server.trusted_proxies",
            !server.trusted_proxies.iter().any(networks::is_half_the_world),
            "must name the proxies you run, not half the internet: whoever is trusted can claim any client address",
        );
        let listen = server.listen;
        let is_by_port = settings.source("server.listen") == Source::Environment("PORT".into());
        let (is_serving, is_local) = (settings.mode == Mode::Serve, listen.ip().is_loopback());
        settings.warn_if(
            is_serving && is_by_port && is_local && listen.port() != 0,
            "server.listen",
            "has the port of PORT and a loopback address: platforms that set PORT look for it on all addresses; \
             set BROKER_SERVER__LISTEN=0.0.0.0",
        );
        settings.warn_if(
            is_serving && !is_local && server.trusted_proxies.is_empty(),
            "server.trusted_proxies",
            "is empty; if a proxy stands in front, every caller shares one address and one allowance",
        );
        Some(server)
    }
}

fn base_path<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    text(from, read_base_path)
}

pub(super) fn hosts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    list(from, host)
}

fn read_base_path(text: &str) -> Result<String, &'static str> {
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
