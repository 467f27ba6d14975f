//! `check`: finds out whether the settings can be used, and with `--online` whether the world around can.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::roster::{self, Place};
use super::serve::block_on;
use super::{BAD_SETTINGS, Given, UNREAD_DOT_ENV, has_dot_env, online, say};
use crate::clock::{Clock, SystemClock};
use crate::config::{ConfigErrors, Loaded, Mode};
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

/// Everything that was looked at.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    /// True while nothing is broken.
    ok: bool,
    findings: Vec<Finding>,
    /// Who gets which persona.
    personas: Vec<Place<'a>>,
}

#[derive(Serialize)]
struct Finding {
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

/// Looks at everything, and prints what was found.
pub(super) fn check(given: &Given, asked: &CheckFlags) -> anyhow::Result<ExitCode> {
    let mut report = Report {
        ok: true,
        findings: Vec::new(),
        personas: Vec::new(),
    };
    let loaded = match given.load(Mode::Serve) {
        Ok(loaded) => Some(loaded),
        Err(failure) => {
            for complaint in failure.downcast::<ConfigErrors>()?.complaints() {
                report.add("settings", State::Broken, complaint.to_string());
            }
            None
        }
    };
    if let Some(loaded) = &loaded {
        look(loaded, asked.online, &mut report)?;
    }
    if has_dot_env() {
        report.add("settings", State::Warning, UNREAD_DOT_ENV);
    }
    say(&if asked.json {
        serde_json::to_string_pretty(&report)?
    } else {
        report.lines()
    })?;
    Ok(match loaded {
        None => ExitCode::from(BAD_SETTINGS),
        Some(_) if report.ok => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    })
}

fn look<'a>(loaded: &'a Loaded, is_online: bool, report: &mut Report<'a>) -> anyhow::Result<()> {
    let config = &loaded.config;
    for warning in &loaded.warnings {
        report.add("settings", State::Warning, warning);
    }
    report.add("settings", State::Fine, "every setting can be used");
    let names: Vec<_> = config
        .personas
        .iter()
        .map(|persona| persona.name.as_str())
        .collect();
    let (names, default) = (names.join(", "), &config.personas.default_persona().name);
    report.add(
        "personas",
        State::Fine,
        format!("{names}; the default is {default}"),
    );
    report.personas = roster::roster(config);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let openai = OpenAi::new(&config.upstream, &SafetyKey::random(), clock.clone());
    if let Err(error) = &openai {
        report.add("upstream", State::Broken, telemetry::chain(error));
    }
    if is_online {
        block_on(async {
            online::look(config, openai.ok().as_ref(), clock, report).await;
            Ok(())
        })?;
    }
    Ok(())
}

impl Report<'_> {
    pub(super) fn add(&mut self, what: &'static str, state: State, text: impl Into<String>) {
        let text = text.into();
        self.ok &= state != State::Broken;
        self.findings.push(Finding { what, state, text });
    }

    fn lines(&self) -> String {
        let line = |Finding { what, state, text }: &Finding| {
            let mark = match state {
                State::Fine => "ok",
                State::Warning => "warning",
                State::Broken => "broken",
            };
            format!("{mark:7}  {what:9} {text}")
        };
        let mut lines: Vec<_> = self.findings.iter().map(line).collect();
        if !self.personas.is_empty() {
            let places = roster::lines(&self.personas);
            lines.extend(places.lines().map(|line| format!("         {line}")));
        }
        lines.join("\n")
    }
}
