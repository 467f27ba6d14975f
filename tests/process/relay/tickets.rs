//! Tickets of relays: what `/token` gives in relay mode, and how often it opens a session (TI, RE).

use std::path::Path;

use futures_util::future::select;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use super::super::ledger_file::Books;
use super::{Client, LONG, ask, left, pair, reason};
use crate::kit::PAGE;
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, student};
use crate::kit::provider::simulator;
use crate::kit::waiting::until;

const RELAY: (&str, &str) = ("connect.mode", "relay");
const TOKEN: &str = "ops-token-of-the-relay-tests-0123456789";

fn ticket(minted: &Answer) -> String {
    assert_eq!(minted.status, 200, "{minted:?}");
    minted.json["token"].as_str().unwrap().to_owned()
}

/// A client that shows a ticket.
async fn connect(broker: &Broker, ticket: &str) -> Client {
    let bearer = format!("Bearer {ticket}");
    let (mut client, _) = Client::with(broker, "/v1/realtime", &[("authorization", &bearer)]).await;
    client.hear("session.created").await;
    client
}

async fn refused(broker: &Broker, ticket: &str) -> (u16, Value) {
    let answer = Answer::to(ask(broker, "/v1/realtime").bearer_auth(ticket)).await;
    (answer.status, answer.json["error"].clone())
}

/// Has a client leave, and waits until `number` relays are over.
async fn leave(broker: &Broker, mut client: Client, number: usize) {
    client.0.close(None).await.unwrap();
    let is_over = || broker.events("call_ended").len() == number;
    until("the end of the relay", is_over).await;
}

/// Asserts that no file in `folder` holds `secret`.
fn nowhere(folder: &Path, secret: &str) {
    for file in std::fs::read_dir(folder).unwrap() {
        let content = std::fs::read(file.unwrap().path()).unwrap_or_default();
        let is_there = content
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!is_there, "a file holds the ticket");
    }
}

#[tokio::test]
async fn ti1_re1_a_ticket_of_relay_mode_opens_a_session_from_a_browser_and_is_written_nowhere() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let launch = books.launch(&simulator).set(RELAY.0, RELAY.1);
    let broker = launch.env("RUST_LOG", "trace").start().await;
    let minted = broker.token_as(&student("ana")).await;
    let ticket = ticket(&minted);
    assert_eq!((ticket.len(), &ticket[..3]), (46, "ek_"));
    let connect = &minted.json["connect"];
    let url = broker.url("/v1/realtime").replace("http://", "ws://");
    assert_eq!(
        (&connect["mode"], &connect["realtime"]),
        (&json!("relay"), &json!(url))
    );
    assert!(simulator.requests().is_empty(), "the provider minted");
    let offered = format!("realtime, openai-insecure-api-key.{ticket}");
    let headers = [("sec-websocket-protocol", &*offered), ("origin", PAGE)];
    let (mut client, protocol) = Client::with(&broker, "/v1/realtime", &headers).await;
    assert_eq!(protocol.as_deref(), Some("realtime"));
    client.turn().await;
    leave(&broker, client, 1).await;
    let entries = books.entries().await;
    assert!(
        entries
            .iter()
            .all(|entry| entry.subject.as_deref() == Some("ana"))
    );
    let ended = broker.stop().await;
    assert!(!ended.out.contains(&ticket) && !ended.err.contains(&ticket));
    nowhere(books.folder(), &ticket);
}

#[tokio::test]
async fn ti5_a_ticket_opens_one_connection_at_a_time_and_five_more_after_it() {
    let (_simulator, broker) = pair(&[RELAY]).await;
    let ticket = ticket(&broker.token().await);
    let first = connect(&broker, &ticket).await;
    let (status, error) = refused(&broker, &ticket).await;
    assert_eq!((status, &error["code"]), (409, &json!("ticket_used")));
    leave(&broker, first, 1).await;
    for number in 2..=6 {
        let client = connect(&broker, &ticket).await;
        leave(&broker, client, number).await;
    }
    let (status, error) = refused(&broker, &ticket).await;
    assert_eq!((status, &error["code"]), (429, &json!("call_limit")));
    assert_eq!(error["limit"], "redials");
}

#[tokio::test]
async fn ti5_who_connects_again_at_once_finds_the_place_free() {
    let (_simulator, broker) = pair(&[RELAY]).await;
    let ticket = ticket(&broker.token().await);
    let mut first = connect(&broker, &ticket).await;
    first.0.close(None).await.unwrap();
    drop(first);
    connect(&broker, &ticket).await;
}

#[tokio::test]
async fn re28_connections_of_one_ticket_share_the_limits_of_one_session() {
    let (_simulator, broker) = pair(&[RELAY, ("call.max_turns", "3")]).await;
    let ticket = ticket(&broker.token().await);
    let mut first = connect(&broker, &ticket).await;
    first.turn().await;
    first.turn().await;
    leave(&broker, first, 1).await;
    let mut second = connect(&broker, &ticket).await;
    second.turn().await;
    let (closed, last) = second.end().await;
    assert_eq!(
        (closed.unwrap().0, &last["error"]["code"]),
        (1008, &json!("insufficient_quota"))
    );
    until("both ends", || broker.events("call_ended").len() == 2).await;
    let (status, error) = refused(&broker, &ticket).await;
    assert_eq!((status, &error["limit"]), (429, &json!("max_turns")));
}

