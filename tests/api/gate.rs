//! The gate as callers meet it: every limit by its name, and honest callers who share an address with others.

use axum::body::Body;
use serde_json::{Value, json};

use crate::harness::{Answer, TestApp};
use crate::people::{REQUIRED, claims, optional, sign_with, student, teacher};

const HERE: &str = "203.0.113.7";
const NEXT_DOOR: &str = "203.0.113.8";

/// One request: from where, on whose behalf, and whether it refreshes the first session.
#[derive(Clone, Copy)]
enum Ask {
    Open(&'static str, Option<&'static str>),
    Refresh(&'static str, Option<&'static str>),
}

use Ask::{Open, Refresh};

/// Lets all requests through but the last, whose answer it returns.
async fn last_answer(settings: &[(&str, &str)], asks: &[Ask]) -> Answer {
    let app = TestApp::of(&optional(), settings);
    let (last, before) = asks.split_last().unwrap();
    let mut session = Value::Null;
    let send = async |ask: Ask, session: &Value| {
        let (path, from, who) = match ask {
            Open(from, who) => ("/token", from, who),
            Refresh(from, who) => ("/refresh-token", from, who),
        };
        let call = app.post(path).from(from);
        let call = match ask {
            Open(..) => call,
            Refresh(..) => call.json(&json!({ "sessionId": session })),
        };
        match who {
            None => call.send().await,
            Some(name) => call.bearer(&student(name)).send().await,
        }
    };
    for ask in before {
        let answer = send(*ask, &session).await;
        assert_ne!(answer.status, 429, "{}", answer.text);
        if session.is_null() {
            session = answer.json["sessionId"].clone();
        }
        app.advance(10);
    }
    send(*last, &session).await
}

#[expect(clippy::too_many_lines, reason = "one row for each limit")]
#[tokio::test]
async fn every_limit_refuses_under_the_name_of_its_setting() {
    const ANA: Option<&str> = Some("ana");
    const BEN: Option<&str> = Some("ben");
    let rate = "rate_limited";
    let quota = "quota_exceeded";
    let cases: [(&str, &str, &str, &[Ask]); 15] = [
        (
            "token",
            "1/60s",
            rate,
            &[Open(HERE, None), Open(HERE, None)],
        ),
        (
            "token_network",
            "1/60s",
            rate,
            &[Open(HERE, None), Open(NEXT_DOOR, None)],
        ),
        (
            "refresh",
            "1/60s",
            rate,
            &[Open(HERE, None), Refresh(HERE, None), Refresh(HERE, None)],
        ),
        (
            "refresh_network",
            "1/60s",
            rate,
            &[
                Open(HERE, None),
                Refresh(HERE, None),
                Refresh(NEXT_DOOR, None),
            ],
        ),
        (
            "verified_address",
            "1/60s",
            rate,
            &[Open(HERE, ANA), Open(HERE, BEN)],
        ),
        (
            "verified_address",
            "1/60s",
            rate,
            &[Open(HERE, ANA), Refresh(HERE, ANA), Refresh(HERE, BEN)],
        ),
        (
            "identity",
            "1/1h",
            rate,
            &[Open(HERE, ANA), Open("198.51.100.1", ANA)],
        ),
        (
            "identity_mints",
            "1/24h",
            rate,
            &[Open(HERE, ANA), Refresh(HERE, ANA)],
        ),
        (
            "anonymous_mints",
            "1/24h",
            quota,
            &[Open(HERE, None), Open("198.51.100.1", None)],
        ),
        (
            "anonymous_network",
            "1",
            quota,
            &[Open(HERE, None), Open(NEXT_DOOR, None)],
        ),
        (
            "mints",
            "2/60s",
            quota,
            &[Open(HERE, ANA), Open(HERE, BEN), Open(HERE, ANA)],
        ),
        (
            "mints",
            "2/60s",
            quota,
            &[Open(HERE, None), Open(NEXT_DOOR, None)],
        ),
        (
            "mints_daily",
            "2/24h",
            quota,
            &[Open(HERE, ANA), Open(HERE, BEN), Open(HERE, ANA)],
        ),
        (
            "mints_daily",
            "2/24h",
            quota,
            &[Open(HERE, None), Open(NEXT_DOOR, None)],
        ),
        (
            "mints",
            "2/60s",
            quota,
            &[Open(HERE, None), Open(HERE, ANA), Open(HERE, BEN)],
        ),
    ];
    for (limit, value, code, asks) in cases {
        let setting = format!("limits.{limit}");
        // So that one percent is one mint.
        let mut settings = vec![(setting.as_str(), value)];
        if limit == "anonymous_network" {
            settings.push(("limits.anonymous_mints", "100/24h"));
        }
        let refused = last_answer(&settings, asks).await;
        refused.is(429, code);
        assert_eq!(refused.json["error"]["limit"], limit, "{}", refused.text);
        assert!(refused.retry_after() >= 1);
    }
}

