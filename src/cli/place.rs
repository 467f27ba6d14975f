//! The places where `init` can install a broker: their files, how these hold a setting, and what to do next.

use std::path::Path;

use anyhow::ensure;
use clap::ValueEnum;

use crate::config::{environment_name, is_secret, short_name};

/// The directory that the unit of systemd names.
const SYSTEMD_DIRECTORY: &str = "/etc/token-broker";

/// A way to run the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Place {
    Shell,
    Docker,
    Systemd,
    Kubernetes,
}

/// What the files of a place are filled with.
pub(super) struct Filling<'a> {
    /// The provider's API key.
    pub key: &'a str,
    /// The token of the listener for operators.
    pub ops_token: &'a str,
    /// All other settings.
    pub settings: &'a [(String, String)],
}

impl Place {
    /// Returns the files of this place and their templates.
    const fn templates(self) -> &'static [(&'static str, &'static str)] {
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

    /// Returns the names of the files of this place, and their texts, for the directory `into`.
    pub(super) fn files(self, into: &Path, filling: &Filling<'_>) -> Vec<(&'static str, String)> {
        let lines: Vec<_> = filling.settings.iter().map(|one| self.line(one)).collect();
        let fill = |template: &str| {
            let text = match self {
                Self::Systemd => template.replace(SYSTEMD_DIRECTORY, &into.to_string_lossy()),
                _ => template.to_owned(),
            };
            let text = text
                .replace("{key}", filling.key)
                .replace("{ops_token}", filling.ops_token);
            text.replace("{settings}", &lines.join("\n"))
                .trim_end()
                .to_owned()
                + "\n"
        };
        let templates = self.templates().iter();
        templates
            .map(|&(name, template)| (name, fill(template)))
            .collect()
    }

    /// Returns the directory that the files are written into unless another one is given.
    pub(super) const fn directory(self) -> &'static str {
        match self {
            Self::Systemd => SYSTEMD_DIRECTORY,
            _ => "",
        }
    }

    /// Returns what of the repository must be beside the files.
    pub(super) const fn neighbour(self) -> Option<&'static str> {
        match self {
            Self::Docker => Some("compose.yaml"),
            Self::Kubernetes => Some("config/kubernetes"),
            Self::Shell | Self::Systemd => None,
        }
    }

    /// Returns what starts the broker from the files in `into`, after what must be done by hand.
    pub(super) fn next(self, into: &Path) -> String {
        let steps = match self {
            Self::Shell => "token-broker serve",
            Self::Docker => {
                "put the certificate into tls/ and your names into config/nginx.conf, then: docker compose up -d --build"
            }
            Self::Systemd => {
                return format!(
                    "install the binary as /usr/local/bin/token-broker, then: systemctl enable --now {}/token-broker.service",
                    into.display()
                );
            }
            Self::Kubernetes => {
                "write secrets/redis_url and secrets/database_url, edit config/kubernetes as its kustomization.yaml says, then: \
                 kubectl create secret generic token-broker --from-file=secrets/ && kubectl apply -k kubernetes"
            }
        };
        if into.as_os_str().is_empty() {
            steps.to_owned()
        } else {
            format!("in {}: {steps}", into.display())
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

    /// Returns where this place has the settings that no variable can hold.
    const fn settings_file(self) -> &'static str {
        match self {
            Self::Shell | Self::Docker => "config/broker.toml",
            Self::Systemd => "a broker.toml that --config names (docs/operating.md, systemd)",
            Self::Kubernetes => {
                "a settings file that you mount, and name with --config in config/kubernetes/deployment.yaml"
            }
        }
    }

    /// Fails when the file of this place cannot hold the setting safely. No message repeats a value, which may be a secret.
    pub(super) fn refuse_unsafe(self, name: &str, value: &str) -> anyhow::Result<()> {
        if self == Self::Shell {
            return Ok(());
        }
        let file = self.settings_file();
        let is_plain = |letter: char| matches!(letter, 'a'..='z' | '0'..='9' | '_' | '.');
        ensure!(
            name.chars().all(is_plain) && !name.contains("__"),
            "{name} cannot be the name of a variable, and nothing was written: set it in {file}"
        );
        ensure!(
            self != Self::Kubernetes || !is_secret(name),
            "{name} is a secret and would be readable in a ConfigMap, and nothing was written: \
             put it into a file below secrets/, and set {name}_file to its path in the pod"
        );
        let is_unsafe = |letter: char| letter.is_control() || "$\\'\"#".contains(letter);
        ensure!(
            self == Self::Kubernetes || !value.contains(is_unsafe),
            "{name} holds one of $ \\ ' \" # or a control character, which a file of variables can change, \
             and nothing was written: set it in {file}, or a secret in a file that {name}_file names"
        );
        let is_fixed = ["server.listen", "server.trusted_proxies"].contains(&name);
        ensure!(
            self != Self::Docker || !is_fixed,
            "{name} is set in compose.yaml, which wins over .env, and nothing was written: change it there"
        );
        Ok(())
    }
}