/// Connects as soon as nobody else uses the ticket.
async fn connect_in_turn(broker: &Broker, ticket: &str) -> Client {
    let url = broker.url("/v1/realtime").replace("http://", "ws://");
    loop {
        let tcp = TcpStream::connect(broker.address).await.unwrap();
        let mut request = (&*url).into_client_request().unwrap();
        let bearer = format!("Bearer {ticket}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        match client_async(request, tcp).await {
            Ok((socket, _)) => return Client(socket),
            Err(Error::Http(refused)) => assert_eq!(refused.status(), 409, "{refused:?}"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn re28_connections_that_are_asked_for_at_once_share_the_limits_of_one_session_too() {
    let one_a_second = [
        ("upstream.mints_per_second", "1"),
        ("upstream.max_wait", "1m"),
    ];
    let settings = [&[RELAY, ("call.max_turns", "3")][..], &one_a_second].concat();
    let (_simulator, broker) = pair(&settings).await;
    let ticket = ticket(&broker.token().await);
    // This second has no turn left, so that both wait for theirs while nobody has redeemed the ticket.
    Client::of(&broker).await;
    let [one, other] = [(); 2].map(|()| Box::pin(connect_in_turn(&broker, &ticket)));
    let (mut first, other) = select(one, other).await.factor_first();
    first.turn().await;
    first.turn().await;
    first.0.close(None).await.unwrap();
    let mut second = other.await;
    second.turn().await;
    let (closed, last) = second.end().await;
    assert_eq!(
        (closed.unwrap().0, &last["error"]["code"]),
        (1008, &json!("insufficient_quota"))
    );
}

#[tokio::test]
async fn re26_after_the_time_of_its_session_a_ticket_opens_nothing() {
    let settings = [
        RELAY,
        ("call.max_duration", "15s"),
        ("call.warn_before", "5s"),
    ];
    let (_simulator, broker) = pair(&settings).await;
    let ticket = ticket(&broker.token().await);
    let mut client = connect(&broker, &ticket).await;
    assert_eq!(client.end().await.0.unwrap().0, 1001);
    assert_eq!(reason(&broker).await, "time_limit");
    let (status, error) = refused(&broker, &ticket).await;
    assert_eq!((status, &error["code"]), (429, &json!("call_limit")));
    assert_eq!(error["limit"], "max_duration");
}

#[tokio::test]
async fn re3_tickets_that_open_nothing_are_refused_before_the_upgrade() {
    let (simulator, broker) = pair(&[RELAY]).await;
    let unknown = format!("ek_{}", "A".repeat(43));
    let (status, error) = refused(&broker, &unknown).await;
    assert_eq!((status, &error["code"]), (401, &json!("ticket_expired")));
    let minted = Answer::to(broker.post("/token").header("origin", PAGE)).await;
    let foreign = ask(&broker, "/v1/realtime")
        .bearer_auth(ticket(&minted))
        .header("origin", "https://elsewhere.example");
    assert_eq!(Answer::to(foreign).await.status, 403);
    let model = ask(&broker, "/v1/realtime?model=gpt-5").bearer_auth(ticket(&minted));
    assert_eq!(Answer::to(model).await.status, 400);
    assert!(simulator.calls().all().is_empty());
    connect(&broker, &ticket(&minted)).await;
}

#[tokio::test]
async fn ti8_who_is_signed_out_is_cut_off_and_its_ticket_opens_nothing_more() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let launch = books.launch(&simulator).set(RELAY.0, RELAY.1);
    let launch = launch.env("BROKER_OPS__TOKEN", TOKEN);
    let broker = launch.set("ops.listen", "127.0.0.1:0").start().await;
    let ready = broker
        .running
        .logged(|line| line["message"] == "ready")
        .await;
    let ops = ready["operators"].as_str().unwrap().to_owned();
    let ticket = ticket(&broker.token_as(&student("ana")).await);
    let mut client = connect(&broker, &ticket).await;
    let end = crate::kit::http::client().post(format!("{ops}/sessions/end"));
    let end = end
        .bearer_auth(TOKEN)
        .header("content-type", "application/json")
        .body(json!({"issuer": crate::kit::issuer::ISSUER, "subject": "ana"}).to_string());
    let ended = Answer::to(end).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let (closed, last) = client.end().await;
    assert_eq!(
        (closed.unwrap().0, &last["error"]["code"]),
        (1008, &json!("invalid_api_key"))
    );
    assert_eq!(reason(&broker).await, "logged_out");
    assert_eq!(left(&simulator).await, [Some(1000)]);
    assert_eq!(refused(&broker, &ticket).await.0, 401);
}

#[tokio::test]
async fn re27_who_was_sent_away_by_one_replica_goes_on_at_the_next() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let launch = || {
        let launch = books.launch(&simulator).set(RELAY.0, RELAY.1);
        launch.set("server.drain_delay", "1s")
    };
    let mut first = launch().start().await;
    let ticket = ticket(&first.token_as(&student("ana")).await);
    let mut client = connect(&first, &ticket).await;
    first.running.signal("TERM");
    assert_eq!(client.end().await.0.unwrap().0, 1012);
    assert_eq!(first.running.end(LONG).await.code, Some(0));
    let second = launch().start().await;
    connect(&second, &ticket).await.turn().await;
}
