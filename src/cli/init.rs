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
use super::{BAD_SETTINGS, Given, pair, say};
use crate::config::{Config, Mode, SettingsFile, Sources, environment_name, is_secret, short_name};
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

/// A way to run the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Place {
    Shell,
    Docker,
    Systemd,
    Kubernetes,
}

impl Place {
    /// Returns the files of this place and their templates.
    const fn files(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Shell => &[
                ("secrets/openai_api_key", "{key}"),
                (
                    "config/broker.toml",
                    include_str!("../../config/init/broker.toml"),
                ),
            ],
            Self::Docker => &[
                ("secrets/openai_api_key", "{key}"),
                (".env", include_str!("../../config/init/docker.env")),
            ],
            Self::Systemd => &[
                ("openai_api_key", "{key}"),
                ("environment", include_str!("../../config/init/systemd.env")),
                (
                    "token-broker.service",
                    include_str!("../../config/token-broker.service"),
                ),
            ],
            Self::Kubernetes => &[
                ("secrets/openai_api_key", "{key}"),
                ("secrets/ops_token", "{ops_token}"),
                (
                    "kubernetes/kustomization.yaml",
                    include_str!("../../config/init/kustomization.yaml"),
                ),
            ],
        }
    }

    /// Returns the directory that the files are written into unless another one is given.
    const fn directory(self) -> &'static str {
        match self {
            Self::Systemd => "/etc/token-broker",
            _ => "",
        }
    }

    /// Returns what starts the broker, after what must be done by hand.
    const fn next(self) -> &'static str {
        match self {
            Self::Shell => "token-broker serve",
            Self::Docker => {
                "put the certificate into tls/ and your names into config/nginx.conf, then: docker compose up -d --build"
            }
            Self::Systemd => {
                "install the binary as /usr/local/bin/token-broker, then: systemctl enable --now /etc/token-broker/token-broker.service"
            }
            Self::Kubernetes => {
                "write secrets/redis_url and secrets/database_url, edit config/kubernetes as its kustomization.yaml says, then: \
                 kubectl create secret generic token-broker --from-file=secrets/ && kubectl apply -k kubernetes"
            }
        }
    }

    /// Writes a setting as the file of this place has it.
    fn line(self, (name, value): &(String, String)) -> String {
        let quoted = serde_json::json!(value);
        let variable = short_name(name).map_or_else(|| environment_name(name), str::to_owned);
        match self {
            // A settings file has numbers and truth values as such.
            Self::Shell if value.parse::<bool>().is_ok() || value.parse::<f64>().is_ok() => {
                format!("{name} = {value}")
            }
            Self::Shell => format!("{name} = {quoted}"),
            Self::Docker | Self::Systemd => format!("{variable}={value}"),
            Self::Kubernetes => format!("        {variable}: {quoted}"),
        }
    }
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
        refuse_unsafe(place, name, value)?;
    }
    let files = files(place, key.trim(), settings);
    let into = asked.into.unwrap_or_else(|| place.directory().into());
    refuse_to_overwrite(&into, &files)?;

    let key_setting = ("upstream.api_key_file".to_owned(), key_file);
    settings.push(key_setting.clone());
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
    for (name, text) in &files {
        write(&into.join(name), text)?;
    }
    let key = into.join("secrets/openai_api_key");
    if place == Place::Docker && lchown(&key, Some(CONTAINER_USER), None).is_err() {
        say(&format!(
            "first    sudo chown {CONTAINER_USER} {}",
            key.display()
        ))?;
    }
    say(&format!("next     {}", place.next()))?;
    Ok(checked)
}

fn ask_place() -> anyhow::Result<Place> {
    let word = answer(
        None,
        "--for",
        "Where does it run: shell, docker, systemd or kubernetes?",
    )?;
    Place::from_str(&word, true).map_err(|_| anyhow!("{word:?} is none of the four places"))
}

/// Fails when the file of this place cannot hold the setting safely. No message repeats a value, which may be a secret.
fn refuse_unsafe(place: Place, name: &str, value: &str) -> anyhow::Result<()> {
    if place == Place::Shell {
        return Ok(());
    }
    let is_plain = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '_' | '.');
    ensure!(
        name.chars().all(is_plain) && !name.contains("__"),
        "{name} cannot be the name of a variable, and nothing was written: set it in broker.toml"
    );
    ensure!(
        place != Place::Kubernetes || !is_secret(name),
        "{name} is a secret and would be readable in a ConfigMap, and nothing was written: \
         put it into a file below secrets/, and set {name}_file to its path in the pod"
    );
    let is_unsafe = |letter: char| letter.is_control() || "$\\'\"#".contains(letter);
    ensure!(
        place == Place::Kubernetes || !value.contains(is_unsafe),
        "{name} holds one of $ \\ ' \" # or a control character, which a file of variables can change, \
         and nothing was written: set it in broker.toml, or a secret in a file that {name}_file names"
    );
    let is_fixed = ["server.listen", "server.trusted_proxies"].contains(&name);
    ensure!(
        place != Place::Docker || !is_fixed,
        "{name} is set in compose.yaml, which wins over .env, and nothing was written: change it there"
    );
    Ok(())
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

/// Returns the names of the files of a place, and their texts.
fn files(place: Place, key: &str, settings: &[(String, String)]) -> Vec<(&'static str, String)> {
    let ops_token = URL_SAFE_NO_PAD.encode(random_bytes::<32>());
    let lines: Vec<_> = settings.iter().map(|setting| place.line(setting)).collect();
    let fill = |template: &str| {
        let text = template
            .replace("{key}", key)
            .replace("{ops_token}", &ops_token);
        text.replace("{settings}", &lines.join("\n"))
            .trim_end()
            .to_owned()
            + "\n"
    };
    let templates = place.files().iter();
    templates
        .map(|&(name, template)| (name, fill(template)))
        .collect()
}

/// Writes a file that only its owner can read, unless it is there.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
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
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(failed)?;
    say(&format!("written  {}", path.display()))?;
    Ok(())
}
