//! Owns `check`: whether the settings can be used, and with `--online` whether the world around can.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::roster::{self, Place};
use super::serve::block_on;
use super::{BAD_SETTINGS, SettingsFlags, UNREAD_DOT_ENV, has_dot_env, load, online, say};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigErrors, Mode};
use crate::domain::SafetyKey;
use crate::telemetry;
use crate::upstream::openai::OpenAi;

#[derive(Debug, Args)]
pub(super) struct CheckFlags {
    /// Also ask the upstream (name, TLS, key, clock), the issuers (keys) and the ledger. Costs nothing
    #[arg(long)]
    online: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// One thing looked at.
#[derive(Serialize)]
pub(super) struct Finding {
    what: &'static str,
    state: State,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
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
    let (mut findings, code) = match load(Mode::Serve, flags, environment) {
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
            if let Err(error) = OpenAi::new(&loaded.config.upstream, &SafetyKey::random(), clock) {
                findings.push(finding(
                    "upstream",
                    State::Broken,
                    &telemetry::chain(&error),
                ));
            }
            if asked.online {
                findings.extend(block_on(async { Ok(online::look(&loaded.config).await) })?);
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
    if has_dot_env() {
        findings.push(finding("settings", State::Warning, UNREAD_DOT_ENV));
    }
    tell(findings, places, asked.json)?;
    Ok(code)
}

pub(super) fn finding(what: &'static str, state: State, text: &str) -> Finding {
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
