//! Owns `check`: whether the settings can be used, and with `--online` whether the world around can.

use std::net::ToSocketAddrs;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::roster::{self, Place};
use super::serve::block_on;
use super::{BAD_SETTINGS, SettingsFlags, load, say};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigErrors, Mode};
use crate::telemetry;
use crate::upstream::openai::OpenAi;
use crate::upstream::{Minter, Probe, UpstreamError};

/// Clocks further apart than this make expiry times misleading.
const MAX_SKEW: Duration = Duration::from_secs(5);

#[derive(Debug, Args)]
pub(super) struct CheckFlags {
    /// Also ask the upstream: name, TLS, key, clock. Costs nothing
    #[arg(long)]
    online: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// One thing looked at.
#[derive(Serialize)]
struct Finding {
    what: &'static str,
    state: State,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Fine,
    Warning,
    Broken,
}

#[derive(Serialize)]
struct Report {
    ok: bool,
    findings: Vec<Finding>,
    /// Who gets which persona.
    personas: Vec<Place>,
}

/// Looks, and tells.
pub(super) fn check(
    flags: &SettingsFlags,
    environment: Vec<(String, String)>,
    asked: &CheckFlags,
) -> anyhow::Result<ExitCode> {
    let mut places = Vec::new();
    let (findings, code) = match load(Mode::Serve, flags, environment) {
        Ok(loaded) => {
            let mut findings: Vec<_> = loaded
                .warnings
                .iter()
                .map(|text| finding("settings", State::Warning, text))
                .collect();
            findings.push(finding(
                "settings",
                State::Fine,
                "every setting can be used",
            ));
            findings.push(finding("personas", State::Fine, &personas(&loaded.config)));
            places = roster::roster(&loaded.config);
            let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
            if let Err(error) = OpenAi::new(&loaded.config.upstream, clock) {
                findings.push(finding(
                    "upstream",
                    State::Broken,
                    &telemetry::chain(&error),
                ));
            }
            if asked.online {
                findings.extend(block_on(async { Ok(online(&loaded.config).await) })?);
            }
            let broken = findings
                .iter()
                .any(|finding| finding.state == State::Broken);
            (
                findings,
                if broken {
                    ExitCode::FAILURE
                } else {
                    ExitCode::SUCCESS
                },
            )
        }
        Err(failure) => match failure.downcast::<ConfigErrors>() {
            Ok(errors) => (complaints(&errors), ExitCode::from(BAD_SETTINGS)),
            Err(failure) => return Err(failure),
        },
    };
    tell(findings, places, asked.json)?;
    Ok(code)
}

fn finding(what: &'static str, state: State, text: &str) -> Finding {
    Finding {
        what,
        state,
        text: text.to_owned(),
    }
}

fn complaints(errors: &ConfigErrors) -> Vec<Finding> {
    errors
        .complaints()
        .iter()
        .map(|complaint| finding("settings", State::Broken, &complaint.to_string()))
        .collect()
}

fn personas(config: &Config) -> String {
    let names: Vec<_> = config
        .personas
        .iter()
        .map(|persona| persona.name.as_str())
        .collect();
    format!(
        "{}; the default is {}",
        names.join(", "),
        config.personas.default_persona().name
    )
}

fn tell(findings: Vec<Finding>, personas: Vec<Place>, json: bool) -> anyhow::Result<()> {
    let ok = findings
        .iter()
        .all(|finding| finding.state != State::Broken);
    if json {
        let report = Report {
            ok,
            findings,
            personas,
        };
        say(&serde_json::to_string_pretty(&report)?)?;
        return Ok(());
    }
    for finding in findings {
        let mark = match finding.state {
            State::Fine => "ok     ",
            State::Warning => "warning",
            State::Broken => "broken ",
        };
        say(&format!("{mark}  {:9} {}", finding.what, finding.text))?;
    }
    for line in roster::lines(&personas) {
        say(&format!("         {line}"))?;
    }
    Ok(())
}

/// Asks the upstream, step by step, so that the first thing that is broken is named.
async fn online(config: &Config) -> Vec<Finding> {
    let url = &config.upstream.base_url;
    let (host, port) = (
        url.host_str().unwrap_or_default(),
        url.port_or_known_default().unwrap_or_default(),
    );
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = (bare, port)
        .to_socket_addrs()
        .map(|mut addresses| addresses.next().is_some());
    if !found.as_ref().is_ok_and(|found| *found) {
        let why = found
            .err()
            .map_or_else(String::new, |error| format!(": {error}"));
        return vec![finding(
            "dns",
            State::Broken,
            &format!("{host} has no address{why}"),
        )];
    }
    let mut findings = vec![finding(
        "dns",
        State::Fine,
        &format!("{host} has an address"),
    )];
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    match OpenAi::new(&config.upstream, Arc::clone(&clock)) {
        Err(error) => findings.push(finding("upstream", State::Broken, &error.to_string())),
        Ok(openai) => match openai.probe().await {
            Ok(probe) => {
                findings.push(key(probe));
                findings.push(skew(probe, clock.as_ref()));
            }
            Err(error) => findings.push(finding("upstream", State::Broken, &explain(&error))),
        },
    }
    findings
}

fn key(probe: Probe) -> Finding {
    let millis = probe.latency.as_millis();
    if probe.lists_models {
        return finding(
            "upstream",
            State::Fine,
            &format!("answered in {millis} ms and takes the key"),
        );
    }
    let text = format!(
        "answered in {millis} ms, but with 403: the key may not list models, which is fine if it may mint; \
         or its region, network or project is not allowed, which is not"
    );
    finding("upstream", State::Warning, &text)
}

fn skew(probe: Probe, clock: &dyn Clock) -> Finding {
    let Some(theirs) = probe.upstream_time else {
        return finding(
            "clock",
            State::Warning,
            "the upstream does not say what time it is",
        );
    };
    let ours = clock.now();
    let apart = ours.since(theirs).max(theirs.since(ours));
    let text = format!("within {} s of the upstream's", apart.as_secs() + 1);
    finding(
        "clock",
        if apart > MAX_SKEW {
            State::Warning
        } else {
            State::Fine
        },
        &text,
    )
}

fn explain(error: &UpstreamError) -> String {
    let text = telemetry::chain(error);
    match error {
        UpstreamError::KeyRejected { .. } => {
            format!("{text}. Check OPENAI_API_KEY, its project and its permissions")
        }
        UpstreamError::Unreachable(_) => {
            format!("{text}. Check OPENAI_BASE_URL, the network, and upstream.ca_file")
        }
        _ => text,
    }
}
