//! Sessions of GPT-Live that the real executable lost, or that are none of its own, found by the provider's webhooks (row LV23).

use std::time::Duration;

use serde_json::json;
use token_broker::simulator::{AnnounceTo, SeenCall, Simulator};

use super::{OFFER, Up, of_live, offer, serve};
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, student};
use crate::kit::http::client;
use crate::kit::provider::{KEY, simulator};
use crate::kit::waiting::{PATIENCE, eventually, until};
use crate::ledger_file::Books;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A broker that takes webhooks, and a provider that announces each session to it.
async fn announced(books: &Books, simulator: &Simulator, settings: &[(&str, &str)]) -> Broker {
    let mut launch = of_live(serve(books, simulator))
        .set("call.max_duration", "60s")
        .env("BROKER_LIVE__WEBHOOK_SECRET", SECRET);
    for (name, value) in settings {
        launch = launch.set(name, value);
    }
    let broker = launch.start().await;
    let to = AnnounceTo {
        url: broker.url("/webhooks/openai"),
        secret: SECRET.to_owned(),
    };
    simulator
        .calls()
        .switch(|now| now.live.announce_to = Some(to));
    broker
}

/// The sessions at the provider, oldest first.
fn sessions(simulator: &Simulator) -> Vec<SeenCall> {
    simulator.calls().all()
}

#[tokio::test]
async fn lv23_a_session_whose_answer_was_lost_is_found_by_its_webhook_closed_and_billed() {
    let faults = ["calls+created-503"];
    let (simulator, books) = (simulator(&faults).await, Books::new());
    let broker = announced(&books, &simulator, &[]).await;
    let refused = Answer::to(offer(&broker).bearer_auth(student("ana"))).await;
    assert!([502, 503].contains(&refused.status), "{refused:?}");
    until("the orphan is over", || {
        let sessions = sessions(&simulator);
        sessions.len() == 1 && !sessions[0].is_open
    })
    .await;
    let orphan = sessions(&simulator).remove(0);
    let closes = |event: &serde_json::Value| event["type"] == "session.close";
    assert!(orphan.received.iter().any(closes), "{:?}", orphan.received);
    until("the audit log", || broker.events("call_ended").len() == 1).await;
    let ended = broker.events("call_ended").remove(0)["details"].take();
    assert_eq!(ended["call"], orphan.id);
    assert_eq!(ended["reason"], "provider");
    assert_eq!(broker.events("call_adopted").len(), 1);
    assert!(broker.events("unowned_session").is_empty());
    // 15 s at least, and nothing twice. A minute costs five cents.
    let cost = books.number("SELECT nanodollars FROM entries").await;
    let dollars = Duration::from_nanos(cost.unsigned_abs()).as_secs_f64();
    let seconds = dollars * 60.0 / 0.05;
    let billed = orphan.live_seconds.max(15.0);
    assert!(
        (billed - 0.1..billed + 3.0).contains(&seconds),
        "{seconds} {billed}"
    );
    broker.stop().await;
}

#[tokio::test]
async fn lv23_a_session_of_others_is_hung_up_and_one_whose_answer_is_on_its_way_is_not() {
    let faults = ["calls+late-answer:4s"];
    let (simulator, books) = (simulator(&faults).await, Books::new());
    let broker = announced(&books, &simulator, &[("live.unowned", "close")]).await;
    let own = Up::of(&broker, &student("ana")).await;
    let session = json!({ "model": "gpt-live-1" });
    let transport = json!({ "type": "webrtc", "sdp": OFFER });
    let created = client()
        .post(format!("{}/live/sessions", simulator.base_url()))
        .bearer_auth(KEY)
        .header("content-type", "application/json")
        .body(json!({ "session": session, "transport": transport }).to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), 201);
    until("the session of others is over", || {
        let sessions = sessions(&simulator);
        sessions.len() == 2 && !sessions[1].is_open
    })
    .await;
    until("the audit log", || {
        broker.events("unowned_session").len() == 1
    })
    .await;
    let judged = "SELECT COUNT(*) FROM announcements WHERE due_at IS NULL";
    let are_judged = async || books.number(judged).await == 2;
    eventually("both sessions are judged", PATIENCE, are_judged).await;
    assert!(own.seen(&simulator).is_open);
    assert_eq!(broker.events("unowned_session").len(), 1);
    let named = "SELECT COUNT(*) FROM entries WHERE upstream_request LIKE 'req_%'";
    assert_eq!(
        books.number(named).await,
        1,
        "the provider's name for its creation"
    );
    own.hang_up(&broker).await;
    assert_eq!(own.reason(&broker).await, "hung_up");
    broker.stop().await;
}
