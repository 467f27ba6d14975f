//! `GET /calls/{id}/events` over real sockets: bare, behind nginx, and while the broker drains.

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use serde_json::Value;
use token_broker::simulator::Simulator;
use tokio::time::Instant;

use super::{Up, serve};
use crate::kit::executable::{Launch, student};
use crate::kit::provider::simulator;
use crate::kit::waiting::{PATIENCE, eventually};
use crate::ledger_file::Books;
use crate::nginx_front::Front;

/// The row is read once a second, and the machine may be busy.
const TOLD: Duration = Duration::from_secs(10);

/// A page that reads the events of its call.
struct Page {
    response: Response,
    heard: String,
}

/// One event: its name, its id, its data.
type Event = (String, u64, Value);

impl Page {
    async fn reads(request: RequestBuilder, call: &Up) -> Self {
        let response = request.bearer_auth(&call.bearer).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            heard: String::new(),
        }
    }

    /// Waits for the next block of lines. `None` at the end of the stream.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.heard.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.heard = rest;
                return Some(block);
            }
            let more = tokio::time::timeout(PATIENCE, self.response.chunk());
            let more = more.await.unwrap().unwrap()?;
            self.heard += std::str::from_utf8(&more).unwrap();
        }
    }

    /// The next event, which must come soon.
    async fn event(&mut self) -> Event {
        let began = Instant::now();
        let block = self.block().await.unwrap();
        assert!(began.elapsed() <= TOLD, "{:?}: {block}", began.elapsed());
        let field = |name: &str| {
            let lines = block.lines();
            let mut found = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            found.next().unwrap_or_else(|| panic!("no {name}: {block}"))
        };
        (
            field("event").to_owned(),
            field("id").parse().unwrap(),
            serde_json::from_str(field("data")).unwrap(),
        )
    }
}

/// Follows a call from its answer to its end: each event comes as soon as what it tells of.
async fn follow(
    request: RequestBuilder,
    simulator: &Simulator,
    call: &Up,
    end: impl AsyncFnOnce(),
) {
    let mut page = Page::reads(request, call).await;
    let (name, mut latest, state) = page.event().await;
    assert_eq!((&*name, &state["state"]), ("state", &"open".into()));
    assert_eq!(state["id"], call.id);
    call.speak(simulator);
    // The warning comes a second after the answer.
    let state = loop {
        let (name, id, state) = page.event().await;
        assert!(id > latest, "{latest}, then {id}");
        latest = id;
        if name != "state" {
            assert_eq!(name, "warning");
            break state;
        }
    };
    assert_eq!(state["warning"], true);
    end().await;
    let (name, _, state) = loop {
        let event = page.event().await;
        if event.0 != "state" {
            break event;
        }
    };
    assert_eq!((&*name, &state["reason"]), ("ended", &"hung_up".into()));
    assert_eq!(page.block().await, None, "the stream ends with the call");
}

#[tokio::test]
async fn events_of_a_call_arrive_as_they_happen() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let launch = serve(&books, &simulator).set("call.warn_before", "14s");
    let broker = launch.start().await;
    let call = Up::of(&broker, &student("ana")).await;
    let request = broker.get(&format!("{}/events", call.path));
    follow(request, &simulator, &call, async || {
        call.hang_up(&broker).await;
    })
    .await;
    broker.stop().await;
}

#[tokio::test]
async fn events_of_a_call_arrive_as_they_happen_behind_nginx() {
    let settings = [("call.max_duration", "15s"), ("call.warn_before", "14s")];
    let front = Front::with(&settings, &[]).await;
    let call = Up::of_nobody(front.post("/calls")).await;
    let request = front.get(&format!("{}/events", call.path));
    follow(request, &front.simulator, &call, async || {
        let request = front.post(&format!("{}/hangup", call.path));
        let hung_up = request.bearer_auth(&call.bearer).send().await.unwrap();
        assert_eq!(hung_up.status(), 200);
    })
    .await;
}

#[tokio::test]
async fn a_page_that_reads_again_is_told_first_where_the_call_stands_and_after_the_end_that_it_is_over()
 {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let broker = books.launch(&simulator).start().await;
    let call = Up::of(&broker, &student("ana")).await;
    let events = || broker.get(&format!("{}/events", call.path));
    let mut first = Page::reads(events(), &call).await;
    let (_, seen, _) = first.event().await;
    drop(first);
    call.speak(&simulator);
    let turns = async || call.look(&broker).await["turns"].as_u64();
    eventually("the turn", PATIENCE, async || turns().await >= Some(1)).await;
    // Whatever the page has seen, it is told all.
    let mut again = Page::reads(events().header("last-event-id", seen), &call).await;
    let (name, _, state) = again.event().await;
    assert_eq!((&*name, &state["state"]), ("state", &"open".into()));
    assert!(state["turns"].as_u64() >= Some(1), "{state}");
    drop(again);
    call.hang_up(&broker).await;
    eventually("the end", PATIENCE, async || {
        call.look(&broker).await["state"] == "ended"
    })
    .await;
    let mut last = Page::reads(events(), &call).await;
    let (name, _, state) = last.event().await;
    assert_eq!((&*name, &state["reason"]), ("ended", &"hung_up".into()));
    assert_eq!(last.block().await, None, "nothing follows the end");
    broker.stop().await;
}

#[tokio::test]
async fn a_broker_that_drains_sends_pages_elsewhere_and_their_calls_live_on() {
    let simulator = simulator(&[]).await;
    let launch = Launch::serve(&simulator)
        .set("server.drain_delay", "20s")
        .set("server.drain_timeout", "10s");
    let mut broker = launch.start().await;
    let call = Up::of_nobody(broker.post("/calls")).await;
    let mut page = Page::reads(broker.get(&format!("{}/events", call.path)), &call).await;
    page.event().await;
    broker.running.signal("TERM");
    let began = Instant::now();
    let last = page.block().await.unwrap();
    assert!(last.lines().any(|line| line == "retry: 1000"), "{last}");
    assert_eq!(page.block().await, None);
    assert!(began.elapsed() <= TOLD, "{:?}", began.elapsed());
    // While it drains, the call is watched as ever.
    assert_eq!(call.look(&broker).await["state"], "open");
    broker.running.signal("INT");
    assert_eq!(broker.running.end(PATIENCE).await.code, Some(0));
    assert!(call.seen(&simulator).is_open);
    assert!(simulator.calls().hang_ups().is_empty());
}
