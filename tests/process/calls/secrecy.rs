//! What is said and shown in calls stays out of every log line, at every level, and out of the ledger's files.

use serde_json::json;
use token_broker::simulator::{Simulator, Turn};

use super::{CALL, OFFER, Up, offer, offer_to};
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, student};
use crate::kit::issuer::{SECRET, optional};
use crate::kit::provider::{KEY, simulator};
use crate::kit::waiting::until;
use crate::ledger_file::Books;
use crate::secrecy::{INSTRUCTIONS, PERSONAS, assert_kept, whole_log};

/// What is said in the call, or sent by the page or by the provider.
const SAID: [&str; 6] = [
    "canary-transcript-77aa",
    "canary-tool-12fe",
    "canary-change-90bd",
    "canary-typed-4c4c",
    "canary-junk-5d5d",
    "canary-session-6e6e",
];

/// Ways in which the exchange, the side channel and the hang-up fail.
const FAULTS: [&str; 9] = [
    "calls+1x400",
    "calls+1x401",
    "calls+1x500",
    "calls+1xno-location",
    "calls+1xlocation:/evil/../x",
    "calls+1xcut-answer",
    "calls+1xhuge-answer",
    "join+1x500",
    "hangup+1x500",
];

/// Speaks, calls a tool, changes the persona, types, sends junk, and loses the side channel.
async fn converse(broker: &Broker, simulator: &Simulator, call: &Up) {
    let calls = simulator.calls();
    calls.play(&call.id, &Turn::Say(SAID[0].to_owned()));
    calls.play(&call.id, &Turn::Tool(SAID[1].to_owned()));
    calls.play(&call.id, &Turn::Fail);
    let session = json!({ "type": "realtime", "instructions": SAID[2] });
    calls.browser_sends(
        &call.id,
        &json!({ "type": "session.update", "session": session }),
    );
    let content = json!([{ "type": "input_text", "text": SAID[3] }]);
    let item = json!({ "type": "message", "role": "user", "content": content });
    calls.browser_sends(
        &call.id,
        &json!({ "type": "conversation.item.create", "item": item }),
    );
    calls.tell_side_channels(&call.id, &format!("{{ {} }}", SAID[4]));
    calls.tell_side_channels(&call.id, &json!({ "type": SAID[4] }).to_string());
    let corrected = || {
        let seen = call.seen(simulator);
        seen.session["instructions"] == INSTRUCTIONS
    };
    until("the persona is restored", corrected).await;
    calls.close_side_channels(&call.id, None);
    until("it is joined again", || call.seen(simulator).joins == 2).await;
    call.look(broker).await;
}

/// Sends a form that changes what the persona pins, lets every operation fail, and shows a ticket where it is not good.
async fn fail(broker: &Broker, simulator: &Simulator, ticket: &str) {
    let form = format!(
        "--x\r\nContent-Disposition: form-data; name=\"sdp\"\r\n\r\n{OFFER}\r\n--x\r\n\
         Content-Disposition: form-data; name=\"session\"\r\n\r\n{{\"instructions\":\"{}\"}}\r\n--x--\r\n",
        SAID[5]
    );
    let pinned = broker.post("/calls").body(form);
    let pinned = pinned.header("content-type", "multipart/form-data; boundary=x");
    Answer::to(pinned).await.is(400, "bad_request");
    for fault in FAULTS {
        simulator.plan(fault.parse().unwrap());
        let answer = Answer::to(offer(broker).bearer_auth(student("ben"))).await;
        assert!(
            answer.status >= 400 || fault.starts_with("hangup"),
            "{fault}: {answer:?}"
        );
    }
    offer_to(broker.post("/calls"))
        .bearer_auth(ticket)
        .send()
        .await
        .unwrap();
}

/// Mints tickets with and without identity, redeems them, and shows them once more. Returns the tickets.
async fn redeem(broker: &Broker) -> Vec<String> {
    let mut tickets = Vec::new();
    for bearer in [Some(student("eva")), None] {
        let mint = broker
            .post("/token")
            .header("content-type", "application/json")
            .body(CALL);
        let mint = match bearer {
            Some(bearer) => mint.bearer_auth(bearer),
            None => mint,
        };
        let ticket = Answer::to(mint).await.json["token"].clone();
        let ticket = ticket.as_str().unwrap();
        Up::of(broker, ticket).await.hang_up(broker).await;
        let again = Answer::to(offer(broker).bearer_auth(ticket)).await;
        again.is(409, "ticket_used");
        tickets.push(ticket[3..].to_owned());
    }
    tickets
}

#[tokio::test]
async fn ob01_nothing_that_is_said_or_shown_in_a_call_stands_in_a_log_or_in_a_file() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let broker = books
        .launch(&simulator)
        .file("settings.toml", &optional())
        .file("personas.toml", PERSONAS)
        .env("RUST_LOG", "trace")
        .set("personas.file", "personas.toml")
        .set("limits.token", "100/60s")
        .set("guard.never_block", "127.0.0.1")
        .start()
        .await;
    let mut secrets: Vec<String> = SAID.map(str::to_owned).to_vec();
    secrets.extend([INSTRUCTIONS, KEY, SECRET].map(str::to_owned));

    secrets.extend(redeem(&broker).await);
    let owned = Up::of(&broker, &student("ana")).await;
    let call = Up::of_nobody(broker.post("/calls")).await;
    secrets.extend([call.bearer.clone(), owned.bearer.clone()]);
    for call in [&owned, &call] {
        converse(&broker, &simulator, call).await;
    }
    fail(&broker, &simulator, &call.bearer).await;
    for call in [&owned, &call] {
        call.hang_up(&broker).await;
    }
    until("no call is open but the last ones", || {
        simulator.calls().open() <= 2
    })
    .await;

    let lines = OFFER.lines().filter(|line| line.len() > 30);
    secrets.extend(lines.map(|line| line.trim_start_matches("a=").to_owned()));
    secrets.extend(["canaryOfTheOfferIcePwd0001", "192.168.77.7"].map(str::to_owned));
    let answered = call.seen(&simulator).offer;
    assert!(!answered.contains("192.168.77.7"), "{answered}");
    let log = whole_log(broker).await;
    let files = books.files();
    assert!(files.iter().any(|(_, text)| text.contains(&call.id)) && log.contains(&call.id));
    assert_kept(&secrets, &[("the log", log)]);
    assert_kept(&secrets, &files);
}
