//! A broker that is killed again and again while calls are up: calls of the Realtime API, and of GPT-Live.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use token_broker::clock::{Clock, SystemClock};
use token_broker::provider::Dialect;
use token_broker::simulator::{Simulator, Turn};

use super::{Up, a_moment, of_live, serve};
use crate::kit::executable::{Broker, Launch, student};
use crate::kit::provider::simulator;
use crate::kit::waiting::{PATIENCE, eventually, until};
use crate::ledger_file::Books;

/// Calls that are opened at a time.
const AT_ONCE: usize = 8;
/// Calls in which somebody speaks in each round.
const SPEAK: usize = 5;
/// What a run that was killed may have missed of a session, and what the clock may count beyond its end, in seconds. Twice
/// the least that is billed for a session would be 15 s more.
const MISSED: f64 = 2.0;
const BEYOND: f64 = 10.0;

/// What is killed how often, and how late the end of a call may be.
struct Plan {
    dialect: Dialect,
    kills: u64,
    /// Calls that are up at each kill.
    up: usize,
    /// How long each call lives.
    lives: Duration,
    /// How late the end of a call may be, after its deadline or after the start, in milliseconds.
    late: u64,
}

impl Plan {
    /// Two hundred kills with a hundred calls up. `KILLS=20` kills less often.
    fn long(dialect: Dialect) -> Self {
        let asked = std::env::var("KILLS").ok();
        Self {
            dialect,
            kills: asked.map_or(200, |text| text.parse().unwrap()),
            up: 100,
            lives: Duration::from_secs(30),
            late: 2_000,
        }
    }

    /// A few kills with a few calls up, on a machine that does other work.
    const fn short(dialect: Dialect) -> Self {
        Self {
            dialect,
            kills: 6,
            up: 8,
            lives: Duration::from_secs(15),
            late: 10_000,
        }
    }
}

/// A provider with calls, and what became of them so far.
struct Scene {
    plan: Plan,
    simulator: Simulator,
    books: Books,
    starts: Vec<u64>,
    up: Vec<Up>,
    all: HashMap<String, Up>,
    /// The answers, and those of them that were counted before a kill.
    played: usize,
    certain: usize,
}

fn now() -> u64 {
    SystemClock::new().now().as_millis()
}

impl Scene {
    async fn of(plan: Plan) -> Self {
        Self {
            plan,
            simulator: simulator(&[]).await,
            books: Books::new(),
            starts: Vec::new(),
            up: Vec::new(),
            all: HashMap::new(),
            played: 0,
            certain: 0,
        }
    }

    fn launch(&self) -> Launch {
        let launch = serve(&self.books, &self.simulator)
            .set(
                "call.max_duration",
                &format!("{}s", self.plan.lives.as_secs()),
            )
            .set("call.idle_timeout", "1h")
            .set("call.join_timeout", "600s")
            .set("limits.verified_address", "1000000/60s")
            .set("limits.identity", "100000/1h")
            .set("upstream.mints_per_second", "100000");
        match self.plan.dialect {
            Dialect::Realtime => launch,
            Dialect::Live => of_live(launch),
        }
    }

    async fn start(&mut self) -> Broker {
        let broker = self.launch().start().await;
        self.starts.push(now());
        broker
    }

    /// Opens as many calls as are missing.
    async fn fill(&mut self, broker: &Broker) {
        let missing = self.plan.up - self.up.len();
        let dials = stream::iter(0..missing).map(async |number| {
            let bearer = student(&format!("caller-{}", number % 20));
            Up::of(broker, &bearer).await
        });
        let opened = dials.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await;
        let named = opened.iter().map(|call| (call.id.clone(), call.clone()));
        self.all.extend(named);
        self.up.extend(opened);
    }

    /// Has the model answer in a few calls: the backend, in calls of GPT-Live.
    fn answer(&mut self) {
        let turn = match self.plan.dialect {
            Dialect::Realtime => Turn::Say("Good morning.".to_owned()),
            Dialect::Live => Turn::Tool("look_up".to_owned()),
        };
        for call in self.up.iter().rev().take(SPEAK) {
            self.simulator.calls().play(&call.id, &turn);
        }
        self.played += SPEAK;
    }

    /// The answers that the records have counted as measured.
    async fn measured(&self) -> usize {
        let question =
            "SELECT COUNT(*) FROM call_uses WHERE mark = 'measured' AND id LIKE 'resp_%'";
        self.books.number(question).await.try_into().unwrap()
    }

