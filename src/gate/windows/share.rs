//! Windows of one replica among several: counted on Redis, and its own share while Redis is away.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::redis::{APART, Absence, LinkError, RedisWindows};
use super::{Decision, MemoryWindows, Receipt, Refused, Standing, Windows, WindowsError};
use crate::clock::Tick;
use crate::config::OnFailure;
use crate::domain::{Party, Rate};
use crate::gate::claims::Claims;
use crate::limit::{Block, Key, Offence, Table, Tolerance};

/// The longest window that is kept to locally after an outage. Longer ones learn from the ledger what
/// replicas admitted meanwhile, when Redis has come back empty.
const SHORT: Duration = Duration::from_mins(10);

/// How often Redis is asked about parties that this replica knows to be blocked: an operator may have
/// lifted the block on another replica.
const ASK_AGAIN: Rate = Rate {
    limit: 1,
    window: Duration::from_secs(1),
};
/// Turns in which this replica asks Redis about blocked parties. Bounds what blocked callers cost. A prime, so
/// that all bits of a party decide about its turn.
const TURNS: u8 = 61;
/// How long after an outage this replica keeps to its own blocks: Redis does not know those it earned
/// alone. The longest block by default.
const OWN_BLOCKS: Duration = Duration::from_hours(24);

/// Windows on Redis, and this replica's share of them in memory, which counts along for the day that
/// Redis is gone.
pub struct SharedWindows {
    shared: RedisWindows,
    local: Arc<MemoryWindows>,
    on_failure: OnFailure,
    /// When replicas last enforced their shares, on the local windows' clock; 0: not in this run.
    alone: AtomicU64,
    /// When Redis was asked about blocked parties.
    asked: Table,
}

impl SharedWindows {
    /// Returns windows on `shared`. `local` enforces this replica's share of the same rates.
    pub fn new(shared: RedisWindows, local: Arc<MemoryWindows>, on_failure: OnFailure) -> Self {
        Self {
            shared,
            local,
            on_failure,
            alone: AtomicU64::new(0),
            asked: Table::new(ASK_AGAIN, TURNS.into()),
        }
    }

    /// Returns the windows on Redis.
    pub const fn on_redis(&self) -> &RedisWindows {
        &self.shared
    }

    /// Connects to Redis before the first request.
    pub async fn join(&self) -> Result<(), LinkError> {
        self.shared.link().join().await
    }

    /// Keeps the connection to Redis alive; never returns. Calls `back` whenever Redis is back.
    pub async fn keep(&self, back: impl AsyncFn()) {
        let back = async |absence| {
            // One moment lets through as little beside Redis as the beginning of an outage.
            if absence == Absence::Outage {
                self.note_alone();
            }
            back().await;
        };
        self.shared.link().keep(back).await;
    }

    /// Notes that Redis was unreachable until now: replicas admitted requests that Redis did not count.
    /// This replica keeps enforcing its share until every short window that may contain such requests
    /// has passed, on the replicas that find Redis later too. To be called when Redis is back.
    pub fn note_alone(&self) {
        if self.on_failure == OnFailure::Local {
            let now = self.local.tick().as_nanos();
            self.alone.store(now, Ordering::Relaxed);
        }
    }

    /// Returns how long ago replicas last enforced their shares.
    fn since_alone(&self) -> Duration {
        match self.alone.load(Ordering::Relaxed) {
            0 => Duration::MAX,
            nanos => self.local.tick().since(Tick::from_nanos(nanos)),
        }
    }

    /// Takes the turn of `party` to be asked about on Redis, if that is due.
    fn takes_turn(&self, party: Party) -> bool {
        let turn = Key::from_bits(Key::from(party).to_bits() % u128::from(TURNS));
        self.asked.admit(turn, self.local.tick())
    }

    /// Remembers a block that Redis has just reported.
    fn adopt(&self, party: Party, wait: Duration) {
        self.takes_turn(party);
        self.local.adopt(party, wait);
    }

