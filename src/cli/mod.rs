//! Owns the command line: what can be asked for, and with which exit code it ends.

mod blocks;
mod check;
mod dev;
mod dev_issuer;
mod erase;
mod healthcheck;
mod listing;
mod migrate;
mod online;
mod roster;
mod serve;
mod simulate;
mod usage;

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Config, ConfigErrors, Loaded, Mode, Sources, read_file};
use crate::upstream::openai::SetupError;

/// Exit code of settings that cannot be used (`EX_CONFIG` of sysexits.h).
const BAD_SETTINGS: u8 = 78;

/// Mints short-lived OpenAI Realtime client secrets for browsers, so that the API key never leaves the server.
#[derive(Debug, Parser)]
#[command(
    version,
    about,
    after_help = "Exit codes: 0 fine, 1 failed, 2 wrong usage, 78 settings that cannot be used."
)]
pub struct Arguments {
    #[command(flatten)]
    settings: SettingsFlags,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, Args)]
struct SettingsFlags {
    /// The settings file. Without it, config/broker.toml is read when it is there.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address to listen on; the same as --set server.listen=…
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Sets one setting, over file and environment. May be given several times.
    #[arg(long, global = true, value_name = "NAME=VALUE", value_parser = pair)]
    set: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker (the default). Needs an API key and the origins of your pages
    Serve,
    /// Run the broker for a developer: simulated OpenAI, localhost origins, no key needed
    Dev(dev::DevFlags),
    /// Look whether the settings can be used; with --online also whether the upstream can
    Check(check::CheckFlags),
    /// Print every setting with its value and where it comes from; secrets masked
    Config,
    /// Print what was used: by day and role, by role, by persona, by user
    Usage(usage::UsageFlags),
    /// List the blocks of a running broker, or lift one
    Blocks(blocks::BlocksFlags),
    /// Remove everything the ledger holds of one identity
    Erase(erase::EraseFlags),
    /// Bring the ledger's database to the schema of this version (PostgreSQL; SQLite does it by itself)
    Migrate,
    /// Ask a running broker whether it is alive: exit code 0 or 1, for containers without curl
    Healthcheck(healthcheck::HealthcheckFlags),
    /// Run only the simulated OpenAI
    Simulate(simulate::SimulateFlags),
}

fn pair(text: &str) -> Result<(String, String), String> {
    let split = text
        .split_once('=')
        .ok_or("write it as NAME=VALUE, like limits.token=10/60s")?;
    Ok((split.0.trim().to_owned(), split.1.to_owned()))
}

/// Does what `arguments` ask for.
pub fn run(arguments: Arguments, environment: Vec<(String, String)>) -> ExitCode {
    let flags = arguments.settings;
    let outcome = match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(&flags, environment),
        Command::Dev(asked) => dev::dev(&flags, environment, &asked),
        Command::Check(asked) => check::check(&flags, environment, &asked),
        Command::Config => listing::print(&flags, environment),
        Command::Usage(asked) => usage::usage(&flags, environment, &asked),
        Command::Blocks(asked) => blocks::blocks(&flags, environment, &asked),
        Command::Erase(asked) => erase::erase(&flags, environment, &asked),
        Command::Migrate => migrate::migrate(&flags, environment),
        Command::Healthcheck(asked) => healthcheck::ask(&flags, environment, &asked),
        Command::Simulate(asked) => simulate::simulate(&flags, asked),
    };
    outcome.unwrap_or_else(|failure| {
        complain(&failure);
        if failure.is::<ConfigErrors>() || failure.is::<SetupError>() || failure.is::<DotEnvError>()
        {
            ExitCode::from(BAD_SETTINGS)
        } else {
            ExitCode::FAILURE
        }
    })
}

/// Settings from everywhere they may come from.
fn load(
    mode: Mode,
    flags: &SettingsFlags,
    environment: Vec<(String, String)>,
) -> anyhow::Result<Loaded> {
    let listen = flags
        .listen
        .iter()
        .map(|address| ("server.listen".to_owned(), address.clone()));
    let sources = Sources {
        file: read_file(flags.config.as_deref())?,
        environment,
        flags: flags.set.iter().cloned().chain(listen).collect(),
        ..Sources::default()
    };
    Ok(Config::from_sources(mode, &sources)?)
}

/// The file that only dev mode reads.
const DOT_ENV: &str = ".env";
/// What to tell somebody who keeps the settings in a `.env` and runs another command than `dev`.
const UNREAD_DOT_ENV: &str = "a .env is in this directory and is not read: only `token-broker dev` reads it; \
     put its lines into the environment, with `set -a; . ./.env; set +a`, `docker run --env-file .env` or EnvironmentFile=";

/// True when a `.env` is here.
fn has_dot_env() -> bool {
    Path::new(DOT_ENV).exists()
}

/// Never quotes the line: it may hold a secret.
#[derive(Debug, thiserror::Error)]
#[error(".env cannot be read: each line must be NAME=value, or begin with #")]
struct DotEnvError;

/// `.env` of this directory below the real environment: what is set for real wins.
fn with_dot_env(environment: Vec<(String, String)>) -> anyhow::Result<Vec<(String, String)>> {
    if !has_dot_env() {
        return Ok(environment);
    }
    let text = std::fs::read_to_string(DOT_ENV).map_err(|_| DotEnvError)?;
    // Some editors begin a file with a byte order mark.
    let text = text.trim_start_matches('\u{feff}');
    let lines: Result<Vec<_>, _> = dotenvy::from_read_iter(text.as_bytes()).collect();
    let lines = lines.map_err(|_| DotEnvError)?;
    let given = |name: &str| environment.iter().any(|(known, _)| known == name);
    let added: Vec<_> = lines.into_iter().filter(|(name, _)| !given(name)).collect();
    Ok(added.into_iter().chain(environment).collect())
}

/// Prints to standard output, for people and pipes.
fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

fn complain(failure: &anyhow::Error) {
    // There is nowhere left to complain to.
    let _ = writeln!(io::stderr().lock(), "token-broker: {failure:#}");
}

/// `http://` and the address, as a person on this machine would type it.
fn local_url(address: SocketAddr, base_path: &str) -> String {
    format!("http://{}{base_path}", reachable(address))
}

/// Where a socket that listens on `address` can be reached from this machine.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(any) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(any) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        one => one,
    };
    SocketAddr::new(ip, address.port())
}
