//! Windows, scores and blocks that replicas share on one Redis server.
//!
//! Each decision is one script in one round trip. All keys begin with one hash tag, so that a cluster
//! keeps them together and accepts scripts over several of them. Time is the server's, because the
//! clocks of replicas may differ. Memory is bounded by times to live and by the server's own
//! `maxmemory`, whose policy must be `noeviction`: an evicted window would be a second allowance.

mod error;
mod link;

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use redis::{ErrorKind, RedisError, Script};

use super::{Decision, Place, Receipt, Standing, Windows, WindowsError, outcome};
use crate::clock::Timestamp;
use crate::domain::Party;
use crate::gate::claims::Claims;
use crate::gate::limits::{Limit, Rates};
use crate::limit::{Block, GuardRules, Key, Offence, RARELY, Tolerance, Verdict};

pub use error::LinkError;
pub(super) use link::APART;
pub use link::{Absence, Link};

/// How long a window outlives its last admission.
const GRACE: Duration = Duration::from_mins(1);

/// Upper bound on the admissions that one script counts back, so that no request waits long for it.
const CHUNK: usize = 250;

static DECIDE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/decide.lua")));
static RELEASE: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/release.lua")));
static OFFEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/offend.lua")));
static BLOCKS: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/blocks.lua")));
static LIFT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/lift.lua")));
static COUNT_BACK: LazyLock<Script> =
    LazyLock::new(|| Script::new(include_str!("scripts/count_back.lua")));
/// Sets or prolongs the mark that mints from before the server's start have been counted back. The
/// mark lives as long as the longest window after it was last asked for.
static BEGUN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if ARGV[2] == '1' then redis.call('SET', KEYS[1], '1') end \
         return redis.call('PEXPIRE', KEYS[1], ARGV[1])",
    )
});

/// Windows on a Redis server: exact over all replicas. Fails when the server does not answer.
pub struct RedisWindows {
    link: Arc<Link>,
    rates: Rates,
    guard: GuardRules,
}

impl RedisWindows {
    /// Returns windows on the server that `link` leads to.
    pub const fn new(rates: Rates, guard: GuardRules, link: Arc<Link>) -> Self {
        Self { link, rates, guard }
    }

    /// Returns whether the server's windows know the mints from before it began. It remembers that as
    /// long as its longest window.
    pub async fn is_counted(&self) -> Result<bool, WindowsError> {
        self.begun(false).await
    }

    /// Tells the server's windows the mints from before it began, latest first. Several replicas may
    /// do so, and again after an interruption: nothing is counted twice. Moments are the wall clock's,
    /// as the server's are.
    pub async fn count_back(
        &self,
        used: impl Iterator<Item = (Timestamp, Claims)> + Send,
    ) -> Result<(), WindowsError> {
        let mut windows: HashMap<(Limit, Key), (u32, u64)> = HashMap::new();
        let mut admissions = Vec::new();
        for (at, (limit, key)) in
            used.flat_map(|(at, claims)| claims.into_iter().map(move |claim| (at, claim)))
        {
            let (held, oldest) = windows.entry((limit, key)).or_insert((0, u64::MAX));
            if *held < self.rates.rate(limit).limit {
                // Stamps of one window differ, and are the same whichever replica makes them.
                let latest = at.as_millis().saturating_mul(1000).saturating_add(999);
                (*held, *oldest) = (*held + 1, latest.min(*oldest - 1));
                admissions.push((limit, key, *oldest));
            }
        }
        for chunk in admissions.chunks(CHUNK) {
            let mut script = COUNT_BACK.prepare_invoke();
            for (limit, key, stamp) in chunk {
                let rate = self.rates.rate(*limit);
                script.key(window(*limit, *key));
                script.arg(rate.limit).arg(micros(rate.window));
                script.arg(millis(rate.window + GRACE)).arg(*stamp);
            }
            self.link.run::<()>(&script).await?;
        }
        self.begun(true).await.map(drop)
    }

    async fn begun(&self, now: bool) -> Result<bool, WindowsError> {
        let lives = millis(self.rates.longest_window() + GRACE);
        let mut script = BEGUN.key(key("begun"));
        Ok(self.link.run(script.arg(lives).arg(u8::from(now))).await?)
    }

    /// Returns the link to the server.
    pub(super) fn link(&self) -> &Link {
        &self.link
    }

    /// Returns how long an admission under `limit` counts.
    pub(super) fn window_of(&self, limit: Limit) -> Duration {
        self.rates.rate(limit).window
    }
}

/// Returns the full name of a key on the server.
fn key(name: impl Display) -> String {
    format!("{{broker}}:{name}")
}

fn window(limit: Limit, of: Key) -> String {
    key(format_args!("w:{}:{:x}", limit.row().slot, of.to_bits()))
}

/// Returns the key of one party's block or score.
fn of_party(kind: char, party: Party) -> String {
    key(format_args!("{kind}:{}", party.to_text()))
}

