//! `check`: finds out whether the settings can be used, and with `--online` whether the world around can.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use self::Verdict::{Broken, Fine, Warning};
use super::roster::{self, Place};
use super::serve::block_on;
use super::{BAD_SETTINGS, Given, UNREAD_DOT_ENV, cost, has_dot_env, online, say};
use crate::clock::{Clock, SystemClock};
use crate::config::{ConfigErrors, Loaded, Mode};

#[derive(Debug, Args)]
pub(super) struct CheckFlags {
    /// Also ask the upstream (name, TLS, key, clock), the issuers (keys), the ledger and Redis. Costs nothing
    #[arg(long)]
    online: bool,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

impl CheckFlags {
    /// Asks everybody, and answers in words.
    pub(super) const ONLINE: Self = Self {
        online: true,
        json: false,
    };
}

/// One thing that was looked at.
#[derive(Serialize)]
pub(super) struct Finding {
    what: &'static str,
    #[serde(flatten)]
    verdict: Verdict,
}

/// A judgement, and its reason in words.
#[derive(Serialize)]
#[serde(tag = "state", content = "text", rename_all = "snake_case")]
pub(super) enum Verdict {
    Fine(String),
    Warning(String),
    Broken(String),
}

impl Verdict {
    pub(super) const fn of(self, what: &'static str) -> Finding {
        let verdict = self;
        Finding { what, verdict }
    }
}

impl Finding {
    /// Returns what is doubtful or wrong.
    pub(super) fn doubt(&self) -> Option<&str> {
        match &self.verdict {
            Fine(_) => None,
            Warning(text) | Broken(text) => Some(text),
        }
    }
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    findings: Vec<Finding>,
    /// Which callers get which persona.
    personas: Vec<Place<'a>>,
}

/// Looks at everything, and prints what was found.
pub(super) fn check(given: &Given, asked: &CheckFlags) -> anyhow::Result<ExitCode> {
    let loaded = match given.load(Mode::Serve) {
        Ok(loaded) => Ok(loaded),
        Err(failure) => Err(failure.downcast::<ConfigErrors>()?),
    };
    let (mut findings, mut personas) = (Vec::new(), Vec::new());
    match &loaded {
        Ok(loaded) => {
            findings.extend(settings(loaded));
            findings.extend(cost::findings(&loaded.config, SystemClock::new().now()));
            findings.extend(block_on(online::look(&loaded.config, asked.online))?);
            personas = roster::roster(&loaded.config);
        }
        Err(errors) => {
            let mistakes = errors.complaints().iter();
            findings.extend(mistakes.map(|mistake| Broken(mistake.to_string()).of("settings")));
        }
    }
    if has_dot_env() {
        findings.push(Warning(UNREAD_DOT_ENV.into()).of("settings"));
    }
    let is_broken = |finding: &Finding| matches!(finding.verdict, Broken(_));
    let ok = !findings.iter().any(is_broken);
    let report = Report {
        ok,
        findings,
        personas,
    };
    say(&if asked.json {
        serde_json::to_string_pretty(&report)?
    } else {
        lines(&report)
    })?;
    Ok(match loaded {
        Err(_) => ExitCode::from(BAD_SETTINGS),
        Ok(_) if ok => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
    })
}

fn settings(loaded: &Loaded) -> Vec<Finding> {
    let warnings = loaded.warnings.iter().cloned();
    let mut findings: Vec<_> = warnings.map(|text| Warning(text).of("settings")).collect();
    findings.push(Fine("every setting can be used".into()).of("settings"));
    let personas = &loaded.config.personas;
    let names: Vec<_> = personas
        .iter()
        .map(|persona| persona.name.as_str())
        .collect();
    let (names, default) = (names.join(", "), &personas.default_persona().name);
    findings.push(Fine(format!("{names}; the default is {default}")).of("personas"));
    findings
}

fn lines(report: &Report<'_>) -> String {
    let line = |finding: &Finding| {
        let (mark, text) = match &finding.verdict {
            Fine(text) => ("ok", text),
            Warning(text) => ("warning", text),
            Broken(text) => ("broken", text),
        };
        format!("{mark:7}  {:9} {text}", finding.what)
    };
    let mut lines: Vec<_> = report.findings.iter().map(line).collect();
    if !report.personas.is_empty() {
        let table = roster::table(&report.personas);
        lines.extend(table.lines().map(|line| format!("         {line}")));
    }
    lines.join("\n")
}
