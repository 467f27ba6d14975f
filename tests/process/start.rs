//! How it starts, or says why it does not.

use std::net::TcpListener;

use tokio::time::Instant;

use crate::kit::PAGE;
use crate::kit::answer::Answer;
use crate::kit::executable::Launch;
use crate::kit::http::client;
use crate::kit::programs::{program, run};
use crate::kit::provider::{KEY, simulator};
use crate::kit::waiting::SOON;

#[tokio::test]
async fn dev_prints_an_address_and_a_curl_line_that_returns_a_client_secret() {
    let began = Instant::now();
    let broker = Launch::of(&["dev", "--listen", "127.0.0.1:0"]).spawn();
    let address = broker
        .said(|line| line.contains("listens on http://127.0.0.1:"))
        .await;
    let line = broker.said(|line| line.trim().starts_with("curl ")).await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    let url = address.rsplit(' ').next().unwrap();
    assert!(line.contains(&format!("{url}/token")), "{line} at {url}");

    let (succeeded, out, err) = run(program("sh").args(["-c", &line])).await;
    assert!(succeeded, "{err}");
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(
        answer["token"].as_str().unwrap().starts_with("ek_sim_"),
        "{out}"
    );
}

#[tokio::test]
async fn the_second_curl_line_of_dev_lets_the_upstream_fail() {
    let broker = Launch::of(&["dev", "--listen", "127.0.0.1:0"]).spawn();
    let fail = broker.said(|line| line.contains("curl -X PUT")).await;
    let (succeeded, out, err) = run(program("sh").args(["-c", &fail])).await;
    assert!(succeeded && out.contains("503"), "{out}{err}");
    let mint = broker
        .said(|line| line.trim().starts_with("curl -X POST"))
        .await;
    let (_, out, _) = run(program("sh").args(["-c", &mint])).await;
    assert!(out.contains("upstream_unavailable"), "{out}");
}

#[tokio::test]
async fn the_page_of_dev_is_told_of_sam_and_toni_and_they_get_what_their_roles_may() {
    let broker = Launch::of(&["dev", "--listen", "127.0.0.1:0"]).spawn();
    let address = broker.said(|line| line.contains("listens on ")).await;
    let url = address.rsplit(' ').next().unwrap();
    let about = Answer::to(client().get(format!("{url}/demo/about"))).await;
    assert_eq!(about.json["mode"], "dev", "{about:?}");
    assert_eq!(about.json["simulated"], true, "{about:?}");
    let people = about.json["people"].as_array().unwrap();
    let names: Vec<_> = people
        .iter()
        .map(|person| [&person["name"], &person["role"]].map(|text| text.as_str().unwrap()))
        .collect();
    assert_eq!(names, [["Sam", "student"], ["Toni", "teacher"]]);
    let mint = async |person: usize| {
        let bearer = people[person]["bearer"].as_str().unwrap();
        Answer::to(client().post(format!("{url}/token")).bearer_auth(bearer)).await
    };
    for _ in 0..8 {
        mint(0).await.secret();
    }
    mint(0).await.is(429, "quota_exceeded");
    mint(1).await.secret();
}

#[tokio::test]
async fn only_the_page_of_dev_plays_tricks_with_calls_and_only_on_loopback() {
    let tricks = ["hangup", "cut"].map(|what| format!("/demo/calls/rtc_1/{what}"));
    let send = async |url: &str, path: &str, site: Option<&str>| {
        let request = client().post(format!("{url}{path}"));
        let site = site.map(|site| ("sec-fetch-site", site));
        let request = site
            .into_iter()
            .fold(request, |request, (name, site)| request.header(name, site));
        Answer::to(request).await
    };
    for (listen, answers) in [("127.0.0.1:0", true), ("0.0.0.0:0", false)] {
        let broker = Launch::of(&["dev", "--listen", listen]).spawn();
        let address = broker.said(|line| line.contains("listens on ")).await;
        let url = address.rsplit(' ').next().unwrap();
        let about = Answer::to(client().get(format!("{url}/demo/about"))).await;
        assert_eq!(about.json["call_persona"] == "demo", answers, "{about:?}");
        for path in &tricks {
            let own = send(url, path, Some("same-origin")).await;
            if !answers {
                own.is(404, "not_found");
                continue;
            }
            assert_eq!(own.status, 200, "{own:?}");
            for site in [Some("same-site"), Some("cross-site"), Some("none"), None] {
                send(url, path, site).await.is(403, "origin_not_allowed");
            }
        }
    }
}

