//! What a scrape each second and an open dashboard cost a broker under load: processor and memory, beside a broker without them.
//! Minutes long, so not run by default.

use std::time::Duration;

use reqwest::Client;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::interval;

use crate::dev_desk::Desk;
use crate::kit::executable::{Broker, Launch};
use crate::kit::http::keeping_client;
use crate::kit::memory::{processor, resident};
use crate::kit::programs::free_address;
use crate::kit::provider::simulator;

pub const TOKEN: &str = "operators-token-that-is-long-enough";
/// Rounds for each broker, in turn.
const ROUNDS: usize = 5;
/// Mints in a second, by so many callers with a connection each.
const RATE: u64 = 1_000;
const CALLERS: u64 = 4;
const PAGES: [&str; 8] = [
    "",
    "pages/calls",
    "pages/usage",
    "pages/users",
    "pages/cost",
    "pages/errors",
    "pages/latency",
    "pages/security",
];

/// `MINTS=1000` for fewer mints in each round than twenty thousand.
fn mints() -> u64 {
    let asked = std::env::var("MINTS").ok();
    asked.map_or(20_000, |text| text.parse().unwrap())
}

/// What a round has shown.
struct Round {
    /// Microseconds of processor time for a mint.
    each: f64,
    /// Resident memory at the end, in MiB.
    memory: f64,
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Sends mints at the rate.
async fn load(broker: &Broker) {
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        let (client, url) = (keeping_client(), broker.url("/token"));
        callers.spawn(async move {
            let mut turns = interval(Duration::from_millis(1_000 * CALLERS / RATE));
            for _ in 0..mints() / CALLERS {
                turns.tick().await;
                let answer = client.post(&url).send().await.unwrap();
                assert_eq!(answer.status(), 200);
                answer.bytes().await.unwrap();
            }
        });
    }
    callers.join_all().await;
}

#[expect(clippy::cast_precision_loss, reason = "a count of mints, and bytes")]
async fn round(broker: &Broker) -> Round {
    let before = processor(broker.running.pid());
    load(broker).await;
    let used = processor(broker.running.pid()).saturating_sub(before);
    Round {
        each: used.as_secs_f64() * 1e6 / mints() as f64,
        memory: resident(broker.running.pid()) as f64 / 1024.0 / 1024.0,
    }
}

/// Reads the metrics. Returns their length.
pub async fn scrape(client: &Client, home: &str) -> usize {
    let metrics = client.get(format!("{home}metrics")).bearer_auth(TOKEN);
    let metrics = metrics.send().await.unwrap();
    assert_eq!(metrics.status(), 200);
    metrics.text().await.unwrap().len()
}

/// Reads the metrics each second, until the task is aborted.
fn scrape_each_second(home: String) -> JoinHandle<()> {
    tokio::spawn(async move {
        let (client, mut turns) = (keeping_client(), interval(Duration::from_secs(1)));
        loop {
            turns.tick().await;
            scrape(&client, &home).await;
        }
    })
}

/// Follows the live calls, as an open page does, until the task is aborted.
fn follow(desk: &Desk) -> JoinHandle<()> {
    let live = desk.get("pages/calls/live");
    let live = live.timeout(Duration::from_hours(1));
    tokio::spawn(async move {
        let mut live = live.send().await.unwrap();
        assert_eq!(live.status(), 200);
        while live.chunk().await.unwrap().is_some() {}
    })
}

/// A broker that lets everybody mint as often as they like.
fn serve(base_url: &str) -> Launch {
    let launch = Launch::of(&["serve"]).towards(base_url);
    [
        ("ledger.url", "memory"),
        ("limits.token", "1000000/60s"),
        ("limits.token_network", "1000000/60s"),
        ("limits.mints", "1000000/60s"),
        ("limits.mints_daily", "10000000/24h"),
        ("limits.anonymous_mints", "10000000/24h"),
        ("limits.anonymous_network", "100"),
        ("session.max_live_network", "1000000"),
        ("session.max_total", "10000"),
        ("guard.never_block", "127.0.0.1"),
        ("upstream.mints_per_second", "100000"),
    ]
    .into_iter()
    .fold(launch, |launch, (name, value)| launch.set(name, value))
}

/// A broker with a desk.
struct Served {
    broker: Broker,
    home: String,
    desk: Desk,
}

impl Served {
    async fn start(base_url: &str) -> Self {
        let address = free_address().to_string();
        let launch = serve(base_url).set("ops.token", TOKEN);
        let broker = launch.set("ops.listen", &address).start().await;
        let home = format!("http://{address}/");
        let desk = Desk::enter(home.clone(), TOKEN).await;
        Self { broker, home, desk }
    }

    async fn watched_round(&self) -> Round {
        let watching = [scrape_each_second(self.home.clone()), follow(&self.desk)];
        for page in PAGES {
            self.desk.read(page).await;
        }
        let round = round(&self.broker).await;
        for task in watching {
            assert!(!task.is_finished(), "nothing was watched any more");
            task.abort();
            assert!(task.await.is_err_and(|ended| ended.is_cancelled()));
        }
        round
    }
}

/// Two brokers take turns at being watched: two processes of one executable differ by more than what watching costs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: scripts/bench.sh --ops"]
async fn a_scrape_each_second_and_an_open_dashboard_cost_a_twentieth_of_a_mint_and_four_mebibytes()
{
    let simulator = simulator(&[]).await;
    let mut pair = [
        Served::start(&simulator.base_url()).await,
        Served::start(&simulator.base_url()).await,
    ];
    // The first mints fill caches, and the sessions up to their bound.
    for served in &pair {
        load(&served.broker).await;
    }
    let (mut shares, mut more) = (Vec::new(), None);
    for _ in 0..ROUNDS {
        let (mut alone, mut watched) = (0.0, 0.0);
        for _ in 0..2 {
            let without = round(&pair[0].broker).await;
            let with = pair[1].watched_round().await;
            alone += without.each / 2.0;
            watched += with.each / 2.0;
            // Later both have been watched.
            more.get_or_insert(with.memory - without.memory);
            pair.reverse();
        }
        println!("a mint: {alone:.1} µs alone, {watched:.1} µs watched");
        shares.push(watched / alone);
    }
    let (share, more) = (median(shares), more.unwrap_or_default());
    println!("a mint, watched ÷ alone: {share:.3} (goal 1.05); memory: {more:+.1} MiB (goal +4)");
    for served in pair {
        served.broker.stop().await;
    }
    assert!(share < 1.05, "{share}");
    assert!(more <= 4.0, "{more}");
}