    /// Decides by this replica's share.
    fn decide_alone(&self, party: Option<Party>, claims: &Claims) -> Decision {
        // Noted here too: requests may be quicker than the task that notices the return of Redis.
        if self.shared.link().is_gone() {
            self.note_alone();
        }
        match self.local.decide_now(party, claims) {
            Decision::Refused(refused) => by_share(refused),
            other => other,
        }
    }

    /// Counts locally what Redis has admitted, wherever this replica's share has room. Refuses it when
    /// an enforced share has none.
    async fn count_along(
        &self,
        claims: &Claims,
        (tightest, mut receipt): (Option<Standing>, Receipt),
    ) -> Decision {
        let alone = self.since_alone();
        let is_enforced = |limit| {
            let window = self.shared.window_of(limit);
            window <= SHORT && window + APART > alone
        };
        match self.local.take(claims, Duration::ZERO, is_enforced) {
            Ok((_, local)) => {
                for (limit, place) in local.0 {
                    receipt
                        .0
                        .entry(limit)
                        .and_modify(|taken| taken.local = place.local);
                }
                Decision::Admitted { tightest, receipt }
            }
            Err(refused) => {
                // Places that Redis cannot be told about stay taken there.
                let _ = self.shared.release(&receipt).await;
                by_share(refused)
            }
        }
    }
}

fn by_share(refused: Refused) -> Decision {
    Decision::Refused(Refused {
        is_share: true,
        ..refused
    })
}

#[async_trait]
impl Windows for SharedWindows {
    /// Decides on Redis. For parties that are known to be blocked, Redis is asked only now and then.
    async fn decide(
        &self,
        party: Option<Party>,
        claims: &Claims,
    ) -> Result<Decision, WindowsError> {
        let known = party.zip(self.local.blocked(party));
        if let Some((party, wait)) = known
            && (self.since_alone() < OWN_BLOCKS || !self.takes_turn(party))
        {
            return Ok(Decision::Blocked { wait });
        }
        let decided = match self.shared.decide(party, claims).await {
            Err(_) if self.on_failure == OnFailure::Local => {
                return Ok(self.decide_alone(party, claims));
            }
            decided => decided?,
        };
        match (&decided, party, known) {
            (Decision::Blocked { wait }, Some(party), _) => self.adopt(party, *wait),
            // The block was lifted on another replica.
            (_, Some(party), Some(_)) => drop(self.local.lift(party).await),
            _ => {}
        }
        Ok(match decided {
            Decision::Admitted { tightest, receipt } => {
                self.count_along(claims, (tightest, receipt)).await
            }
            other => other,
        })
    }

    /// Gives places back here and on Redis. While Redis is away, its places stay taken.
    async fn release(&self, receipt: &Receipt) -> Result<(), WindowsError> {
        self.local.release(receipt).await?;
        // An error says that Redis is away, which is logged where it was noticed.
        let _ = self.shared.release(receipt).await;
        Ok(())
    }

    async fn offend(
        &self,
        party: Party,
        offence: (Offence, Option<Tolerance>),
    ) -> Result<Option<Block>, WindowsError> {
        if self.local.blocked(Some(party)).is_some() {
            return Ok(None);
        }
        let local = self.local.offend_now(party, offence);
        match self.shared.offend(party, offence).await {
            Ok(Some(block)) => {
                self.adopt(party, block.lasts);
                Ok(Some(block))
            }
            Ok(None) | Err(_) => Ok(local),
        }
    }

    async fn blocks(&self, most: usize) -> Result<Vec<Block>, WindowsError> {
        let mut all: BTreeMap<Party, Block> = BTreeMap::new();
        let local = self.local.blocks(most).await?;
        for block in self.shared.blocks(most).await?.into_iter().chain(local) {
            all.entry(block.party).or_insert(block);
        }
        let mut all: Vec<Block> = all.into_values().collect();
        all.sort_by_key(|block| Reverse(block.lasts));
        all.truncate(most);
        Ok(all)
    }

    async fn lift(&self, party: Party) -> Result<bool, WindowsError> {
        let here = self.local.lift(party).await?;
        Ok(self.shared.lift(party).await? || here)
    }

    fn is_exact(&self) -> bool {
        self.shared.is_exact()
    }

    fn failures(&self) -> Option<u64> {
        Some(self.shared.link().failures())
    }
}