#[tokio::test]
async fn n07_dev_keeps_the_auth_mode_that_any_source_sets() {
    let address = ["dev", "--listen", "127.0.0.1:0"];
    let flag = |mode| Launch::of(&address).set("auth.mode", mode);
    let off = "[auth]\nmode = \"off\"\n";
    let cases = [
        ("off", flag("off")),
        ("off", Launch::of(&address).env("BROKER_AUTH__MODE", "off")),
        (
            "off",
            Launch::of(&address).file(".env", "BROKER_AUTH__MODE=off\n"),
        ),
        (
            "off",
            Launch::of(&[&address[..], &["--config", "own.toml"]].concat()).file("own.toml", off),
        ),
        ("optional", Launch::of(&address)),
        ("optional", flag("optional")),
        ("required", flag("required")),
    ];
    for (mode, launch) in cases {
        let broker = launch.spawn();
        let line = broker.said(|line| line.contains("listens on ")).await;
        let url = format!("{}/token", line.rsplit(' ').next().unwrap());
        let bare = Answer::to(client().post(&url)).await;
        let anything = Answer::to(client().post(&url).bearer_auth("anything")).await;
        match mode {
            "required" => bare.is(401, "unauthorized"),
            _ => drop(bare.secret()),
        }
        match mode {
            "off" => drop(anything.secret()),
            _ => anything.is(401, "unauthorized"),
        }
        broker.said(|line| line.contains("Ctrl-C")).await;
        let said = broker.all_said();
        let names_sam = said.iter().any(|line| line.contains("# Sam"));
        assert_eq!(names_sam, mode != "off", "{mode}: {said:?}");
    }
}

#[tokio::test]
async fn serve_without_key_and_origins_exits_78_at_once_and_names_both() {
    let began = Instant::now();
    let ended = Launch::of(&["serve"]).finish().await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(ended.code, Some(78), "{ended:?}");
    for setting in [
        "upstream.api_key",
        "OPENAI_API_KEY",
        "cors.allowed_origins",
        "ALLOWED_ORIGINS",
    ] {
        assert!(ended.err.contains(setting), "{setting} in {}", ended.err);
    }
}

#[tokio::test]
async fn serve_is_what_runs_when_nothing_is_asked_for() {
    assert_eq!(Launch::of(&[]).finish().await.code, Some(78));
}

#[tokio::test]
async fn every_mistake_in_the_settings_is_told_at_once_and_no_value_is() {
    let ended = Launch::of(&["serve"])
        .env("OPENAI_API_KEY", "sk canary-key")
        .env("ALLOWED_ORIGINS", "canary-origin")
        .env("OPENAI_BASE_URL", "canary-url")
        .env("VOICE_AGENT_TOKEN_DURATION", "canary-duration")
        .env("BROKER_SERVER__LISTN", "canary-unknown")
        .env("BROKER_LIMITS__REFRESH", "canary-rate")
        .set("session.max_age", "canary-age")
        .finish()
        .await;
    assert_eq!(ended.code, Some(78), "{ended:?}");
    for setting in [
        "upstream.api_key",
        "cors.allowed_origins",
        "upstream.base_url",
        "session.token_seconds",
        "BROKER_SERVER__LISTN",
        "BROKER_SERVER__LISTEN",
        "limits.refresh",
        "session.max_age",
    ] {
        assert!(ended.err.contains(setting), "{setting} in {}", ended.err);
    }
    assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
}

#[tokio::test]
async fn serve_refuses_settings_that_are_unsafe_in_public() {
    for (name, value) in [
        ("cors.allowed_origins", "*"),
        ("upstream.base_url", "http://upstream.example/v1"),
        ("server.trusted_proxies", "0.0.0.0/0"),
        ("session.token_seconds", "7201"),
    ] {
        let ended = Launch::of(&["serve"])
            .towards("http://127.0.0.1:1/v1")
            .set(name, value)
            .finish()
            .await;
        assert_eq!(ended.code, Some(78), "{name}: {ended:?}");
        assert!(ended.err.contains(name), "{name}: {ended:?}");
    }
}

#[tokio::test]
async fn a_port_in_use_is_said_to_be_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = Launch::of(&["serve", "--listen", &address])
        .env("OPENAI_API_KEY", KEY)
        .env("ALLOWED_ORIGINS", PAGE)
        .finish()
        .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains(&address), "{}", ended.err);
    assert!(ended.err.contains("another process"), "{}", ended.err);
    assert!(!ended.out.contains("\"ready\""), "{}", ended.out);
}

#[tokio::test]
async fn the_key_may_come_from_a_file_with_a_line_end() {
    let simulator = simulator(&[]).await;
    let broker = Launch::of(&["serve"])
        .file("key", &format!("{KEY}\n"))
        .env("OPENAI_API_KEY_FILE", "key")
        .env("ALLOWED_ORIGINS", PAGE)
        .env("OPENAI_BASE_URL", &simulator.base_url())
        .env("PORT", "0")
        .start()
        .await;
    broker.token().await.secret();
}

