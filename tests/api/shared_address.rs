//! Callers who share an address, a neighbourhood or a budget with others.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::kit::in_process::{TestApp, student, teacher};
use crate::kit::issuer::REQUIRED;

/// A class of verified pupils behind one address.
struct Class {
    app: TestApp,
    sessions: Vec<(String, Value)>,
}

impl Class {
    async fn of(pupils: u32) -> Self {
        let app = TestApp::of(REQUIRED, &[]);
        let mut sessions = Vec::new();
        for number in 0..pupils {
            let pupil = student(&format!("pupil-{number}"));
            let answer = app.post("/token").bearer(&pupil).send().await;
            assert_eq!(answer.status, 200, "pupil {number}: {}", answer.text);
            sessions.push((pupil, answer.json["sessionId"].clone()));
        }
        Self { app, sessions }
    }

    async fn refresh_all(&self) {
        for (pupil, session) in &self.sessions {
            let body = json!({ "sessionId": session });
            let call = self.app.post("/refresh-token").bearer(pupil);
            let answer = call.json(&body).send().await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    }

    fn is_unharmed(&self) {
        for event in [
            "client_blocked",
            "rate_limit_exceeded",
            "suspicious_activity",
        ] {
            assert_eq!(self.app.events(event), Vec::<Value>::new());
        }
    }
}

#[tokio::test]
async fn f01_n01_thirty_verified_pupils_of_one_address_open_and_refresh_for_ten_minutes_unrefused()
{
    let class = Class::of(30).await;
    for _ in 0..60 {
        class.app.advance(10);
        class.refresh_all().await;
    }
    class.is_unharmed();
}

#[tokio::test]
async fn a01_pupils_who_reload_their_page_within_eight_seconds_are_all_let_in() {
    let class = Class::of(30).await;
    for _ in 0..2 {
        for (pupil, _) in &class.sessions {
            let answer = class.app.post("/token").bearer(pupil).send().await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        class.app.advance(4);
    }
    class.is_unharmed();
}

#[tokio::test]
async fn the_ceiling_of_verified_callers_at_an_address_refuses_without_an_offence() {
    let app = TestApp::of(REQUIRED, &[("limits.verified_address", "2/60s")]);
    for name in ["ana", "ben"] {
        app.post("/token").bearer(&student(name)).send().await;
    }
    for _ in 0..59 {
        let refused = app.post("/token").bearer(&student("cleo")).send().await;
        refused.is(429, "rate_limited");
        app.advance(1);
        app.post("/token").bearer(&student("ana")).send().await;
    }
    assert!(app.events("client_blocked").is_empty());
}

#[tokio::test]
async fn a02_a_stranger_without_a_credential_never_locks_out_a_verified_neighbour() {
    let app = TestApp::of(REQUIRED, &[]);
    let tom = teacher("tom");
    let opened = app.post("/token").bearer(&tom).send().await;
    let session = json!({ "sessionId": opened.json["sessionId"] });
    for second in 1..=600 {
        app.advance(1);
        for _ in 0..14 {
            let stranger = app.post("/token").send().await;
            assert!([401, 429].contains(&stranger.status));
        }
        if second % 10 == 0 {
            let call = app.post("/refresh-token").bearer(&tom);
            let answer = call.json(&session).send().await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    }
    app.post("/token").send().await.is(429, "blocked");
    let again = app.post("/token").bearer(&tom).send().await;
    assert_eq!(again.status, 200, "{}", again.text);
}

#[tokio::test]
async fn a04_in_a_full_neighbourhood_an_address_that_never_minted_is_never_blocked() {
    let app = TestApp::with(&[("limits.anonymous_network", "100")]);
    let mut wait = 0;
    for second in 0..600 {
        if second % 60 == 0 {
            for host in 1..=20 {
                for _ in 0..10 {
                    let from = format!("203.0.113.{host}");
                    app.post("/token").from(&from).send().await;
                }
            }
        }
        // Impatient for the first minute, polite afterwards.
        if wait == 0 || second < 60 {
            let answer = app.post("/token").from("203.0.113.200").send().await;
            if answer.status == 429 {
                answer.is(429, "rate_limited");
                assert_eq!(answer.json["error"]["limit"], "token_network");
                wait = answer.retry_after();
            }
        } else {
            wait -= 1;
        }
        app.advance(1);
    }
    assert!(app.events("client_blocked").is_empty());
}

#[tokio::test]
async fn a14_strangers_at_an_address_who_open_sessions_for_ten_minutes_end_no_idle_one() {
    let app = TestApp::new();
    let session = app.open().await;
    let mut opened = 0;
    for _ in 0..600 {
        app.advance(1);
        opened += u32::from(app.post("/token").send().await.status == 200);
    }
    assert!(opened >= 99, "{opened}");
    assert_eq!(app.refresh(&session).await.status, 200);
}

#[tokio::test]
async fn a_script_that_keeps_asking_is_blocked_within_three_seconds_and_a_retrying_page_never_is() {
    let app = TestApp::new();
    for _ in 0..600 {
        // A page that retries once a second, for ten minutes: at most sixty refusals in a window.
        let page = app.post("/token").from("198.51.100.1").send().await;
        assert_ne!(page.json["error"]["code"], "blocked");
        app.advance(1);
    }
    let mut seconds = 0;
    while app.events("client_blocked").is_empty() {
        for _ in 0..200 {
            app.post("/token").send().await;
        }
        app.advance(1);
        seconds += 1;
        assert!(seconds <= 3);
    }
    app.post("/token").send().await.is(429, "blocked");
}

/// The neighbourhood's share of the anonymous day is 5 %: 10 of 200.
const SMALL_DAY: [(&str, &str); 2] = [
    ("limits.anonymous_mints", "200/24h"),
    ("health.details", "full"),
];

async fn rate_limit_status(app: &TestApp) -> Value {
    let health = app.get("/health").send().await;
    assert_eq!(health.status, 200);
    health.json["services"]["rateLimit"]["status"].clone()
}

#[tokio::test]
async fn a05_one_neighbourhood_takes_no_more_than_its_share_of_the_anonymous_day() {
    let app = TestApp::with(&SMALL_DAY);
    let mut minted = 0;
    for site in 0..100 {
        let from = format!("2001:db8:0:{site:x}::1");
        minted += u32::from(app.post("/token").from(&from).send().await.status == 200);
        app.advance(1);
    }
    assert_eq!(minted, 10);
    assert_eq!(app.post("/token").send().await.status, 200);
    assert_eq!(rate_limit_status(&app).await, "operational");
}

#[tokio::test]
async fn a05_one_neighbourhood_takes_no_more_than_its_share_of_a_minute_by_opening_and_refreshing()
{
    let settings = [
        ("limits.mints", "40/60s"),
        ("limits.token_network", "10/60s"),
        ("health.details", "full"),
    ];
    let app = TestApp::with(&settings);
    let session = app.open().await;
    for host in 1..=7 {
        let from = format!("203.0.113.{}", 100 + host);
        assert_eq!(app.post("/token").from(&from).send().await.status, 200);
    }
    for _ in 0..2 {
        app.advance(10);
        assert_eq!(app.refresh(&session).await.status, 200);
    }
    app.advance(10);
    let refused = app.refresh(&session).await;
    refused.is(429, "quota_exceeded");
    assert_eq!(refused.json["error"]["limit"], "mints");
    let elsewhere = app.post("/token").from("198.51.100.7").send().await;
    assert_eq!(elsewhere.status, 200);
    assert_eq!(rate_limit_status(&app).await, "operational");
    app.advance(30);
    assert_eq!(app.refresh(&session).await.status, 200);
}

#[tokio::test]
async fn a11_whoever_asks_very_often_waits_in_line_and_others_get_their_turn() {
    let settings = [
        ("upstream.mints_per_second", "16"),
        ("upstream.max_wait", "1s"),
    ];
    let app = TestApp::with(&settings);
    let mut flood = JoinSet::new();
    for number in 0..40 {
        let from = format!("2001:db8:{}:{number:x}::1", number % 4);
        flood.spawn(app.post("/token").from(&from).send());
    }
    let mut statuses = Vec::new();
    // As many as the pace allows at once are served. Of each neighbourhood, one waits.
    while statuses.len() < 36 {
        statuses.extend(flood.join_next().await.map(|done| done.unwrap().status));
    }
    let served = statuses.iter().filter(|status| **status == 200);
    assert_eq!(served.count(), 16);
    let mut other = tokio::spawn(app.post("/token").send());
    let step = Duration::from_millis(63);
    let answer = loop {
        tokio::select! {
            answer = &mut other => break answer.unwrap(),
            () = app.clock.awaited(step) => app.clock.advance(step),
        }
    };
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[tokio::test]
async fn a05_a_budget_of_everybody_that_is_used_up_turns_health_to_degraded() {
    let app = TestApp::with(&SMALL_DAY);
    for neighbourhood in 0..20 {
        for host in 0..10 {
            let from = format!("198.51.{neighbourhood}.{host}");
            assert_eq!(app.post("/token").from(&from).send().await.status, 200);
        }
        app.advance(60);
    }
    assert_eq!(rate_limit_status(&app).await, "operational");
    let refused = app.post("/token").send().await;
    refused.is(429, "quota_exceeded");
    assert_eq!(rate_limit_status(&app).await, "degraded");
    assert_eq!(app.get("/health").send().await.json["status"], "degraded");
    app.advance(refused.retry_after());
    assert_eq!(rate_limit_status(&app).await, "operational");
}
