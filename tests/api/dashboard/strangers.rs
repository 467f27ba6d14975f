//! Attacks: forged cookies, guesses, rebound names, forms of foreign pages, texts that mean to be code.

use std::time::Duration;

use crate::calls::OFFER;
use crate::kit::in_process::{TestApp, claims, student};
use crate::kit::issuer::sign;

use super::{HOME, TOKEN, app, cookie, get, post, read, send};

const PAGES: [&str; 9] = [
    "/",
    "/pages/calls",
    "/pages/usage",
    "/pages/users",
    "/pages/user?issuer=a&subject=b",
    "/pages/cost",
    "/pages/errors",
    "/pages/latency",
    "/pages/security",
];
/// The forms that change something for an operator who is signed in.
const FORMS: [&str; 4] = [
    "/pages/calls/hangup",
    "/pages/security/lift",
    "/pages/user/end",
    "/sign-out",
];

#[tokio::test]
async fn without_a_cookie_every_page_is_the_form_and_nothing_else() {
    let test = app(&[]);
    let form = get(&test, "/sign-in").send().await;
    assert_eq!(form.status, 200);
    for page in PAGES.into_iter().chain(["/pages/calls/live"]) {
        let answer = get(&test, page).send().await;
        assert_eq!((answer.status, &answer.text), (401, &form.text), "{page}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
    }
    for path in FORMS {
        let answer = post(&test, path, "all=yes").send().await;
        assert_eq!((answer.status, &answer.text), (401, &form.text), "{path}");
    }
}

#[tokio::test]
async fn the_token_earns_a_cookie_of_twelve_hours_that_no_script_and_no_other_site_gets() {
    let test = app(&[]);
    let fields = format!("token={TOKEN}");
    let answer = post(&test, "/sign-in", &fields).send().await;
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    for part in ["Path=/", "Max-Age=43200", "HttpOnly", "SameSite=Strict"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure") && !cookie.contains(TOKEN));
    let over_https = test.post("/sign-in");
    let over_https = over_https.through(test.app.ops_onion().unwrap());
    let over_https = over_https.origin("https://broker.example.com");
    let over_https = over_https.body(super::FORM, fields).send().await;
    let secure = over_https.header("set-cookie").unwrap();
    assert!(secure.ends_with("; Secure"), "{secure}");

    let value = cookie.split(';').next().unwrap().to_owned();
    let today = async || get(&test, "/").header("cookie", &value).send().await.status;
    assert_eq!(today().await, 200);
    test.advance(12 * 3600 - 1);
    assert_eq!(today().await, 200);
    test.advance(1);
    assert_eq!(today().await, 401);
}

#[tokio::test]
async fn forged_cookies_open_nothing() {
    let test = app(&[]);
    let real = cookie(&test).await;
    let (until, signature) = real.split_once('=').unwrap().1.split_once('.').unwrap();
    let later = until.parse::<u64>().unwrap() + 1;
    let other = TestApp::with(&[
        ("ops.token", "another-token-that-is-long-enough"),
        ("ops.hosts", "broker.example.com"),
    ]);
    let others = post(
        &other,
        "/sign-in",
        "token=another-token-that-is-long-enough",
    );
    let others = others.send().await.header("set-cookie").unwrap().to_owned();
    for forged in [
        String::new(),
        "operator=".to_owned(),
        "operator=1".to_owned(),
        format!("operator={until}."),
        format!("operator={later}.{signature}"),
        format!("operator={until}.{}", signature.to_lowercase()),
        format!("operator=-{until}.{signature}"),
        format!("operator={}.{signature}", u64::MAX),
        format!("operator={TOKEN}"),
        format!("other={until}.{signature}"),
        others.split(';').next().unwrap().to_owned(),
    ] {
        let answer = get(&test, "/").header("cookie", &forged).send().await;
        assert_eq!(answer.status, 401, "{forged}");
    }
    let among_others = format!("a=b; operator=x.y; {real}; c=d");
    let answer = get(&test, "/").header("cookie", among_others).send().await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_wrong_token_is_answered_late_and_never_locks_the_right_one_out() {
    let test = app(&[]);
    for number in 0..10 {
        let guess = post(&test, "/sign-in", &format!("token=guess-{number}"));
        let late = async {
            test.clock.awaited(Duration::from_secs(1)).await;
            test.advance(1);
        };
        let (answer, ()) = tokio::join!(guess.send(), late);
        assert_eq!(answer.status, 401);
        assert!(answer.text.contains("This is not the token"));
        assert_eq!(answer.header("set-cookie"), None);
    }
    let blocked = post(&test, "/sign-in", "token=guess-10").send().await;
    assert_eq!(blocked.status, 429);
    assert!(!test.events("auth_failed").is_empty());
    cookie(&test).await;
}

#[tokio::test]
async fn wrong_bearer_tokens_count_on_every_page_as_they_do_on_the_paths_for_programs() {
    let test = app(&[]);
    let ask = async |path: &str, credential: &str| {
        let call = get(&test, path).header("authorization", credential);
        call.send().await.status
    };
    // What a proxy in front asks for is no guess.
    for _ in 0..20 {
        assert_eq!(ask("/", "Basic b3BlcmF0b3I6eA==").await, 401);
    }
    assert_eq!(test.events("auth_failed").len(), 0);
    for page in PAGES.into_iter().chain(["/pages/calls/live"]) {
        assert_eq!(ask(page, "Bearer guess").await, 401, "{page}");
    }
    for path in ["/", "/pages/calls", "/metrics"] {
        assert_eq!(ask(path, "Bearer guess").await, 429, "{path}");
    }
    assert!(!test.events("auth_failed").is_empty());
    assert_eq!(ask("/", &format!("Bearer {TOKEN}")).await, 200);
    cookie(&test).await;
}

#[tokio::test]
async fn pages_have_names_of_this_machine_or_of_the_settings_and_no_others() {
    let test = TestApp::with(&[("ops.token", TOKEN), ("ops.hosts", "ops.example.com:9443")]);
    let ask = async |host: &str| {
        let call = get(&test, "/sign-in").without("host");
        call.header("host", host).send().await.status
    };
    for ours in [
        "localhost:9090",
        "127.0.0.1:9090",
        "[::1]:9090",
        "ops.example.com:9443",
    ] {
        assert_eq!(ask(ours).await, 200, "{ours}");
    }
    for other in [
        "rebound.example.net:9090",
        "ops.example.com",
        "localhost.example.net",
        "10.0.0.5:9090",
    ] {
        assert_eq!(ask(other).await, 421, "{other}");
    }
    // Programs that show the token may use any name.
    let metrics = get(&test, "/metrics").bearer(TOKEN).send().await;
    assert_eq!(metrics.status, 200);
}

#[tokio::test]
async fn forms_of_other_pages_change_nothing() {
    let test = app(&[]);
    let opened = test.post("/calls").body("application/sdp", OFFER);
    assert_eq!(opened.send().await.status, 201);
    let cookie = cookie(&test).await;
    let form = |path: &str, origin: Option<&str>| {
        let call = test.post(path);
        let call = call.through(test.app.ops_onion().unwrap());
        let call = call.header("cookie", &cookie);
        let call = call.body(super::FORM, "all=yes");
        match origin {
            Some(origin) => call.origin(origin),
            None => call,
        }
    };
    for origin in [
        None,
        Some("null"),
        Some("https://evil.example.net"),
        Some("http://broker.example.com:81"),
        Some("http://broker.example.com.evil.example.net"),
        Some("broker.example.com"),
    ] {
        for path in FORMS {
            let refused = form(path, origin).send().await;
            refused.is(403, "origin_not_allowed");
        }
    }
    let cross = form(FORMS[0], Some(HOME)).header("sec-fetch-site", "cross-site");
    cross.send().await.is(403, "origin_not_allowed");
    let twice = form(FORMS[0], Some(HOME)).origin("https://evil.example.net");
    twice.send().await.is(403, "origin_not_allowed");
    // Another page cannot sign somebody in, either.
    let enter = test.post("/sign-in").through(test.app.ops_onion().unwrap());
    let enter = enter.body(super::FORM, format!("token={TOKEN}"));
    enter.send().await.is(403, "origin_not_allowed");
    let calls = read(&test, "/pages/calls").await;
    assert!(calls.text.contains("Hang up <span"), "the call lives on");
}

/// Texts that callers choose: of subjects, roles and origins.
const CODE: &str = "<script>alert(1)</script>'\"><img src=x onerror=alert(1)>";

#[tokio::test]
async fn what_callers_write_is_text_on_every_page_and_no_formula_in_a_spreadsheet() {
    let test = app(&[]);
    let coder = sign(&claims(CODE, CODE));
    for bearer in [coder, student("=HYPERLINK(\"http://evil.test\")")] {
        let minted = test.post("/token").bearer(&bearer);
        let minted = minted.header("user-agent", CODE).send().await;
        assert_eq!(minted.status, 200, "{}", minted.text);
        let opened = test.post("/calls").bearer(&bearer);
        let opened = opened.body("application/sdp", OFFER).send().await;
        assert_eq!(opened.status, 201, "{}", opened.text);
    }
    test.post("/token").origin(CODE).bearer(CODE).send().await;
    test.get("/nowhere/%3Cscript%3E").send().await;
    let subject: String = url::form_urlencoded::byte_serialize(CODE.as_bytes()).collect();
    let user = format!("/pages/user?issuer=https%3A%2F%2Fid.example.com%2F&subject={subject}");
    let pages = PAGES.into_iter().chain([&*user]);
    let mut seen = 0;
    for page in pages {
        let answer = read(&test, page).await;
        assert_eq!(answer.status, 200, "{page}: {}", answer.text);
        assert!(!answer.text.contains("<script>"), "{page}");
        assert!(!answer.text.contains("<img"), "{page}");
        seen += answer.text.matches("&#60;script&#62;").count();
    }
    assert!(seen >= 6, "the texts are shown: {seen}");
    let file = read(&test, "/pages/users?table=users&as=csv").await;
    assert!(
        file.text
            .contains("\"'=HYPERLINK(\"\"http://evil.test\"\")\""),
        "{}",
        file.text
    );
}

#[tokio::test]
async fn names_personas_and_formulas_of_callers_reach_no_page_and_no_spreadsheet_as_code() {
    let test = app(&[]);
    let formula = "=cmd|'/C calc'!A0";
    let mut named = claims("nina", formula);
    named["user_metadata"]["full_name"] = CODE.into();
    let bearer = sign(&named);
    let minted = test.post("/token").bearer(&bearer);
    assert_eq!(minted.send().await.status, 200);
    for field in ["persona", "language", "userRole"] {
        let body = serde_json::json!({ field: CODE });
        let asked = test.post("/token").bearer(&bearer).json(&body).send().await;
        assert!(!asked.text.contains("<script>"), "{field}: {}", asked.text);
    }
    let code: String = url::form_urlencoded::byte_serialize(CODE.as_bytes()).collect();
    let call = test.post(&format!("/calls?persona={code}")).bearer(&bearer);
    let call = call.body("application/sdp", OFFER).send().await;
    assert!(call.status >= 400, "{}", call.text);
    for page in PAGES {
        let page = read(&test, page).await;
        assert!(!page.text.contains("<script>") && !page.text.contains("<img"));
    }
    for table in ["days", "roles"] {
        let file = read(&test, &format!("/pages/usage?table={table}&as=csv")).await;
        let quoted = format!("\"'{formula}\"");
        assert!(file.text.contains(&quoted), "{}", file.text);
    }
}

#[tokio::test]
async fn what_stands_in_a_query_a_path_or_a_form_comes_back_as_text_or_not_at_all() {
    let test = app(&[]);
    let code: String = url::form_urlencoded::byte_serialize(CODE.as_bytes()).collect();
    for path in [
        format!("/pages/usage?show={code}"),
        format!("/pages/usage?{code}=1"),
        format!("/pages/usage?table={code}&as=csv"),
        format!("/pages/user?issuer={code}&subject={code}"),
        format!("/pages/user?issuer={code}&subject={code}&table=days&as=csv"),
        format!("/pages/{code}"),
    ] {
        let answer = read(&test, &path).await;
        let is_page = answer.header("content-type") == Some("text/html; charset=utf-8");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert!(!answer.text.contains("<script>"), "{path}: {}", answer.text);
        assert_eq!(
            is_page,
            answer.status == 200 && !path.contains("as="),
            "{path}"
        );
    }
    let guess = post(&test, "/sign-in", &format!("token={code}"));
    let late = async {
        test.clock.awaited(Duration::from_secs(1)).await;
        test.advance(1);
    };
    let (answer, ()) = tokio::join!(guess.send(), late);
    assert_eq!(answer.status, 401);
    assert!(!answer.text.contains("alert(1)"), "{}", answer.text);
}

#[tokio::test]
async fn queries_that_nobody_expects_are_refused() {
    let test = app(&[]);
    let long = format!("subject={}", "x".repeat(3000));
    let many = "x=1&".repeat(2000);
    for (query, param) in [
        ("days=8", "days"),
        ("days=999999999999", "days"),
        ("days=", "days"),
        ("page=0", "page"),
        ("page=4294967297", "page"),
        ("show=secrets", "show"),
        ("as=xml", "as"),
        ("as=csv", "table"),
        ("as=csv&table=nothing", "table"),
        ("next=//evil.test", "query"),
        (&*long, "query"),
        (&*many, "query"),
    ] {
        let refused = read(&test, &format!("/pages/usage?{query}")).await;
        refused.is(400, "bad_request");
        assert_eq!(refused.json["error"]["param"], param, "{query}");
    }
    read(&test, "/pages/nothing").await.is(404, "not_found");
    let large = format!("id={}", "x".repeat(9000));
    let large = send(&test, "/pages/calls/hangup", &large).await;
    large.is(413, "payload_too_large");
}
