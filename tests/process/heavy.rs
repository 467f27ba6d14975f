//! Ten thousand slow connections, and ten times the load that can be served. Minutes long, so not run by default.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch};
use crate::kit::http::client;
use crate::kit::memory::{peak, resident};
use crate::kit::provider::simulator;
use crate::kit::waiting::{SOON, eventually, until};
use crate::kit::wire::Wire;

/// What a slow client sends before it falls silent: nothing, half a head, half a body, and requests whose answers it will
/// not read.
const SHAPES: [&str; 4] = [
    "",
    "POST /token HTTP/1.1\r\nHost: lo",
    "POST /token HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
];
/// The longest deadline a slow client can meet, and two seconds.
const DEADLINE: Duration = Duration::from_secs(12);

/// Returns how many connections wait in the kernel to be accepted at an address.
fn queued(address: SocketAddr) -> u64 {
    let port = format!(":{:04X}", address.port());
    let sockets = fs::read_to_string("/proc/net/tcp").unwrap();
    let queue = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let (_, queue) = fields.get(4)?.split_once(':')?;
        let listens = fields[1].ends_with(&port) && fields[3] == "0A";
        listens.then(|| u64::from_str_radix(queue, 16).unwrap())
    };
    sockets.lines().find_map(queue).unwrap()
}

/// Connects, says its part, and waits until it is cut off; how long that took.
async fn hesitate(address: SocketAddr, says: &'static str) -> Duration {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(says.as_bytes()).await.unwrap();
    let since = Instant::now();
    let mut heard = Vec::new();
    timeout(DEADLINE * 3, stream.read_to_end(&mut heard))
        .await
        .map(|_| ())
        .unwrap_or_default();
    since.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "half a minute, 20,000 file handles: ulimit -n 30000; cargo test --release --test process heavy -- --ignored --test-threads=1"]
async fn ten_thousand_slow_clients_are_cut_off_in_time_and_nobody_else_notices() {
    let upstream = simulator(&[]).await;
    let broker = Launch::serve(&upstream)
        .set("limits.token", "100000/60s")
        .set("limits.token_network", "100000/60s");
    let broker = broker
        .set("guard.never_block", "127.0.0.1")
        .set("limits.mints", "100000/60s")
        .set("limits.anonymous_mints", "10000000/24h")
        .set("upstream.mints_per_second", "1000")
        .start()
        .await;
    let idle = resident(broker.running.pid());

    let mut slow_clients = JoinSet::new();
    for number in 0..10_000 {
        slow_clients.spawn(hesitate(broker.address, SHAPES[number % SHAPES.len()]));
        if number % 100 == 0 {
            // No faster than they are accepted: what is left in the kernel's queue is not the broker's to cut off.
            until("connections are accepted", || queued(broker.address) == 0).await;
        }
    }
    let good = good_requests(&broker, Duration::from_secs(10)).await;
    let peak = resident(broker.running.pid()).saturating_sub(idle) >> 20;
    let slowest = slow_clients.join_all().await.into_iter().max().unwrap();
    let p99 = good[good.len() * 99 / 100];
    println!(
        "{} good requests, p99 {p99:?}; slowest cut off after {slowest:?}; +{peak} MiB",
        good.len()
    );
    assert!(slowest <= DEADLINE, "{slowest:?}");
    assert!(peak <= 160, "+{peak} MiB");
    assert!(p99 <= Duration::from_millis(250), "{p99:?}");
    broker.stop().await;
}

