//! A server that comes back without what it knew: nobody gets more than one more allowance, and what the ledger knows still counts.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::{Clock, ManualClock, SystemClock, Timestamp};
use token_broker::config::OnFailure;
use token_broker::gate::Claims;
use token_broker::gate::windows::redis::{Link, RedisWindows};
use token_broker::gate::windows::share::SharedWindows;
use token_broker::gate::windows::{Decision, MemoryWindows, Windows};
use token_broker::limit::Key;

use super::stage::{NARROW, address, all, claim, is_admitted, link, party, rates, rules};
use crate::kit::redis::Redis;
use crate::kit::waiting::until;

const LIMIT: u32 = 10;
const WINDOW: Duration = Duration::from_mins(1);

/// One of two replicas, and its time.
struct Replica {
    limits: SharedWindows,
    link: Arc<Link>,
    clock: Arc<ManualClock>,
}

impl Replica {
    async fn new(server: &Redis) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_800_000_000)));
        let link = link(server).await;
        let narrow = format!("{LIMIT}/60s");
        let share = rates(&narrow).share(NonZeroU32::new(2).unwrap());
        let local = MemoryWindows::new(&share, rules(), Arc::<ManualClock>::clone(&clock));
        let shared = RedisWindows::new(rates(&narrow), rules(), Arc::clone(&link));
        let limits = SharedWindows::new(shared, Arc::new(local), OnFailure::Local);
        Self {
            limits,
            link,
            clock,
        }
    }

    /// How many of twenty are let through.
    async fn ask(&self) -> u32 {
        let caller = address("203.0.113.7");
        let mut admitted = 0;
        for _ in 0..2 * LIMIT {
            let decision = self
                .limits
                .decide(Some(party(caller)), &all(caller))
                .await
                .unwrap();
            admitted += u32::from(is_admitted(&decision));
        }
        admitted
    }

    /// As whoever keeps the link alive does.
    async fn rejoin(&self) {
        self.link.join().await.unwrap();
        self.limits.note_alone();
    }
}

#[tokio::test]
async fn a_server_that_is_back_empty_within_one_window_gives_one_more_allowance_and_no_third() {
    let mut server = Redis::start();
    let [one, two] = [Replica::new(&server).await, Replica::new(&server).await];
    let before = one.ask().await + two.ask().await;
    server.kill();
    let alone = one.ask().await + two.ask().await;
    server.run();
    one.rejoin().await;
    two.rejoin().await;
    let after = one.ask().await + two.ask().await;
    let counts = [before, alone, after];
    assert_eq!(before, LIMIT);
    assert!(counts.iter().sum::<u32>() <= 2 * LIMIT, "{counts:?}");
    assert!(one.link.is_up() && two.link.is_up());

    // Once no replica can be alone any more and a window has passed, whoever comes first gets it all.
    let later = WINDOW + Duration::from_secs(5);
    for replica in [&one, &two] {
        replica.clock.advance(later);
    }
    server.pass(later);
    assert_eq!([one.ask().await, two.ask().await], [LIMIT, 0]);
}

#[tokio::test]
async fn requests_that_replicas_admitted_alone_are_not_admitted_again_once_the_server_is_back() {
    // It was only out of reach, and its windows are older than what happened meanwhile.
    let mut server = Redis::start();
    let [one, two] = [Replica::new(&server).await, Replica::new(&server).await];
    server.kill();
    assert_eq!([one.ask().await, two.ask().await], [LIMIT / 2, LIMIT / 2]);
    server.run();
    one.rejoin().await;
    two.rejoin().await;
    assert_eq!([one.ask().await, two.ask().await], [0, 0]);
    let caller = address("203.0.113.7");
    match one
        .limits
        .decide(Some(party(caller)), &all(caller))
        .await
        .unwrap()
    {
        Decision::Refused(refused) => {
            let standing = refused.standing;
            assert_eq!((standing.limit, standing.rate.limit), (NARROW, LIMIT / 2));
            assert!(refused.is_share, "no offence of the caller");
        }
        other => panic!("{other:?}"),
    }
    // The server gave back what was refused here: a replica that was not alone finds all places free.
    let third = Replica::new(&server).await;
    assert_eq!(third.ask().await, LIMIT);
}

#[tokio::test]
async fn a_replica_that_finds_the_server_two_seconds_after_another_adds_nothing_to_the_limit() {
    const LATER: Duration = Duration::from_secs(2);
    let mut server = Redis::start();
    let [first, second] = [Replica::new(&server).await, Replica::new(&server).await];
    let pass = |server: &Redis, time| {
        first.clock.advance(time);
        second.clock.advance(time);
        server.pass(time);
    };
    server.kill();
    server.run();
    first.rejoin().await;
    pass(&server, LATER);
    // The second one is still alone, and the server never learns of these.
    let alone = second.ask().await;
    assert_eq!(alone, LIMIT / 2, "its share");
    second.rejoin().await;
    pass(&server, Duration::from_secs(59));
    // A window after the first one's return. What the second one admitted alone still counts.
    let together = alone + first.ask().await + second.ask().await;
    assert!(together <= LIMIT, "{together}");
    // In the end both enforce the limit of the server alone.
    pass(&server, WINDOW * 2);
    assert_eq!([first.ask().await, second.ask().await], [LIMIT, 0]);
}

