//! Windows, scores and blocks that replicas share on one Redis server.
//!
//! Each decision is one script in one round trip. All keys begin with one hash tag, so that a cluster
//! keeps them together and accepts scripts over several of them. Time is the server's, because the
//! clocks of replicas may differ. Memory is bounded by times to live and by the server's own
//! `maxmemory`, whose policy must be `noeviction`: an evicted window would be a second allowance.

mod error;
mod link;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Script;

use super::{Decision, Place, Receipt, Tally, Windows, WindowsError};
use crate::clock::Timestamp;
use crate::domain::Party;
use crate::gate::claims::Claims;
use crate::gate::limits::{Limit, Rates};
use crate::limit::{Block, GuardRules, Key, Offence, RARELY, Tolerance, Verdict};

pub use error::LinkError;
pub(super) use link::APART;
pub use link::{Absence, Link};

/// The beginning of all keys.
const PREFIX: &str = "{broker}:";

/// How long a window outlives its last admission.
const GRACE: Duration = Duration::from_mins(1);

/// Sets or prolongs the mark that mints from before the server's start have been counted back. The
/// mark lives as long as the longest window after it was last asked for.
const BEGUN: &str = "if ARGV[2] == '1' then redis.call('SET', KEYS[1], '1') end \
    return redis.call('PEXPIRE', KEYS[1], ARGV[1])";
/// Upper bound on the admissions that one script counts back, so that no request waits long for it.
const CHUNK: usize = 250;

/// Windows on a Redis server: exact over all replicas. Fails when the server does not answer.
pub struct RedisWindows {
    link: Arc<Link>,
    rates: Rates,
    guard: GuardRules,
    scripts: Scripts,
}

struct Scripts {
    decide: Script,
    release: Script,
    offend: Script,
    blocks: Script,
    lift: Script,
    count_back: Script,
    begun: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            decide: Script::new(include_str!("scripts/decide.lua")),
            release: Script::new(include_str!("scripts/release.lua")),
            offend: Script::new(include_str!("scripts/offend.lua")),
            blocks: Script::new(include_str!("scripts/blocks.lua")),
            lift: Script::new(include_str!("scripts/lift.lua")),
            count_back: Script::new(include_str!("scripts/count_back.lua")),
            begun: Script::new(BEGUN),
        }
    }
}

impl RedisWindows {
    /// Returns windows on the server that `link` leads to.
    pub fn new(rates: Rates, guard: GuardRules, link: Arc<Link>) -> Self {
        Self {
            link,
            rates,
            guard,
            scripts: Scripts::default(),
        }
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
        let mut chunk = Vec::with_capacity(CHUNK);
        for (at, claims) in used {
            for (limit, key) in claims {
                let (held, oldest) = windows.entry((limit, key)).or_insert((0, u64::MAX));
                if *held >= self.rates.rate(limit).limit {
                    continue;
                }
                // Stamps of one window differ, and are the same whichever replica makes them.
                let latest = at.as_millis().saturating_mul(1000).saturating_add(999);
                (*held, *oldest) = (*held + 1, latest.min(*oldest - 1));
                chunk.push((limit, key, *oldest));
                if chunk.len() == CHUNK {
                    self.push(&chunk).await?;
                    chunk.clear();
                }
            }
        }
        if !chunk.is_empty() {
            self.push(&chunk).await?;
        }
        self.begun(true).await.map(drop)
    }

    async fn push(&self, admissions: &[(Limit, Key, u64)]) -> Result<(), WindowsError> {
        let mut script = self.scripts.count_back.prepare_invoke();
        for (limit, key, stamp) in admissions {
            let rate = self.rates.rate(*limit);
            script.key(window(*limit, *key));
            script.arg(rate.limit).arg(micros(rate.window));
            script.arg(millis(rate.window + GRACE)).arg(*stamp);
        }
        Ok(self.link.run(&script).await?)
    }

    async fn begun(&self, now: bool) -> Result<bool, WindowsError> {
        let mut script = self.scripts.begun.prepare_invoke();
        script.key(format!("{PREFIX}begun"));
        script.arg(millis(self.rates.longest_window() + GRACE));
        script.arg(u8::from(now));
        Ok(self.link.run(&script).await?)
    }

    /// Returns whether there is no connection to the server; false while it is merely in doubt.
    pub(super) fn is_gone(&self) -> bool {
        self.link.is_gone()
    }

    /// Returns how long an admission under `limit` counts.
    pub(super) fn window_of(&self, limit: Limit) -> Duration {
        self.rates.rate(limit).window
    }

