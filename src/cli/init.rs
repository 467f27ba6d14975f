//! `init`: writes the files of a new installation, and checks them.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, ValueEnum};

use super::check::{CheckFlags, check};
use super::place::{Filling, Place};
use super::{BAD_SETTINGS, Given, pair, say};
use crate::config::{Config, Mode, SettingsFile, Sources};
use crate::domain::random_bytes;

/// The user of the container, who must be able to read the API key.
const CONTAINER_USER: u32 = 65532;

#[derive(Debug, Args)]
pub(super) struct InitFlags {
    /// Where the broker runs
    #[arg(long = "for", value_enum)]
    place: Option<Place>,
    /// A file that holds the provider's API key and nothing else
    #[arg(long, value_name = "FILE")]
    key_file: Option<String>,
    /// The origins of your pages, with commas between
    #[arg(long, value_name = "ORIGINS")]
    origins: Option<String>,
    /// Who signs your users in: the settings of a preset, like `supabase_url=https://…`, with commas between; or off
    #[arg(long, value_name = "PRESET")]
    issuer: Option<String>,
    /// The directory to write into [default: this one; /etc/token-broker for systemd]
    #[arg(long, value_name = "DIRECTORY")]
    into: Option<PathBuf>,
}

/// Asks for what the flags do not say, checks the settings online, and writes the files. Overwrites nothing.
pub(super) fn init(mut given: Given, asked: InitFlags) -> anyhow::Result<ExitCode> {
    let place = asked.place.map_or_else(ask_place, Ok)?;
    let key_file = answer(
        asked.key_file,
        "--key-file",
        "Which file holds the API key?",
    )?;
    let key =
        fs::read_to_string(&key_file).with_context(|| format!("{key_file} cannot be read"))?;
    let origins = "Origins of your pages, with commas between:";
    let origins = answer(asked.origins, "--origins", origins)?;
    let issuer = "Who signs your users in: off, or a preset like supabase_url=https://…?";
    let issuer = answer(asked.issuer, "--issuer", issuer)?;

    let settings = &mut given.flags.set;
    settings.push(("cors.allowed_origins".to_owned(), origins));
    settings.extend(identity(&issuer)?);
    ensure!(
        given.flags.config.is_none() && given.flags.listen.is_none(),
        "init writes neither --config nor --listen into a file: use --set, like --set server.listen=…"
    );
    for (name, value) in settings.iter() {
        place.refuse_unsafe(name, value)?;
    }
    let into = directory(place, asked.into)?;
    let ops_token = ops_token(&into);
    let filling = Filling {
        key: key.trim(),
        ops_token: &ops_token,
        settings,
    };
    let files = place.files(&into, &filling);
    refuse_to_overwrite(&into, &files)?;

    let key_setting = ("upstream.api_key_file".to_owned(), key_file);
    settings.extend([key_setting.clone(), ("ops.token".to_owned(), ops_token)]);
    // The broker will read the files, not the variables of this shell.
    given.environment.clear();
    let checked = check(&given, &CheckFlags::ONLINE)?;
    if checked == ExitCode::from(BAD_SETTINGS) {
        return Ok(checked);
    }
    for (name, text) in &files {
        if *name == "config/broker.toml" {
            check_written(name, text, key_setting.clone())?;
        }
    }
    write_all(&into, &files)?;
    say_what_is_next(place, &into)?;
    Ok(checked)
}

/// Returns the directory to write into. The unit of systemd names its files, and needs their whole path.
fn directory(place: Place, asked: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let into = asked.unwrap_or_else(|| place.directory().into());
    if place != Place::Systemd {
        return Ok(into);
    }
    let into = std::path::absolute(into)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    ensure!(
        into.as_os_str()
            .as_encoded_bytes()
            .iter()
            .copied()
            .all(is_plain),
        "{} cannot be named in a unit of systemd, and nothing was written: use letters, digits and / . _ - only",
        into.display()
    );
    Ok(into)
}

/// Returns a new token for the listener for operators, or the one that an earlier run wrote: a Secret may hold it already.
fn ops_token(into: &Path) -> String {
    let old = fs::read_to_string(into.join("secrets/ops_token"));
    let old = old.map(|text| text.trim().to_owned()).unwrap_or_default();
    if old.is_empty() {
        URL_SAFE_NO_PAD.encode(random_bytes::<32>())
    } else {
        old
    }
}

