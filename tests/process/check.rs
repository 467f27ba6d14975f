//! What `check` finds.

use serde_json::Value;

use crate::kit::executable::{Ended, Launch};
use crate::kit::provider::{KEY, simulator};
use crate::kit::receiver::Receiver;
use crate::kit::redis::Redis;

/// Whether all is well, and the state of each thing looked at.
fn report(ended: &Ended) -> (bool, Vec<(String, String)>) {
    let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"));
    let findings = report["findings"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = findings.map(|finding| (text(&finding["what"]), text(&finding["state"])));
    (report["ok"].as_bool().unwrap(), findings.collect())
}

fn assert_upstream_broken(ended: &Ended) {
    let (ok, findings) = report(ended);
    assert!(
        ended.code == Some(1) && !ok && has(&findings, "upstream", "broken"),
        "{ended:?}"
    );
}

fn has(findings: &[(String, String)], what: &str, state: &str) -> bool {
    findings
        .iter()
        .any(|(known, is)| known == what && is == state)
}

#[tokio::test]
async fn settings_that_can_be_used_are_fine() {
    let check = |extra: &[&str]| {
        let arguments = [&["check"], extra].concat();
        Launch::of(&arguments)
            .towards("http://127.0.0.1:1/v1")
            .finish()
    };
    let ended = check(&[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        ended.out.contains("ok") && ended.out.contains("every setting can be used"),
        "{ended:?}"
    );
    let ended = check(&["--json"]).await;
    let (ok, findings) = report(&ended);
    assert!(
        ended.code == Some(0) && ok && has(&findings, "settings", "fine"),
        "{ended:?}"
    );
    assert!(has(&findings, "personas", "fine"), "{ended:?}");
}

#[tokio::test]
async fn mo20_check_says_what_a_call_of_each_persona_needs_and_refuses_less() {
    let check = |limit: &str| {
        let arguments = ["check", "--set", limit, "--set", "connect.mode=call"];
        Launch::of(&arguments)
            .towards("http://127.0.0.1:1/v1")
            .finish()
    };
    let ended = check("money.per_day=5.00").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let needs = ended
        .out
        .lines()
        .find(|line| line.contains("a call needs at least"));
    assert!(
        needs.is_some_and(|line| line.contains("default $0.09")),
        "{ended:?}"
    );
    let ended = check("quota.student.money_per_week=0.01").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let says = "quota.student.money_per_week: $0.01 is less than a call needs of default";
    assert!(ended.out.contains(says), "{ended:?}");
    assert!(
        ended
            .out
            .contains("neither money.per_day nor money.per_month is set"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn check_lists_for_people_and_programs_which_role_gets_which_persona() {
    let check = |extra: &[&str]| {
        Launch::of(&[&["check"], extra].concat())
            .towards("http://127.0.0.1:1/v1")
            .finish()
    };
    let ended = check(&["--set", "quota.guest.sessions_per_month=5"]).await;
    let row = |begin: &str| {
        ended
            .out
            .lines()
            .find(|line| line.trim_start().starts_with(begin))
    };
    for (kind, got) in [
        ("no role", "default"),
        ("student, claimed", "student-es"),
        ("guest, claimed", "default"),
    ] {
        assert!(
            row(kind).is_some_and(|row| row.contains(got)),
            "{kind}: {ended:?}"
        );
    }
    let report: Value = serde_json::from_str(&check(&["--json"]).await.out).unwrap();
    let places = report["personas"].as_array().unwrap();
    let student = serde_json::json!({ "role": "student", "verified": false, "language": "es", "persona": "student-es" });
    assert!(places.contains(&student), "{places:?}");
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_broken_each_by_name() {
    let ended = Launch::of(&["check", "--json"])
        .env("BROKER_LIMITS__TOKEN", "often")
        .finish()
        .await;
    let (ok, findings) = report(&ended);
    assert_eq!((ended.code, ok), (Some(78), false), "{ended:?}");
    assert_eq!(
        findings
            .iter()
            .filter(|(_, state)| state == "broken")
            .count(),
        3,
        "{ended:?}"
    );
    for setting in ["upstream.api_key", "cors.allowed_origins", "limits.token"] {
        assert!(ended.out.contains(setting), "{setting}: {ended:?}");
    }
}

#[tokio::test]
async fn online_an_upstream_that_takes_the_key_is_fine_and_costs_no_mint() {
    let simulator = simulator(&[]).await;
    let ended = Launch::of(&["check", "--online", "--json"])
        .towards(&simulator.base_url())
        .finish()
        .await;
    let (ok, findings) = report(&ended);
    assert!(ended.code == Some(0) && ok, "{ended:?}");
    for what in ["settings", "personas", "dns", "upstream", "clock"] {
        assert!(has(&findings, what, "fine"), "{what}: {ended:?}");
    }
    assert_eq!(simulator.seen(), 0);
}

#[tokio::test]
async fn models_that_the_provider_shuts_down_are_warned_of_with_the_day_and_what_to_use() {
    let simulator = simulator(&[]).await;
    let personas = "[default]\nsession = { model = \"gpt-realtime-2025-08-28\" }\n\
                    [new]\nsession = { model = \"gpt-realtime-2.1\" }\n";
    // Offline by the table of this version, online by the provider's own list of models.
    for extra in [&["check"][..], &["check", "--online"]] {
        let ended = Launch::of(extra)
            .towards(&simulator.base_url())
            .file("personas.toml", personas)
            .set("personas.file", "personas.toml")
            .set("transcription.models", "whisper-1,gpt-transcribe")
            .finish()
            .await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        for line in [
            "on 2027-01-20; use gpt-realtime-2.1 in persona default",
            "on 2027-02-26; use gpt-transcribe or gpt-live-transcribe in transcription.models",
        ] {
            assert!(ended.out.contains(line), "{line}: {ended:?}");
        }
        let warned = ended.out.matches("models: ").count();
        assert_eq!(warned, 2, "{ended:?}");
    }
}

#[tokio::test]
async fn online_a_wrong_key_is_broken_and_is_not_shown() {
    let simulator = simulator(&[]).await;
    let ended = Launch::of(&["check", "--online", "--json"])
        .towards(&simulator.base_url())
        .env("OPENAI_API_KEY", "sk-wrong-canary")
        .finish()
        .await;
    assert_upstream_broken(&ended);
    assert!(ended.out.contains("OPENAI_API_KEY"), "{ended:?}");
    assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
}

#[tokio::test]
async fn f22_online_a_key_that_may_mint_and_not_list_models_is_fine() {
    let simulator = simulator(&["models+scope:api.model.read"]).await;
    let ended = Launch::of(&["check", "--online", "--json"])
        .towards(&simulator.base_url())
        .finish()
        .await;
    let (ok, findings) = report(&ended);
    assert!(ended.code == Some(0) && ok, "{ended:?}");
    assert!(has(&findings, "upstream", "fine"), "{ended:?}");
    assert!(ended.out.contains("may not list models"), "{ended:?}");
}

#[tokio::test]
async fn online_it_tries_side_channels_and_the_webhook_and_sends_no_message() {
    let (simulator, receiver) = (simulator(&[]).await, Receiver::start().await);
    let check = |hook: &str| {
        Launch::of(&["check", "--online", "--json"])
            .towards(&simulator.base_url())
            .env("BROKER_ALERTS__WEBHOOK", hook)
            .finish()
    };
    let ended = check(&receiver.url).await;
    let (ok, findings) = report(&ended);
    assert!(ended.code == Some(0) && ok, "{ended:?}");
    assert!(has(&findings, "calls", "fine"), "{ended:?}");
    assert!(has(&findings, "webhook", "fine"), "{ended:?}");
    assert!(receiver.messages().is_empty());
    let ended = check("http://127.0.0.1:1/hook-with-a-secret").await;
    let (ok, findings) = report(&ended);
    assert!(!ok && has(&findings, "webhook", "broken"), "{ended:?}");
    assert!(!format!("{ended:?}").contains("with-a-secret"), "{ended:?}");
}

#[tokio::test]
async fn online_it_tries_the_collector_of_traces_and_sends_none() {
    let (simulator, receiver) = (simulator(&[]).await, Receiver::start().await);
    let check = |collector: &str| {
        Launch::of(&["check", "--online", "--json"])
            .towards(&simulator.base_url())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector)
            .env("BROKER_OTEL__HEADERS", "authorization=canary")
            .finish()
    };
    let ended = check(&receiver.collector).await;
    let (ok, findings) = report(&ended);
    assert!(ok && has(&findings, "traces", "fine"), "{ended:?}");
    assert_eq!(receiver.spans().len(), 0);
    receiver.refuse(1);
    let absent = String::from("http://127.0.0.1:1");
    for broken in [receiver.collector.clone(), absent] {
        let ended = check(&broken).await;
        let (ok, findings) = report(&ended);
        assert!(!ok && has(&findings, "traces", "broken"), "{ended:?}");
        assert!(ended.out.contains("otel.endpoint"), "{ended:?}");
        assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
    }
}

#[tokio::test]
async fn check_ends_with_what_to_change_the_most_dangerous_first() {
    let check = |extra: &[&str]| {
        let arguments = [&["check"], extra].concat();
        Launch::of(&arguments)
            .towards("http://127.0.0.1:1/v1")
            .env("BROKER_ALERTS__WEBHOOK", "http://hooks.example.test/x")
            .set("server.listen", "0.0.0.0:8080")
            .set("connect.mode", "call")
            .set("quota.student.money_per_week", "0.01")
            .finish()
    };
    let ended = check(&["--json"]).await;
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let advice = report["advice"].as_array().unwrap();
    let place = |start: &str| {
        let mut texts = advice.iter().map(|text| text.as_str().unwrap());
        let found = texts.position(|text| text.starts_with(start));
        found.unwrap_or_else(|| panic!("{start}: {advice:#?}"))
    };
    assert_eq!(place("money: quota.student.money_per_week"), 0);
    assert!(place("settings: auth.mode") < place("settings: alerts.webhook"));
    assert!(place("settings: alerts.webhook") < place("money: neither"));
    let ended = check(&[]).await;
    let end = ended.out.split("the most dangerous first:").nth(1).unwrap();
    assert!(
        end.trim_start().starts_with("1. money: quota.student"),
        "{end}"
    );
}

#[tokio::test]
async fn online_nothing_listening_is_broken() {
    let launch = Launch::of(&["check", "--online", "--json"]);
    let ended = launch.towards("http://127.0.0.1:1/v1").finish().await;
    assert_upstream_broken(&ended);
    assert!(ended.out.contains("OPENAI_BASE_URL"), "{ended:?}");
    assert!(!format!("{ended:?}").contains(KEY), "{ended:?}");
}

#[tokio::test]
async fn online_a_name_without_an_address_is_broken() {
    let ended = Launch::of(&["check", "--online"])
        .towards("https://nowhere.invalid/v1")
        .finish()
        .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.out.contains("broken") && ended.out.contains("nowhere.invalid"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn f38_online_it_tries_redis_and_names_what_is_wrong_with_it() {
    let (simulator, server) = (simulator(&[]).await, Redis::start());
    let check = |url: &str| {
        Launch::of(&["check", "--online", "--json"])
            .towards(&simulator.base_url())
            .env("REDIS_URL", url)
            .env("DATABASE_URL", "memory")
            .set("redis.replicas", "1")
            .finish()
    };
    let (_, findings) = report(&check(&server.url()).await);
    assert!(has(&findings, "redis", "fine"), "{findings:?}");
    for command in [
        &["ACL", "SETUSER", "broker", "on", ">right", "+@all", "~*"][..],
        &[
            "ACL", "SETUSER", "reader", "on", ">right", "+@read", "+ping", "~*",
        ],
    ] {
        let _: String = server.ask(command).unwrap();
    }
    let as_user = |user: &str| server.url().replace("://", &format!("://{user}@"));
    let (_, findings) = report(&check(&as_user("broker:right")).await);
    assert!(has(&findings, "redis", "fine"), "{findings:?}");
    let absent = String::from("redis://127.0.0.1:1/");
    for broken in [
        as_user("broker:canary-wrong"),
        as_user("reader:right"),
        absent,
    ] {
        let ended = check(&broken).await;
        let (ok, findings) = report(&ended);
        assert!(!ok && has(&findings, "redis", "broken"), "{findings:?}");
        assert!(!ended.out.contains("canary-wrong"), "{ended:?}");
    }
}
