//! Windows of one replica among several: counted on Redis, and its own share while Redis is away.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use super::redis::{APART, RedisWindows};
use super::{Decision, MemoryWindows, Receipt, Refused, Standing, Windows, WindowsError};
use crate::clock::{Tick, Timestamp};
use crate::config::OnFailure;
use crate::domain::Party;
use crate::gate::claims::Claims;
use crate::gate::limits::Limit;
use crate::limit::{Block, Offence, Tolerance};

/// The longest window that is kept to locally after an outage. Longer ones learn from the ledger what
/// replicas admitted meanwhile, when Redis has come back empty.
const SHORT: Duration = Duration::from_mins(10);

/// The time after which Redis is asked again about a party that this replica knows to be blocked: an
/// operator may have lifted the block on another replica.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// Blocked parties share so many turns to be asked about. Bounds what blocked callers cost.
const TURNS: usize = 64;
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
    /// When Redis was last asked about blocked parties of each turn; on the same clock.
    asked: [AtomicU64; TURNS],
}

impl SharedWindows {
    /// Returns windows on `shared`. `local` enforces this replica's share of the same rates.
    pub const fn new(
        shared: RedisWindows,
        local: Arc<MemoryWindows>,
        on_failure: OnFailure,
    ) -> Self {
        Self {
            shared,
            local,
            on_failure,
            alone: AtomicU64::new(0),
            asked: [const { AtomicU64::new(0) }; TURNS],
        }
    }

    /// Notes that Redis was unreachable until now: replicas admitted requests that Redis did not count.
    /// This replica keeps enforcing its share until every short window that may contain such requests
    /// has passed, on the replicas that find Redis later too. To be called when Redis is back.
    pub fn note_alone(&self) {
        if self.on_failure == OnFailure::Local {
            self.alone
                .store(self.local.tick().as_nanos(), Ordering::Relaxed);
        }
    }

    /// Returns whether Redis is to be asked again about `party`, which this replica knows to be blocked.
    fn asks_again(&self, party: Party) -> bool {
        let now = self.local.tick();
        let is_past = |nanos: u64, least| nanos == 0 || now.since(Tick::from_nanos(nanos)) >= least;
        let turn = self.turn(party);
        let last = turn.load(Ordering::Relaxed);
        is_past(self.alone.load(Ordering::Relaxed), OWN_BLOCKS)
            && is_past(last, ASK_AGAIN)
            && turn
                .compare_exchange(last, now.as_nanos(), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }

    /// Remembers a block that Redis has just reported.
    fn adopt(&self, party: Party, wait: Duration) {
        let now = self.local.tick().as_nanos();
        self.turn(party).store(now, Ordering::Relaxed);
        self.local.adopt(party, wait);
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "any part of the hash will do"
    )]
    fn turn(&self, party: Party) -> &AtomicU64 {
        let mut hasher = DefaultHasher::new();
        party.hash(&mut hasher);
        &self.asked[hasher.finish() as usize % TURNS]
    }

    /// Returns whether the server's windows know the mints from before it began.
    pub async fn is_counted(&self) -> Result<bool, WindowsError> {
        self.shared.is_counted().await
    }

    /// Tells the server's windows the mints from before it began, latest first. Several replicas may do
    /// so at once, and again: nothing is counted twice.
    pub async fn count_back(
        &self,
        used: impl Iterator<Item = (Timestamp, Claims)> + Send,
    ) -> Result<(), WindowsError> {
        self.shared.count_back(used).await
    }

    /// Decides by this replica's share.
    fn decide_alone(&self, party: Option<Party>, claims: &Claims) -> Decision {
        // Noted here too: requests may be quicker than the task that notices the return of Redis.
        if self.shared.is_gone() {
            self.note_alone();
        }
        match self.local.decide_now(party, claims) {
            Decision::Refused(refused) => by_share(refused),
            other => other,
        }
    }

    /// Returns whether this replica's share of `limit` is still enforced.
    fn is_enforced(&self, limit: Limit) -> bool {
        let window = self.shared.window_of(limit);
        let alone = match self.alone.load(Ordering::Relaxed) {
            0 => return false,
            nanos => self.local.tick().since(Tick::from_nanos(nanos)),
        };
        window <= SHORT && window + APART > alone
    }

    /// Counts locally what Redis has admitted, wherever this replica's share has room. Refuses it when
    /// an enforced share has none.
    async fn count_along(
        &self,
        claims: &Claims,
        (tightest, mut receipt): (Option<Standing>, Receipt),
    ) -> Result<Decision, WindowsError> {
        let counted = self
            .local
            .take(claims, Duration::ZERO, |limit| self.is_enforced(limit));
        match counted {
            Ok((_, local)) => {
                for (limit, place) in &mut receipt.0 {
                    place.local = local.0.get(limit).and_then(|local| local.local);
                }
                Ok(Decision::Admitted { tightest, receipt })
            }
            Err(refused) => {
                self.release(receipt).await?;
                Ok(by_share(refused))
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
            && !self.asks_again(party)
        {
            return Ok(Decision::Blocked { wait });
        }
        let decided = self.shared.decide(party, claims).await;
        if let (Some((party, _)), Ok(Decision::Admitted { .. } | Decision::Refused(_))) =
            (known, &decided)
        {
            self.local.lift_now(party);
        }
        match decided {
            Ok(Decision::Admitted { tightest, receipt }) => {
                self.count_along(claims, (tightest, receipt)).await
            }
            Ok(Decision::Blocked { wait }) => {
                if let Some(party) = party {
                    self.adopt(party, wait);
                }
                Ok(Decision::Blocked { wait })
            }
            Err(_) if self.on_failure == OnFailure::Local => Ok(self.decide_alone(party, claims)),
            other => other,
        }
    }

    /// Gives places back here and on Redis. While Redis is away, its places stay taken.
    async fn release(&self, receipt: Receipt) -> Result<(), WindowsError> {
        self.local.release_now(&receipt);
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
        let local = self.local.blocks_now(most);
        for block in self.shared.blocks(most).await?.into_iter().chain(local) {
            all.entry(block.party).or_insert(block);
        }
        let mut all: Vec<Block> = all.into_values().collect();
        all.sort_by_key(|block| std::cmp::Reverse(block.lasts));
        all.truncate(most);
        Ok(all)
    }

    async fn lift(&self, party: Party) -> Result<bool, WindowsError> {
        let here = self.local.lift_now(party);
        Ok(self.shared.lift(party).await? || here)
    }

    fn is_exact(&self) -> bool {
        self.shared.is_exact()
    }
}
