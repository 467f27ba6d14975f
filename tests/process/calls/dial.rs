//! Calls that are dialled: a slow provider, callers who leave, hang-ups amid the answer, providers that never close.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::StreamExt;
use tokio::io::copy;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

use super::{NEAR, OFFER, Up, offer, serve};
use crate::kit::answer::Answer;
use crate::kit::executable::{Launch, student};
use crate::kit::provider::simulator;
use crate::kit::waiting::{PATIENCE, eventually, until};
use crate::ledger_file::Books;
use crate::nginx_front::Front;

#[tokio::test]
async fn ca07_a_late_answer_is_a_504_at_the_deadline_and_a_hang_up_when_it_comes() {
    let (simulator, books) = (simulator(&["calls+1xslow:12s"]).await, Books::new());
    let broker = serve(&books, &simulator).start().await;
    let began = Instant::now();
    let answer = Answer::to(offer(&broker).bearer_auth(student("ana"))).await;
    let took = began.elapsed();
    answer.is(504, "upstream_timeout");
    assert!((9_500..18_000).contains(&took.as_millis()), "{took:?}");
    assert!(!answer.text.contains("v=0"), "{answer:?}");
    let calls = simulator.calls();
    until("the late call", || calls.all().len() == 1).await;
    until("the end of the call", || calls.open() == 0).await;
    let late = calls.all().pop().unwrap();
    let lived = late.ended_at.unwrap().since(late.opened_at);
    assert!(lived <= NEAR, "{lived:?}");
    assert_eq!(calls.hang_ups().len(), 1);
    assert_eq!(
        books.entries().await.pop().unwrap().outcome,
        "uncertain",
        "the provider created it after all"
    );
    broker.stop().await;
}

#[tokio::test]
async fn ca08_a_call_whose_caller_leaves_while_it_is_dialled_is_hung_up_and_undelivered() {
    let (simulator, books) = (simulator(&["calls+1xslow:2s"]).await, Books::new());
    let broker = serve(&books, &simulator).start().await;
    let calls = simulator.calls();
    let dial = tokio::spawn(offer(&broker).bearer_auth(student("ana")).send());
    until("the call is dialled", || calls.requests().len() == 1).await;
    dial.abort();
    assert!(dial.await.is_err(), "it was answered already");
    until("the call", || calls.all().len() == 1).await;
    until("the end of the call", || calls.open() == 0).await;
    assert_eq!(calls.hang_ups().len(), 1);
    let is_told = async || {
        let entries = books.entries().await;
        entries.iter().any(|entry| entry.outcome == "undelivered")
    };
    eventually(
        "the entry says that nobody got the answer",
        PATIENCE,
        is_told,
    )
    .await;
    until("the audit log", || !broker.events("call_ended").is_empty()).await;
    let ended = broker.events("call_ended");
    assert_eq!(ended[0]["details"]["reason"], "hung_up", "{ended:?}");
    // The place is free again.
    Up::of(&broker, &student("ana")).await;
    broker.stop().await;
}

/// Forms of offers may be larger than all other bodies.
#[tokio::test]
async fn ca12_a_form_of_more_than_64_kib_passes_nginx() {
    let front = Front::new().await;
    let part = |name: &str, text: &str| {
        format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
    };
    let session = format!("{{\"nobody-knows-this\":\"{}\"}}", "a".repeat(65_000));
    let form = format!(
        "{}{}--x--\r\n",
        part("sdp", OFFER),
        part("session", &session)
    );
    assert!(form.len() > 64 * 1024);
    let dial = front.post("/calls").body(form);
    let dial = dial.header("content-type", "multipart/form-data; boundary=x");
    let answer = Answer::to(dial).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

/// How often the race is run.
const RACES: u32 = 1_000;
/// Races at a time.
const AT_ONCE: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ca24_whoever_leaves_or_hangs_up_while_the_answer_comes_leaves_no_open_call() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let broker = serve(&books, &simulator)
        .set("call.join_timeout", "5s")
        .set("limits.verified_address", "100000/60s")
        .start()
        .await;
    // One identity may not open a thousand calls in a day.
    let bearers: Vec<_> = ["ana", "ben", "cem"].map(student).into();
    let began = Instant::now();
    Up::of(&broker, &bearers[0]).await.hang_up(&broker).await;
    let usual = began.elapsed();
    let races = futures_util::stream::iter(0..RACES).map(async |race| {
        let bearer = &bearers[race as usize % bearers.len()];
        let dial = Answer::to_any(offer(&broker).bearer_auth(bearer));
        // From half of the usual time to five times as much: before, amid, and after the answer.
        let leaves = usual * (50 + (race % 100) * 5) / 100;
        if let Ok(Some(answer)) = timeout(leaves, dial).await {
            Up::by(&answer, bearer).hang_up(&broker).await;
        }
    });
    races.buffer_unordered(AT_ONCE).collect::<()>().await;
    until("no call is open", || simulator.calls().open() == 0).await;
    let live = "SELECT COUNT(*) FROM calls WHERE state <> 'ended'";
    let none_is_left = async || books.number(live).await == 0;
    eventually("no call is left to be ended", PATIENCE, none_is_left).await;
    println!("{RACES} hang-ups against answers: no call is left open");
    broker.stop().await;
}

