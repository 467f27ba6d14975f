//! The files that `init` writes: a broker starts from them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::process::Command;

use crate::kit::PAGE;
use crate::kit::executable::{Ended, Launch};
use crate::kit::provider::{KEY, simulator};
use crate::kit::scratch::Scratch;

const BINARY: &str = env!("CARGO_BIN_EXE_token-broker");

/// Settings of several types, as an operator may add them.
const MORE: [(&str, &str); 4] = [
    ("limits.anonymous_network", "7"),
    ("guard.weights.malformed", "0.5"),
    ("compat.get_token", "true"),
    ("quota.student.sessions_per_month", "5"),
];

fn init(place: &str, into: &Path, key: &str, more: &[&str]) -> Launch {
    let into = into.to_str().unwrap();
    let flags = ["init", "--for", place, "--into", into, "--key-file", key];
    Launch::of(&[&flags, more].concat())
}

/// All files below a directory: their names, modes and texts.
fn files(directory: &Path) -> Vec<(String, u32, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
            continue;
        }
        let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        let name = path.to_str().unwrap().to_owned();
        found.push((name, mode, fs::read_to_string(&path).unwrap()));
    }
    found.sort();
    found
}

/// The variables of an environment file or of a `ConfigMap`.
fn variables(text: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let (name, value) = line.trim().split_once(['=', ':'])?;
        let is_name = name == name.to_uppercase() && !name.starts_with('#');
        is_name.then(|| (name.to_owned(), value.trim().trim_matches('"').to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

/// Starts a broker from the files of a place, as that place would.
fn started(place: &str, into: &Path) -> Launch {
    if place == "shell" {
        let script = "cd \"$1\" && shift && exec \"$0\" serve --listen 127.0.0.1:0 \"$@\"";
        let mut command = Command::new("sh");
        command
            .env_clear()
            .args(["-c", script, BINARY, into.to_str().unwrap()]);
        return Launch::from(command);
    }
    let (file, key) = match place {
        "docker" => (".env", "secrets/openai_api_key"),
        "systemd" => ("environment", "openai_api_key"),
        _ => ("kubernetes/kustomization.yaml", "secrets/openai_api_key"),
    };
    let text = fs::read_to_string(into.join(file)).unwrap();
    let launch = Launch::of(&["serve"])
        .env("PORT", "0")
        .env("OPENAI_API_KEY_FILE", into.join(key).to_str().unwrap());
    let mounted = "/run/secrets/token-broker";
    let secrets = into.join("secrets");
    let here = |value: &str| value.replace(mounted, secrets.to_str().unwrap());
    let pairs = variables(&text);
    assert!(pairs.len() > 5, "{text}");
    pairs.iter().fold(launch, |launch, (name, value)| {
        launch.env(name, &here(value))
    })
}

#[tokio::test]
async fn n05_a_broker_starts_from_the_files_that_init_writes_for_each_place() {
    let simulator = simulator(&[]).await;
    let base_url = simulator.base_url();
    for place in ["shell", "docker", "systemd", "kubernetes"] {
        let scratch = Scratch::new();
        let (into, key) = (scratch.path().join("new"), scratch.file("key", KEY));
        let flags = ["--origins", PAGE, "--issuer", "off"];
        let launch = init(place, &into, &key, &flags).set("upstream.base_url", &base_url);
        let launch = MORE
            .iter()
            .fold(launch, |launch, (name, value)| launch.set(name, value));
        // Variables of the shell that runs it say nothing about the broker to come.
        let ended = launch.env("OPENAI_API_KEY", "sk-other").finish().await;
        assert_eq!(ended.code, Some(0), "{place}: {ended:?}");
        assert!(ended.out.contains("takes the key"), "{place}: {ended:?}");
        assert!(ended.out.contains("\nnext  "), "{place}: {ended:?}");
        assert!(!format!("{ended:?}").contains(KEY), "{place}: {ended:?}");
        let written = files(&into);
        for (name, mode, text) in &written {
            assert_eq!(*mode, 0o600, "{place}: {name}");
            assert!(
                !text.contains("{key}") && !text.contains("_token}"),
                "{name}: {text}"
            );
        }

        // The listener for operators has a fixed address, which another test may use.
        let launch = started(place, &into).set("ops.listen", "127.0.0.1:0");
        let broker = launch.set("ledger.url", "memory").start().await;
        broker.token().await.secret();
        broker.stop().await;

        let ended = init(place, &into, &key, &flags).finish().await;
        assert_eq!(ended.code, Some(1), "{place}: {ended:?}");
        assert!(ended.err.contains("is there already"), "{place}: {ended:?}");
        assert_eq!(files(&into), written, "{place}");
    }
}

#[tokio::test]
async fn init_writes_nothing_when_the_settings_cannot_be_used() {
    let scratch = Scratch::new();
    let (into, key) = (scratch.path().join("new"), scratch.file("key", KEY));
    let quoted = scratch.file("quoted", "'sk-quoted'");
    let fine = ["--origins", PAGE, "--issuer", "off"];
    let origin = ["--origins", "app.example.com", "--issuer", "off"];
    let preset = [
        "--origins",
        PAGE,
        "--issuer",
        "supabse_url=https://a.example.com",
    ];
    let half = ["--origins", PAGE, "--issuer", "auth0_domain=a.example.com"];
    for (key, flags, named) in [
        (&quoted, &fine, "upstream.api_key"),
        (&key, &origin, "cors.allowed_origins"),
        (&key, &preset, "auth.supabase_url"),
        (&key, &half, "auth.auth0_audience"),
    ] {
        let ended = init("docker", &into, key, flags).finish().await;
        assert_eq!(ended.code, Some(78), "{flags:?}: {ended:?}");
        assert!(ended.out.contains(named), "{flags:?}: {ended:?}");
        assert_eq!(files(&into), [], "{flags:?}");
    }
    let missing = scratch.path().join("missing");
    let ended = init("docker", &into, missing.to_str().unwrap(), &fine)
        .finish()
        .await;
    assert_eq!((ended.code, files(&into).len()), (Some(1), 0), "{ended:?}");
    assert!(ended.err.contains("missing cannot be read"), "{ended:?}");
}

/// A Secret of the cluster may hold the token of an earlier run.
#[tokio::test]
async fn init_leaves_nothing_behind_when_it_fails_and_keeps_the_token_of_an_earlier_run() {
    let scratch = Scratch::new();
    let (into, key) = (scratch.path().join("new"), scratch.file("key", KEY));
    let simulator = simulator(&[]).await;
    let run = async || {
        let flags = ["--origins", PAGE, "--issuer", "off"];
        let launch = init("kubernetes", &into, &key, &flags);
        let launch = launch.set("upstream.base_url", &simulator.base_url());
        launch.finish().await
    };
    let in_the_way = into.join("kubernetes");
    fs::create_dir(&into).unwrap();
    fs::write(&in_the_way, "").unwrap();
    let ended = run().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("nothing was written"), "{ended:?}");
    assert_eq!(files(&into).len(), 1, "{:?}", files(&into));

    fs::remove_file(&in_the_way).unwrap();
    let ended = run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let written = files(&into);
    // As if the run had been killed before its last file.
    fs::remove_dir_all(&in_the_way).unwrap();
    let ended = run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(files(&into), written);

    fs::write(into.join("secrets/ops_token"), "short").unwrap();
    let ended = run().await;
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(ended.out.contains("ops.token"), "{ended:?}");
}

#[tokio::test]
async fn init_names_the_directory_that_it_wrote_into() {
    let scratch = Scratch::new();
    let (into, key) = (scratch.path().join("new"), scratch.file("key", KEY));
    let simulator = simulator(&[]).await;
    let run = async |place: &str, into: &Path| {
        let launch = init(place, into, &key, &["--origins", PAGE, "--issuer", "off"]);
        let launch = launch.set("upstream.base_url", &simulator.base_url());
        launch.finish().await
    };
    let ended = run("systemd", &into).await;
    let directory = into.to_str().unwrap();
    let next = format!("systemctl enable --now {directory}/token-broker.service");
    assert!(ended.out.contains(&next), "{ended:?}");
    let unit = fs::read_to_string(into.join("token-broker.service")).unwrap();
    for line in [
        format!("LoadCredential=openai_api_key:{directory}/openai_api_key"),
        format!("EnvironmentFile=-{directory}/environment"),
    ] {
        assert!(unit.contains(&line), "{line} in {unit}");
    }
    let spaced = scratch.path().join("a b");
    let ended = run("systemd", &spaced).await;
    assert!(ended.err.contains("unit of systemd"), "{ended:?}");
    assert_eq!(files(&spaced), []);

    let elsewhere = scratch.path().join("elsewhere");
    let ended = run("docker", &elsewhere).await;
    let next = format!("in {}: put the certificate", elsewhere.display());
    for words in [&next, "compose.yaml is not beside them"] {
        assert!(ended.out.contains(words), "{words}: {ended:?}");
    }
    let clone = scratch.path().join("clone");
    fs::create_dir(&clone).unwrap();
    fs::write(clone.join("compose.yaml"), "").unwrap();
    let ended = run("docker", &clone).await;
    assert!(!ended.out.contains("beside them"), "{ended:?}");
}

/// Answers the questions of `init`, one line each.
async fn answered(lines: &str, into: &Path) -> Ended {
    let script =
        "printf \"$1\" | \"$0\" init --into \"$2\" --set upstream.base_url=http://127.0.0.1:1/v1";
    let mut command = Command::new("sh");
    let into = into.to_str().unwrap();
    command
        .env_clear()
        .args(["-c", script, BINARY, lines, into]);
    Launch::from(command).finish().await
}

#[tokio::test]
async fn init_asks_for_what_no_flag_says() {
    let scratch = Scratch::new();
    let (into, key) = (scratch.path().join("new"), scratch.file("key", KEY));
    let issuer = "auth0_domain=a.eu.auth0.com,auth0_audience=https://api.example.com";
    let lines = format!("Systemd\\n{key}\\n{PAGE}, https://b.example.com\\n{issuer}\\n");
    let ended = answered(&lines, &into).await;
    // Nobody answers there; the files are written all the same.
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.out.contains("broken") && ended.out.contains("systemctl"),
        "{ended:?}"
    );
    let text = fs::read_to_string(into.join("environment")).unwrap();
    for line in [
        &format!("ALLOWED_ORIGINS={PAGE}, https://b.example.com"),
        "BROKER_AUTH__MODE=required",
        "BROKER_AUTH__AUTH0_DOMAIN=a.eu.auth0.com",
        "BROKER_AUTH__AUTH0_AUDIENCE=https://api.example.com",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} in {text}");
    }

    let elsewhere = scratch.path().join("elsewhere");
    for (lines, named) in [
        ("", "--for"),
        ("moon\\n", "\"moon\""),
        ("docker\\n", "--key-file"),
        (
            &format!("docker\\n{key}\\n{PAGE}\\nsupabase\\n"),
            "supabase_url=https://",
        ),
    ] {
        let ended = answered(lines, &elsewhere).await;
        assert_eq!(ended.code, Some(1), "{lines:?}: {ended:?}");
        assert!(ended.err.contains(named), "{lines:?}: {ended:?}");
        assert_eq!(files(&elsewhere), [], "{lines:?}");
    }
}

