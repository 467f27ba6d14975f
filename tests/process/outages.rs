//! What callers notice when Redis dies or stops under load: no failure, no wait but the first, no open gate.

use std::time::{Duration, Instant};

use token_broker::simulator::Simulator;
use tokio::task::block_in_place;

use super::replicas::{Shared, TALKATIVE, becomes, doubts, losses};
use crate::kit::executable::{Broker, Launch, student};
use crate::kit::issuer::unlimited;
use crate::kit::load::{Asked, Load};
use crate::kit::provider::simulator;
use crate::kit::redis::Redis;

/// Of each identity, in each window.
const LIMIT: usize = 20;
const REPLICAS: usize = 2;
const WINDOW: Duration = Duration::from_secs(3);
/// How soon Redis is joined after its return.
const JOINED: Duration = Duration::from_secs(10);
const CALLERS: usize = 8;

/// How Redis goes, and how it comes back.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It comes back empty.
    Killed,
    /// It comes back as it was.
    Stopped,
}

impl Fault {
    fn begin(self, redis: &mut Redis) {
        match self {
            Self::Killed => redis.kill(),
            Self::Stopped => redis.signal("STOP"),
        }
    }

    fn end(self, redis: &mut Redis) {
        match self {
            Self::Killed => redis.run(),
            Self::Stopped => redis.signal("CONT"),
        }
    }
}

/// An outage that is tried.
struct Outage {
    fault: Fault,
    lasts: Duration,
    /// `redis.timeout`. A machine on which an answer takes longer makes an outage of its own.
    patience: Duration,
}

/// What was seen before an outage, while it began, and after it.
struct Seen {
    asked: Vec<Asked>,
    quiet: Instant,
    begins: Instant,
    ends: Instant,
    joined: Duration,
    over: Instant,
    /// How often each replica did without Redis until the outage, and until the end.
    troubles: [[Troubles; REPLICAS]; 3],
}

/// How often a replica did without Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Troubles {
    losses: usize,
    doubts: usize,
}

impl Troubles {
    fn of(broker: &Broker) -> Self {
        Self {
            losses: losses(broker),
            doubts: doubts(broker),
        }
    }

    /// One outage later.
    const fn is_next_to(self, then: Self) -> bool {
        self.losses == then.losses + 1 && self.doubts <= then.doubts + 1
    }
}

/// Callers who ask both replicas as two identities.
fn load(replicas: &[Broker; REPLICAS]) -> Load {
    Load::of((0..CALLERS).map(|number| {
        let who = format!("student-{}", identity(number));
        replicas[number % REPLICAS].as_somebody(&student(&who))
    }))
}

/// The identity of a caller.
const fn identity(caller: usize) -> usize {
    caller / REPLICAS % 2
}

impl Outage {
    fn replica(&self, simulator: &Simulator, (redis, shared): (&Redis, &Shared)) -> Launch {
        Launch::of(&["serve", "--config", "settings.toml"])
            .file("settings.toml", &unlimited())
            .towards(&simulator.base_url())
            .env("DATABASE_URL", &shared.url)
            .env("REDIS_URL", &redis.url())
            .set("redis.replicas", &REPLICAS.to_string())
            .set("redis.timeout", &format!("{}ms", self.patience.as_millis()))
            .set(TALKATIVE.0, TALKATIVE.1)
            .set("limits.identity", &format!("{LIMIT}/{}s", WINDOW.as_secs()))
    }

    /// Lets Redis fail under load, after as long a time without.
    async fn happens(&self) -> Seen {
        let (simulator, mut redis) = (simulator(&[]).await, Redis::start());
        let shared = Shared::new().await;
        let serve = || self.replica(&simulator, (&redis, &shared));
        let replicas = [serve().start().await, serve().start().await];
        let load = load(&replicas);
        // What is only slow the first time is over then.
        load.goes_on(WINDOW).await;
        for broker in &replicas {
            becomes(broker, "healthy").await;
        }
        let before = replicas.each_ref().map(Troubles::of);
        let quiet = Instant::now();
        load.goes_on(self.lasts).await;
        let (begins, already) = (Instant::now(), replicas.each_ref().map(Troubles::of));
        // Callers must not wait for this thread.
        block_in_place(|| self.fault.begin(&mut redis));
        load.goes_on(self.lasts).await;
        block_in_place(|| self.fault.end(&mut redis));
        let ends = Instant::now();
        for broker in &replicas {
            becomes(broker, "healthy").await;
        }
        let joined = ends.elapsed();
        load.goes_on(WINDOW + Duration::from_secs(1)).await;
        let over = Instant::now();
        Seen {
            asked: load.end().await,
            quiet,
            begins,
            ends,
            joined,
            over,
            troubles: [before, already, replicas.each_ref().map(Troubles::of)],
        }
    }
}