#[tokio::test]
async fn a_key_and_a_file_with_a_key_are_one_too_many() {
    let ended = Launch::of(&["serve"])
        .file("key", KEY)
        .env("OPENAI_API_KEY", KEY)
        .env("OPENAI_API_KEY_FILE", "key")
        .env("ALLOWED_ORIGINS", PAGE)
        .finish()
        .await;
    assert_eq!(ended.code, Some(78), "{ended:?}");
    assert!(!format!("{ended:?}").contains(KEY), "{ended:?}");
}

#[tokio::test]
async fn a_dot_env_file_is_read_by_dev_with_a_byte_order_mark_or_without() {
    for (text, path) in [
        ("BROKER_SERVER__BASE_PATH=/from-dot-env\n", "/from-dot-env"),
        ("\u{feff}BROKER_SERVER__BASE_PATH=/marked\r\n", "/marked"),
    ] {
        let broker = Launch::of(&["dev", "--listen", "127.0.0.1:0"])
            .file(".env", text)
            .spawn();
        let line = broker
            .said(|line| line.trim().starts_with("curl -X POST"))
            .await;
        assert!(line.contains(&format!("{path}/token")), "{line}");
    }
}

#[tokio::test]
async fn a_dot_env_file_is_not_read_by_serve() {
    let text = format!("OPENAI_API_KEY={KEY}\nALLOWED_ORIGINS={PAGE}\nPORT=0\n");
    let ended = Launch::of(&["serve"]).file(".env", &text).finish().await;
    assert_eq!(ended.code, Some(78), "{ended:?}");
    let unread = "a .env is in this directory and is not read";
    assert!(ended.err.contains(unread), "{ended:?}");
    // Also beside settings that can be used, and by `check`.
    let simulator = simulator(&[]).await;
    let broker = Launch::serve(&simulator).file(".env", &text).start().await;
    let ended = broker.stop().await;
    assert!(ended.out.contains(unread), "{ended:?}");
    let check = Launch::of(&["check"]).towards(&simulator.base_url());
    let ended = check.file(".env", &text).finish().await;
    assert!(
        ended.code == Some(0) && ended.out.contains(unread),
        "{ended:?}"
    );
}

#[tokio::test]
async fn the_settings_file_stands_below_the_environment_and_the_flags_above() {
    let simulator = simulator(&[]).await;
    let file = "[server]\nbase_path = \"/file\"\n[limits]\ntoken = \"2/60s\"\n[compat]\nget_token = true\n";
    let broker = Launch::of(&["serve", "--config", "settings.toml"])
        .towards(&simulator.base_url())
        .file("settings.toml", file)
        .env("BROKER_SERVER__BASE_PATH", "/environment")
        .env("BROKER_LIMITS__TOKEN", "3/60s")
        .set("limits.token", "7/60s")
        .start()
        .await;
    let answer = Answer::to(broker.get("/environment/token")).await;
    answer.secret();
    assert_eq!(answer.header("x-ratelimit-limit"), Some("7"));
}

#[tokio::test]
async fn nl_an_address_to_listen_on_may_be_localhost_or_a_port_and_the_ready_line_tells_what_is_bound()
 {
    let simulator = simulator(&[]).await;
    for (listen, begin) in [
        ("localhost:0", "http://127.0.0.1:"),
        ("localhost", "http://127.0.0.1:"),
        ("0", "http://127.0.0.1:"),
        ("0.0.0.0:0", "http://0.0.0.0:"),
        ("[::]:0", "http://[::]:"),
    ] {
        let broker = Launch::serve(&simulator).set("server.listen", listen);
        let running = broker.set("server.base_path", "/voice").spawn();
        let ready = running.logged(|line| line["message"] == "ready").await;
        let address = ready["listen"].as_str().unwrap();
        assert!(address.starts_with(begin), "{listen}: {address}");
        assert!(address.ends_with("/voice"), "{listen}: {address}");
    }
    for wrong in ["localhosts:0", "localhost.:0", ":8080", "*:8080", "80a"] {
        let broker = Launch::serve(&simulator).set("server.listen", wrong);
        let ended = broker.finish().await;
        assert_eq!(ended.code, Some(78), "{wrong}: {ended:?}");
        assert!(ended.err.contains("0.0.0.0:8080"), "{wrong}: {ended:?}");
    }
}

#[tokio::test]
async fn nl_an_address_that_cannot_be_listened_on_is_told_with_its_cause() {
    let simulator = simulator(&[]).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (listen, cause) in [
        (taken.as_str(), "another process uses this port"),
        ("192.0.2.1:8080", "does not have this address"),
    ] {
        let ended = Launch::serve(&simulator)
            .set("server.listen", listen)
            .finish()
            .await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(
            ended.err.contains(cause) && ended.err.contains(listen),
            "{ended:?}"
        );
    }
}
