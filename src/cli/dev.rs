//! `dev`: runs a broker and a simulated OpenAI on loopback, ready for a page to call.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::ensure;
use clap::Args;
use tokio::net::TcpListener;

use super::dev_calls::try_calls;
use super::dev_desk::{about_desk, open_desk};
use super::dev_issuer::{STUDENT, vouch};
use super::dev_past::past;
use super::ledger::{self, Use};
use super::serve::{block_on, open, signals, traces};
use super::simulate::{SIMULATED_KEY, start};
use super::{Given, local_url, say};
use crate::clock::SystemClock;
use crate::config::{AuthMode, Config, DemoPerson, Farewell, LedgerPlace, Loaded, Mode, Source};
use crate::domain::Quota;
use crate::records::Records;
use crate::simulator::Planned;
use crate::telemetry;

/// Sessions that the student may open in a month, unless the settings say otherwise.
const DEV_QUOTA: u32 = 8;

/// The two kinds of upstream, and what to know about them.
const SIMULATED: (&str, &str) = (
    "a simulated OpenAI",
    "no key needed; secrets begin with ek_sim_",
);
const REAL: (&str, &str) = ("the real upstream", "secrets cost money once used");

#[derive(Debug, Args)]
pub(super) struct DevFlags {
    /// Use the real upstream and your own API key instead of the simulated one
    #[arg(long)]
    live: bool,
    /// Let the simulated OpenAI fail: 429:7, 503, slow:2s, hang, garbage … and how often, like 3x503
    #[arg(long, value_name = "FAULT", conflicts_with = "live")]
    fault: Vec<Planned>,
}

/// Runs the broker, and the simulated OpenAI unless the real one is asked for.
pub(super) fn dev(given: Given, asked: DevFlags) -> anyhow::Result<ExitCode> {
    let mut loaded = given.with_dot_env()?.load(Mode::Dev)?;
    ensure!(
        !asked.live || loaded.config.upstream.has_key(),
        "--live needs the real key: set OPENAI_API_KEY=sk-… (or omit --live for the simulated OpenAI)"
    );
    let traces = traces(&loaded.config)?;
    let _log = telemetry::start(&loaded.config.log, traces.as_ref())?;
    block_on(async {
        let urgency = signals(None)?;
        let is_shown = adapt(&mut loaded)?;
        let config = &mut loaded.config;
        let mut simulator = None;
        if !asked.live {
            let free = (Ipv4Addr::LOCALHOST, 0).into();
            let started = simulator.insert(start(free, SIMULATED_KEY, asked.fault).await?);
            config.upstream.base_url = started.base_url().parse()?;
            config.upstream.public_url = None;
            config.upstream.api_key = Some(SIMULATED_KEY.into());
            config.upstream.api_keys.clear();
            // Only pages on this machine may play with the simulated calls.
            if config.server.listen.ip().is_loopback() {
                try_calls(config, started.calls())?;
            }
        }
        config.demo.simulated = simulator.is_some();
        // Made-up money would count against a budget.
        let has_budget = config.money.has_ceiling();
        config.demo.has_past = !asked.live && config.ledger.is_usual && !has_budget;
        let clock = Arc::new(SystemClock::new());
        let records: Arc<dyn Records> = if config.demo.has_past {
            Arc::new(past(config, Arc::<SystemClock>::clone(&clock)))
        } else {
            ledger::open(
                &config.ledger,
                Use::Serving,
                Arc::<SystemClock>::clone(&clock),
            )
            .await?
        };
        let (app, listeners) = open(&loaded, records, clock).await?;
        let (config, public) = (&loaded.config, listeners.public.local_addr()?);
        let ops = listeners.ops.as_ref().map(TcpListener::local_addr);
        let desk = about_desk(config, ops.transpose()?, is_shown);
        say(&greeting(config, public, &desk)?)?;
        telemetry::beside(traces.as_ref(), app.run(listeners, urgency)).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Sets what makes trying out easy: people to act for, the try-it page, the dashboard, and records that leave
/// nothing behind. Returns whether the dashboard has a token of this run.
fn adapt(loaded: &mut Loaded) -> anyhow::Result<bool> {
    let is_usual = |wanted| {
        let mut listing = loaded.listing();
        listing.any(|(name, _, source)| name == wanted && *source == Source::Default)
    };
    let (has_usual_mode, has_usual_farewell) = (is_usual("auth.mode"), is_usual("call.farewell"));
    let has_usual_desk = is_usual("ops.listen");
    let config = &mut loaded.config;
    if has_usual_mode {
        config.auth.mode = AuthMode::Optional;
    }
    if has_usual_farewell {
        config.call.farewell = Farewell::Goodbye;
    }
    if config.auth.mode != AuthMode::Off {
        vouch(config)?;
    }
    // Small, so that the page can show a quota that is used up.
    let quota = Quota {
        sessions_per_month: Some(DEV_QUOTA),
        ..Quota::default()
    };
    config.quota.roles.entry(STUDENT.into()).or_insert(quota);
    config.demo.enabled = true;
    if config.ledger.is_usual {
        config.ledger.place = LedgerPlace::Memory;
    }
    Ok(open_desk(config, has_usual_desk))
}

fn greeting(config: &Config, address: SocketAddr, desk: &str) -> anyhow::Result<String> {
    let url = local_url(address, &config.server.base_path);
    let upstream = &config.upstream.base_url;
    let (kind, note) = if config.demo.simulated {
        SIMULATED
    } else {
        REAL
    };
    let mut text = format!(
        "\n  The broker listens on {url}\n  and mints from {kind} at {upstream} ({note}).\n\n  Try it in a browser:\n    {url}/demo\n{desk}"
    );
    let call = format!("curl -X POST {url}/token");
    if config.auth.mode != AuthMode::Required {
        writeln!(text, "\n  Get a client secret:\n    {call}")?;
    }
    if !config.demo.people.is_empty() {
        text += "\n  Or as a signed-in user (these credentials end with this run):\n";
    }
    for DemoPerson { name, role, bearer } in &config.demo.people {
        let header = format!("-H 'Authorization: Bearer {bearer}'");
        writeln!(text, "    # {name} ({role})\n    {call} {header}")?;
    }
    if config.demo.simulated {
        let control = upstream.join("/_simulator/faults")?;
        writeln!(
            text,
            "\n  Let the upstream fail three times:\n    curl -X PUT {control} -H 'Authorization: Bearer {SIMULATED_KEY}' \
             -H 'Content-Type: application/json' -d '{{\"fault\":\"503\",\"times\":3}}'"
        )?;
    }
    text += "\n  For development on this machine only: any page on localhost may call. Ctrl-C ends it.\n";
    Ok(text)
}
