//! What callers notice while a replica enforces its share of the limits: nobody is blamed.

use tokio::time::{Duration, Instant, sleep};

use super::harness::{Launch, PATIENCE, simulator};
use super::http::Answer;
use super::redis_server::Server;
use super::replicas::{Shared, turn};

#[tokio::test]
async fn a_refusal_by_a_replicas_own_share_is_no_offence() {
    let _turn = turn().await;
    let (simulator, mut redis) = (simulator(&[]).await, Server::start());
    let shared = Shared::new().await;
    let launch = Launch::serve(&simulator)
        .env("REDIS_URL", &redis.url())
        .env("DATABASE_URL", &shared.url)
        .set("limits.token", "10/60s")
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
            // At most one of these a second would count.
            sleep(Duration::from_millis(300)).await;
        }
    };
    share(12).await;
    redis.run();
    let back = Instant::now();
    while Answer::to(broker.get("/health")).await.json["status"] != "healthy" {
        assert!(back.elapsed() < PATIENCE, "it does not join");
        sleep(Duration::from_millis(50)).await;
    }
    // For a window more it keeps to its share.
    share(12).await;
}