#[tokio::test]
async fn callers_without_identity_leave_half_of_everybodys_budget_to_the_others() {
    let app = TestApp::of(&optional(), &[("limits.mints", "4/60s")]);
    for host in 1..=2 {
        let from = format!("198.51.100.{host}");
        assert_eq!(app.post("/token").from(&from).send().await.status, 200);
    }
    let refused = app.post("/token").send().await;
    refused.is(429, "quota_exceeded");
    assert_eq!(refused.json["error"]["limit"], "mints");
    for name in ["ana", "ben"] {
        let answer = app.post("/token").bearer(&student(name)).send().await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
}

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
async fn f01_thirty_verified_pupils_of_one_address_open_and_refresh_for_ten_minutes_unrefused() {
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
            assert!([401, 429].contains(&stranger.status.as_u16()));
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

#[tokio::test]
async fn a12_a_page_without_fetch_metadata_never_gets_its_visitor_blocked() {
    let app = TestApp::with(&[("limits.refresh", "1000/60s")]);
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded; charset=utf-8",
        "",
    ] {
        for _ in 0..50 {
            let call = app.post("/token").origin("https://evil.test");
            call.body(kind, "x")
                .send()
                .await
                .is(403, "origin_not_allowed");
            let call = app.post("/refresh-token").body(kind, "x");
            call.send().await.is(415, "unsupported_media_type");
        }
    }
    assert!(app.events("client_blocked").is_empty());
    assert_eq!(app.post("/token").send().await.status, 200);
    // A program: no page can make a browser send this without a preflight, which is refused.
    for _ in 0..12 {
        let call = app.post("/token").origin("https://evil.test");
        let call = call.body("application/json", "{}");
        call.send().await.is(403, "origin_not_allowed");
    }
    app.post("/token").send().await.is(429, "blocked");
}

#[tokio::test]
async fn f16_a_proxy_that_is_not_trusted_is_named_at_the_first_refusal_and_never_blocked() {
    for (proxy, header) in [
        ("127.0.0.1", "x-forwarded-for"),
        ("10.0.0.5", "x-forwarded-for"),
        ("fd00::5", "forwarded"),
    ] {
        let app = TestApp::new();
        for number in 0..=10 {
            assert!(app.events("config_warning").is_empty());
            let call = app.post("/token").from(proxy);
            call.header(header, format!("198.51.100.{number}"))
                .send()
                .await;
        }
        let warnings = app.events("config_warning");
        assert_eq!(warnings.len(), 1);
        assert_eq!(warnings[0]["details"]["setting"], "server.trusted_proxies");
        assert_eq!(warnings[0]["details"]["address"], proxy);
        for _ in 0..60 {
            for _ in 0..30 {
                let call = app.post("/token").from(proxy);
                let answer = call.header(header, "198.51.100.1").send().await;
                assert_ne!(answer.json["error"]["code"], "blocked");
            }
            app.advance(1);
        }
        app.app.state().audit.sum_up(true);
        assert!(app.events("config_warning").len() < 20, "folded");
    }
}

#[tokio::test]
async fn an_address_of_the_internet_that_claims_to_forward_is_blocked_as_any_other() {
    let app = TestApp::new();
    for _ in 0..4 {
        for _ in 0..120 {
            let call = app.post("/token").from("198.51.100.1");
            call.header("x-forwarded-for", "192.0.2.1").send().await;
        }
        app.advance(1);
    }
    assert!(app.events("config_warning").is_empty());
    let answer = app.post("/token").from("198.51.100.1").send().await;
    answer.is(429, "blocked");
}

#[tokio::test]
async fn a_trusted_proxy_is_never_blocked_and_the_caller_behind_it_is() {
    let app = TestApp::with(&[
        ("server.trusted_proxies", "10.0.0.0/8"),
        ("limits.token", "100/60s"),
    ]);
    let send = async |client: Option<&'static str>| {
        let call = app.post("/token").from("10.0.0.1");
        let call = match client {
            None => call,
            Some(client) => call.header("x-forwarded-for", client),
        };
        call.body("application/json", "{").send().await
    };
    for _ in 0..12 {
        send(None).await;
        send(Some("198.51.100.1")).await;
    }
    send(Some("198.51.100.1")).await.is(429, "blocked");
    send(None).await.is(400, "bad_request");
}

