//! Responses of simulated calls: how long they go on, what cuts them off, what they used.

use token_broker::simulator::{OddUsage, Turn};

use super::calls::spoken;
use super::*;

#[tokio::test]
async fn a_long_response_is_interrupted_by_speech_cancelled_or_spoken_to_its_end() {
    let bench = Bench::new().await;
    let call = bench.call(&spoken()).await;
    let calls = bench.simulator.calls();
    let long = Turn::Long("Once upon a time there was a broker.".into());
    let last_status = || {
        let events = bench.events(&call);
        let done = events
            .iter()
            .rfind(|event| event["type"] == "response.done")
            .unwrap();
        let response = &done["response"];
        (
            response["status"].clone(),
            response["status_details"]["reason"].clone(),
        )
    };
    calls.play(&call.id, &long);
    calls.play(&call.id, &Turn::Silent);
    assert_eq!(last_status(), (json!("cancelled"), json!("turn_detected")));
    calls.play(&call.id, &long);
    calls.browser_sends(&call.id, &json!({"type": "response.create"}));
    let refused = bench.events(&call).pop().unwrap();
    assert_eq!(
        refused["error"]["code"],
        "conversation_already_has_active_response"
    );
    calls.browser_sends(&call.id, &json!({"type": "response.cancel"}));
    assert_eq!(
        last_status(),
        (json!("cancelled"), json!("client_cancelled"))
    );
    calls.play(&call.id, &long);
    bench.clock.awaited(Duration::from_secs(30)).await;
    bench.clock.advance(Duration::from_secs(30));
    let spoken = || last_status().0 == "completed";
    crate::kit::waiting::until("the response is spoken", spoken).await;
}

#[tokio::test]
async fn usage_goes_wrong_by_switch_and_what_was_truly_used_is_kept() {
    let bench = Bench::new().await;
    let calls = bench.simulator.calls();
    calls.switch(|now| now.twice_done = true);
    for odd in [
        OddUsage::Null,
        OddUsage::WrongSum,
        OddUsage::ExtraKeys,
        OddUsage::TopLevel,
    ] {
        let call = bench.call(&spoken()).await;
        calls.switch(|now| now.usage = odd);
        calls.play(&call.id, &Turn::Say("Hello.".into()));
        let seen = calls.get(&call.id).unwrap();
        let done: Vec<_> = seen
            .browser
            .iter()
            .filter(|event| event["type"] == "response.done")
            .collect();
        assert_eq!((done.len(), seen.used.len()), (2, 1));
        assert_ne!(done[0]["response"]["usage"], seen.used[0], "{odd:?}");
    }
}

#[tokio::test]
async fn responses_beside_the_conversation_are_spoken_at_the_same_time_and_cancelled_by_their_ids()
{
    let bench = Bench::new().await;
    let calls = bench.simulator.calls();
    calls.switch(|now| now.long_responses = true);
    let call = bench.call(&spoken()).await;
    let create = |response: Value| {
        calls.browser_sends(
            &call.id,
            &json!({"type": "response.create", "response": response}),
        );
    };
    create(json!({}));
    create(json!({"conversation": "none"}));
    create(json!({"conversation": "none"}));
    let events = bench.events(&call);
    let created = events
        .iter()
        .filter(|event| event["type"] == "response.created");
    let created: Vec<_> = created.map(|event| &event["response"]).collect();
    assert_eq!(created.len(), 3);
    assert!(created[0]["conversation_id"].is_string() && created[2]["conversation_id"].is_null());
    let cancel = json!({"type": "response.cancel", "response_id": created[2]["id"]});
    calls.browser_sends(&call.id, &cancel);
    calls.finish(&call.id);
    let events = bench.events(&call);
    let done = events
        .iter()
        .filter(|event| event["type"] == "response.done");
    let done: Vec<_> = done.map(|event| event["response"]["id"].clone()).collect();
    assert_eq!(done, [created[2]["id"].clone(), created[0]["id"].clone()]);
}
