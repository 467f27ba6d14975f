//! Owns `simulate`: the simulated OpenAI on its own.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::Args;
use secrecy::SecretString;

use super::dev::SIMULATED_KEY;
use super::serve::{block_on, signals};
use super::{SettingsFlags, say};
use crate::app::Urgency;
use crate::clock::SystemClock;
use crate::simulator::{Planned, Settings, Simulator};

/// Where it listens unless `--listen` says otherwise.
const USUAL_ADDRESS: &str = "127.0.0.1:8081";

#[derive(Debug, Args)]
pub(super) struct SimulateFlags {
    /// The API key that it wants to see
    #[arg(long, default_value = SIMULATED_KEY)]
    key: String,
    /// Let it fail: 429:7, 503, slow:2s, hang, garbage … and how often, like 3x503
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Planned>,
}

/// Runs it until it is interrupted.
pub(super) fn simulate(flags: &SettingsFlags, asked: SimulateFlags) -> anyhow::Result<ExitCode> {
    ensure!(
        flags.config.is_none() && flags.set.is_empty(),
        "the simulated OpenAI has no settings: only --listen, --key and --fault go with simulate"
    );
    let listen = flags.listen.as_deref().unwrap_or(USUAL_ADDRESS);
    let listen: SocketAddr = listen.parse().with_context(|| {
        format!("--listen {listen}: write address and port, like {USUAL_ADDRESS}")
    })?;
    block_on(async {
        let mut urgency = signals()?;
        let key = asked.key.clone();
        let settings = Settings {
            listen,
            api_key: SecretString::from(asked.key),
            clock: Arc::new(SystemClock::new()),
            faults: asked.fault,
        };
        let simulator = Simulator::start(settings)
            .await
            .with_context(|| format!("cannot simulate on {listen}"))?;
        say(&format!(
            "\n  A simulated OpenAI answers. For a broker on this machine:\n    OPENAI_BASE_URL={} OPENAI_API_KEY={key}\n",
            simulator.base_url()
        ))?;
        // The other end lives as long as the process.
        let _ = urgency.wait_for(|now| *now > Urgency::None).await;
        simulator.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}
