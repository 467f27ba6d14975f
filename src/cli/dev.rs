//! Owns `dev`: a broker and a simulated OpenAI on loopback, ready for a page to call.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Args;
use secrecy::SecretString;

use super::dev_issuer::{DevIssuer, Person, STUDENT, TEACHER};
use super::serve::{block_on, signals};
use super::{SettingsFlags, load, local_url, say, with_dot_env};
use crate::app::{App, Listeners};
use crate::clock::{Clock, SystemClock};
use crate::config::{AuthMode, Config, DemoPerson, LedgerPlace, Loaded, Mode};
use crate::simulator::{Planned, Settings, Simulator};
use crate::telemetry;

/// The simulated OpenAI's own key: worth nothing anywhere else.
pub(super) const SIMULATED_KEY: &str = "sk-simulated";

#[derive(Debug, Args)]
pub(super) struct DevFlags {
    /// Use the real upstream and your own API key instead of the simulated one
    #[arg(long)]
    live: bool,
    /// Let the simulated OpenAI fail: 429:7, 503, slow:2s, hang, garbage … and how often, like 3x503
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Planned>,
}

/// Runs both.
pub(super) fn dev(
    flags: &SettingsFlags,
    environment: Vec<(String, String)>,
    asked: &DevFlags,
) -> anyhow::Result<ExitCode> {
    let Loaded {
        mut config,
        warnings,
        ..
    } = load(Mode::Dev, flags, with_dot_env(environment)?)?;
    ensure!(
        !asked.live || config.upstream.api_key.is_some(),
        "--live needs the real key: set OPENAI_API_KEY=sk-… (or leave --live away for the simulated OpenAI)"
    );
    ensure!(
        !asked.live || asked.fault.is_empty(),
        "--fault is for the simulated OpenAI and does not go with --live"
    );
    let _log = telemetry::start(&config.log)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    block_on(async {
        let urgency = signals()?;
        let simulator = if asked.live {
            None
        } else {
            Some(simulate(&mut config, asked).await?)
        };
        vouch(&mut config)?;
        config.demo.enabled = true;
        config.demo.simulated = simulator.is_some();
        if config.ledger.is_usual {
            // Trying out leaves nothing behind.
            config.ledger.place = LedgerPlace::Memory;
        }
        let app = App::build(&config).await?;
        let listeners = Listeners::open(&config)?;
        let address = listeners.public.local_addr()?;
        say(&greeting(&config, address, simulator.as_ref()))?;
        app.run(listeners, urgency).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// An issuer of our own, beside those that the settings name, and people whom it vouches for.
fn vouch(config: &mut Config) -> anyhow::Result<()> {
    let issuer = DevIssuer::new()?;
    config.auth.issuers.push(issuer.settings());
    if config.auth.mode == AuthMode::Off {
        config.auth.mode = AuthMode::Optional;
    }
    let now = SystemClock::new().now();
    for person in [STUDENT, TEACHER] {
        let bearer = issuer.credential(person, now)?;
        let Person { name, role, .. } = person;
        config.demo.people.push(DemoPerson { name, role, bearer });
    }
    Ok(())
}

/// How to call as somebody.
fn people(config: &Config, url: &str) -> String {
    let line = |person: &DemoPerson| {
        let DemoPerson { name, role, bearer } = person;
        format!(
            "    # {name} ({role})\n    curl -X POST {url}/token -H 'Authorization: Bearer {bearer}'\n"
        )
    };
    let lines: String = config.demo.people.iter().map(line).collect();
    if lines.is_empty() {
        return lines;
    }
    format!("\n  Or as somebody whom the issuer of this run vouches for, until it ends:\n{lines}")
}

async fn simulate(config: &mut Config, asked: &DevFlags) -> anyhow::Result<Simulator> {
    let simulator = Simulator::start(Settings {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        api_key: SecretString::from(SIMULATED_KEY),
        clock: Arc::new(SystemClock::new()),
        faults: asked.fault.clone(),
    })
    .await
    .context("the simulated OpenAI cannot be started")?;
    config.upstream.base_url = simulator.base_url().parse()?;
    config.upstream.api_key = Some(SecretString::from(SIMULATED_KEY));
    Ok(simulator)
}

fn greeting(config: &Config, address: SocketAddr, simulator: Option<&Simulator>) -> String {
    let url = local_url(address, &config.server.base_path);
    let upstream = simulator.map_or_else(
        || {
            format!(
                "the real upstream at {} (secrets cost money once used)",
                config.upstream.base_url
            )
        },
        |simulator| {
            format!(
                "a simulated OpenAI at {} (no key needed; secrets begin with ek_sim_)",
                simulator.base_url()
            )
        },
    );
    let faults = simulator.map_or_else(String::new, |simulator| {
        let control = format!("http://{}/_simulator/faults", simulator.address());
        format!(
            "\n  Let the upstream fail three times:\n    curl -X PUT {control} -H 'Authorization: Bearer {SIMULATED_KEY}' -H 'Content-Type: application/json' -d '{{\"fault\":\"503\",\"times\":3}}'\n"
        )
    });
    let people = people(config, &url);
    let nobody = if config.auth.mode == AuthMode::Required {
        String::new()
    } else {
        format!("\n  Get a client secret:\n    curl -X POST {url}/token\n")
    };
    format!(
        "\n  The broker listens on {url}\n  and mints from {upstream}.\n\n  Try it in a browser:\n    {url}/demo\n{nobody}{people}{faults}\n  \
         For development on this machine only: any page on localhost may call. Ctrl-C ends it.\n"
    )
}
