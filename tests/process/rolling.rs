//! The rolling restart: two replicas behind nginx are started anew, one after the other, while callers go on.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use token_broker::simulator::Simulator;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;

use super::nginx_front::{HOST, Nginx, in_front_of, replaced};
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch};
use crate::kit::http::browser_of;
use crate::kit::postgres::empty_database;
use crate::kit::provider::simulator;
use crate::kit::redis::Redis;
use crate::kit::waiting::{PATIENCE, eventually};

/// Each asks twice a second, which is below nginx's outer ring: two hundred requests a second together.
const CALLERS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(500);
/// The longest that a replica may take from SIGTERM to its end (G13).
const LONGEST_END: Duration = Duration::from_secs(30);

/// What replicas share, and how they are started.
struct House {
    simulator: Simulator,
    redis: Redis,
    database: String,
}

impl House {
    async fn new() -> Self {
        let database = empty_database().await;
        let house = Self {
            simulator: simulator(&[]).await,
            redis: Redis::start(),
            database,
        };
        let migrated = house.launch(&["migrate"]).finish().await;
        assert_eq!(migrated.code, Some(0), "{migrated:?}");
        house
    }

    fn launch(&self, arguments: &[&str]) -> Launch {
        Launch::of(arguments)
            .towards(&self.simulator.base_url())
            .env("REDIS_URL", &self.redis.url())
            .env("DATABASE_URL", &self.database)
            .env("BROKER_SERVER__TRUSTED_PROXIES", "127.0.0.1")
            // A busy machine is not an outage, which other tests are about.
            .env("BROKER_REDIS__TIMEOUT", "5s")
    }

    /// A replica at this port, with limits that nobody reaches.
    async fn replica(&self, port: u16) -> Broker {
        let rates = ["token", "refresh", "token_network", "refresh_network"];
        let more = ["mints", "mints_daily", "anonymous_mints"];
        let launch = self.launch(&["serve"]).env("PORT", &port.to_string());
        let launch = rates.iter().chain(&more).fold(launch, |launch, name| {
            launch.set(&format!("limits.{name}"), "1000000/60s")
        });
        let launch = launch
            .set("session.min_refresh_interval", "0s")
            .set("session.max_refreshes", "100000")
            .set("upstream.mints_per_second", "10000")
            .set("upstream.max_wait", "5s")
            .set("guard.never_block", "127.0.0.0/8");
        launch.start().await
    }

    /// Ends a replica as orchestrators do, and starts it again where it was.
    async fn restart(&self, mut old: Broker) -> Broker {
        let port = old.address.port();
        let began = Instant::now();
        old.running.signal("TERM");
        let ended = old.running.end(LONGEST_END).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        // What is warned of at the start are the settings of this test.
        let mut lines = ended.out.lines();
        let is_new = |line: &str| line.contains("\"WARN\"") && !line.contains("config_warning");
        assert!(!lines.any(is_new), "{ended:?}");
        println!("ended after {:?}", began.elapsed());
        let new = self.replica(port).await;
        let is_ready = async || Answer::to(new.get("/readyz")).await.status == 200;
        eventually("it is ready", PATIENCE, is_ready).await;
        new
    }
}

/// nginx as compose.scale.yaml has it.
async fn front(replicas: [SocketAddr; 2]) -> (Nginx, SocketAddr) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/nginx-upstream-scale.inc");
    let [one, two] = replicas.map(|address| format!("server {address}"));
    let upstream = fs::read_to_string(file).unwrap();
    let upstream = replaced(&upstream, "server broker-1:8080", &one);
    let upstream = replaced(&upstream, "server broker-2:8080", &two);
    let (nginx, [https, _]) = in_front_of(&upstream, &[]).await;
    (nginx, https)
}

/// Somebody at a page: opens sessions and refreshes them.
struct Caller {
    client: Client,
    base: String,
    session: Option<Value>,
    /// What was answered, and how often.
    heard: BTreeMap<String, u32>,
}

impl Caller {
    fn new(nginx: &Nginx, https: SocketAddr, number: u32) -> Self {
        let [.., last] = number.to_be_bytes();
        let local = IpAddr::V4(Ipv4Addr::new(127, 0, 1, last));
        Self {
            client: browser_of(&nginx.certificate(), (HOST, https), local),
            base: format!("https://{HOST}:{}", https.port()),
            session: None,
            heard: BTreeMap::new(),
        }
    }

