//! What callers notice while a replica enforces its share of the limits: nobody is blamed.

use super::replicas::{Shared, becomes};
use crate::kit::executable::Launch;
use crate::kit::provider::simulator;
use crate::kit::redis::Redis;

#[tokio::test]
async fn a_refusal_by_a_replicas_own_share_is_no_offence() {
    let (simulator, mut redis) = (simulator(&[]).await, Redis::start());
    let shared = Shared::new().await;
    let launch = Launch::serve(&simulator)
        .env("REDIS_URL", &redis.url())
        .env("DATABASE_URL", &shared.url)
        .set("limits.token", "1/60s")
        // One refusal beyond the tolerance of ten would block the address.
        .set("guard.weights.rate_limited", "10")
        .set("redis.replicas", "7");
    let broker = launch.start().await;
    broker.token().await.secret();
    redis.kill();
    let share = async |times: usize| {
        for number in 0..times {
            let answer = broker.token().await;
            assert!(
                answer.status == 200 || answer.json["error"]["code"] == "rate_limited",
                "{number}: {answer:?}"
            );
        }
    };
    share(30).await;
    redis.run();
    becomes(&broker, "healthy").await;
    // For a window more it keeps to its share.
    share(30).await;
}
