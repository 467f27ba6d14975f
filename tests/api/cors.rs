//! Pages of other origins: who may call, who may read, and what a refusal costs.

use axum::http::Method;

use crate::kit::PAGE;
use crate::kit::answer::Answer;
use crate::kit::in_process::TestApp;

const STRANGER: &str = "https://evil.test";

fn readable(answer: &Answer) -> bool {
    answer.header("access-control-allow-origin") == Some(PAGE)
}

#[tokio::test]
async fn a_page_outside_the_list_is_refused_before_anything_is_spent() {
    let app = TestApp::with(&[
        ("limits.token", "1/60s"),
        ("guard.weights.wrong_origin", "0"),
    ]);
    for stranger in [
        STRANGER,
        "null",
        "https://app.example.com.evil.test",
        "http://app.example.com",
        "https://APP.example.com",
    ] {
        let answer = app.post("/token").origin(stranger).send().await;
        answer.is(403, "origin_not_allowed");
        assert!(answer.header("access-control-allow-origin").is_none());
        assert!(answer.header("x-ratelimit-remaining").is_none());
    }
    app.post("/token")
        .origin(PAGE)
        .origin(STRANGER)
        .send()
        .await
        .is(403, "origin_not_allowed");
    assert_eq!(app.minter.asked(), 0);
    assert_eq!(
        app.post("/token").origin(PAGE).send().await.status,
        200,
        "the one place is still there"
    );
}

#[tokio::test]
async fn a_request_without_an_origin_passes_unless_one_is_required() {
    assert_eq!(TestApp::new().post("/token").send().await.status, 200);
    let strict = TestApp::with(&[("server.require_origin", "true")]);
    strict
        .post("/token")
        .send()
        .await
        .is(403, "origin_not_allowed");
    assert_eq!(strict.post("/token").origin(PAGE).send().await.status, 200);
    assert_eq!(
        strict.get("/livez").send().await.status,
        200,
        "probes have no origin"
    );
}

#[tokio::test]
async fn a_preflight_is_answered_exactly_and_costs_nothing() {
    let app = TestApp::with(&[("limits.token", "1/60s")]);
    for _ in 0..5 {
        let answer = app
            .call(Method::OPTIONS, "/token")
            .origin(PAGE)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "content-type,authorization,x-openai-agents-sdk,x-request-id",
            )
            .send()
            .await;
        assert!((200..300).contains(&answer.status));
        assert!(readable(&answer));
        assert_eq!(
            answer.header("access-control-allow-methods"),
            Some("GET,POST")
        );
        let headers = answer.header("access-control-allow-headers").unwrap();
        assert_eq!(
            headers,
            "content-type,authorization,x-openai-agents-sdk,x-request-id"
        );
        assert_eq!(answer.header("access-control-max-age"), Some("86400"));
        assert!(answer.header("access-control-allow-credentials").is_none());
    }
    assert_eq!(app.post("/token").origin(PAGE).send().await.status, 200);
}

#[tokio::test]
async fn a_preflight_that_leads_nowhere_is_refused_without_cors_headers() {
    let app = TestApp::new();
    let preflight = |origin: &str, method: &str, headers: &str| {
        app.call(Method::OPTIONS, "/token")
            .origin(origin)
            .header("access-control-request-method", method)
            .header("access-control-request-headers", headers)
    };
    for (call, code) in [
        (
            preflight(STRANGER, "POST", "content-type"),
            "origin_not_allowed",
        ),
        (
            preflight("null", "POST", "content-type"),
            "origin_not_allowed",
        ),
        (preflight(STRANGER, "POST", "baggage"), "origin_not_allowed"),
        (preflight(PAGE, "DELETE", "content-type"), "forbidden"),
        (preflight(PAGE, "post", "content-type"), "forbidden"),
        (preflight(PAGE, "POST", "x evil"), "forbidden"),
        (
            preflight(PAGE, "POST", "content-type, x-evil;q=1"),
            "forbidden",
        ),
        (preflight(PAGE, "POST", "x-evil: 1"), "forbidden"),
        (preflight(PAGE, "POST", "content-type,\"x\""), "forbidden"),
        (preflight(PAGE, "POST", &names(33)), "forbidden"),
        (preflight(PAGE, "POST", &"x".repeat(2049)), "forbidden"),
    ] {
        let answer = call.send().await;
        answer.is(403, code);
        assert!(
            answer
                .headers
                .keys()
                .all(|name| !name.as_str().starts_with("access-control-")),
            "{:?}",
            answer.headers
        );
    }
}