    /// Nine refreshes, then a new session.
    fn next(&self, turn: u32) -> RequestBuilder {
        let post = |path: &str| self.client.post(format!("{}{path}", self.base));
        match &self.session {
            Some(session) if !turn.is_multiple_of(10) => post("/refresh-token")
                .header("content-type", "application/json")
                .body(json!({ "sessionId": session }).to_string()),
            _ => post("/token"),
        }
    }

    async fn ask(&mut self, turn: u32) {
        let heard = match self.next(turn).send().await {
            Ok(response) => {
                let status = response.status().as_u16();
                let text = response
                    .text()
                    .await
                    .unwrap_or_else(|error| error.to_string());
                let json: Value = serde_json::from_str(&text).unwrap_or_default();
                if status == 200 && json["token"].is_string() {
                    self.session = Some(json["sessionId"].clone());
                    "a client secret".to_owned()
                } else {
                    format!("{status} {}", json["error"]["code"])
                }
            }
            Err(error) => format!("{error:?}"),
        };
        *self.heard.entry(heard).or_default() += 1;
    }

    async fn call(mut self, first: Instant, enough: CancellationToken) -> BTreeMap<String, u32> {
        let (mut turns, mut turn) = (interval_at(first, PAUSE), 0);
        while enough.run_until_cancelled(turns.tick()).await.is_some() {
            self.ask(turn).await;
            turn += 1;
        }
        self.heard
    }
}

/// All callers, evenly spread over the time of one turn.
fn load(
    nginx: &Nginx,
    https: SocketAddr,
    enough: &CancellationToken,
) -> JoinSet<BTreeMap<String, u32>> {
    let now = Instant::now();
    let mut callers = JoinSet::new();
    for number in 1..=CALLERS {
        let first = now + PAUSE * number / CALLERS;
        callers.spawn(Caller::new(nginx, https, number).call(first, enough.clone()));
    }
    callers
}

async fn refreshes(broker: &Broker, session: &Value) {
    let body = json!({ "sessionId": session }).to_string();
    let request = broker.post("/refresh-token");
    let request = request
        .header("content-type", "application/json")
        .body(body);
    Answer::to(request).await.secret();
}

/// Waits until a replica has refreshed more than so often since its start, which callers ask for through nginx.
async fn serves(broker: &Broker, refreshes: u64) {
    let has_served = async || {
        let health = Answer::to(broker.get("/health")).await.json;
        health["metrics"]["totalRefreshes"].as_u64().unwrap() > refreshes
    };
    eventually("the replica serves", PATIENCE, has_served).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_under_load_loses_no_request_and_no_session() {
    let house = House::new().await;
    let (mut one, mut two) = (house.replica(0).await, house.replica(0).await);
    let (nginx, https) = front([one.address, two.address]).await;
    let [of_one, of_two] = [one.token().await, two.token().await];
    let sessions = [of_one, of_two].map(|answer| answer.json["sessionId"].clone());

    let (began, enough) = (Instant::now(), CancellationToken::new());
    let callers = load(&nginx, https, &enough);
    for broker in [&one, &two] {
        serves(broker, 50).await;
    }
    one = house.restart(one).await;
    for session in &sessions {
        refreshes(&one, session).await;
    }
    two = house.restart(two).await;
    // nginx comes back to each replica after two seconds (fail_timeout).
    for broker in [&one, &two] {
        serves(broker, 300).await;
    }
    enough.cancel();
    let lasted = began.elapsed();

    let mut heard = BTreeMap::new();
    for (what, times) in callers.join_all().await.into_iter().flatten() {
        *heard.entry(what).or_insert(0) += times;
    }
    println!("{lasted:?}: {heard:?}");
    let good = heard.remove("a client secret").unwrap_or_default();
    assert!(heard.is_empty(), "lost: {heard:#?}");
    // Both replicas have refreshed more than 300 times since they were started anew.
    assert!(good > 600, "{good} were asked for");
    for (broker, session) in [(&one, &sessions[1]), (&two, &sessions[0])] {
        refreshes(broker, session).await;
        assert!(
            broker
                .running
                .log(|line| line["level"] == "WARN" && line["event"] != "config_warning")
                .is_empty()
        );
    }
}
