//! Tickets: what `/token` gives in call mode, and what opens a call with it (TI).

use serde_json::{Value, json};
use token_broker::domain::Account;
use token_broker::records::{By, UsageQuery};
use token_broker::upstream::UpstreamError;

use super::{OFFER, offer, pass};
use crate::fragile::fragile;
use crate::kit::PAGE;
use crate::kit::answer::Answer;
use crate::kit::in_process::{Call, START, TestApp, claims, student, teacher};
use crate::kit::issuer::{ISSUER, REQUIRED, sign};
use crate::kit::waiting::{SOON, eventually};

const CALL: (&str, &str) = ("connect.mode", "call");
const OTHER: &str = "https://other.example.com";

fn app() -> TestApp {
    TestApp::with(&[CALL])
}

async fn mint(app: &TestApp) -> Answer {
    let minted = app.post("/token").origin(PAGE).send().await;
    assert_eq!(minted.status, 200, "{minted:?}");
    minted
}

fn ticket(minted: &Answer) -> String {
    minted.json["token"].as_str().unwrap().to_owned()
}

fn redeem(app: &TestApp, ticket: &str) -> Call {
    offer(app).bearer(ticket)
}

#[tokio::test]
async fn ti1_in_call_mode_every_mint_gives_a_ticket_and_asks_the_provider_for_nothing() {
    let app = app();
    let minted = mint(&app).await.json;
    let value = minted["token"].as_str().unwrap();
    assert_eq!((value.len(), &value[..3]), (46, "ek_"));
    assert_eq!(minted["value"], value);
    assert_eq!(minted["expiresIn"], 60);
    assert_eq!(minted["expiresAt"], START.as_millis() + 60_000);
    let session =
        json!({ "id": null, "type": "realtime", "model": "gpt-realtime-2.1", "voice": null });
    assert_eq!(minted["session"], session);
    let connect = json!({
        "mode": "call",
        "calls": "http://broker.example.com/calls",
        "realtime": "ws://broker.example.com/v1/realtime",
    });
    assert_eq!(minted["connect"], connect);

    let sdk = app.post("/v1/realtime/client_secrets");
    let sdk = sdk.json(&json!({ "expires_after": { "seconds": 20 } }));
    let sdk = sdk.send().await.json;
    assert_eq!(sdk["expires_at"], START.as_seconds() + 20);
    let old = app.post("/session").send().await.json;
    let tickets = [
        value,
        sdk["value"].as_str().unwrap(),
        old["client_secret"]["value"].as_str().unwrap(),
    ];
    for ticket in tickets {
        assert_eq!(redeem(&app, ticket).send().await.status, 201);
    }
    assert!(app.minter.orders().is_empty());
    let minted = app.events("token_minted");
    assert!(
        minted
            .iter()
            .all(|event| event["details"]["connect"] == "call")
    );
}

#[tokio::test]
async fn ti7_a_ticket_of_a_call_opens_no_relay_and_is_not_used_up_by_the_attempt() {
    let app = app();
    let ticket = ticket(&mint(&app).await);
    for path in ["/realtime", "/v1/realtime"] {
        let relay = app.get(path).bearer(&ticket).send().await;
        relay.is(401, "ticket_expired");
    }
    assert_eq!(redeem(&app, &ticket).send().await.status, 201);
}

#[tokio::test]
async fn ca03_a_ticket_opens_a_call_at_openais_path_as_its_sdk_posts_it() {
    let app = TestApp::of(REQUIRED, &[CALL]);
    let minted = app.post("/token").bearer(&student("ana")).send().await;
    let sdk = app.post("/v1/realtime/calls?model=gpt-realtime");
    let sdk = sdk.body("application/sdp", OFFER).bearer(&ticket(&minted));
    let opened = sdk.send().await;
    assert_eq!(opened.status, 201, "{opened:?}");
    assert_eq!(opened.header("x-call-token"), None);
    let location = opened.header("location").unwrap();
    let path = location.strip_prefix("/v1/realtime").unwrap();
    // The call is that of the identity, and its bearer may look at it and hang it up.
    for bearer in [ticket(&minted), student("ana")] {
        let look = app.get(path).bearer(&bearer).send().await;
        assert_eq!((look.status, &look.json["state"]), (200, &json!("open")));
    }
    let stranger = app.get(path).bearer(&student("ben")).send().await;
    assert_eq!(stranger.status, 404);
    let hang_up = app.post(&format!("{path}/hangup")).bearer(&ticket(&minted));
    assert_eq!(hang_up.send().await.status, 200);
    let again = redeem(&app, &ticket(&minted)).send().await;
    again.is(409, "ticket_used");
}