/// The names of `count` headers.
fn names(count: usize) -> String {
    let names: Vec<_> = (0..count).map(|number| format!("x-{number}")).collect();
    names.join(",")
}

#[tokio::test]
async fn f12_a_page_may_send_the_headers_that_its_monitoring_adds() {
    let app = TestApp::new();
    for asked in [
        "baggage,content-type,sentry-trace",
        "authorization,traceparent,tracestate",
        "x-datadog-origin,x-datadog-parent-id,x-datadog-sampling-priority,x-datadog-trace-id",
        "newrelic",
        "elastic-apm-traceparent",
        "request-context,request-id",
        "b3, X-B3-TraceId,\tX-B3-SpanId",
        "cache-control,ngsw-bypass,pragma,x-csrf-token,x-requested-with",
        "x-odd!#$%&'*+.^_`|~",
        &names(32),
        &"x".repeat(2048),
    ] {
        let preflight = app
            .call(Method::OPTIONS, "/token")
            .origin(PAGE)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", asked);
        let answer = preflight.send().await;
        assert!((200..300).contains(&answer.status), "{asked}");
        assert!(readable(&answer), "{asked}");
        assert_eq!(answer.header("access-control-allow-headers"), Some(asked));
    }
    let traced = app.post("/token").origin(PAGE).header("baggage", "a=1");
    let answer = traced.header("sentry-trace", "0-0").send().await;
    assert_eq!(answer.status, 200);
    assert!(answer.header("access-control-allow-headers").is_none());
}

#[tokio::test]
async fn a_preflight_without_names_of_headers_is_answered() {
    let app = TestApp::new();
    let preflight = app.call(Method::OPTIONS, "/token").origin(PAGE);
    let preflight = preflight.header("access-control-request-method", "POST");
    let answer = preflight.send().await;
    assert!((200..300).contains(&answer.status));
    assert!(readable(&answer));
    assert!(answer.header("access-control-allow-headers").is_none());
}

#[tokio::test]
async fn f14_an_app_that_is_listed_may_call_and_read() {
    let apps = "capacitor://localhost,ionic://localhost,tauri://localhost,http://tauri.localhost,\
                chrome-extension://abcdefghijklmnopabcdefghijklmnop";
    let app = TestApp::with(&[("cors.allowed_origins", apps)]);
    for origin in apps.split(',') {
        let preflight = app.call(Method::OPTIONS, "/token").origin(origin);
        let preflight = preflight
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type");
        for call in [preflight, app.post("/token").origin(origin)] {
            let answer = call.send().await;
            assert!((200..300).contains(&answer.status), "{origin}");
            let allowed = answer.header("access-control-allow-origin");
            assert_eq!(allowed, Some(origin));
        }
    }
    for stranger in [
        "capacitor://localhost:1",
        "capacitor://other",
        "http://localhost",
        "chrome-extension://ponmlkjihgfedcbaponmlkjihgfedcba",
        "null",
    ] {
        let answer = app.post("/token").origin(stranger).send().await;
        answer.is(403, "origin_not_allowed");
    }
}

#[tokio::test]
async fn f31_a_preview_may_call_and_its_session_is_bound_to_it() {
    let pattern = ("cors.allowed_origins", "https://*.preview.example.com");
    let app = TestApp::with(&[pattern]);
    let (one, other) = (
        "https://pr-1.preview.example.com",
        "https://pr-2.preview.example.com",
    );
    let opened = app.post("/token").origin(one).send().await;
    assert_eq!(opened.status, 200);
    assert_eq!(opened.header("access-control-allow-origin"), Some(one));
    app.advance(60);
    let session = serde_json::json!({ "sessionId": opened.json["sessionId"] });
    let refresh = |origin: &str| app.post("/refresh-token").origin(origin).json(&session);
    let foreign = refresh(other).send().await;
    foreign.is(404, "unknown_session");
    assert_eq!(foreign.header("access-control-allow-origin"), Some(other));
    assert_eq!(refresh(one).send().await.status, 200);
    for stranger in [
        "https://preview.example.com",
        "https://a.b.preview.example.com",
        "https://pr-1.preview.example.com.evil.test",
        "http://pr-1.preview.example.com",
        "https://*.preview.example.com",
    ] {
        let answer = app.post("/token").origin(stranger).send().await;
        answer.is(403, "origin_not_allowed");
        assert!(answer.header("access-control-allow-origin").is_none());
    }
}

