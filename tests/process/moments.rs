//! What callers notice of a Redis that is slow for a moment: they are told to come back, and nobody is blamed.

use serde_json::Value;
use tokio::time::{Duration, Instant, sleep};

use super::harness::{Launch, PATIENCE, simulator};
use super::http::Answer;
use super::redis_server::Server;
use super::replicas::{refresh, turn};

#[tokio::test]
async fn a_session_that_may_be_there_is_not_denied_while_redis_is_slow_and_the_log_says_why() {
    let _turn = turn().await;
    let (simulator, redis) = (simulator(&[]).await, Server::start());
    let serve = || {
        Launch::serve(&simulator)
            .env("REDIS_URL", &redis.url())
            .env(
                "BROKER_SESSION__SECRET",
                "canary-of-moments-for-two-replicas",
            )
            .set("session.min_refresh_interval", "0s")
            .set("limits.refresh", "100/60s")
            .set("guard.never_block", "127.0.0.0/8")
            .set("redis.replicas", "1")
    };
    let (one, two) = (serve().start().await, serve().start().await);
    let there = two.token().await.json["sessionId"].clone();
    let minted = simulator.minted();

    redis.signal("STOP");
    let began = Instant::now();
    let told = refresh(&one, &there).await;
    redis.signal("CONT");
    told.is(503, "sessions_unreachable");
    assert_eq!(told.header("retry-after"), Some("1"));
    assert!(began.elapsed() < Duration::from_secs(1));
    assert_eq!(simulator.minted(), minted, "nothing was minted");
    let says = |line: &Value| {
        let message = line["message"].as_str().unwrap_or_default();
        line["level"] == "WARN" && message.contains("longer than redis.timeout")
    };
    one.running.logged(says).await;
    loop {
        let answer = refresh(&one, &there).await;
        if answer.status != 503 {
            answer.secret();
            break;
        }
        assert!(began.elapsed() < PATIENCE, "it never comes back");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_is_refused_by_a_share_has_done_nothing_wrong() {
    let _turn = turn().await;
    let (simulator, mut redis) = (simulator(&[]).await, Server::start());
    let launch = Launch::serve(&simulator)
        .env("REDIS_URL", &redis.url())
        .env(
            "BROKER_SESSION__SECRET",
            "canary-of-moments-for-two-replicas",
        )
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