    /// Reads the answer of the script that decides over `claims`.
    fn read(&self, claims: &Claims, answer: &[u64]) -> Result<Decision, WindowsError> {
        let (verdict, now, told) = match *answer {
            [2, wait] => {
                let wait = Duration::from_micros(wait);
                return Ok(Decision::Blocked { wait });
            }
            [verdict, now, ref told @ ..] if told.len() == 3 * claims.len() => (verdict, now, told),
            _ => return Err(self.link.nonsense().into()),
        };
        let mut tally = Tally::default();
        let mut places = BTreeMap::new();
        for ((limit, key), told) in claims.iter().zip(told.chunks_exact(3)) {
            let rate = self.rates.rate(*limit);
            let leaves = told[1].saturating_add(micros(rate.window));
            let resets_in = Duration::from_micros(leaves.saturating_sub(now));
            let held = u32::try_from(told[0]).unwrap_or(u32::MAX);
            tally.add(*limit, rate, Verdict::over(rate, held, resets_in));
            let place = Place {
                key: *key,
                local: None,
                shared: Some(told[2]),
            };
            places.insert(*limit, place);
        }
        match (verdict, tally.outcome()) {
            (0, Ok(tightest)) => {
                let receipt = Receipt(places);
                Ok(Decision::Admitted { tightest, receipt })
            }
            (1, Err(refused)) => Ok(Decision::Refused(refused)),
            _ => Err(self.link.nonsense().into()),
        }
    }
}

fn window(limit: Limit, key: Key) -> String {
    format!("{PREFIX}w:{}:{:x}", limit.row().slot, key.to_bits())
}

fn blocks_key() -> String {
    format!("{PREFIX}blocks")
}

/// Returns the key of one party's block or score.
fn of_party(kind: char, party: Party) -> String {
    format!("{PREFIX}{kind}:{}", party.to_text())
}

/// Returns whole microseconds, as scripts count.
fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Returns whole milliseconds, as times to live are given.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[async_trait]
impl Windows for RedisWindows {
    async fn decide(
        &self,
        party: Option<Party>,
        claims: &Claims,
    ) -> Result<Decision, WindowsError> {
        let mut script = self.scripts.decide.prepare_invoke();
        script.key(party.map_or_else(blocks_key, |party| of_party('b', party)));
        script.arg(u8::from(party.is_some()));
        for (limit, key) in claims {
            let rate = self.rates.rate(*limit);
            script.key(window(*limit, *key));
            script.arg(rate.limit).arg(micros(rate.window));
            script.arg(millis(rate.window + GRACE));
        }
        let answer: Vec<u64> = self.link.run(&script).await?;
        self.read(claims, &answer)
    }

    async fn release(&self, receipt: Receipt) -> Result<(), WindowsError> {
        let mut script = self.scripts.release.prepare_invoke();
        let mut is_empty = true;
        for (limit, place) in &receipt.0 {
            if let Some(stamp) = place.shared {
                script.key(window(*limit, place.key)).arg(stamp);
                is_empty = false;
            }
        }
        if is_empty {
            return Ok(());
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
        let (drains, step) = self.guard.draining();
        let refusals = tolerance.map(|given| format!("r:{}:{}", given.slot, party.to_text()));
        let mut script = self.scripts.offend.prepare_invoke();
        script
            .key(of_party('b', party))
            .key(of_party('o', party))
            .key(blocks_key())
            .key(format!("{PREFIX}scores"))
            .key(format!("{PREFIX}{}", refusals.unwrap_or_default()))
            .arg(points)
            .arg(micros(rarely))
            .arg(self.guard.full())
            .arg(drains)
            .arg(micros(step).max(1))
            .arg(micros(self.guard.block))
            .arg(micros(self.guard.block_max))
            .arg(self.guard.capacity)
            .arg(party.to_text())
            .arg(format!("{PREFIX}b:"))
            .arg(tolerance.map_or(0, |given| given.refusals))
            .arg(tolerance.map_or(0, |given| millis(given.window)));
        let answer: Vec<u64> = self.link.run(&script).await?;
        Ok(match *answer {
            [lasts, repetition] => Some(Block {
                party,
                lasts: Duration::from_micros(lasts),
                repetition: u32::try_from(repetition).unwrap_or(u32::MAX),
            }),
            _ => None,
        })
    }

    async fn blocks(&self, most: usize) -> Result<Vec<Block>, WindowsError> {
        let mut script = self.scripts.blocks.prepare_invoke();
        script.key(blocks_key());
        script.arg(most).arg(format!("{PREFIX}b:"));
        let answer: Vec<(String, u64, u64)> = self.link.run(&script).await?;
        let blocks = answer.into_iter().filter_map(|(party, left, repetition)| {
            Some(Block {
                party: Party::parse(&party)?,
                lasts: Duration::from_micros(left),
                repetition: u32::try_from(repetition).unwrap_or(u32::MAX),
            })
        });
        Ok(blocks.collect())
    }

    async fn lift(&self, party: Party) -> Result<bool, WindowsError> {
        let mut script = self.scripts.lift.prepare_invoke();
        script
            .key(of_party('b', party))
            .key(of_party('o', party))
            .key(blocks_key())
            .key(format!("{PREFIX}scores"))
            .arg(party.to_text());
        Ok(self.link.run(&script).await?)
    }

    fn is_exact(&self) -> bool {
        self.link.is_up()
    }
}