#[tokio::test]
async fn a_page_can_read_every_refusal() {
    let app = TestApp::with(&[("limits.token", "2/60s")]);
    let told = "retry-after,location,x-request-id,date,x-call-ends-at,x-call-token,server-timing";
    let mut refusals = vec![
        app.post("/token")
            .origin(PAGE)
            .body("text/plain", "x")
            .send()
            .await,
        app.post("/refresh-token")
            .origin(PAGE)
            .json(&serde_json::json!({ "sessionId": "x" }))
            .send()
            .await,
        app.get("/nothing").origin(PAGE).send().await,
        app.call(Method::PUT, "/token").origin(PAGE).send().await,
    ];
    app.minter
        .fail(token_broker::upstream::UpstreamError::Broken(500.into()));
    refusals.push(app.post("/token").origin(PAGE).send().await);
    app.post("/token").origin(PAGE).send().await;
    refusals.push(app.post("/token").origin(PAGE).send().await);
    let statuses: Vec<_> = refusals.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [415, 404, 404, 405, 503, 429]);
    for answer in &refusals {
        assert!(readable(answer), "{}", answer.text);
        assert!(
            answer
                .header("access-control-expose-headers")
                .unwrap()
                .starts_with(told)
        );
    }
}

#[tokio::test]
async fn a_page_can_read_that_a_host_is_not_ours() {
    let app = TestApp::with(&[("server.hosts", "elsewhere.example.com")]);
    let answer = app.post("/token").origin(PAGE).send().await;
    answer.is(421, "misdirected");
    assert!(readable(&answer));
}

#[tokio::test]
async fn every_answer_varies_by_origin_and_preflights_by_the_headers_they_ask_for_too() {
    let app = TestApp::new();
    let preflight = |origin: &str| {
        let call = app.call(Method::OPTIONS, "/token").origin(origin);
        call.header("access-control-request-method", "POST")
    };
    let by_headers = "origin, access-control-request-headers";
    for (call, vary) in [
        (app.post("/token"), "origin"),
        (app.post("/token").origin(PAGE), "origin"),
        (app.post("/token").origin(STRANGER), "origin"),
        (app.get("/health"), "origin"),
        (app.get("/nothing"), "origin"),
        (preflight(PAGE), by_headers),
        (preflight(STRANGER), by_headers),
    ] {
        let answer = call.send().await;
        assert_eq!(answer.headers.get_all("vary").iter().count(), 1);
        assert_eq!(answer.header("vary"), Some(vary));
    }
}

#[tokio::test]
async fn a_hostile_page_cannot_get_its_visitor_blocked() {
    let app = TestApp::new();
    for _ in 0..1000 {
        let call = app
            .post("/token")
            .origin(STRANGER)
            .header("sec-fetch-site", "cross-site");
        call.send().await.is(403, "origin_not_allowed");
    }
    assert_eq!(app.post("/token").origin(PAGE).send().await.status, 200);
}

#[tokio::test]
async fn a_program_that_keeps_trying_origins_is_blocked() {
    let app = TestApp::new();
    for _ in 0..12 {
        app.post("/token")
            .origin(STRANGER)
            .body("application/json", "{}")
            .send()
            .await
            .is(403, "origin_not_allowed");
    }
    app.post("/token")
        .origin(PAGE)
        .send()
        .await
        .is(429, "blocked");
    assert_eq!(app.events("client_blocked").len(), 1);
}

#[tokio::test]
async fn a_picture_on_a_hostile_page_neither_mints_nor_gets_its_visitor_blocked() {
    let app = TestApp::with(&[("compat.get_token", "true")]);
    for site in ["cross-site", "same-site"] {
        for _ in 0..50 {
            let answer = app
                .get("/token")
                .header("sec-fetch-site", site)
                .send()
                .await;
            answer.is(403, "origin_not_allowed");
        }
    }
    assert_eq!(app.minter.asked(), 0);
    for site in ["same-origin", "none"] {
        assert_eq!(
            app.get("/token")
                .header("sec-fetch-site", site)
                .send()
                .await
                .status,
            200
        );
    }
    assert_eq!(
        app.post("/token")
            .origin(PAGE)
            .header("sec-fetch-site", "cross-site")
            .send()
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn a_form_on_a_hostile_page_gets_nowhere_with_or_without_cookies() {
    let app = TestApp::new();
    let form = app
        .post("/token")
        .body("application/x-www-form-urlencoded", "persona=teacher");
    form.header("sec-fetch-site", "cross-site")
        .header("cookie", "session=1")
        .send()
        .await
        .is(403, "origin_not_allowed");
    let form = app
        .post("/token")
        .origin(PAGE)
        .body("text/plain", "{}")
        .header("cookie", "session=1");
    form.send().await.is(415, "unsupported_media_type");
    assert_eq!(app.minter.asked(), 0);
}
