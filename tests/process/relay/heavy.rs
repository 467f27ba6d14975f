//! What a relay costs beside nginx, which only forwards, and beside SMG, which is another gateway: processor, added round trip,
//! memory, order. Minutes long, so not run by default. The subject has one core and everything else the other one.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::echo::Echo;
use crate::kit::executable::{Broker, Launch, Running};
use crate::kit::memory::{pin, processor, resident};
use crate::kit::programs::{free_address, installed, program};
use crate::kit::scratch::Scratch;
use crate::kit::waiting::{eventually, until};
use crate::nginx_front::{Nginx, temporary};

/// Connections whose frames are timed, and the frames of each in a second, each way.
const CONNECTIONS: usize = 20;
const RATE: u32 = 50;
/// Rounds for each subject, in turn.
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(20);
/// A tenth of a second of PCM in base64.
const AUDIO: usize = 6_400;

type Socket = WebSocketStream<TcpStream>;

/// A subject between the clients and the echo.
struct Subject {
    name: &'static str,
    url: String,
    pids: Vec<u32>,
}

/// What one round has shown.
struct Round {
    /// Microseconds of processor time for a frame, either way.
    each: f64,
    /// Milliseconds of round trips, sorted.
    trips: Vec<f64>,
}

async fn connect(url: &str) -> Socket {
    try_connect(url).await.unwrap()
}

async fn try_connect(url: &str) -> Result<Socket, Error> {
    let mut request = url.into_client_request()?;
    let bearer = HeaderValue::from_static("Bearer any");
    request.headers_mut().insert("authorization", bearer);
    let authority = request.uri().authority().unwrap().to_string();
    let tcp = TcpStream::connect(authority).await?;
    tcp.set_nodelay(true)?;
    Ok(client_async(request, tcp).await?.0)
}

