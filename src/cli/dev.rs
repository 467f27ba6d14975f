//! `dev`: runs a broker and a simulated OpenAI on loopback, ready for a page to call.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::ensure;
use clap::Args;

use super::dev_issuer::{STUDENT, vouch};
use super::serve::{block_on, open, signals};
use super::simulate::{SIMULATED_KEY, start};
use super::{Given, local_url, say};
use crate::config::{AuthMode, Config, DemoPerson, LedgerPlace, Loaded, Mode};
use crate::domain::Quota;
use crate::simulator::{Planned, Simulator};
use crate::telemetry;

/// Sessions that the student may open in a month, unless the settings say otherwise.
const DEV_QUOTA: u32 = 8;

#[derive(Debug, Args)]
pub(super) struct DevFlags {
    /// Use the real upstream and your own API key instead of the simulated one
    #[arg(long)]
    live: bool,
    /// Let the simulated OpenAI fail: 429:7, 503, slow:2s, hang, garbage … and how often, like 3x503
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Planned>,
}

/// Runs the broker, and the simulated OpenAI unless the real one is asked for.
pub(super) fn dev(given: Given, asked: DevFlags) -> anyhow::Result<ExitCode> {
    let Loaded {
        mut config,
        warnings,
        ..
    } = given.with_dot_env()?.load(Mode::Dev)?;
    ensure!(
        !asked.live || config.upstream.api_key.is_some(),
        "--live needs the real key: set OPENAI_API_KEY=sk-… (or omit --live for the simulated OpenAI)"
    );
    ensure!(
        !asked.live || asked.fault.is_empty(),
        "--fault is for the simulated OpenAI and does not go with --live"
    );
    let _log = telemetry::start(&config.log)?;
    block_on(async {
        let urgency = signals()?;
        let mut simulator = None;
        if !asked.live {
            let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let started = simulator.insert(start(free, SIMULATED_KEY, asked.fault).await?);
            config.upstream.base_url = started.base_url().parse()?;
            config.upstream.api_key = Some(SIMULATED_KEY.into());
        }
        adapt(&mut config, simulator.is_some())?;
        let (app, listeners) = open(&config, warnings).await?;
        let address = listeners.public.local_addr()?;
        say(&greeting(&config, address, simulator.as_ref()))?;
        app.run(listeners, urgency).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Sets what makes trying out easy: people to act for, the try-it page, and records that leave nothing behind.
fn adapt(config: &mut Config, is_simulated: bool) -> anyhow::Result<()> {
    vouch(config)?;
    if config.auth.mode == AuthMode::Off {
        config.auth.mode = AuthMode::Optional;
    }
    // Small, so that the page can show a quota that is used up.
    let quota = Quota {
        sessions_per_month: Some(DEV_QUOTA),
    };
    config.quota.roles.entry(STUDENT.into()).or_insert(quota);
    config.demo.enabled = true;
    config.demo.simulated = is_simulated;
    if config.ledger.is_usual {
        config.ledger.place = LedgerPlace::Memory;
    }
    Ok(())
}

fn greeting(config: &Config, address: SocketAddr, simulator: Option<&Simulator>) -> String {
    let url = local_url(address, &config.server.base_path);
    let upstream = match simulator {
        Some(simulator) => format!(
            "a simulated OpenAI at {} (no key needed; secrets begin with ek_sim_)",
            simulator.base_url()
        ),
        None => format!(
            "the real upstream at {} (secrets cost money once used)",
            config.upstream.base_url
        ),
    };
    let mut parts = vec![
        format!("\n  The broker listens on {url}\n  and mints from {upstream}."),
        format!("  Try it in a browser:\n    {url}/demo"),
    ];
    if config.auth.mode != AuthMode::Required {
        parts.push(format!(
            "  Get a client secret:\n    curl -X POST {url}/token"
        ));
    }
    let call = |DemoPerson { name, role, bearer }: &DemoPerson| {
        format!(
            "\n    # {name} ({role})\n    curl -X POST {url}/token -H 'Authorization: Bearer {bearer}'"
        )
    };
    let calls: String = config.demo.people.iter().map(call).collect();
    parts.push(format!(
        "  Or as somebody whom the issuer of this run vouches for, until it ends:{calls}"
    ));
    if let Some(simulator) = simulator {
        let control = format!("http://{}/_simulator/faults", simulator.address());
        parts.push(format!(
            "  Let the upstream fail three times:\n    curl -X PUT {control} -H 'Authorization: Bearer {SIMULATED_KEY}' \
             -H 'Content-Type: application/json' -d '{{\"fault\":\"503\",\"times\":3}}'"
        ));
    }
    parts.push(
        "  For development on this machine only: any page on localhost may call. Ctrl-C ends it.\n"
            .to_owned(),
    );
    parts.join("\n\n")
}