#[tokio::test]
async fn init_refuses_what_the_files_of_a_place_cannot_hold() {
    let scratch = Scratch::new();
    let (into, key) = (scratch.path().join("new"), scratch.file("key", KEY));
    for (place, setting, code, cure) in [
        (
            "docker",
            "quota.Teacher.sessions_per_month=100",
            1,
            "broker.toml",
        ),
        (
            "docker",
            "redis.url=redis://:a$b@127.0.0.1:1",
            1,
            "redis.url_file",
        ),
        ("docker", "server.listen=0.0.0.0:8080", 1, "compose.yaml"),
        ("systemd", "auth.default_role=a\\b", 1, "broker.toml"),
        ("systemd", "auth.default_role=a\nB=c", 1, "broker.toml"),
        (
            "kubernetes",
            "redis.url=redis://:a@127.0.0.1:1",
            1,
            "redis.url_file",
        ),
        (
            "kubernetes",
            "quota.Teacher.sessions_per_month=100",
            1,
            "config/kubernetes/deployment.yaml",
        ),
        ("shell", "auth.default_role=123", 78, "auth.default_role"),
        ("shell", "quota.a b.sessions_per_month=5", 78, "TOML"),
    ] {
        let flags = ["--origins", PAGE, "--issuer", "off", "--set", setting];
        let launch = init(place, &into, &key, &flags);
        let ended = launch
            .set("upstream.base_url", "http://127.0.0.1:1/v1")
            .finish()
            .await;
        assert_eq!(ended.code, Some(code), "{setting}: {ended:?}");
        assert!(ended.err.contains(cure), "{setting}: {ended:?}");
        assert_eq!(files(&into), [], "{setting}");
    }
    let listen = [
        "--origins",
        PAGE,
        "--issuer",
        "off",
        "--listen",
        "0.0.0.0:1",
    ];
    let ended = init("shell", &into, &key, &listen).finish().await;
    assert!(ended.err.contains("--set server.listen"), "{ended:?}");
    assert_eq!(files(&into), []);
}