#[tokio::test]
async fn a_server_that_is_emptied_while_it_runs_gives_one_more_allowance() {
    let server = Redis::start();
    let [one, two] = [Replica::new(&server).await, Replica::new(&server).await];
    let before = one.ask().await + two.ask().await;
    assert_eq!(server.ask::<String>(&["FLUSHALL"]).unwrap(), "OK");
    assert!(before + one.ask().await + two.ask().await <= 2 * LIMIT);
}

/// Limits of an hour over `server`, for what the ledger knows.
async fn hourly(server: &Redis) -> SharedWindows {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let local = MemoryWindows::new(&rates("10/1h"), rules(), clock);
    let shared = RedisWindows::new(rates("10/1h"), rules(), link(server).await);
    SharedWindows::new(shared, Arc::new(local), OnFailure::Local)
}

fn ana() -> Claims {
    claim(NARROW, Key::from_bits(7))
}

/// Six mints of Ana's in the last hour, three of them at the same moment, and two of before; latest first.
fn used() -> Vec<(Timestamp, Claims)> {
    let now = SystemClock::new().now();
    let minutes = [1, 2, 2, 2, 30, 59, 61, 600];
    let dated = |ago| (now.minus(Duration::from_mins(ago)), ana());
    minutes.map(dated).to_vec()
}

async fn admitted(limits: &SharedWindows) -> usize {
    let mut count = 0;
    for _ in 0..20 {
        let decision = limits.decide(None, &ana()).await;
        count += usize::from(is_admitted(&decision.unwrap()));
    }
    count
}

#[tokio::test]
async fn four_replicas_at_once_count_the_past_back_once_between_them() {
    let server = Redis::start();
    let used = used();
    let replicas = [
        hourly(&server).await,
        hourly(&server).await,
        hourly(&server).await,
        hourly(&server).await,
    ];
    for replica in &replicas {
        assert!(!replica.on_redis().is_counted().await.unwrap());
    }
    let count = |replica| RedisWindows::count_back(replica, used.iter().cloned());
    let [one, two, three, four] = replicas.each_ref().map(SharedWindows::on_redis);
    let all = tokio::join!(count(one), count(two), count(three), count(four));
    assert!(all.0.is_ok() && all.1.is_ok() && all.2.is_ok() && all.3.is_ok());
    // One that was cut short would do it again.
    count(one).await.unwrap();
    for replica in &replicas {
        assert!(replica.on_redis().is_counted().await.unwrap());
    }
    assert_eq!(admitted(&replicas[1]).await, 4);
    server.pass(Duration::from_hours(24));
    assert!(
        two.is_counted().await.unwrap(),
        "as long as the longest window"
    );
}

#[tokio::test]
async fn requests_that_the_server_has_decided_itself_are_not_counted_back() {
    let server = Redis::start();
    let limits = hourly(&server).await;
    let mut used = used();
    for _ in 0..3 {
        let decision = limits.decide(None, &ana()).await.unwrap();
        assert!(is_admitted(&decision));
        // It is written down a little later, as every mint is.
        let clock = SystemClock::new();
        let later = clock.now().plus(Duration::from_millis(2));
        until("the clock moves on", || clock.now() >= later).await;
        used.insert(0, (clock.now(), ana()));
    }
    limits
        .on_redis()
        .count_back(used.into_iter())
        .await
        .unwrap();
    assert_eq!(admitted(&limits).await, 1);
}

#[tokio::test]
async fn more_than_a_window_may_hold_is_not_sent() {
    let server = Redis::start();
    let limits = hourly(&server).await;
    let now = SystemClock::new().now();
    let many = (0..100_000).map(|number| (now.minus(Duration::from_millis(number)), ana()));
    limits.on_redis().count_back(many).await.unwrap();
    assert_eq!(admitted(&limits).await, 0);
}

#[tokio::test]
async fn an_emptied_server_says_so() {
    let server = Redis::start();
    let limits = hourly(&server).await;
    limits
        .on_redis()
        .count_back(used().into_iter())
        .await
        .unwrap();
    assert!(limits.on_redis().is_counted().await.unwrap());
    assert_eq!(server.ask::<String>(&["FLUSHALL"]).unwrap(), "OK");
    assert!(!limits.on_redis().is_counted().await.unwrap());
    limits
        .on_redis()
        .count_back(used().into_iter())
        .await
        .unwrap();
    assert_eq!(admitted(&limits).await, 4);
}
