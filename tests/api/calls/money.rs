//! Money of calls: what is held, who is refused, and what is given back (rows MO of the acceptance matrix).

use super::leash::{done, named};
use super::{Opened, PERSONAS, hang_up, offer};
use crate::kit::in_process::{Call, TestApp, student, teacher};
use crate::kit::issuer::{ISSUER, REQUIRED};
use crate::kit::waiting::{SOON, eventually};

/// With this settings file, and these settings over it.
fn app(file: &str, settings: &[(&str, &str)]) -> TestApp {
    let usual = [
        ("personas.file", PERSONAS),
        ("call.max_live", "9"),
        ("connect.mode", "call"),
    ];
    TestApp::of(file, &[&usual, settings].concat())
}

/// A call of the persona needs 0.027692 dollars: 523 tokens of text, 600 of speech, and an answer of 100.
#[tokio::test]
async fn mo11_whoever_has_less_money_left_than_a_call_needs_gets_402_and_the_provider_is_not_asked()
{
    let file = format!("{REQUIRED}[quota.student]\nmoney_per_day = \"0.055383\"\n");
    let app = app(&file, &[]);
    let call = async |bearer: &str| offer(&app).bearer(bearer).send().await;
    let first = call(&student("ana")).await;
    assert_eq!(first.status, 201);
    let refused = call(&student("ana")).await;
    refused.is(402, "money_exhausted");
    assert_eq!(refused.json["error"]["limit"], "money_per_day");
    assert_eq!(refused.retry_after(), 86_400, "until the day is over");
    assert_eq!(app.calls.orders().len(), 1);
    let event = &app.events("quota_exceeded")[0]["details"];
    assert_eq!(event["policy"], "money_per_day");
    for other in [student("ben"), teacher("eva")] {
        assert_eq!(call(&other).await.status, 201);
    }
    hang_up(&app, &first, &student("ana")).await;
    assert_eq!(call(&student("ana")).await.status, 201, "given back");
    app.advance(86_400);
    assert_eq!(call(&student("ana")).await.status, 201, "another day");
}

#[tokio::test]
async fn mo12_what_a_call_did_not_use_is_given_back_at_its_end_and_what_it_used_is_not() {
    let file = format!("{REQUIRED}[quota.default]\nmoney_per_month = \"0.04\"\n");
    let app = app(&file, &[]);
    let ana = student("ana");
    for _ in 0..2 {
        let call = offer(&app).bearer(&ana).send().await;
        assert_eq!(call.status, 201);
        offer(&app)
            .bearer(&ana)
            .send()
            .await
            .is(402, "money_exhausted");
        let side = named(&app);
        side.say(&done("resp_1"));
        let path = call.header("location").unwrap().to_owned();
        eventually("the answer", SOON, async || {
            let seen = app.get(&path).bearer(&ana).send().await;
            seen.json["cost"] == "0.010296"
        })
        .await;
        hang_up(&app, &call, &ana).await;
    }
    // 0.040 less twice 0.010296 is less than a call needs.
    let refused = offer(&app).bearer(&ana).send().await;
    refused.is(402, "money_exhausted");
    assert_eq!(refused.json["error"]["limit"], "money_per_month");
}

#[tokio::test]
async fn callers_without_identity_share_their_money_and_everybody_shares_the_rest() {
    let limits = [
        ("money.anonymous_per_day", "0.06"),
        ("money.per_day", "0.09"),
        ("money.per_month", "0.10"),
    ];
    let file = REQUIRED.replace("required", "optional");
    let app = app(&file, &limits);
    for address in ["203.0.113.1", "198.51.100.1"] {
        assert_eq!(offer(&app).from(address).send().await.status, 201);
    }
    let refused = async |call: Call, limit: &str| {
        let refused = call.from("192.0.2.1").send().await;
        refused.is(402, "money_exhausted");
        assert_eq!(refused.json["error"]["limit"], limit);
    };
    refused(offer(&app), "money.anonymous_per_day").await;
    let ana = offer(&app).bearer(&student("ana")).send().await;
    assert_eq!(ana.status, 201);
    refused(offer(&app).bearer(&student("ben")), "money.per_day").await;
}

#[tokio::test]
async fn one_identity_may_have_money_of_its_own() {
    let file = format!(
        "{REQUIRED}[quota.default]\nmoney_per_week = \"0.03\"\n[[quota.exceptions]]\nissuer = \"{ISSUER}\"\n\
         subject = \"ana\"\nmoney_per_week = \"0.06\"\n"
    );
    let app = app(&file, &[]);
    for (subject, calls) in [("ana", 2), ("ben", 1)] {
        for _ in 0..calls {
            let call = offer(&app).bearer(&student(subject)).send().await;
            assert_eq!(call.status, 201, "{subject}");
        }
        let refused = offer(&app).bearer(&student(subject)).send().await;
        refused.is(402, "money_exhausted");
        assert_eq!(refused.json["error"]["limit"], "money_per_week");
    }
}

#[tokio::test]
async fn mo08_a_persona_with_a_model_without_a_price_is_refused_while_money_is_limited() {
    let limited = app("", &[("money.per_day", "5.00")]);
    let free = app("", &[]);
    for persona in ["unpriced", "transcribed"] {
        let path = format!("/calls?persona={persona}");
        let call = |app: &TestApp| app.post(&path).body("application/sdp", super::OFFER);
        call(&limited).send().await.is(503, "no_price");
        let opened = call(&free).send().await;
        assert_eq!(opened.status, 201, "{persona}");
    }
    assert!(limited.calls.orders().is_empty());
    Opened::by(&limited).await;
}
