//! `check`: finds out whether the settings can be used, and with `--online` whether the world around can.

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use self::Verdict::{Broken, Fine, Warning};
use super::roster::{self, RosterRow};
use super::serve::block_on;
use super::{BAD_SETTINGS, Given, UNREAD_DOT_ENV, cost, has_dot_env, online, say};
use crate::clock::{Clock, SystemClock};
use crate::config::{ConfigErrors, Loaded, Mode};

#[derive(Debug, Args)]
pub(super) struct CheckFlags {
    /// Also ask the upstream (name, TLS, key, clock, WebSockets), the issuers (keys), the ledger, Redis, the webhook and the collector of traces. Costs nothing
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
    /// Returns the same judgement with another beginning of its reason.
    pub(super) fn with(mut self, begin: &str) -> Self {
        let (Fine(text) | Warning(text) | Broken(text)) = &mut self;
        text.insert_str(0, begin);
        self
    }

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
    /// What to change, the most dangerous first.
    advice: Vec<String>,
    /// Which callers get which persona.
    personas: Vec<RosterRow<'a>>,
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
    let advice = advice(&findings);
    let report = Report {
        ok,
        findings,
        advice,
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

/// Subjects of findings, the most dangerous first: strangers who mint, keys and tokens that others can read, and money without
/// a limit. The rest comes after these.
const DANGERS: [&str; 9] = [
    "auth.",
    "cors.",
    "server.trusted_proxies",
    "upstream.",
    "ops.",
    "alerts.webhook",
    "money",
    "call.",
    "ledger",
];

/// Returns what to change: what is broken, then what is doubtful.
fn advice(findings: &[Finding]) -> Vec<String> {
    let rank = |finding: &&Finding| {
        let doubt = finding.doubt().unwrap_or_default();
        let is_it = |danger: &&str| doubt.starts_with(*danger) || finding.what == *danger;
        let danger = DANGERS.iter().position(is_it);
        let is_warning = matches!(finding.verdict, Warning(_));
        (is_warning, danger.unwrap_or(DANGERS.len()))
    };
    let mut doubtful: Vec<_> = findings
        .iter()
        .filter(|one| one.doubt().is_some())
        .collect();
    doubtful.sort_by_key(rank);
    let line = |finding: &Finding| Some(format!("{}: {}", finding.what, finding.doubt()?));
    doubtful.into_iter().filter_map(line).collect()
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
    if !report.advice.is_empty() {
        lines.push("\nwhat to change, the most dangerous first:".to_owned());
        let advice = report.advice.iter().enumerate();
        lines.extend(advice.map(|(place, text)| format!("{:3}. {text}", place + 1)));
    }
    lines.join("\n")
}
