//! What a request costs on the Redis server.

use tokio::time::Instant;

use super::replicas::{Shared, refresh};
use crate::kit::executable::Launch;
use crate::kit::provider::simulator;
use crate::kit::redis::Redis;

const REQUESTS: u64 = 100;

/// Scripts that the server has run. A broker asks it nothing else.
fn scripts(redis: &Redis) -> u64 {
    let stats: String = redis.ask(&["INFO", "commandstats"]).unwrap();
    let calls = |line: &str| {
        let (_, rest) = line.split_once("cmdstat_evalsha:calls=")?;
        rest.split(',').next()?.parse().ok()
    };
    stats.lines().find_map(calls).unwrap_or(0)
}

#[tokio::test]
async fn a_mint_and_a_refresh_cost_one_round_trip_and_sessions_cost_none() {
    let (simulator, redis) = (simulator(&[]).await, Redis::start());
    let shared = Shared::new().await;
    let serve = || {
        Launch::serve(&simulator)
            .env("REDIS_URL", &redis.url())
            .env("DATABASE_URL", &shared.url)
            // A busy machine is not an outage.
            .env("BROKER_REDIS__TIMEOUT", "5s")
            .set("limits.token", "1000/60s")
            .set("limits.refresh", "1000/60s")
            .set("session.min_refresh_interval", "0s")
            .set("session.max_refreshes", "1000")
            .set("session.max_live_network", "1000")
    };
    let (one, two) = (serve().start().await, serve().start().await);
    // Each script is loaded when it is first needed.
    let session = one.token().await.json["sessionId"].clone();
    let refresh_once = async |number: u64| {
        let broker = if number.is_multiple_of(2) { &one } else { &two };
        refresh(broker, &session).await.secret();
    };
    refresh_once(0).await;

    // Both ask now and then, for nobody's request: how the server is, what has ended, what is over, whether it is a new one.
    let others = |start: Instant| 2 * (4 + 2 * start.elapsed().as_secs());
    let (start, before) = (Instant::now(), scripts(&redis));
    for _ in 0..REQUESTS {
        one.token().await.secret();
    }
    let cost = scripts(&redis) - before;
    assert!(
        cost <= REQUESTS + others(start),
        "{cost} for {REQUESTS} mints"
    );

    let (start, before) = (Instant::now(), scripts(&redis));
    for number in 0..REQUESTS {
        refresh_once(number).await;
    }
    let cost = scripts(&redis) - before;
    assert!(cost >= REQUESTS, "they are not counted: {cost}");
    assert!(
        cost <= REQUESTS + others(start),
        "{cost} for {REQUESTS} refreshes"
    );
}