impl Seen {
    /// The most that one identity was certainly given in a stretch as long as the window that began between two moments: when
    /// exactly somebody was let through nobody outside knows, but it was after the request was sent and before it was answered.
    fn most(&self, from: Instant, to: Instant) -> usize {
        let given = || self.asked.iter().filter(|one| one.answer.status == 200);
        let begins = given().filter(|one| one.sent >= from && one.sent < to);
        let within = |begin: &Asked| {
            let same = given().filter(|one| identity(one.caller) == identity(begin.caller));
            same.filter(|one| one.sent >= begin.sent && one.answered <= begin.sent + WINDOW)
                .count()
        };
        begins.map(within).max().unwrap_or_default()
    }

    /// How long each request took that was sent between two moments, slowest first.
    fn took(&self, from: Instant, to: Instant) -> Vec<Duration> {
        let within = self.asked.iter();
        let within = within.filter(|one| one.sent >= from && one.sent < to);
        let mut took: Vec<_> = within.map(|one| one.answered - one.sent).collect();
        took.sort_unstable_by(|one, other| other.cmp(one));
        took
    }

    /// Nobody fails, everybody waits for Redis once at most, and nobody is given more than the limit where Redis
    /// decides, and twice as much where an outage begins.
    fn assert_harmless(&self, outage: &Outage) {
        let failed = self.asked.iter().map(|one| one.answer.status);
        let failed: Vec<_> = failed
            .filter(|status| ![200, 429].contains(status))
            .collect();
        assert_eq!(failed, [0; 0]);
        // By then every request that Redis had let through is answered: what begins later begins without it.
        let alone = self.begins + outage.patience;
        let last = self.begins.checked_sub(WINDOW).unwrap();
        let given = [
            self.most(self.quiet, last),
            self.most(last, alone),
            self.most(alone, self.over),
        ];
        let (without, with) = (
            self.took(self.quiet, self.begins),
            self.took(self.begins, self.ends + self.joined),
        );
        println!(
            "{:?} for {:?}: {} requests; slowest of {} before {:?}, of {} during and until it was joined {:?}; joined after \
             {:?}; most for one identity at limit {LIMIT}: {given:?}",
            outage.fault,
            outage.lasts,
            self.asked.len(),
            without.len(),
            without[0],
            with.len(),
            with[0],
            self.joined,
        );
        let waited =
            |took: &[Duration]| took.iter().filter(|took| **took >= outage.patience).count();
        // Requests that are as slow without an outage say nothing of Redis.
        assert!(
            waited(&with) * 10 <= with.len() || waited(&without) > 0,
            "{} of {} waited",
            waited(&with),
            with.len()
        );
        assert!(self.joined < JOINED, "{:?}", self.joined);
        assert!(given.iter().all(|given| (1..=2 * LIMIT).contains(given)));
        let [before, already, now] = self.troubles;
        assert!(given[0] <= LIMIT || already != before, "{given:?}");
        let mut pairs = now.into_iter().zip(already);
        let is_only_one = pairs.all(|(now, then)| now.is_next_to(then));
        assert!(given[2] <= LIMIT || !is_only_one, "{given:?}");
    }
}

/// Long enough for every replica to look for Redis several times.
const SHORT: Duration = Duration::from_secs(4);
const LONG: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_killed_under_load_fails_nobody_delays_nobody_and_opens_no_gate() {
    let outage = Outage {
        fault: Fault::Killed,
        lasts: SHORT,
        patience: Duration::from_secs(2),
    };
    let seen = outage.happens().await;
    seen.assert_harmless(&outage);
    let [before, already, now] = seen.troubles;
    // A server that is killed is missed at once, and no answer of a living one takes two seconds.
    assert_eq!(before, already);
    for (now, then) in now.into_iter().zip(already) {
        assert!(now.is_next_to(then) && now.doubts == then.doubts, "{now:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_stopped_under_load_fails_nobody_delays_each_once_and_opens_no_gate() {
    let outage = Outage {
        fault: Fault::Stopped,
        lasts: SHORT,
        patience: Duration::from_millis(200),
    };
    outage.happens().await.assert_harmless(&outage);
}

/// The figure of `docs/performance.md`: what an outage adds to the slowest request.
async fn measure(fault: Fault) {
    let outage = Outage {
        fault,
        lasts: LONG,
        patience: Duration::from_millis(50),
    };
    let seen = outage.happens().await;
    seen.assert_harmless(&outage);
    let without = seen.took(seen.quiet, seen.begins)[0];
    let with = seen.took(seen.begins, seen.ends + seen.joined)[0];
    let added = with.saturating_sub(without);
    assert!(added <= Duration::from_millis(60), "{added:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo test --release --test process half_a_minute -- --ignored --nocapture"]
async fn redis_killed_for_half_a_minute_under_load() {
    measure(Fault::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo test --release --test process half_a_minute -- --ignored --nocapture"]
async fn redis_stopped_for_half_a_minute_under_load() {
    measure(Fault::Stopped).await;
}
