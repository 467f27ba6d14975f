//! What ten thousand watched calls cost: set-up, memory, processor, deadlines. TLS to the provider, as in production.
//! Minutes long, so not run by default.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use token_broker::simulator::{Simulator, Turn};
use tokio::net::TcpListener;
use tokio::time::{Instant, interval};

use super::{Up, offer, serve};
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch, student};
use crate::kit::memory::{processor, resident};
use crate::kit::programs::self_signed;
use crate::kit::provider::simulator;
use crate::kit::tls_front::tls;
use crate::kit::waiting::{PATIENCE, eventually};
use crate::ledger_file::Books;

/// Calls whose set-up is timed, one after the other.
const TIMED: usize = 200;
/// Calls that are opened at a time.
const AT_ONCE: usize = 8;
/// All calls have one turn within this time.
const ROUND: Duration = Duration::from_secs(10);

/// `CALLS=1000` opens fewer calls than ten thousand.
pub(super) fn number() -> usize {
    let asked = std::env::var("CALLS").ok();
    asked.map_or(10_000, |text| text.parse().unwrap())
}

/// A broker whose calls may be as many as there are handles, and last so long.
pub(super) fn crowded(books: &Books, simulator: &Simulator, longest: Duration) -> Launch {
    serve(books, simulator)
        .set("call.max_duration", &format!("{}s", longest.as_secs()))
        .set("call.idle_timeout", "1h")
        .set("call.join_timeout", "600s")
        .set("call.max_live", "10000")
        .set("call.max_live_total", "1000000")
        .set("limits.verified_address", "1000000/60s")
        .set("upstream.mints_per_second", "100000")
}

/// The same, before a provider behind TLS.
pub async fn before(simulator: &Arc<Simulator>, books: &Books, longest: Duration) -> Launch {
    self_signed(books.folder(), "DNS:localhost");
    let front = over_tls(Arc::clone(simulator), books.folder()).await;
    let certificate = books.folder().join("certificate.pem");
    crowded(books, simulator, longest)
        .towards(&format!("https://localhost:{}/v1", front.port()))
        .set("upstream.ca_file", certificate.to_str().unwrap())
}

/// The broker's own part of the time to a call's answer, in milliseconds.
fn own_time(answer: &Answer) -> f64 {
    let timing = answer.header("server-timing").unwrap();
    let part = |name: &str| -> f64 {
        let mut parts = timing.split(", ");
        let found = parts.find_map(|part| part.strip_prefix(name)?.strip_prefix(";dur="));
        found.unwrap().parse().unwrap()
    };
    part("total") - part("upstream") - part("join")
}

/// Serves the provider behind TLS, without sockets in between.
async fn over_tls(simulator: Arc<Simulator>, folder: &Path) -> SocketAddr {
    let tls = tls(folder, &[b"http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (simulator, tls) = (Arc::clone(&simulator), tls.clone());
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                if let Ok(stream) = tls.accept(stream).await {
                    simulator.serve(stream);
                }
            });
        }
    });
    address
}

/// Opens calls one after the other, and prints what the broker adds to the provider's time.
pub async fn set_up(broker: &Broker) {
    let before = processor(broker.running.pid());
    let mut times = Vec::with_capacity(TIMED);
    for number in 0..TIMED {
        let bearer = student(&format!("timed-{}", number % 10));
        let answer = Answer::to(offer(broker).bearer_auth(&bearer)).await;
        times.push(own_time(&answer));
        Up::by(&answer, &bearer).hang_up(broker).await;
    }
    times.sort_by(f64::total_cmp);
    let used = processor(broker.running.pid()).saturating_sub(before);
    let each = used / u32::try_from(TIMED).unwrap();
    println!(
        "own time of a set-up: median {:.2} ms, p99 {:.2} ms; processor for it and its hang-up {each:?}",
        times[TIMED / 2],
        times[TIMED * 99 / 100],
    );
}

/// Opens the calls, and prints how much memory each takes.
pub(super) async fn open(broker: &Broker, number: usize) -> Vec<Up> {
    let before = resident(broker.running.pid());
    let dials = stream::iter(0..number).map(async |number| {
        let bearer = student(&format!("caller-{}", number % 50));
        Up::of(broker, &bearer).await
    });
    let calls: Vec<_> = dials.buffer_unordered(AT_ONCE).collect().await;
    let more = resident(broker.running.pid()).saturating_sub(before);
    let each = more / 1024 / u64::try_from(number).unwrap();
    println!("memory of {number} watched calls: {each} KiB each");
    calls
}

/// Has the model answer once in every call, and prints what that costs.
async fn turns(broker: &Broker, simulator: &Simulator, calls: &[Up]) {
    let (began, before) = (Instant::now(), processor(broker.running.pid()));
    let mut beats = interval(ROUND / u32::try_from(calls.len()).unwrap());
    for call in calls {
        let said = Turn::Say("Good morning.".to_owned());
        simulator.calls().play(&call.id, &said);
        beats.tick().await;
    }
    let used = processor(broker.running.pid()).saturating_sub(before);
    let share = 100.0 * used.as_secs_f64() / began.elapsed().as_secs_f64();
    println!(
        "a turn in each of them within {:?}: {share:.0} % of a core, {:?} for each turn",
        began.elapsed(),
        used / u32::try_from(calls.len()).unwrap()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes, 15,000 file handles: scripts/bench.sh --calls"]
async fn sd27_ten_thousand_calls_are_watched_and_end_in_time() {
    let (simulator, books) = (Arc::new(simulator(&[]).await), Books::new());
    let number = number();
    let longest =
        Duration::from_mins(1) + Duration::from_millis(20) * u32::try_from(number).unwrap();
    let broker = before(&simulator, &books, longest).await.start().await;
    set_up(&broker).await;
    let calls = open(&broker, number).await;
    turns(&broker, &simulator, &calls).await;
    let are_over = async || simulator.calls().open() == 0;
    eventually("all calls are over", longest + PATIENCE, are_over).await;
    let late = |call: &&Up| {
        let ended = call.seen(&simulator).ended_at.unwrap().as_millis();
        ended.abs_diff(call.ends_at) > 1_000
    };
    let late = calls.iter().filter(late).count();
    println!("deadlines missed by more than a second: {late} of {number}");
    broker.stop().await;
    assert_eq!(late, 0);
}
