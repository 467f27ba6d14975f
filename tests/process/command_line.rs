//! The commands beside `serve`: help, settings, health.

use crate::kit::answer::Answer;
use crate::kit::executable::Launch;
use crate::kit::programs::{program, run};
use crate::kit::provider::{KEY, simulator};

#[tokio::test]
async fn help_names_every_command_and_every_exit_code() {
    let ended = Launch::of(&["--help"]).finish().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for word in [
        "serve",
        "dev",
        "check",
        "config",
        "healthcheck",
        "simulate",
        "78",
    ] {
        assert!(ended.out.contains(word), "{word} in {}", ended.out);
    }
}

#[tokio::test]
async fn version_tells_the_version() {
    let ended = Launch::of(&["--version"]).finish().await;
    assert_eq!(
        (ended.code, ended.out.contains(env!("CARGO_PKG_VERSION"))),
        (Some(0), true)
    );
}

#[tokio::test]
async fn wrong_usage_exits_2() {
    for wrong in [
        &["brew"][..],
        &["serve", "--coffee"],
        &["serve", "--set", "no-equals-sign"],
    ] {
        assert_eq!(Launch::of(wrong).finish().await.code, Some(2), "{wrong:?}");
    }
}

#[tokio::test]
async fn config_lists_every_setting_with_its_source_and_masks_the_key() {
    let ended = Launch::of(&["config"])
        .towards("http://127.0.0.1:1/v1")
        .set("limits.token", "7/60s")
        .finish()
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let line = |setting: &str| {
        let mut lines = ended.out.lines();
        lines
            .find(|line| line.split('=').next().unwrap().trim() == setting)
            .unwrap_or_else(|| panic!("{setting} in {}", ended.out))
    };
    assert!(line("upstream.api_key").contains("***"));
    assert!(line("upstream.api_key").contains("OPENAI_API_KEY"));
    assert!(line("limits.token").contains("7/60s") && line("limits.token").contains("flag"));
    assert!(
        line("limits.refresh").contains("120/60s") && line("limits.refresh").contains("default")
    );
    assert!(line("server.drain_delay").contains("5s"));
    assert!(!format!("{ended:?}").contains(KEY), "{ended:?}");
}

#[tokio::test]
async fn healthcheck_tells_a_broker_that_is_alive_from_one_that_is_not() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator).start().await;
    let address = broker.address.to_string();
    for extra in [&[][..], &["--ready"]] {
        let arguments = [&["healthcheck", "--listen", &address], extra].concat();
        let ended = Launch::of(&arguments).finish().await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    broker.stop().await;
    let ended = Launch::of(&["healthcheck", "--listen", &address])
        .finish()
        .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains(&address), "{ended:?}");
}

#[tokio::test]
async fn healthcheck_finds_a_broker_below_a_path_and_with_its_own_hosts() {
    let simulator = simulator(&[]).await;
    let below = [
        ("server.base_path", "/api/voice-agent"),
        ("server.hosts", "broker.example.com"),
    ];
    let with = |launch: Launch| {
        below
            .iter()
            .fold(launch, |launch, (name, value)| launch.set(name, value))
    };
    let broker = with(Launch::serve(&simulator)).start().await;
    let address = broker.address.to_string();
    let ended = with(Launch::of(&[
        "healthcheck",
        "--ready",
        "--listen",
        &address,
    ]))
    .finish()
    .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[tokio::test]
async fn healthcheck_ready_fails_while_draining_and_plain_healthcheck_does_not() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator)
        .set("server.drain_delay", "20s")
        .set("server.drain_timeout", "1s")
        .start()
        .await;
    broker.running.signal("TERM");
    broker.running.said(|line| line.contains("draining")).await;
    let address = broker.address.to_string();
    let ready = Launch::of(&["healthcheck", "--ready", "--listen", &address])
        .finish()
        .await;
    assert_eq!(ready.code, Some(1), "{ready:?}");
    let alive = Launch::of(&["healthcheck", "--listen", &address])
        .finish()
        .await;
    assert_eq!(alive.code, Some(0), "{alive:?}");
}

#[tokio::test]
async fn simulate_serves_a_broker_of_its_own_process_and_fails_as_told() {
    let upstream = Launch::of(&[
        "simulate",
        "--listen",
        "127.0.0.1:0",
        "--key",
        KEY,
        "--fault",
        "1x400",
    ])
    .spawn();
    let line = upstream
        .said(|line| line.contains("OPENAI_BASE_URL="))
        .await;
    let base_url = line
        .split("OPENAI_BASE_URL=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    let broker = Launch::of(&["serve"]).towards(base_url).start().await;
    broker.token().await.is(502, "upstream_invalid");
    broker.token().await.secret();
    upstream.signal("TERM");
    let mut upstream = upstream;
    assert_eq!(
        upstream.end(crate::kit::waiting::PATIENCE).await.code,
        Some(0)
    );
}

#[tokio::test]
async fn the_log_is_json_when_nobody_watches() {
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator).start().await;
    broker.token().await.secret();
    Answer::to(broker.get("/nothing"))
        .await
        .is(404, "not_found");
    let ended = broker.stop().await;
    for line in ended.out.lines() {
        let line: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        assert!(
            line["timestamp"].is_string() || line["timestamp"].is_u64(),
            "{line}"
        );
    }
    assert_eq!(ended.err, "");
}

#[tokio::test]
async fn nl_a_reader_that_has_read_enough_is_no_failure() {
    let command = format!(
        "'{}' config --set upstream.api_key=sk-a --set cors.allowed_origins=https://a.example | head -n 1",
        env!("CARGO_BIN_EXE_token-broker")
    );
    for _ in 0..5 {
        let (succeeded, out, err) =
            run(program("bash").args(["-o", "pipefail", "-c", &command])).await;
        assert!(succeeded && out.lines().count() == 1, "{out}{err}");
        assert_eq!(err, "");
    }
}

#[tokio::test]
async fn nl_erase_without_a_ledger_speaks_of_the_ledger() {
    let erase = |url: &str| Launch::of(&["erase", "--subject", "ana"]).env("DATABASE_URL", url);
    for url in ["memory", "sqlite://nowhere.db"] {
        let ended = erase(url).finish().await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(!ended.err.contains("issuer"), "{ended:?}");
        assert!(ended.err.contains("ledger"), "{ended:?}");
    }
}
