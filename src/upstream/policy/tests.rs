//! Bounds on operations whose outcome and time are a test's.

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;

use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::config::{ApiKey, Config, Mode};
use crate::domain::{ClientSecret, Network};
use crate::upstream::openai::SetupError;
use crate::upstream::{MintOrder, Minter, Probe};

/// A provider whose free look never ends and is counted.
#[derive(Default)]
struct Silent(AtomicU32);

#[async_trait]
impl Minter for Silent {
    async fn mint(&self, _: &MintOrder, _: &KeyFingerprint) -> Result<ClientSecret, UpstreamError> {
        Err(UpstreamError::TimedOut)
    }

    async fn probe(&self, _: &KeyFingerprint) -> Result<Probe, UpstreamError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        std::future::pending().await
    }

    fn load(&self, _: &[ApiKey]) -> Result<(), SetupError> {
        Ok(())
    }
}

fn somebody() -> Party {
    Party::Network(Network::around([203, 0, 113, 7].into()))
}

struct Bench {
    clock: Arc<ManualClock>,
    provider: Arc<Silent>,
    policy: Policy,
}

impl Bench {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(0)));
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let provider = Arc::new(Silent::default());
        let minter: Arc<dyn Minter> = Arc::<Silent>::clone(&provider);
        let settings = Config::from_pairs(Mode::Dev, &[("upstream.api_key", "sk-test")]);
        let settings = settings.unwrap().upstream;
        let keys = Keyring::new(&settings.keys(), minter, Arc::clone(&shared));
        let policy = Policy::new(&settings, keys, shared);
        Self {
            clock,
            provider,
            policy,
        }
    }

    /// Runs an operation that always fails so. Returns how often it was started.
    async fn attempts(&self, most: u32, error: fn() -> UpstreamError) -> u32 {
        let started = AtomicU32::new(0);
        let operation = |_| {
            started.fetch_add(1, Ordering::SeqCst);
            std::future::ready(Err::<(), _>(error()))
        };
        let turn = self
            .policy
            .turn(somebody(), Payer::default())
            .await
            .unwrap();
        tokio::select! {
            outcome = self.policy.run(turn, most, operation) => assert!(outcome.is_err()),
            () = self.keep_turning() => {}
        }
        started.into_inner()
    }

    async fn keep_turning(&self) {
        loop {
            self.clock.awaited(2 * RETRY_PAUSE).await;
            self.clock.advance(2 * RETRY_PAUSE);
        }
    }
}

#[tokio::test]
async fn a11_nobody_overtakes_those_who_wait_for_their_turn() {
    fn polled<T>(turn: &mut (impl Future<Output = T> + Unpin)) -> Poll<T> {
        Pin::new(turn).poll(&mut Context::from_waker(Waker::noop()))
    }
    let bench = Bench::new();
    let mut started = Vec::new();
    let mut first = loop {
        let mut turn = Box::pin(bench.policy.turn(somebody(), Payer::default()));
        match polled(&mut turn) {
            Poll::Ready(turn) => started.push(turn.unwrap()),
            Poll::Pending => break turn,
        }
    };
    // The pace has a place again, and the one who waits has not seen it yet.
    bench.clock.advance(Duration::from_millis(25));
    let neighbour = Party::Network(Network::around([198, 51, 100, 7].into()));
    let mut second = Box::pin(bench.policy.turn(neighbour, Payer::default()));
    assert!(polled(&mut second).is_pending());
    assert!(polled(&mut first).is_ready());
}

#[tokio::test]
async fn an_operation_that_must_not_be_repeated_is_started_once_whatever_happens() {
    let broken = || UpstreamError::Broken(500.into());
    assert_eq!(Bench::new().attempts(1, broken).await, 1);
    assert_eq!(Bench::new().attempts(2, broken).await, 2);
}

#[tokio::test]
async fn an_outcome_that_is_not_known_is_not_repeated() {
    let silent = || UpstreamError::TimedOut;
    assert_eq!(Bench::new().attempts(2, silent).await, 1);
}

#[tokio::test]
async fn all_attempts_share_one_deadline_and_a_pause_beyond_it_is_not_begun() {
    let bench = Bench::new();
    let started = AtomicU32::new(0);
    let deadline = bench.clock.tick().plus(bench.policy.deadline);
    let operation = |_| {
        started.fetch_add(1, Ordering::SeqCst);
        let last_moment = deadline.minus(Duration::from_millis(1));
        bench.clock.advance(last_moment.since(bench.clock.tick()));
        std::future::ready(Err::<(), _>(UpstreamError::Broken(500.into())))
    };
    let turn = bench
        .policy
        .turn(somebody(), Payer::default())
        .await
        .unwrap();
    let outcome = bench.policy.run(turn, 2, operation).await;
    assert!(matches!(outcome, Err(UpstreamError::Broken(_))));
    assert_eq!(started.into_inner(), 1);
}

#[tokio::test]
async fn requests_that_are_rejected_at_the_same_time_share_one_look() {
    let bench = Bench::new();
    let rejected = async |_| {
        tokio::task::yield_now().await;
        bench.clock.advance(Duration::from_millis(1));
        Err::<(), _>(UpstreamError::KeyRejected(401.into()))
    };
    let run = async || {
        let turn = bench
            .policy
            .turn(somebody(), Payer::default())
            .await
            .unwrap();
        bench.policy.run(turn, 2, rejected).await
    };
    // Both were sent before the look began.
    let turn = async {
        bench.clock.awaited(Duration::from_secs(5)).await;
        bench.clock.advance(Duration::from_secs(5));
    };
    let (first, second, ()) = tokio::join!(run(), run(), turn);
    for outcome in [first, second] {
        assert!(matches!(outcome, Err(UpstreamError::Refused(_))));
    }
    assert_eq!(bench.provider.0.load(Ordering::SeqCst), 1);
}
