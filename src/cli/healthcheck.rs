//! `healthcheck`: asks a running broker whether it is alive.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;

use super::ask::{ask, reachable};
use super::{Given, say};
use crate::config::Mode;

const TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct HealthcheckFlags {
    /// Ask whether to send requests (/readyz) instead of whether the process is alive (/livez)
    #[arg(long)]
    ready: bool,
}

/// Asks, and fails unless the answer is 200.
pub(super) fn healthcheck(given: &Given, asked: &HealthcheckFlags) -> anyhow::Result<ExitCode> {
    // Dev mode needs no API key: a health check need not know it.
    let server = given.load(Mode::Dev)?.config.server;
    let address = reachable(server.listen);
    let path = server.base_path + if asked.ready { "/readyz" } else { "/livez" };
    let host = server
        .hosts
        .first()
        .cloned()
        .unwrap_or_else(|| address.to_string());
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = ask(address, TIMEOUT, &request);
    let (status, _) = answer.with_context(|| format!("no answer from {address}{path}"))?;
    ensure!(status == "200", "{address}{path} answered {status}");
    say("ok")
}