    /// Kills the broker, starts it again, and waits until it watches all calls that run.
    async fn kill(&mut self, broker: Broker) -> Broker {
        broker.kill().await;
        let broker = self.start().await;
        until("all that run are watched again", || {
            let seen = self.up.iter().map(|call| call.seen(&self.simulator));
            let mut open = seen.filter(|seen| seen.is_open);
            open.all(|seen| seen.side_channels == 1)
        })
        .await;
        let simulator = &self.simulator;
        self.up.retain(|call| call.seen(simulator).is_open);
        broker
    }

    /// How late a call has ended: after its deadline, or after the broker was there again.
    fn lateness(&self, call: &Up) -> u64 {
        let ended = call.seen(&self.simulator).ended_at.unwrap().as_millis();
        let started = self.starts.iter().rfind(|start| **start <= ended);
        ended.saturating_sub(call.ends_at.max(*started.unwrap()))
    }

    /// The seconds of voice that the records have billed for each call.
    async fn billed(&self) -> HashMap<String, f64> {
        let question = "SELECT upstream, COALESCE(SUM(transcribed_ms), 0) FROM calls \
            LEFT JOIN call_uses ON calls.entry = call_uses.entry GROUP BY upstream";
        let rows: Vec<(String, i64)> = sqlx::query_as(question)
            .fetch_all(&mut self.books.open().await)
            .await
            .unwrap();
        let seconds = |millis: i64| Duration::from_millis(millis.try_into().unwrap());
        let rows = rows.into_iter();
        rows.map(|(id, millis)| (id, seconds(millis).as_secs_f64()))
            .collect()
    }

    /// Waits until the voice of every session is billed, and checks that none is billed twice.
    async fn assert_billed(&self) {
        let truth = |id: &String| self.simulator.calls().get(id).unwrap().live_seconds;
        eventually("the voice is billed", PATIENCE, async || {
            let billed = self.billed().await;
            let mut all = self.all.keys();
            all.all(|id| billed[id] >= truth(id) - MISSED)
        })
        .await;
        for (id, billed) in self.billed().await {
            let truth = truth(&id);
            assert!(billed <= truth + BEYOND, "{id}: {billed} s of {truth} s");
        }
    }
}

async fn killed_again_and_again(plan: Plan) {
    let mut scene = Scene::of(plan).await;
    let mut broker = scene.start().await;
    for round in 0..scene.plan.kills {
        scene.fill(&broker).await;
        scene.answer();
        if round % 2 == 0 {
            // These are counted before the kill, and the others may be.
            scene.certain += SPEAK;
            eventually("the use is counted", PATIENCE, async || {
                scene.measured().await >= scene.certain
            })
            .await;
        } else {
            a_moment(round).await;
        }
        broker = scene.kill(broker).await;
    }
    let are_over = async || scene.simulator.calls().open() == 0;
    eventually("all calls are over", scene.plan.lives + PATIENCE, are_over).await;
    let latest = scene.all.values().map(|call| scene.lateness(call));
    let latest = latest.max().unwrap();
    if scene.plan.dialect == Dialect::Live {
        scene.assert_billed().await;
    }
    let (certain, played) = (scene.certain, scene.played);
    let counted = scene.measured().await;
    println!(
        "{} kills with {} calls up ({:?}), {} calls in all: the latest end {latest} ms after its deadline or the start; \
         of {played} answers {counted} were measured once, {certain} of them before a kill",
        scene.plan.kills,
        scene.plan.up,
        scene.plan.dialect,
        scene.all.len()
    );
    broker.stop().await;
    assert!((certain..=played).contains(&counted), "{counted}");
    assert!(latest <= scene.plan.late, "{latest} ms");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: scripts/bench.sh --calls"]
async fn sd15_two_hundred_kills_with_a_hundred_calls_up_lose_no_call_and_no_use() {
    killed_again_and_again(Plan::long(Dialect::Realtime)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: scripts/bench.sh --live"]
async fn lv22_two_hundred_kills_with_a_hundred_live_calls_up_lose_none_and_bill_none_twice() {
    killed_again_and_again(Plan::long(Dialect::Live)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lv22_kills_with_live_calls_up_lose_none_and_bill_none_twice() {
    killed_again_and_again(Plan::short(Dialect::Live)).await;
}
