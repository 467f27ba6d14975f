//! `simulate`: runs the simulated OpenAI on its own.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Args;

use super::serve::{block_on, signals};
use super::{Given, say};
use crate::app::Urgency;
use crate::clock::SystemClock;
use crate::simulator::{Planned, Settings, Simulator};

/// The address of the simulated OpenAI unless `--listen` says otherwise.
const USUAL_ADDRESS: &str = "127.0.0.1:8081";
/// The simulated OpenAI's own key: worth nothing anywhere else.
pub(super) const SIMULATED_KEY: &str = "sk-simulated";

#[derive(Debug, Args)]
pub(super) struct SimulateFlags {
    /// The API key that it wants to see
    #[arg(long, default_value = SIMULATED_KEY)]
    key: String,
    /// Let it fail: 429:7, 503, slow:2s, hang, garbage … and how often, like 3x503. Calls fail by calls+503, join+unknown, hangup+500
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Planned>,
}

/// Runs the simulated OpenAI until it is interrupted.
pub(super) fn simulate(given: &Given, asked: SimulateFlags) -> anyhow::Result<ExitCode> {
    let flags = &given.flags;
    ensure!(
        flags.config.is_none() && flags.set.is_empty(),
        "the simulated OpenAI has no settings: only --listen, --key and --fault go with simulate"
    );
    let listen = flags.listen.as_deref().unwrap_or(USUAL_ADDRESS);
    let listen = listen.parse().with_context(|| {
        format!("--listen {listen}: write address and port, like {USUAL_ADDRESS}")
    })?;
    block_on(async {
        let mut urgency = signals(None)?;
        let SimulateFlags { key, fault } = asked;
        let simulator = start(listen, &key, fault).await?;
        let url = simulator.base_url();
        say(&format!(
            "\n  A simulated OpenAI answers. For a broker on this machine:\n    OPENAI_BASE_URL={url} OPENAI_API_KEY={key}\n"
        ))?;
        // The other end lives as long as the process.
        let _ = urgency.wait_for(|now| *now > Urgency::None).await;
        simulator.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Starts a simulated OpenAI.
pub(super) async fn start(
    listen: SocketAddr,
    key: &str,
    faults: Vec<Planned>,
) -> anyhow::Result<Simulator> {
    let settings = Settings {
        listen,
        api_key: key.into(),
        clock: Arc::new(SystemClock::new()),
        faults,
    };
    let started = Simulator::start(settings).await;
    let started =
        started.with_context(|| format!("the simulated OpenAI cannot be started on {listen}"))?;
    started.calls().switch(|now| now.real_peers = true);
    Ok(started)
}
