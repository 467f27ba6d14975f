//! The headers that every answer carries.

use axum::http::Method;
use token_broker::upstream::UpstreamError;

use crate::kit::PAGE;
use crate::kit::in_process::TestApp;

const ALWAYS: [(&str, &str); 6] = [
    ("cache-control", "no-store"),
    ("x-content-type-options", "nosniff"),
    (
        "content-security-policy",
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
];

#[tokio::test]
async fn every_answer_carries_the_security_headers_once_and_a_request_id() {
    let app = TestApp::with(&[("limits.token", "3/60s")]);
    app.minter.fail(UpstreamError::TimedOut);
    let calls = [
        (app.post("/token"), 504),
        (app.post("/token"), 200),
        (app.post("/token").body("text/plain", "x"), 415),
        (app.post("/token"), 429),
        (app.post("/token").origin("https://evil.test"), 403),
        (app.post("/token").without("host"), 400),
        (app.get("/token"), 405),
        (app.get("/nothing"), 404),
        (app.get("/health"), 200),
        (app.get("/livez"), 200),
        (app.get("/openapi.json"), 200),
        (
            app.call(Method::OPTIONS, "/token")
                .origin(PAGE)
                .header("access-control-request-method", "POST"),
            200,
        ),
        (
            app.call(Method::OPTIONS, "/token")
                .origin("null")
                .header("access-control-request-method", "POST"),
            403,
        ),
    ];
    for (call, status) in calls {
        let answer = call.send().await;
        assert_eq!(answer.status, status, "{}", answer.text);
        for (name, value) in ALWAYS {
            assert_eq!(
                answer.headers.get_all(name).iter().count(),
                1,
                "{name} on {status}"
            );
            assert_eq!(answer.header(name), Some(value), "{name} on {status}");
        }
        let id = answer.header("x-request-id").unwrap();
        assert!(id.starts_with("req_"));
        if answer.status >= 400 {
            assert_eq!(answer.json["error"]["request_id"], id);
            assert_eq!(answer.json["success"], false);
            assert_eq!(answer.header("content-type"), Some("application/json"));
        }
        for revealing in [
            "server",
            "x-powered-by",
            "strict-transport-security",
            "clear-site-data",
        ] {
            assert!(answer.header(revealing).is_none(), "{revealing}");
        }
    }
}