fn frame(number: usize) -> Message {
    // The number stands in the audio, which comes back as it went.
    let audio = format!("{number:0>AUDIO$}");
    let text = format!(r#"{{"type":"input_audio_buffer.append","audio":"{audio}"}}"#);
    Message::Text(text.into())
}

/// The number in an echo; `None` for any other event.
fn number(message: &Message) -> Option<usize> {
    let text = message.to_text().ok()?;
    let (_, audio) = text.split_once(r#""delta":""#)?;
    audio.strip_suffix("\"}")?.parse().ok()
}

/// Sends frames at `rate` a second until `most` came back in their order. Returns the round trips.
async fn talk(socket: Socket, (rate, most): (u32, usize)) -> Vec<f64> {
    let (mut sink, mut stream) = socket.split();
    let (tell, mut sent) = tokio::sync::mpsc::unbounded_channel();
    let speak = async move {
        let mut turns = interval(Duration::from_secs(1) / rate);
        for number in 0..most {
            turns.tick().await;
            tell.send(Instant::now()).unwrap();
            sink.send(frame(number)).await.unwrap();
        }
        sink
    };
    let hear = async move {
        let (mut trips, mut moments) = (Vec::with_capacity(most), VecDeque::new());
        while trips.len() < most {
            let message = stream.next().await.unwrap().unwrap();
            let Some(number) = number(&message) else {
                continue;
            };
            assert_eq!(number, trips.len(), "a frame was lost or came out of order");
            while let Ok(moment) = sent.try_recv() {
                moments.push_back(moment);
            }
            let moment: Instant = moments.pop_front().unwrap();
            trips.push(moment.elapsed().as_secs_f64() * 1_000.0);
        }
        trips
    };
    let (mut sink, trips) = tokio::join!(speak, hear);
    let _ = sink.close().await;
    trips
}

async fn round(subject: &Subject) -> Round {
    let sockets = join_all((0..CONNECTIONS).map(|_| connect(&subject.url))).await;
    let most = usize::try_from(u64::from(RATE) * ROUND.as_secs()).unwrap();
    let before: Duration = subject.pids.iter().map(|pid| processor(*pid)).sum();
    let talks = sockets.into_iter().map(|socket| talk(socket, (RATE, most)));
    let mut trips = join_all(talks).await.concat();
    let after: Duration = subject.pids.iter().map(|pid| processor(*pid)).sum();
    trips.sort_by(f64::total_cmp);
    #[expect(clippy::cast_precision_loss, reason = "some ten thousand frames")]
    let frames = (2 * CONNECTIONS * most) as f64;
    let each = after.saturating_sub(before).as_secs_f64() * 1e6 / frames;
    Round { each, trips }
}

/// The broker before this provider, on a core of its own.
async fn broker(base_url: &str, more: &[(&str, &str)]) -> Broker {
    let launch = Launch::of(&["serve"]).towards(base_url);
    let launch = [
        // Clients that nobody reads answer no ping.
        ("relay.dead", "10m"),
        ("call.max_duration", "1h"),
        ("call.idle_timeout", "1h"),
        ("call.max_live_network", "10000"),
        ("call.max_live_anonymous", "100000"),
        ("call.max_live_total", "100000"),
        ("server.max_connections_per_address", "100000"),
        ("limits.token", "1000000/60s"),
        ("limits.token_network", "1000000/60s"),
        ("limits.mints", "1000000/60s"),
        ("limits.mints_daily", "1000000/24h"),
        ("limits.anonymous_mints", "1000000/24h"),
        ("upstream.mints_per_second", "100000"),
    ]
    .iter()
    .chain(more)
    .fold(launch, |launch, (name, value)| launch.set(name, value));
    let broker = launch.start().await;
    pin(broker.running.pid(), 0);
    broker
}

/// nginx before this provider, with the directives of `config/nginx.conf` for relays, on the same core.
async fn nginx(provider: &str) -> (Nginx, Subject) {
    let (address, scratch) = (free_address(), Scratch::new());
    let place = scratch.path().to_str().unwrap().to_owned();
    let text = format!(
        "worker_processes 1;\nevents {{}}\nhttp {{\n{}    access_log off;\n    server {{\n        listen {address};\n\
         location / {{ proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; \
         proxy_set_header Connection upgrade; proxy_pass http://{provider}; }}\n    }}\n}}\n",
        temporary(&place)
    );
    let nginx = Nginx::start(scratch, &text, address).await;
    let pids = nginx.pids();
    for pid in &pids {
        pin(*pid, 0);
    }
    let url = format!("ws://{address}/v1/realtime");
    let name = "nginx";
    (nginx, Subject { name, url, pids })
}

/// SMG before this provider, on the same core.
async fn smg(provider: &str) -> (Running, Subject) {
    let [address, figures] = [(); 2].map(|()| free_address());
    let worker = format!("http://{provider}");
    let [port, figures] = [address, figures].map(|address| address.port().to_string());
    let mut command = program(installed("smg/bin/smg"));
    command.args([
        "launch",
        "--backend",
        "openai",
        "--worker-urls",
        &worker,
        "--host",
        "127.0.0.1",
    ]);
    command.args([
        "--port",
        &port,
        "--prometheus-port",
        &figures,
        "--disable-health-check",
    ]);
    command.args(["--policy", "round_robin", "--log-level", "warn"]);
    let running = Launch::from(command).spawn();
    let url = format!("ws://{address}/v1/realtime?model=gpt-realtime");
    let knows = async || try_connect(&url).await.is_ok();
    eventually("SMG knows its provider", Duration::from_mins(1), knows).await;
    pin(running.pid(), 0);
    let (name, pids) = ("SMG", vec![running.pid()]);
    (running, Subject { name, url, pids })
}

fn print(name: &str, rounds: &[Round]) {
    let mut costs: Vec<_> = rounds.iter().map(|round| round.each).collect();
    costs.sort_by(f64::total_cmp);
    let at = |round: &Round, share: usize| round.trips[round.trips.len() * share / 1000];
    let mut medians: Vec<_> = rounds.iter().map(|round| at(round, 500)).collect();
    medians.sort_by(f64::total_cmp);
    let last = rounds
        .iter()
        .map(|round| at(round, 990))
        .fold(0.0, f64::max);
    let middle = rounds.len() / 2;
    println!(
        "| {name} | {:.1} ({:.1}–{:.1}) | {:.3} ({:.3}–{:.3}) | {last:.3} |",
        costs[middle],
        costs[0],
        costs[rounds.len() - 1],
        medians[middle],
        medians[0],
        medians[rounds.len() - 1],
    );
}

#[tokio::test]
#[ignore = "minutes, two cores: scripts/bench.sh --relay"]
async fn frames_cost_little_more_than_behind_nginx() {
    let echo = Echo::start().await;
    let (_nginx, forwarder) = nginx(&echo.address.to_string()).await;
    let broker = broker(&echo.base_url(), &[]).await;
    let relay = Subject {
        name: "relay",
        url: broker.url("/v1/realtime").replace("http://", "ws://"),
        pids: vec![broker.running.pid()],
    };
    let (_smg, other) = smg(&echo.address.to_string()).await;
    let subjects = [forwarder, relay, other];
    let mut rounds = subjects.each_ref().map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (subject, rounds) in subjects.iter().zip(&mut rounds) {
            rounds.push(round(subject).await);
        }
    }
    println!("| subject | µs of processor for a frame | median round trip, ms | p99, ms |");
    println!("| --- | --- | --- | --- |");
    for (subject, rounds) in subjects.iter().zip(&rounds) {
        print(subject.name, rounds);
    }
}

#[tokio::test]
#[ignore = "minutes, 21,000 file handles: scripts/bench.sh --relay"]
async fn idle_relays_take_little_memory() {
    let number: usize = std::env::var("RELAYS").map_or(10_000, |text| text.parse().unwrap());
    let echo = Echo::over_tls().await;
    let certificate = echo.certificate.clone().unwrap();
    let broker = broker(&echo.base_url(), &[("upstream.ca_file", &certificate)]).await;
    let url = broker.url("/v1/realtime").replace("http://", "ws://");
    drop(talk(connect(&url).await, (RATE, 10)).await);
    let before = resident(broker.running.pid());
    let mut sockets = Vec::with_capacity(number);
    while sockets.len() < number {
        let more = (0..8).map(|_| connect(&url));
        sockets.extend(join_all(more).await);
    }
    let more = resident(broker.running.pid()).saturating_sub(before);
    let each = more / 1024 / u64::try_from(sockets.len()).unwrap();
    println!(
        "memory of {} idle relays, TLS to the provider: {each} KiB each",
        sockets.len()
    );
    drop(sockets);
}

#[tokio::test]
#[ignore = "minutes: scripts/bench.sh --relay"]
async fn re30_half_a_million_frames_over_fifty_relays_arrive_in_order_and_leave_no_memory() {
    let echo = Echo::start().await;
    let broker = broker(&echo.base_url(), &[]).await;
    let url = broker.url("/v1/realtime").replace("http://", "ws://");
    let (mut after, mut over) = (Vec::new(), 0);
    // A relay takes 16 MiB of audio faster than it is spoken, so that each round has relays of its own.
    for _ in 0..4 {
        let sockets = join_all((0..50).map(|_| connect(&url))).await;
        join_all(sockets.into_iter().map(|socket| talk(socket, (100, 2_500)))).await;
        over += 50;
        let are_over = || echo.open() == 0 && broker.events("call_ended").len() == over;
        until("the relays are over", are_over).await;
        after.push(resident(broker.running.pid()) / 1024);
    }
    println!(
        "500,000 frames each way: none lost, none out of order; RSS after each quarter: {after:?} KiB"
    );
    let (first, last) = (after[0], after[3]);
    assert!(last < first + first / 20 + 1024, "{after:?}");
}
