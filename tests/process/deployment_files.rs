//! The environments that operators are given, for containers, Kubernetes and platforms: the broker takes every setting in them.

use std::fs;
use std::path::Path;

use crate::kit::PAGE;
use crate::kit::executable::Launch;
use crate::kit::scratch::Scratch;

/// What stands in the files that are secret.
const SECRETS: [(&str, &str); 3] = [
    ("openai_api_key", "sk-given-5e"),
    ("redis_url", "redis://:password@redis:6379"),
    ("database_url", "postgres://broker:password@postgres/broker"),
];

/// The settings that a file of ours puts into the environment: name and value, as they stand there.
fn given(file: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    // Cloud Run's file has name and value on lines of their own.
    let text = fs::read_to_string(path).unwrap();
    let text = text
        .replace("- name: ", "")
        .replace("\n              value", "");
    let ours = ["OPENAI_", "ALLOWED_", "BROKER_", "DATABASE_", "REDIS_"];
    let pair = |line: &str| {
        let line = line.trim();
        let (name, value) = line.split_once(": ").or_else(|| line.split_once(" = "))?;
        let is_ours = ours.iter().any(|begin| name.starts_with(begin));
        is_ours.then(|| (name.to_owned(), value.trim_matches('"').to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

/// Where a value leads here: a secret is in this directory or in the value itself, the operator's own origin is a page.
fn adapted(value: &str, scratch: &Scratch) -> String {
    if value.starts_with("${ALLOWED_ORIGINS:?") || value == "!Ref Origins" {
        return PAGE.to_owned();
    }
    let secret = |name: &str| {
        let secret = SECRETS.iter().find(|(known, _)| *known == name);
        secret.unwrap_or_else(|| panic!("what is in {value}?")).1
    };
    if let Some((_, name)) = value.rsplit_once(":SecretString:") {
        return secret(name.trim_end_matches('}')).to_owned();
    }
    if !value.starts_with("/run/secrets/") && !value.starts_with("/secrets/") {
        return value.to_owned();
    }
    let name = value.rsplit('/').next().unwrap();
    scratch.file(name, secret(name))
}

#[tokio::test]
async fn n04_every_setting_in_the_files_for_containers_kubernetes_and_platforms_can_be_used() {
    for (file, least) in [
        ("compose.yaml", 3),
        ("compose.scale.yaml", 6),
        ("config/kubernetes/config.yaml", 9),
        ("config/cloud-run.yaml", 9),
        ("config/fly.toml", 2),
        ("config/lambda.yaml", 9),
    ] {
        let (scratch, settings) = (Scratch::new(), given(file));
        assert!(settings.len() >= least, "{file}: {settings:?}");
        // As the image has it.
        let launch = Launch::of(&["check"]).env("BROKER_SERVER__LISTEN", "0.0.0.0");
        let mut launch = settings.iter().fold(launch, |launch, (name, value)| {
            launch.env(name, &adapted(value, &scratch))
        });
        if file == "config/fly.toml" {
            // Fly's secrets are variables that its file does not show.
            launch = launch.env("OPENAI_API_KEY", SECRETS[0].1);
            launch = launch.env("DATABASE_URL", SECRETS[2].1);
        }
        let ended = launch.finish().await;
        assert_eq!(ended.code, Some(0), "{file}: {ended:?}");
        // Nobody is told of what these files should have right; who callers are is for the operator to say.
        for setting in ["drain", "trusted_proxies", "redis", "session"] {
            assert!(!ended.out.contains(setting), "{file}: {setting}: {ended:?}");
        }
    }
}