#[tokio::test]
async fn ti2_a_ticket_opens_a_call_for_as_long_as_a_client_secret_would() {
    let app = app();
    let (one, two) = (mint(&app).await, mint(&app).await);
    app.advance(59);
    assert_eq!(redeem(&app, &ticket(&one)).send().await.status, 201);
    app.advance(2);
    let late = redeem(&app, &ticket(&two)).send().await;
    late.is(401, "ticket_expired");
    assert!(late.header("www-authenticate").is_some());
    let unknown = format!("ek_{}", "A".repeat(43));
    let unknown = redeem(&app, &unknown).send().await;
    unknown.is(401, "ticket_expired");
    assert_eq!(app.events("auth_failed").len(), 2);
}

#[tokio::test]
async fn ti3_a_ticket_is_used_once_and_a_repeated_request_gets_the_same_answer() {
    let app = app();
    let minted = mint(&app).await;
    let dial = || {
        redeem(&app, &ticket(&minted))
            .header("idempotency-key", "one")
            .send()
    };
    let (first, repeated) = (dial().await, dial().await);
    assert_eq!((first.status, repeated.status), (201, 201));
    assert_eq!(first.header("location"), repeated.header("location"));
    let again = redeem(&app, &ticket(&minted)).send().await;
    again.is(409, "ticket_used");
    let other = redeem(&app, &ticket(&minted)).header("idempotency-key", "two");
    other.send().await.is(409, "ticket_used");
    assert_eq!(app.events("ticket_reused").len(), 2);
    assert_eq!(app.calls.orders().len(), 1);
}

#[tokio::test]
async fn ti3_a_used_ticket_in_a_loop_meets_a_limit_and_costs_the_database_nothing() {
    let file = "[connect]\nmode = \"call\"\n[limits]\nrefused_credentials = \"5/60s\"\n";
    let (app, ledger) = fragile(file);
    let minted = mint(&app).await;
    assert_eq!(redeem(&app, &ticket(&minted)).send().await.status, 201);
    let again = |key: &str| {
        let again = redeem(&app, &ticket(&minted));
        again.header("idempotency-key", key).send()
    };
    again("one").await.is(409, "ticket_used");
    let looked_up = ledger.looked_up();
    ledger.fail(true, true);
    for key in ["two", "three", "four", "five"] {
        again(key).await.is(409, "ticket_used");
    }
    let refused = again("six").await;
    refused.is(429, "rate_limited");
    assert_eq!(refused.json["error"]["limit"], "refused_credentials");
    assert_eq!(ledger.looked_up(), looked_up, "it is remembered");
    ledger.fail(false, false);
    // Good tickets never meet that limit.
    let minted = mint(&app).await;
    assert_eq!(redeem(&app, &ticket(&minted)).send().await.status, 201);
}

#[tokio::test]
async fn a_call_whose_owner_is_signed_out_while_it_is_dialled_says_so() {
    let app = TestApp::of(REQUIRED, &[CALL]);
    app.calls.fail_join(UpstreamError::UnknownCall(404.into()));
    let dialled = tokio::spawn(offer(&app).bearer(&student("ana")).send());
    eventually("the call", SOON, async || !app.calls.orders().is_empty()).await;
    let account = Account {
        issuer: ISSUER.into(),
        subject: "ana".into(),
    };
    app.app.state().broker.end_sessions(&account).await.unwrap();
    eventually("the answer", SOON, async || {
        pass(&app, 1).await;
        dialled.is_finished()
    })
    .await;
    dialled.await.unwrap().is(409, "call_ended");
    assert!(!app.calls.hung_up().is_empty());
}

#[tokio::test]
async fn ti6_a_ticket_is_for_pages_of_the_origin_that_it_was_minted_for() {
    let pages = format!("{PAGE},{OTHER}");
    let settings = [CALL, ("cors.allowed_origins", &*pages)];
    let app = TestApp::with(&settings);
    let minted = mint(&app).await;
    let foreign = redeem(&app, &ticket(&minted)).origin(OTHER).send().await;
    foreign.is(403, "origin_not_allowed");
    // A request without origin comes from no page: a setting refuses it.
    let bare = redeem(&app, &ticket(&minted)).send().await;
    assert_eq!(bare.status, 201);
    let strict = TestApp::with(&[settings[0], settings[1], ("server.require_origin", "true")]);
    let minted = mint(&strict).await;
    let bare = redeem(&strict, &ticket(&minted)).send().await;
    bare.is(403, "origin_not_allowed");
    let page = redeem(&strict, &ticket(&minted)).origin(PAGE).send().await;
    assert_eq!(page.status, 201);
}

#[tokio::test]
async fn ti7_a_ticket_opens_nothing_but_a_call_and_is_not_used_up_by_trying() {
    let app = TestApp::of(REQUIRED, &[CALL]);
    let minted = app.post("/token").bearer(&student("ana")).send().await;
    let ticket = ticket(&minted);
    for path in ["/token", "/v1/realtime/client_secrets", "/session"] {
        let refused = app.post(path).bearer(&ticket).send().await;
        refused.is(401, "unauthorized");
        assert!(refused.header("www-authenticate").is_some(), "{path}");
    }
    let id = &minted.json["sessionId"];
    let refresh = app.post("/refresh-token").json(&json!({ "sessionId": id }));
    refresh.bearer(&ticket).send().await.is(401, "unauthorized");
    assert_eq!(redeem(&app, &ticket).send().await.status, 201);
}

