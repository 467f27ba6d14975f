//! Windows, scores and blocks in the memory of one process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Decision, Place, Receipt, Refused, Standing, Windows, WindowsError, outcome};
use crate::clock::{Clock, Tick};
use crate::domain::Party;
use crate::gate::claims::Claims;
use crate::gate::limits::{Limit, Rates};
use crate::limit::{Block, Guard, GuardRules, Key, Offence, Table, Tolerance};

/// Windows in memory. They do not outlive the process, and other replicas count on their own.
pub struct MemoryWindows {
    tables: BTreeMap<Limit, Table>,
    guard: Guard,
    clock: Arc<dyn Clock>,
}

impl MemoryWindows {
    /// Returns empty windows.
    pub fn new(rates: &Rates, guard: GuardRules, clock: Arc<dyn Clock>) -> Self {
        let table = |limit| (limit, Table::new(rates.rate(limit), rates.capacity(limit)));
        Self {
            tables: Limit::ALL.map(table).into(),
            guard: Guard::new(guard),
            clock,
        }
    }

    /// Drops what has expired and gives its memory back, a small part at a time. To be called every
    /// few seconds, off the path of requests.
    pub fn sweep(&self) {
        for table in self.tables.values() {
            table.sweep(self.tick());
        }
        self.guard.sweep(self.tick());
    }

    /// Returns the time on the clock of these windows.
    pub(super) fn tick(&self) -> Tick {
        self.clock.tick()
    }

    /// Returns the number of keys that are remembered exactly, over all limits.
    pub fn keys(&self) -> usize {
        self.tables.values().map(Table::keys).sum()
    }

    /// Returns the number of parties that have a score.
    pub fn scores(&self) -> usize {
        self.guard.scores()
    }

    /// Returns how long `party` is still blocked.
    pub(super) fn blocked(&self, party: Option<Party>) -> Option<Duration> {
        self.guard.blocked(party?, self.tick())
    }

    /// Blocks `party` for `lasts`, as another replica has decided.
    pub(super) fn adopt(&self, party: Party, lasts: Duration) {
        self.guard.adopt(party, lasts, self.tick());
    }

    /// Counts a mint that was admitted `ago`, before these windows were made. Only before the first
    /// decision, and the oldest mint first. What a limit would not have admitted then is not counted.
    pub fn remember(&self, claims: &Claims, ago: Duration) {
        // Cannot be refused: no limit binds.
        let _ = self.take(claims, ago, |_| false);
    }

    /// Decides as [`Windows::decide`] does.
    pub fn decide_now(&self, party: Option<Party>, claims: &Claims) -> Decision {
        match self.blocked(party) {
            Some(wait) => Decision::Blocked { wait },
            None => match self.take(claims, Duration::ZERO, |_| true) {
                Ok((tightest, receipt)) => Decision::Admitted { tightest, receipt },
                Err(refused) => Decision::Refused(refused),
            },
        }
    }

    /// Takes a place in each window that has one, as of `ago`; nothing if a window of a limit that
    /// `binds` is full.
    pub(super) fn take(
        &self,
        claims: &Claims,
        ago: Duration,
        binds: impl Fn(Limit) -> bool,
    ) -> Result<(Option<Standing>, Receipt), Refused> {
        // `Claims` are in the order of the limits, so that two requests never wait for each other.
        let held = |(limit, key): (&Limit, &Key)| (*limit, *key, self.tables[limit].hold(*key));
        let mut held: Vec<_> = claims.iter().map(held).collect();
        // Asked under the locks, so that time never goes back for a window.
        let now = self.tick().minus(ago);
        let mut standings = Vec::with_capacity(held.len());
        held.retain_mut(|(limit, _, held)| {
            let verdict = held.check(now);
            if binds(*limit) {
                standings.push(Standing::of(*limit, self.tables[limit].rate(), verdict));
            }
            verdict.is_free()
        });
        let tightest = outcome(standings)?;
        let places = held.into_iter().map(|(limit, key, mut held)| {
            held.take(now);
            let (local, shared) = (Some(now), None);
            (limit, Place { key, local, shared })
        });
        Ok((tightest, Receipt(places.collect())))
    }

    /// Adds an offence as [`Windows::offend`] does.
    pub fn offend_now(&self, party: Party, offence: (Offence, Option<Tolerance>)) -> Option<Block> {
        self.guard.offend(party, offence, self.tick())
    }
}

#[async_trait]
impl Windows for MemoryWindows {
    async fn decide(
        &self,
        party: Option<Party>,
        claims: &Claims,
    ) -> Result<Decision, WindowsError> {
        Ok(self.decide_now(party, claims))
    }

    async fn release(&self, receipt: &Receipt) -> Result<(), WindowsError> {
        for (limit, place) in &receipt.0 {
            if let Some(taken) = place.local {
                let mut held = self.tables[limit].hold(place.key);
                held.give_back(taken, self.tick());
            }
        }
        Ok(())
    }

    async fn offend(
        &self,
        party: Party,
        offence: (Offence, Option<Tolerance>),
    ) -> Result<Option<Block>, WindowsError> {
        Ok(self.offend_now(party, offence))
    }

    async fn blocks(&self, most: usize) -> Result<Vec<Block>, WindowsError> {
        Ok(self.guard.in_force(most, self.tick()))
    }

    async fn lift(&self, party: Party) -> Result<bool, WindowsError> {
        Ok(self.guard.lift(party, self.tick()))
    }

    fn is_exact(&self) -> bool {
        !self.tables.values().any(Table::is_estimating)
    }
}