/// Returns whole microseconds, as scripts count.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Returns whole milliseconds, as times to live are given.
fn millis(duration: Duration) -> u64 {
    micros(duration) / 1000
}

fn block(party: Party, (left, repetition): (u64, u32)) -> Block {
    Block {
        party,
        lasts: Duration::from_micros(left),
        repetition,
    }
}

#[async_trait]
impl Windows for RedisWindows {
    async fn decide(
        &self,
        party: Option<Party>,
        claims: &Claims,
    ) -> Result<Decision, WindowsError> {
        let blocked = party.map_or_else(|| key("blocks"), |party| of_party('b', party));
        let mut script = DECIDE.key(blocked);
        script.arg(u8::from(party.is_some()));
        for (limit, key) in claims {
            let rate = self.rates.rate(*limit);
            script.key(window(*limit, *key));
            script.arg(rate.limit).arg(micros(rate.window));
            script.arg(millis(rate.window + GRACE));
        }
        let (wait, now, told): (u64, u64, Vec<(u32, u64, u64)>) = self.link.run(&script).await?;
        if wait > 0 {
            let wait = Duration::from_micros(wait);
            return Ok(Decision::Blocked { wait });
        }
        if told.len() != claims.len() {
            let error = (
                ErrorKind::UnexpectedReturnType,
                "an answer for other claims",
            );
            return Err(LinkError::Failed(RedisError::from(error)).into());
        }
        let standings = claims
            .iter()
            .zip(&told)
            .map(|((limit, _), (held, oldest, _))| {
                let rate = self.rates.rate(*limit);
                let leaves = oldest.saturating_add(micros(rate.window));
                let resets_in = Duration::from_micros(leaves.saturating_sub(now));
                Standing::of(*limit, rate, Verdict::over(rate, *held, resets_in))
            });
        let tightest = match outcome(standings.collect()) {
            Ok(tightest) => tightest,
            Err(refused) => return Ok(Decision::Refused(refused)),
        };
        let places = claims.iter().zip(told).map(|((limit, key), (.., stamp))| {
            let (key, local, shared) = (*key, None, Some(stamp));
            (*limit, Place { key, local, shared })
        });
        let receipt = Receipt(places.collect());
        Ok(Decision::Admitted { tightest, receipt })
    }

    async fn release(&self, receipt: &Receipt) -> Result<(), WindowsError> {
        let stamp =
            |(limit, place): (&Limit, &Place)| Some((window(*limit, place.key), place.shared?));
        let stamps: Vec<_> = receipt.0.iter().filter_map(stamp).collect();
        if stamps.is_empty() {
            return Ok(());
        }
        let mut script = RELEASE.prepare_invoke();
        for (window, stamp) in stamps {
            script.key(window).arg(stamp);
        }
        Ok(self.link.run(&script).await?)
    }

    async fn offend(
        &self,
        party: Party,
        (offence, tolerance): (Offence, Option<Tolerance>),
    ) -> Result<Option<Block>, WindowsError> {
        let points = self.guard.points(offence);
        if points == 0 {
            return Ok(None);
        }
        let is_rare = offence == Offence::RateLimited;
        let rarely = if is_rare { RARELY } else { Duration::ZERO };
        let draining = self.guard.draining();
        let slot = tolerance.map_or("", |given| given.slot);
        let mut script = OFFEND.key(of_party('b', party));
        script
            .key(of_party('o', party))
            .key(key("blocks"))
            .key(key("scores"))
            .key(key(format_args!("r:{slot}:{}", party.to_text())))
            .arg(points)
            .arg(micros(rarely))
            .arg(self.guard.threshold)
            .arg(draining.thousandths)
            .arg(micros(draining.step).max(1))
            .arg(micros(self.guard.block))
            .arg(micros(self.guard.block_max))
            .arg(self.guard.capacity)
            .arg(party.to_text())
            .arg(key("b:"))
            .arg(tolerance.map_or(0, |given| given.refusals))
            .arg(tolerance.map_or(0, |given| millis(given.window)));
        let earned: Option<(u64, u32)> = self.link.run(&script).await?;
        Ok(earned.map(|earned| block(party, earned)))
    }

    async fn blocks(&self, most: usize) -> Result<Vec<Block>, WindowsError> {
        let mut script = BLOCKS.key(key("blocks"));
        script.arg(most).arg(key("b:"));
        let answer: Vec<(String, u64, u32)> = self.link.run(&script).await?;
        let blocks = answer.into_iter().filter_map(|(party, left, repetition)| {
            Some(block(Party::parse(&party)?, (left, repetition)))
        });
        Ok(blocks.collect())
    }

    async fn lift(&self, party: Party) -> Result<bool, WindowsError> {
        let mut script = LIFT.key(of_party('b', party));
        script.key(of_party('o', party));
        script.key(key("blocks")).key(key("scores"));
        Ok(self.link.run(script.arg(party.to_text())).await?)
    }

    fn is_exact(&self) -> bool {
        self.link.is_up()
    }
}