/// Says what is left to do by hand.
fn say_what_is_next(place: Place, into: &Path) -> anyhow::Result<()> {
    let missing = place.neighbour().filter(|name| !into.join(name).exists());
    if let Some(name) = missing {
        say(&format!(
            "first    move these files into a clone of the repository: {name} is not beside them"
        ))?;
    }
    let key = into.join("secrets/openai_api_key");
    if place == Place::Docker && lchown(&key, Some(CONTAINER_USER), None).is_err() {
        say(&format!(
            "first    sudo chown {CONTAINER_USER} {}",
            key.display()
        ))?;
    }
    say(&format!("next     {}", place.next(into)))?;
    Ok(())
}

fn ask_place() -> anyhow::Result<Place> {
    let word = answer(
        None,
        "--for",
        "Where does it run: shell, docker, systemd or kubernetes?",
    )?;
    Place::from_str(&word, true)
        .map_err(|_| anyhow!("{word:?} is none of shell, docker, systemd and kubernetes"))
}

/// Fails when the broker would refuse the settings file as it is about to be written.
fn check_written(name: &str, text: &str, key: (String, String)) -> anyhow::Result<()> {
    let file = SettingsFile {
        path: name.to_owned(),
        text: text.to_owned(),
    };
    let sources = Sources {
        file: Some(file),
        flags: vec![key],
        ..Sources::default()
    };
    Config::from_sources(Mode::Serve, &sources)?;
    Ok(())
}

/// Fails when one of the files is there already and holds something else.
fn refuse_to_overwrite(into: &Path, files: &[(&str, String)]) -> anyhow::Result<()> {
    for (name, text) in files {
        let path = into.join(name);
        let old = fs::read_to_string(&path);
        let is_free = old.map_or(!path.exists(), |old| old.trim() == text.trim());
        ensure!(
            is_free,
            "{} is there already, and nothing was written: move it away, or use --into",
            path.display()
        );
    }
    Ok(())
}

/// Returns what a flag says, or else the answer to its question.
fn answer(said: Option<String>, flag: &str, question: &str) -> anyhow::Result<String> {
    if let Some(said) = said {
        return Ok(said);
    }
    write!(io::stderr(), "{question} ")?;
    let mut line = String::new();
    let length = io::stdin().read_line(&mut line)?;
    ensure!(length > 0, "there is no answer: use {flag}");
    Ok(line.trim().to_owned())
}

/// Returns the settings of a preset, and that every caller needs a credential. With `off`, nobody needs one.
fn identity(issuer: &str) -> anyhow::Result<Vec<(String, String)>> {
    if issuer.is_empty() || issuer == "off" {
        return Ok(Vec::new());
    }
    let mut settings = vec![("auth.mode".to_owned(), "required".to_owned())];
    for text in issuer.split(',') {
        let (name, value) = pair(text).map_err(|_| {
            anyhow!("--issuer: write each setting as supabase_url=https://…, or off")
        })?;
        settings.push((format!("auth.{}", name.trim_start_matches("auth.")), value));
    }
    Ok(settings)
}

/// Writes the files, or none of them.
fn write_all(into: &Path, files: &[(&str, String)]) -> anyhow::Result<()> {
    let mut written = Vec::new();
    for (name, text) in files {
        if let Err(error) = write(&into.join(name), text, &mut written) {
            for path in &written {
                fs::remove_file(path).with_context(|| {
                    format!("{error:#}, and {} cannot be removed", path.display())
                })?;
            }
            return Err(error.context("nothing was written"));
        }
    }
    for path in written {
        say(&format!("written  {}", path.display()))?;
    }
    Ok(())
}

/// Writes a file that only its owner can read, unless it is there. Adds a file that it makes to `written`.
fn write(path: &Path, text: &str, written: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    let failed = || format!("{} cannot be written", path.display());
    if path.exists() {
        fs::set_permissions(path, Permissions::from_mode(0o600)).with_context(failed)?;
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .with_context(failed)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(failed)?;
    written.push(path.to_owned());
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(failed)
}
