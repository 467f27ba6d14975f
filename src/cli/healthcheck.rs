//! Owns `healthcheck`: asks a running broker whether it is alive.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;

use super::{SettingsFlags, load, reachable, say};
use crate::config::Mode;

/// Longest time that connecting, and each read, may take.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct HealthcheckFlags {
    /// Ask whether to send requests (/readyz) instead of whether the process is alive (/livez)
    #[arg(long)]
    ready: bool,
}

/// Asks over a plain socket: a health check every few seconds should cost next to nothing.
pub(super) fn ask(
    flags: &SettingsFlags,
    environment: Vec<(String, String)>,
    asked: &HealthcheckFlags,
) -> anyhow::Result<ExitCode> {
    // Dev mode asks for no key: whoever checks health need not know it.
    let server = load(Mode::Dev, flags, environment)?.config.server;
    let address = reachable(server.listen);
    let path = format!(
        "{}/{}",
        server.base_path,
        if asked.ready { "readyz" } else { "livez" }
    );
    let host = server
        .hosts
        .first()
        .cloned()
        .unwrap_or_else(|| address.to_string());
    let status =
        get(address, &host, &path).with_context(|| format!("no answer from {address}{path}"))?;
    if status != "200" {
        bail!("{address}{path} answered {status}");
    }
    say("ok")?;
    Ok(ExitCode::SUCCESS)
}

/// The status of a GET.
fn get(address: SocketAddr, host: &str, path: &str) -> anyhow::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
    )?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    let start = std::str::from_utf8(&start)?;
    Ok(start
        .strip_prefix("HTTP/1.1 ")
        .context("the answer is not HTTP/1.1")?
        .to_owned())
}
