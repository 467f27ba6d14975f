//! The listener for operators: who may come in, and what there is.

use axum::http::StatusCode;
use serde_json::json;

use crate::kit::PAGE;
use crate::kit::answer::Answer;
use crate::kit::in_process::{Call, TestApp, student, teacher};
use crate::kit::issuer::{ISSUER, REQUIRED, optional};

const TOKEN: &str = "operators-token-that-is-long-enough";

fn app() -> TestApp {
    TestApp::of(REQUIRED, &[("ops.token", TOKEN)])
}

async fn ask(test: &TestApp, path: &str, bearer: &str) -> Answer {
    let onion = test.app.ops_onion().unwrap();
    test.get(path).through(onion).bearer(bearer).send().await
}

#[tokio::test]
async fn without_a_token_in_the_settings_there_is_no_such_listener() {
    assert!(TestApp::new().app.ops_onion().is_none());
}

#[tokio::test]
async fn the_public_listener_knows_none_of_its_paths() {
    let test = app();
    for path in ["/usage", "/sessions/end", "/blocks", "/blocks/lift"] {
        test.get(path)
            .bearer(TOKEN)
            .send()
            .await
            .is(404, "not_found");
    }
}

#[tokio::test]
async fn without_the_token_every_path_answers_alike() {
    let test = app();
    let onion = test.app.ops_onion().unwrap();
    let mut texts = Vec::new();
    for path in [
        "/usage",
        "/sessions/end",
        "/blocks",
        "/blocks/lift",
        "/nothing",
    ] {
        let call = test.get(path).through(onion.clone());
        let answer = call.send().await;
        texts.push((answer.status, answer.anonymised()));
    }
    let guess = test.get("/usage").through(onion).bearer("a-guess");
    let guess = guess.send().await;
    assert_eq!(
        guess.header("www-authenticate"),
        Some("Bearer realm=\"operators\"")
    );
    texts.push((guess.status, guess.anonymised()));
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert_eq!(texts[0].0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a09_ten_guesses_earn_a_block_that_never_locks_the_right_token_out() {
    let test = app();
    for number in 0..10 {
        ask(&test, "/usage", &format!("guess-{number}"))
            .await
            .is(401, "unauthorized");
    }
    ask(&test, "/usage", "guess-10").await.is(429, "blocked");
    assert_eq!(ask(&test, "/usage", TOKEN).await.status, StatusCode::OK);
    test.advance(15 * 60);
    let later = ask(&test, "/usage", "guess-11").await;
    later.is(401, "unauthorized");
    assert!(!test.events("auth_failed").is_empty());
}

async fn lift(test: &TestApp, body: &serde_json::Value) -> Answer {
    let onion = test.app.ops_onion().unwrap();
    let call = test.post("/blocks/lift").through(onion).bearer(TOKEN);
    call.json(body).send().await
}

#[tokio::test]
async fn operators_list_blocks_and_lift_them_by_address_identity_or_party() {
    let settings = [("ops.token", TOKEN), ("limits.token", "100/60s")];
    let test = TestApp::of(&optional(), &settings);
    let offend = async |bearer: Option<&str>, from: &str| {
        for _ in 0..12 {
            let call = test.post("/token").from(from);
            let call = call.body("application/json", "{");
            match bearer {
                None => call.send().await,
                Some(bearer) => call.bearer(bearer).send().await,
            };
        }
    };
    let [ana, ben] = ["ana", "ben"].map(student);
    let listed = async || ask(&test, "/blocks", TOKEN).await.json["blocks"].clone();
    assert_eq!(listed().await, json!([]));
    offend(None, "203.0.113.9").await;
    offend(Some(&ana), "203.0.113.9").await;
    offend(Some(&ben), "203.0.113.9").await;
    let blocks = listed().await;
    assert_eq!(blocks.as_array().unwrap().len(), 3);
    let address = blocks.as_array().unwrap().iter();
    let address = address.filter(|block| block["who"] == "203.0.113.9/32");
    assert_eq!(address.count(), 1);

    let by_address = json!({ "address": "::ffff:203.0.113.9" });
    assert_eq!(lift(&test, &by_address).await.json["lifted"], true);
    assert_eq!(lift(&test, &by_address).await.json["lifted"], false);
    let opened = test.post("/token").from("203.0.113.9").send().await;
    assert_eq!(opened.status, StatusCode::OK, "{}", opened.text);

    let by_identity = json!({ "issuer": ISSUER, "subject": "ana" });
    assert_eq!(lift(&test, &by_identity).await.json["lifted"], true);
    let opened = test.post("/token").bearer(&ana).send().await;
    assert_eq!(opened.status, StatusCode::OK, "{}", opened.text);

    let by_party = json!({ "party": listed().await[0]["party"] });
    assert_eq!(lift(&test, &by_party).await.json["lifted"], true);
    assert_eq!(listed().await, json!([]));
    for wrong in [
        json!({}),
        json!({ "party": "x" }),
        json!({ "issuer": ISSUER }),
    ] {
        lift(&test, &wrong).await.is(400, "bad_request");
    }
}

#[tokio::test]
async fn no_page_may_read_it() {
    let test = app();
    let onion = test.app.ops_onion().unwrap();
    let answer = test
        .get("/usage")
        .through(onion)
        .bearer(TOKEN)
        .origin(PAGE)
        .send()
        .await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn usage_is_summed_up_by_the_requested_column() {
    let test = app();
    for bearer in [student("ana"), student("ana"), teacher("tom")] {
        test.post("/token").bearer(&bearer).send().await;
    }
    let users = ask(&test, "/usage?by=user&since=30d", TOKEN).await;
    assert_eq!(users.json["by"], "user");
    assert_eq!(users.json["rows"][0]["subject"], "ana");
    assert_eq!(users.json["rows"][0]["sessions"], 2);
    let days = ask(&test, "/usage", TOKEN).await;
    assert_eq!(days.json["rows"][0]["day"], "2022-01-01");
    for (query, param) in [
        ("by=week", "by"),
        ("since=yesterday", "since"),
        ("from=1", "query"),
    ] {
        let refused = ask(&test, &format!("/usage?{query}"), TOKEN).await;
        refused.is(400, "bad_request");
        assert_eq!(refused.json["error"]["param"], param);
    }
}

#[tokio::test]
async fn sessions_that_an_operator_has_ended_cannot_be_refreshed() {
    let test = app();
    let open = async |bearer: String| {
        let opened = test.post("/token").bearer(&bearer).send().await;
        json!({ "sessionId": opened.json["sessionId"] })
    };
    let (anas, bens) = (open(student("ana")).await, open(student("ben")).await);
    let whose = json!({ "issuer": ISSUER, "subject": "ana" });
    let onion = test.app.ops_onion().unwrap();
    let ended = test
        .post("/sessions/end")
        .through(onion)
        .bearer(TOKEN)
        .json(&whose)
        .send()
        .await;
    assert_eq!(ended.json["ended"], 1, "{}", ended.text);
    test.advance(10);
    let gone = test
        .post("/refresh-token")
        .bearer(&student("ana"))
        .json(&anas)
        .send()
        .await;
    gone.is(404, "unknown_session");
    let kept = test
        .post("/refresh-token")
        .bearer(&student("ben"))
        .json(&bens)
        .send()
        .await;
    assert_eq!(kept.status, StatusCode::OK);
    assert_eq!(test.events("sessions_ended").len(), 1);
}

#[tokio::test]
async fn an_end_holds_for_a_mint_in_flight_and_for_a_client_secret_that_could_be_handed_over_again()
{
    let test = app();
    let ana = student("ana");
    let opened = test.post("/token").bearer(&ana).send().await;
    test.minter.hold();
    let in_flight = tokio::spawn(test.post("/token").bearer(&ana).send());
    test.minter.asked_for(2).await;
    let end = test
        .post("/sessions/end")
        .through(test.app.ops_onion().unwrap());
    let whose = json!({ "issuer": ISSUER, "subject": "ana" });
    assert_eq!(end.bearer(TOKEN).json(&whose).send().await.status, 200);
    test.minter.let_through(2);
    in_flight.await.unwrap().is(404, "unknown_session");
    let body = json!({ "sessionId": opened.json["sessionId"] });
    let refresh = test.post("/refresh-token").bearer(&ana).json(&body);
    refresh.send().await.is(404, "unknown_session");
    let health = test.get("/health").from("127.0.0.1").send().await;
    assert_eq!(health.json["metrics"]["activeSessions"], 0);
    let anew = test.post("/token").bearer(&ana).send().await;
    assert_eq!(anew.status, StatusCode::OK);
}

/// Ends Ana's sessions while one request of hers waits for the provider. Returns the answer to that request.
async fn ended_in_flight(test: &TestApp, request: Call) -> Answer {
    let asked = test.minter.asked();
    test.minter.hold();
    let in_flight = tokio::spawn(request.bearer(&student("ana")).send());
    test.minter.asked_for(asked + 1).await;
    let end = test
        .post("/sessions/end")
        .through(test.app.ops_onion().unwrap());
    let whose = json!({ "issuer": ISSUER, "subject": "ana" });
    assert_eq!(end.bearer(TOKEN).json(&whose).send().await.status, 200);
    test.minter.let_through(1000);
    in_flight.await.unwrap()
}

#[tokio::test]
async fn an_end_holds_for_a_refresh_in_flight_and_no_client_secret_of_it_is_handed_over_later() {
    let test = app();
    let opened = test.post("/token").bearer(&student("ana")).send().await;
    let body = json!({ "sessionId": opened.json["sessionId"] });
    test.advance(10);
    let refresh = test.post("/refresh-token").json(&body);
    let refused = ended_in_flight(&test, refresh).await;
    refused.is(404, "unknown_session");
    assert!(!refused.text.contains("ek_"), "{}", refused.text);
    let again = test.post("/refresh-token").json(&body);
    let again = again.bearer(&student("ana")).send().await;
    again.is(404, "unknown_session");
}

#[tokio::test]
async fn an_end_holds_for_a_mint_in_flight_that_would_open_no_session() {
    let settings = [("ops.token", TOKEN), ("session.max_refreshes", "0")];
    let test = TestApp::of(REQUIRED, &settings);
    let refused = ended_in_flight(&test, test.post("/token")).await;
    refused.is(404, "unknown_session");
}

#[tokio::test]
async fn whose_sessions_are_to_end_must_be_said() {
    let test = app();
    let onion = test.app.ops_onion().unwrap();
    let call = test.post("/sessions/end").through(onion).bearer(TOKEN);
    let refused = call.json(&json!({ "issuer": ISSUER })).send().await;
    refused.is(400, "bad_request");
    assert_eq!(refused.json["error"]["param"], "subject");
}
