//! Owns `simulate`: the simulated OpenAI on its own.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};

use super::dev::SIMULATED_KEY;
use super::say;
use super::serve::block_on;
use crate::clock::SystemClock;
use crate::simulator::{Planned, Settings, Simulator};

#[derive(Debug, Args)]
pub(super) struct SimulateFlags {
    /// Where to listen; loopback only
    #[arg(long = "on", value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    on: SocketAddr,
    /// The API key that it wants to see
    #[arg(long, default_value = SIMULATED_KEY)]
    key: String,
    /// Let it fail: 429:7, 503, slow:2s, hang, garbage … and how often, like 3x503
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Planned>,
}

/// Runs it until it is interrupted.
pub(super) fn simulate(asked: SimulateFlags) -> anyhow::Result<ExitCode> {
    block_on(async {
        let (mut terminate, mut interrupt) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        let key = asked.key.clone();
        let settings = Settings {
            listen: asked.on,
            api_key: SecretString::from(asked.key),
            clock: Arc::new(SystemClock::new()),
            faults: asked.fault,
        };
        let simulator = Simulator::start(settings)
            .await
            .with_context(|| format!("cannot simulate on {}", asked.on))?;
        say(&format!(
            "\n  A simulated OpenAI answers. For a broker on this machine:\n    OPENAI_BASE_URL={} OPENAI_API_KEY={key}\n",
            simulator.base_url()
        ))?;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        simulator.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}
