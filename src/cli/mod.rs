//! The command line: parses it, and runs the command that it names.

mod ask;
mod blocks;
mod calls;
mod check;
mod cost;
mod dev;
mod dev_calls;
mod dev_desk;
mod dev_issuer;
mod dev_past;
mod erase;
mod healthcheck;
mod init;
mod ledger;
mod listing;
mod migrate;
mod models;
mod online;
mod place;
mod reconcile;
mod reload;
mod roster;
mod serve;
mod simulate;
mod stamps;
mod table;
mod usage;

use std::io::{self, Write};
use std::net::SocketAddr;
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
    /// Write the files of a new installation, check them, and say what starts it
    Init(init::InitFlags),
    /// Check whether the settings can be used; with --online also whether the upstream can
    Check(check::CheckFlags),
    /// Print every setting with its value and where it comes from; secrets masked
    Config,
    /// Print what was used: by day and role, by role, by persona, by user
    Usage(usage::UsageFlags),
    /// Compare the ledger's money with what the provider bills, by day and model: exit code 1 where they differ
    Reconcile(reconcile::ReconcileFlags),
    /// List the blocks of a running broker, or lift one
    Blocks(blocks::BlocksFlags),
    /// List the calls of a running broker, or hang them up
    Calls(calls::CallsFlags),
    /// Remove everything the ledger holds of one identity
    Erase(erase::EraseFlags),
    /// Bring the ledger's database to the schema of this version (PostgreSQL; SQLite does it by itself)
    Migrate,
    /// Ask a running broker whether it is alive: exit code 0 or 1, for containers without curl
    Healthcheck(healthcheck::HealthcheckFlags),
    /// Run only the simulated OpenAI
    Simulate(simulate::SimulateFlags),
}

fn pair(text: &str) -> Result<(String, String), &'static str> {
    let split = text.split_once('=');
    let (name, value) = split.ok_or("write it as NAME=VALUE, like limits.token=10/60s")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

/// Runs the command that `arguments` name.
pub fn run(arguments: Arguments, environment: Vec<(String, String)>) -> ExitCode {
    let flags = arguments.settings;
    let given = Given { flags, environment };
    let outcome = match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve::serve(&given),
        Command::Dev(asked) => dev::dev(given, asked),
        Command::Init(asked) => init::init(given, asked),
        Command::Check(asked) => check::check(&given, &asked),
        Command::Config => listing::config(&given),
        Command::Usage(asked) => usage::usage(&given, &asked),
        Command::Reconcile(asked) => reconcile::reconcile(&given, &asked),
        Command::Blocks(asked) => blocks::blocks(&given, &asked),
        Command::Calls(asked) => calls::calls(&given, &asked),
        Command::Erase(asked) => erase::erase(&given, &asked),
        Command::Migrate => migrate::migrate(&given),
        Command::Healthcheck(asked) => healthcheck::healthcheck(&given, &asked),
        Command::Simulate(asked) => simulate::simulate(&given, asked),
    };
    outcome.unwrap_or_else(|failure| {
        // There is nowhere to report a failure of standard error.
        let _ = writeln!(io::stderr().lock(), "token-broker: {failure:#}");
        let is_setup = failure.is::<ConfigErrors>() || failure.is::<SetupError>();
        if is_setup || failure.is::<DotEnvError>() {
            ExitCode::from(BAD_SETTINGS)
        } else {
            ExitCode::FAILURE
        }
    })
}

/// Everything that settings may come from besides the settings file.
#[derive(Clone)]
struct Given {
    flags: SettingsFlags,
    environment: Vec<(String, String)>,
}

impl Given {
    /// Loads the settings from all sources.
    fn load(&self, mode: Mode) -> anyhow::Result<Loaded> {
        self.read(mode).map(|(loaded, _)| loaded)
    }

    /// Loads the settings, and returns their sources, too.
    fn read(&self, mode: Mode) -> anyhow::Result<(Loaded, Sources)> {
        let sources = self.sources()?;
        Ok((Config::from_sources(mode, &sources)?, sources))
    }

    /// Returns the sources of the settings, with the text of the settings file.
    fn sources(&self) -> Result<Sources, ConfigErrors> {
        let mut flags = self.flags.set.clone();
        if let Some(address) = &self.flags.listen {
            flags.push(("server.listen".to_owned(), address.clone()));
        }
        Ok(Sources {
            file: read_file(self.flags.config.as_deref())?,
            environment: self.environment.clone(),
            flags,
            ..Sources::default()
        })
    }

    /// Adds the `.env` of this directory below the real environment, which wins.
    fn with_dot_env(mut self) -> anyhow::Result<Self> {
        if !has_dot_env() {
            return Ok(self);
        }
        let text = std::fs::read_to_string(DOT_ENV).map_err(|_| DotEnvError)?;
        // Some editors begin a file with a byte order mark.
        let text = text.trim_start_matches('\u{feff}');
        let lines: Result<Vec<_>, _> = dotenvy::from_read_iter(text.as_bytes()).collect();
        let mut lines = lines.map_err(|_| DotEnvError)?;
        lines.retain(|(name, _)| !self.environment.iter().any(|(known, _)| known == name));
        self.environment.extend(lines);
        Ok(self)
    }
}

/// The file that only dev mode reads.
const DOT_ENV: &str = ".env";
/// Warning for commands other than `dev` that are run beside a `.env`.
const UNREAD_DOT_ENV: &str = "a .env is in this directory and is not read: only `token-broker dev` reads it; \
     put its lines into the environment, with `set -a; . ./.env; set +a`, `docker run --env-file .env` or EnvironmentFile=";

/// Returns true when this directory has a `.env`.
fn has_dot_env() -> bool {
    Path::new(DOT_ENV).exists()
}

/// Error for a `.env` that cannot be parsed. Never quotes the line, which may hold a secret.
#[derive(Debug, thiserror::Error)]
#[error(".env cannot be read: each line must be NAME=value, or begin with #")]
struct DotEnvError;

/// Prints to standard output, for people and pipes. A reader like `head`, which has read enough, is no failure.
fn say(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Returns `http://` and the address, as a person on this machine would type it.
fn local_url(address: SocketAddr, base_path: &str) -> String {
    format!("http://{}{base_path}", ask::reachable(address))
}