#[tokio::test]
async fn ti8_a_ticket_ends_with_the_sessions_of_its_identity() {
    let app = TestApp::of(REQUIRED, &[CALL]);
    let minted = app.post("/token").bearer(&student("ana")).send().await;
    let other = app.post("/token").bearer(&student("ben")).send().await;
    let account = Account {
        issuer: "https://id.example.com/".into(),
        subject: "ana".into(),
    };
    app.app.state().broker.end_sessions(&account).await.unwrap();
    let late = redeem(&app, &ticket(&minted)).send().await;
    late.is(401, "ticket_expired");
    assert_eq!(redeem(&app, &ticket(&other)).send().await.status, 201);
}

#[tokio::test]
async fn ti9_while_the_records_are_away_no_ticket_is_minted_and_none_is_redeemed() {
    let (app, ledger) = fragile("[connect]\nmode = \"call\"\n");
    let minted = mint(&app).await;
    ledger.fail(true, true);
    let refused = redeem(&app, &ticket(&minted)).send().await;
    refused.is(503, "ledger_unavailable");
    let refused = app.post("/token").send().await;
    refused.is(503, "ledger_unavailable");
    ledger.fail(false, true);
    let refused = app.post("/token").send().await;
    refused.is(503, "ledger_unavailable");
    ledger.fail(false, false);
    assert_eq!(redeem(&app, &ticket(&minted)).send().await.status, 201);
    assert!(app.minter.orders().is_empty());
    assert_eq!(app.calls.orders().len(), 1);
}

#[tokio::test]
async fn a_ticket_counts_as_a_session_when_it_is_minted_and_in_no_window_when_it_is_redeemed() {
    let file = format!("{REQUIRED}[quota.student]\nsessions_per_month = 2\n");
    let app = TestApp::of(&file, &[CALL, ("call.max_live", "9")]);
    let mint = async || app.post("/token").bearer(&student("ana")).send().await;
    let (one, two) = (mint().await, mint().await);
    mint().await.is(429, "quota_exceeded");
    for minted in [&one, &two] {
        let opened = redeem(&app, &ticket(minted)).send().await;
        assert_eq!(opened.status, 201, "{opened:?}");
        assert_eq!(opened.header("x-ratelimit-limit"), None);
    }
    let query = UsageQuery {
        by: By::User,
        since: START,
        most: 10,
    };
    let rows = app.ledger.usage(query).await.unwrap();
    let sums = ["sessions", "calls"].map(|name| rows[0].sums.get(name));
    assert_eq!(sums, [2, 2]);
    // A credential that is posted straight counts as one session.
    let straight = offer(&app).bearer(&student("ana")).send().await;
    straight.is(429, "quota_exceeded");
    let straight = offer(&app).bearer(&teacher("eva")).send().await;
    assert_eq!(straight.status, 201);
}

#[tokio::test]
async fn the_persona_and_the_person_of_a_ticket_hold_whatever_its_request_says() {
    let app = TestApp::of(REQUIRED, &[CALL]);
    let asked = json!({ "persona": "tutor", "language": "pt" });
    let mut named = claims("ana", "student");
    named["user_metadata"] = json!({ "full_name": "Ana García" });
    let minted = app.post("/token").bearer(&sign(&named)).json(&asked);
    let minted = minted.send().await;
    let dial = app.post("/calls?persona=default&language=es");
    let dial = dial.body("application/sdp", OFFER).bearer(&ticket(&minted));
    assert_eq!(dial.send().await.status, 201);
    let order = app.calls.orders().pop().unwrap();
    let session: Value = serde_json::from_str(order.session.as_json().get()).unwrap();
    assert_eq!(session["instructions"], "Hello \"Ana García\". Speak pt.");
}

#[tokio::test]
async fn a_refresh_gives_a_fresh_ticket_and_never_the_same_twice() {
    let app = app();
    let minted = mint(&app).await;
    let refresh = async || {
        let asked = json!({ "sessionId": minted.json["sessionId"] });
        let refresh = app.post("/refresh-token").origin(PAGE).json(&asked);
        refresh.send().await
    };
    refresh().await.is(429, "refresh_too_soon");
    app.advance(10);
    let fresh = refresh().await;
    assert_eq!(fresh.json["connect"]["mode"], "call");
    assert_ne!(ticket(&fresh), ticket(&minted));
    refresh().await.is(429, "refresh_too_soon");
    for ticket in [ticket(&minted), ticket(&fresh)] {
        assert_eq!(redeem(&app, &ticket).send().await.status, 201);
    }
}