#[tokio::test]
async fn a_broker_whose_drain_is_cut_off_gives_its_calls_back() {
    let (simulator, books) = (simulator(&[]).await, Books::new());
    let mut broker = serve(&books, &simulator)
        .set("server.drain_delay", "0s")
        .set("server.drain_timeout", "1s")
        .start()
        .await;
    Up::of(&broker, &student("ana")).await;
    simulator.plan("calls+1xslow:30s".parse().unwrap());
    let dial = tokio::spawn(Answer::to_any(offer(&broker).bearer_auth(student("ben"))));
    let is_dial = |path: &str| path.ends_with("/realtime/calls");
    let dialled = simulator.calls();
    let asked = || {
        let requests = dialled.requests();
        requests.iter().filter(|asked| is_dial(&asked.path)).count() == 2
    };
    until("the second call is dialled", asked).await;
    broker.running.signal("TERM");
    let ended = broker.running.end(PATIENCE).await;
    assert!(ended.out.contains("was aborted"), "{ended:?}");
    dial.abort();
    let leases = "SELECT COUNT(*) FROM leases WHERE until > unixepoch() * 1000 + 2000";
    assert_eq!(books.number(leases).await, 0);
}

#[tokio::test]
async fn sd22_a_side_channel_that_the_provider_never_closes_is_dropped_after_five_seconds() {
    let simulator = simulator(&[]).await;
    let (provider, side_channels) = relay(simulator.address()).await;
    simulator
        .calls()
        .switch(|switches| switches.never_closes = true);
    let broker = Launch::of(&["serve"])
        .towards(&format!("http://{provider}/v1"))
        .start()
        .await;
    let call = Up::of_nobody(broker.post("/calls")).await;
    let number = || side_channels.load(Ordering::SeqCst);
    assert_eq!(number(), 1);
    let began = Instant::now();
    let hung_up = call.hang_up(&broker).await;
    // Nobody waits for the goodbye.
    assert_eq!(hung_up["state"], "ended", "{hung_up}");
    assert!(began.elapsed() <= NEAR, "{:?}", began.elapsed());
    until("the side channel is dropped", || number() == 0).await;
    let took = began.elapsed();
    assert!((4_000..19_000).contains(&took.as_millis()), "{took:?}");
    broker.stop().await;
}

/// Carries bytes to `server`; returns where, and how many side channels the broker has open.
async fn relay(server: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, open) = (
        listener.local_addr().unwrap(),
        Arc::<AtomicUsize>::default(),
    );
    let shared = Arc::clone(&open);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(server).await.unwrap();
            tokio::spawn(carry(client, server, Arc::clone(&shared)));
        }
    });
    (address, open)
}

async fn carry(mut client: TcpStream, mut server: TcpStream, open: Arc<AtomicUsize>) {
    let mut head = [0; 1024];
    let length = client.peek(&mut head).await.unwrap_or_default();
    let joins = head[..length].windows(9).any(|word| word == b"?call_id=");
    open.fetch_add(usize::from(joins), Ordering::SeqCst);
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    tokio::select! {
        _ = copy(&mut from_client, &mut to_server) => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
    open.fetch_sub(usize::from(joins), Ordering::SeqCst);
}
