//! The environments that operators are given, for containers and for Kubernetes: the broker takes every setting in them.

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
    let text = fs::read_to_string(path).unwrap();
    let ours = ["OPENAI_", "ALLOWED_", "BROKER_", "DATABASE_", "REDIS_"];
    let pair = |line: &str| {
        let (name, value) = line.trim().split_once(": ")?;
        let is_ours = ours.iter().any(|begin| name.starts_with(begin));
        is_ours.then(|| (name.to_owned(), value.trim_matches('"').to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

/// Where a value leads here: a secret is in this directory, the operator's own origin is a page.
fn adapted(value: &str, scratch: &Scratch) -> String {
    if value.starts_with("${ALLOWED_ORIGINS:?") {
        return PAGE.to_owned();
    }
    let Some(path) = value.strip_prefix("/run/secrets/") else {
        return value.to_owned();
    };
    let name = path.rsplit('/').next().unwrap();
    let secret = SECRETS.iter().find(|(known, _)| *known == name);
    let (_, text) = secret.unwrap_or_else(|| panic!("what is in {value}?"));
    scratch.file(name, text)
}

#[tokio::test]
async fn n04_every_setting_in_the_files_for_containers_and_kubernetes_can_be_used() {
    for (file, least) in [
        ("compose.yaml", 3),
        ("compose.scale.yaml", 6),
        ("config/kubernetes/config.yaml", 9),
    ] {
        let (scratch, settings) = (Scratch::new(), given(file));
        assert!(settings.len() >= least, "{file}: {settings:?}");
        // As the image has it.
        let launch = Launch::of(&["check"]).env("BROKER_SERVER__LISTEN", "0.0.0.0");
        let launch = settings.iter().fold(launch, |launch, (name, value)| {
            launch.env(name, &adapted(value, &scratch))
        });
        let ended = launch.finish().await;
        assert_eq!(ended.code, Some(0), "{file}: {ended:?}");
        // Nobody is told of what these files should have right; who callers are is for the operator to say.
        for setting in ["drain", "trusted_proxies", "redis", "session"] {
            assert!(!ended.out.contains(setting), "{file}: {setting}: {ended:?}");
        }
    }
}
