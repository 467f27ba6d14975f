//! Programs that attach to GPT-Live calls of their own: who may, what passes, and how it ends.

use std::time::Duration;

use serde_json::{Value, json};
use token_broker::simulator::{SeenCall, Simulator, Turn};

use super::super::ledger_file::Books;
use super::{Client, ask, reason};
use crate::calls::{OFFER, of_live};
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, student, teacher};
use crate::kit::provider::simulator;
use crate::kit::waiting::{SOON, eventually, until};

/// What the persona's instructions hold.
const CANARY: &str = "canary-instructions-of-live";

/// A broker to whose calls teachers may attach, and a call of the teacher ana.
struct Scene {
    simulator: Simulator,
    broker: Broker,
    id: String,
    _books: Books,
}

impl Scene {
    async fn of(settings: &[(&str, &str)]) -> Self {
        let (simulator, books) = (simulator(&[]).await, Books::new());
        let launch = of_live(books.launch(&simulator)).set("call.max_live", "9");
        let launch = settings
            .iter()
            .fold(launch, |launch, (name, value)| launch.set(name, value));
        let broker = launch.start().await;
        let offer = json!({ "transport": { "type": "webrtc", "sdp": OFFER } });
        let create = broker.post("/v1/live/sessions").body(offer.to_string());
        let create = create.header("content-type", "application/json");
        let answer = Answer::to(create.bearer_auth(teacher("ana"))).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let id = answer.json["session"]["id"].as_str().unwrap().to_owned();
        Self {
            simulator,
            broker,
            id,
            _books: books,
        }
    }

    async fn open() -> Self {
        Self::of(&[("live.attach_roles", "agent,teacher")]).await
    }

    fn path(&self) -> String {
        format!("/v1/live/sessions/{}/attach", self.id)
    }

    async fn attach(&self) -> Client {
        let bearer = format!("Bearer {}", teacher("ana"));
        let headers = [("authorization", &*bearer)];
        Client::with(&self.broker, &self.path(), &headers).await.0
    }

    /// The answer to somebody who may not attach.
    async fn refused(&self, bearer: &str) -> Answer {
        Answer::to(ask(&self.broker, &self.path()).bearer_auth(bearer)).await
    }

    fn seen(&self) -> SeenCall {
        self.simulator.calls().get(&self.id).unwrap()
    }

    fn play(&self, turn: &Turn) {
        self.simulator.calls().play(&self.id, turn);
    }

    async fn hang_up(&self) {
        let path = format!("/v1/live/sessions/{}/hangup", self.id);
        let request = self.broker.post(&path).bearer_auth(teacher("ana"));
        assert_eq!(Answer::to(request).await.status, 200);
    }
}

#[tokio::test]
async fn nobody_attaches_unless_a_role_is_listed() {
    let scene = Scene::of(&[]).await;
    let refused = scene.refused(&teacher("ana")).await;
    refused.is(403, "forbidden");
    assert_eq!(refused.json["error"]["param"], "role");
    let message = refused.json["error"]["message"].as_str().unwrap();
    assert!(message.contains("live.attach_roles"), "{message}");
    assert_eq!(scene.seen().joins, 1, "the broker's own");
}

#[tokio::test]
async fn other_roles_get_403_and_other_owners_404_as_of_a_call_that_nobody_has() {
    let scene = Scene::open().await;
    scene.refused(&student("ana")).await.is(403, "forbidden");
    let foreign = scene.refused(&teacher("ben")).await;
    foreign.is(404, "unknown_call");
    let nobody = ask(&scene.broker, "/v1/live/sessions/live_u0_none/attach");
    let nobody = Answer::to(nobody.bearer_auth(teacher("ana"))).await;
    assert_eq!(nobody.anonymised(), foreign.anonymised());
    // A ticket shows its call, and is for pages.
    let minted = scene.broker.token_as(&teacher("ana")).await;
    let ticket = minted.json["token"].as_str().unwrap();
    scene.refused(ticket).await.is(403, "forbidden");
    assert_eq!(scene.refused("nonsense").await.status, 401);
    let plain = scene.broker.get(&scene.path()).bearer_auth(teacher("ana"));
    Answer::to(plain).await.is(400, "bad_request");
    assert_eq!(scene.seen().joins, 1, "the broker's own");
    scene.hang_up().await;
    eventually("the end of the call", SOON, async || {
        scene.refused(&teacher("ana")).await.status == 404
    })
    .await;
}