#[tokio::test]
async fn f17_f19_placeholders_and_oversized_tokens_are_refused_without_an_offence() {
    let large = format!("{}.{}", student("ana"), "A".repeat(20 * 1024));
    for shown in ["undefined", "null", &large] {
        let app = TestApp::of(REQUIRED, &[]);
        for _ in 0..30 {
            app.post("/token")
                .bearer(shown)
                .send()
                .await
                .is(401, "unauthorized");
        }
        let good = app.post("/token").bearer(&student("ana")).send().await;
        assert_eq!(good.status, 200, "{}", good.text);
        assert!(app.events("suspicious_activity").is_empty());
        assert!(app.events("client_blocked").is_empty());
    }
}

#[tokio::test]
async fn f30_honest_mistakes_in_a_request_are_no_offence() {
    let app = TestApp::with(&[("limits.token", "1000/60s"), ("limits.refresh", "1000/60s")]);
    for body in [
        json!({ "language": "es_MX.UTF-8@euro" }),
        json!({ "voice": "nova" }),
        json!({ "persona": "nobody" }),
        json!({ "persona": 7 }),
        json!([]),
    ] {
        for _ in 0..12 {
            app.post("/token").json(&body).send().await;
        }
    }
    for id in ["", "sess_1", "rts_unknown"] {
        for _ in 0..12 {
            app.refresh(id).await;
        }
    }
    for event in ["suspicious_activity", "client_blocked"] {
        assert_eq!(app.events(event), Vec::<Value>::new());
    }
}

#[tokio::test]
async fn offences_of_a_verified_caller_block_its_identity_everywhere_and_nobody_elses() {
    let app = TestApp::of(&optional(), &[]);
    let ana = student("ana");
    for _ in 0..12 {
        let call = app.post("/refresh-token").bearer(&ana);
        let broken = call.body("application/json", Body::from("{"));
        broken.send().await.is(400, "bad_request");
    }
    let blocked = app.events("client_blocked");
    assert_eq!(blocked.len(), 1);
    assert_eq!(blocked[0]["details"]["identity"], "ana");
    assert_eq!(blocked[0]["details"]["network"], Value::Null);
    let elsewhere = app.post("/token").from("198.51.100.9").bearer(&ana);
    elsewhere.send().await.is(429, "blocked");
    let ben = app.post("/token").bearer(&student("ben")).send().await;
    assert_eq!(ben.status, 200, "{}", ben.text);
    assert_eq!(app.post("/token").send().await.status, 200);
}

#[tokio::test]
async fn verifications_that_fail_are_paced_and_known_credentials_pass_all_the_same() {
    let app = TestApp::of(REQUIRED, &[("limits.refused_credentials", "1000/60s")]);
    let ana = student("ana");
    assert_eq!(app.post("/token").bearer(&ana).send().await.status, 200);
    let forged = |number: u32| {
        let claims = claims(&format!("forger-{number}"), "teacher");
        sign_with(&claims, "another secret that is long enough too")
    };
    for number in 0..50 {
        let answer = app.post("/token").bearer(&forged(number)).send().await;
        assert_ne!(answer.json["error"]["code"], "rate_limited");
    }
    let paced = app.post("/token").bearer(&forged(50)).send().await;
    paced.is(429, "rate_limited");
    assert_eq!(paced.json["error"]["limit"], "failed_verifications");
    assert_eq!(paced.retry_after(), 1);
    let known = app.post("/token").bearer(&ana).send().await;
    assert_eq!(known.status, 200, "{}", known.text);
    let elsewhere = app.post("/token").from("198.51.100.9");
    let elsewhere = elsewhere.bearer(&student("ben")).send().await;
    assert_eq!(elsewhere.status, 200, "{}", elsewhere.text);
    app.advance(1);
    let new = app.post("/token").bearer(&student("cleo")).send().await;
    assert_eq!(new.status, 200, "{}", new.text);
}