/// A hundred mints a second, each of which must succeed; how long they took, sorted.
async fn good_requests(broker: &Broker, lasting: Duration) -> Vec<Duration> {
    let (client, mut pace) = (client(), interval(Duration::from_millis(10)));
    let (end, mut mints) = (Instant::now() + lasting, JoinSet::new());
    while Instant::now() < end {
        pace.tick().await;
        let request = client.post(broker.url("/token"));
        mints.spawn(async move {
            let since = Instant::now();
            Answer::to(request).await.secret();
            since.elapsed()
        });
    }
    let mut took = mints.join_all().await;
    took.sort();
    took
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute: cargo test --release --test process heavy -- --ignored --test-threads=1"]
async fn at_ten_times_the_load_as_much_is_served_as_can_be_and_afterwards_all_is_well() {
    const PACE: u64 = 50;
    const LASTING: u64 = 30;
    let upstream = simulator(&[]).await;
    let broker = Launch::serve(&upstream)
        .set("limits.token", "1000000/60s")
        .set("limits.token_network", "1000000/60s");
    let broker = broker
        .set("limits.mints", "1000000/60s")
        .set("limits.mints_daily", "10000000/24h")
        .set("limits.anonymous_mints", "10000000/24h")
        .set("upstream.mints_per_second", &PACE.to_string())
        .start()
        .await;

    let (client, mut pace) = (client(), interval(Duration::from_millis(2)));
    let (end, mut mints) = (
        Instant::now() + Duration::from_secs(LASTING),
        JoinSet::new(),
    );
    while Instant::now() < end {
        pace.tick().await;
        let request = client.post(broker.url("/token"));
        mints.spawn(async move {
            let since = Instant::now();
            let answer = Answer::to(request).await;
            if answer.status != 200 {
                answer.is(503, "overloaded");
                assert!(answer.header("retry-after").is_some());
            }
            (answer.status == 200, since.elapsed())
        });
    }
    let outcomes = mints.join_all().await;
    let served = outcomes.iter().filter(|(served, _)| *served).count() as u64;
    let mut refused: Vec<_> = outcomes
        .iter()
        .filter(|(served, _)| !served)
        .map(|(_, took)| *took)
        .collect();
    refused.sort();
    let p99 = refused[refused.len() * 99 / 100];
    println!(
        "{} asked, {served} served, refusals p99 {p99:?}",
        outcomes.len()
    );
    assert!(served >= PACE * LASTING * 9 / 10, "{served} served");
    assert!(
        p99 <= Duration::from_millis(400),
        "queue and answer: {p99:?}"
    );

    // The overload is over; each mint that follows has the broker for itself.
    let mints = async || broker.token().await.status == 200;
    eventually("it mints again", SOON, mints).await;
    for _ in 0..20 {
        broker.token().await.secret();
    }
    broker.stop().await;
}

/// As many connections as 20,000 file handles allow, for the broker and for this test.
const CONNECTIONS: u64 = 19_000;

/// The most that unfinished requests on 20,000 connections may take, in MiB.
const HEADS: u64 = 96;

/// Opens `CONNECTIONS` from a hundred addresses and sends `text` on all of them in one moment. Returns how much memory that
/// took of the broker, in MiB, and how long others waited for a mint meanwhile, sorted.
async fn all_at_once(text: &str) -> (u64, Vec<Duration>) {
    let upstream = simulator(&[]).await;
    let broker = Launch::serve(&upstream)
        .set("server.max_connections", "21000")
        .set("server.header_timeout", "2m")
        .set("server.max_connections_per_address", "1000")
        .set("limits.token", "100000/60s")
        .set("limits.token_network", "100000/60s")
        .set("limits.mints", "100000/60s")
        .set("limits.anonymous_mints", "10000000/24h")
        .set("upstream.mints_per_second", "1000")
        // Whoever is served late waits, so that the time shows it.
        .set("upstream.max_wait", "5s")
        .set("upstream.max_in_flight", "10000")
        .start()
        .await;
    broker.token().await.secret();
    let mut open = Vec::new();
    for number in 0..CONNECTIONS {
        let local = format!("127.0.1.{}", 1 + number % 100);
        open.push(Wire::from(&local, broker.address).await);
        if number % 1000 == 0 {
            until("connections are accepted", || queued(broker.address) == 0).await;
        }
    }
    let idle = resident(broker.running.pid());
    let sending = async {
        for (number, wire) in open.iter().enumerate() {
            wire.0.try_write(text.as_bytes()).unwrap();
            if number % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
    };
    let others = good_requests(&broker, Duration::from_secs(5));
    let ((), others) = tokio::join!(sending, others);
    let taken = peak(broker.running.pid()).saturating_sub(idle) >> 20;
    broker.stop().await;
    (taken, others)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a minute, 20,000 file handles: ulimit -n 20000; cargo test --release --test process a06_unfinished -- --ignored --nocapture"]
async fn a06_unfinished_heads_and_bodies_on_20_000_connections_take_less_than_96_mib() {
    let field = format!("X-Filler: {}\r\n", "a".repeat(988));
    let head = format!(
        "POST /token HTTP/1.1\r\nHost: localhost\r\n{}",
        field.repeat(15)
    );
    let body = format!(
        "POST /calls HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\nContent-Length: 60000\r\n\r\n{}",
        "a".repeat(15_000)
    );
    let behind_another = format!("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n{head}");
    // Refusing so many bodies is work, and others wait for their part of the processor.
    for (text, patience) in [(head, 1), (body, 5), (behind_another, 5)] {
        let (taken, others) = all_at_once(&text).await;
        let p99 = others[others.len() * 99 / 100];
        let mints = others.len();
        println!("+{taken} MiB; {mints} mints, p99 {p99:?}: {}", &text[..20]);
        let most = HEADS * CONNECTIONS / 20_000;
        assert!(taken <= most, "+{taken} MiB");
        assert!(p99 <= Duration::from_secs(patience), "{p99:?}");
    }
}