#[tokio::test]
async fn events_on_the_lists_of_the_persona_pass_both_ways_and_no_others() {
    let scene = Scene::open().await;
    let mut client = scene.attach().await;
    until("two side channels", || scene.seen().side_channels == 2).await;
    let mut heard = Vec::new();
    scene.play(&Turn::Tool("look_up".to_owned()));
    scene.play(&Turn::Say("Good morning.".to_owned()));
    scene
        .simulator
        .calls()
        .pass(&scene.id, Duration::from_mins(1));
    client
        .say(&json!({"type": "session.update", "event_id": "e7", "session": {"delegation": null}}))
        .await;
    client
        .say(&json!({"type": "session.input_audio.mute", "event_id": "e8"}))
        .await;
    while heard
        .last()
        .is_none_or(|event: &Value| event["type"] != "session.input_audio.muted")
    {
        heard.push(client.next().await.unwrap());
    }
    let of = |kind: &str| heard.iter().filter(|event| event["type"] == kind).count();
    assert_eq!(of("error"), 1);
    assert!(
        of("session.input_transcript.delta") >= 2 && of("session.output_transcript.delta") >= 2
    );
    let all = Value::from(heard.clone()).to_string();
    for hidden in [
        CANARY,
        "session.started",
        "response.event",
        "session.usage",
        "append",
        "audio.delta",
    ] {
        assert!(!all.contains(hidden), "{hidden}: {all}");
    }
    let error = heard.iter().find(|event| event["type"] == "error").unwrap();
    assert_eq!(error["error"]["code"], "event_not_allowed");
    assert_eq!(error["error"]["client_event_id"], "e7");
    let kinds: Vec<_> = scene
        .seen()
        .received
        .iter()
        .map(|event| event["type"].clone())
        .collect();
    assert_eq!(kinds, ["session.input_audio.mute"]);
}

#[tokio::test]
async fn a_program_that_says_a_member_twice_is_left_and_its_call_goes_on_and_is_metered() {
    let scene = Scene::open().await;
    let mut client = scene.attach().await;
    client
        .send(r#"{"type":"session.input_audio.unmute","type":"session.update","session":{}}"#)
        .await;
    let (closed, last) = client.end().await;
    assert_eq!(closed.unwrap().0, 1008);
    assert_eq!(last["error"]["code"], "invalid_value");
    until("one side channel", || scene.seen().side_channels == 1).await;
    assert!(scene.seen().is_open && scene.seen().received.is_empty());
    scene
        .simulator
        .calls()
        .pass(&scene.id, Duration::from_mins(1));
    let path = format!("/calls/{}", scene.id);
    let cost = async || {
        let look = scene.broker.get(&path).bearer_auth(teacher("ana"));
        Answer::to(look).await.json["cost"].clone()
    };
    eventually("the minute is billed", SOON, async || {
        cost().await != "0.0125"
    })
    .await;
}

#[tokio::test]
async fn a_program_is_left_when_its_call_ends_also_where_the_provider_does_not_say_so() {
    for never_closes in [false, true] {
        let scene = Scene::open().await;
        scene
            .simulator
            .calls()
            .switch(|switches| switches.never_closes = never_closes);
        let mut client = scene.attach().await;
        scene.hang_up().await;
        let (closed, _) = client.end().await;
        assert_eq!(closed.unwrap().0, 1000, "{never_closes}");
        assert_eq!(reason(&scene.broker).await, "hung_up");
    }
}

#[tokio::test]
async fn a_program_may_end_its_call_and_is_left_when_the_broker_stops() {
    let mut scene = Scene::open().await;
    let mut client = scene.attach().await;
    client.say(&json!({"type": "session.close"})).await;
    assert_eq!(client.end().await.0.unwrap().0, 1000);
    assert_eq!(reason(&scene.broker).await, "hung_up");

    scene = Scene::open().await;
    client = scene.attach().await;
    scene.broker.running.signal("TERM");
    assert_eq!(client.end().await.0.unwrap().0, 1012);
    assert_eq!(scene.broker.running.end(super::LONG).await.code, Some(0));
    assert!(scene.seen().is_open);
}

#[tokio::test]
async fn four_programs_may_attach_to_a_call_and_whoever_leaves_makes_room() {
    let scene = Scene::open().await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(scene.attach().await);
    }
    let fifth = scene.refused(&teacher("ana")).await;
    fifth.is(429, "call_limit");
    assert_eq!(fifth.json["error"]["limit"], "events");
    drop(clients.pop());
    eventually("a place", SOON, async || {
        let again = ask(&scene.broker, &scene.path()).bearer_auth(teacher("ana"));
        again.send().await.unwrap().status() == 101
    })
    .await;
}
