//! The API keys in the order of the settings: which one starts an operation, and which one is next when it fails.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;

use super::key::{Key, KeyHealth, KeyState};
use super::lane::Lane;
use super::{Complaint, Minter, Payer, Probe, UpstreamError};
use crate::clock::{Clock, Tick};
use crate::config::ApiKey;
use crate::domain::KeyFingerprint;

/// The longest time that a look may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Looks at the same time.
const AT_ONCE: usize = 32;
/// Bounds the aliases that are remembered.
const MOST_ALIASES: usize = 1_000;
/// The alias of keys that are not loaded.
const UNKNOWN: &str = "unknown";

/// The keys that may start operations, and free looks with them in a lane of their own.
pub(super) struct Keyring {
    keys: RwLock<Arc<[Arc<Key>]>>,
    /// The aliases of all keys, and of those that were replaced.
    aliases: RwLock<HashMap<KeyFingerprint, Box<str>>>,
    minter: Arc<dyn Minter>,
    lane: Lane,
    clock: Arc<dyn Clock>,
}

/// The keys for one operation: the one in use, and those that take over.
#[derive(Debug)]
pub(super) struct Choice {
    key: Arc<Key>,
    others: VecDeque<Arc<Key>>,
}

impl Choice {
    pub(super) fn key(&self) -> &Arc<Key> {
        &self.key
    }

    pub(super) fn has_more(&self) -> bool {
        !self.others.is_empty()
    }

    /// Takes the next key after a failure that is the key's. Returns false when there is none.
    pub(super) fn moves_on(&mut self, error: &UpstreamError) -> bool {
        if error.is_of_key()
            && let Some(next) = self.others.pop_front()
        {
            self.key = next;
            return true;
        }
        false
    }
}

impl Keyring {
    pub(super) fn new(keys: &[ApiKey], minter: Arc<dyn Minter>, clock: Arc<dyn Clock>) -> Self {
        let ring = Self {
            keys: RwLock::new(Arc::default()),
            aliases: RwLock::default(),
            minter,
            lane: Lane::new(AT_ONCE, DEADLINE, Arc::clone(&clock)),
            clock,
        };
        ring.load(keys);
        ring
    }

    /// Takes other keys over. Nothing is known of them, but of those that are the same the last success.
    pub(super) fn load(&self, keys: &[ApiKey]) {
        let live = keys.iter().filter(|key| !key.is_retired);
        let live = live.map(|key| {
            let known = self.find(&key.fingerprint());
            Arc::new(Key::new(key, known.and_then(|known| known.last_success())))
        });
        let live = live.collect();
        *self.keys.write() = live;
        let mut aliases = self.aliases.write();
        if aliases.len() > MOST_ALIASES {
            aliases.clear();
        }
        let named = keys
            .iter()
            .map(|key| (key.fingerprint(), key.alias.clone()));
        aliases.extend(named);
    }

    /// Returns the alias of the key of this fingerprint.
    pub(super) fn alias_of(&self, fingerprint: &KeyFingerprint) -> Box<str> {
        let aliases = self.aliases.read();
        let alias = aliases.get(fingerprint).cloned();
        alias.unwrap_or_else(|| UNKNOWN.into())
    }

    pub(super) fn all(&self) -> Arc<[Arc<Key>]> {
        Arc::clone(&self.keys.read())
    }

    /// Returns the key of this fingerprint, if it may start operations.
    pub(super) fn find(&self, fingerprint: &KeyFingerprint) -> Option<Arc<Key>> {
        let all = self.all();
        let mut all = all.iter();
        all.find(|key| key.fingerprint == *fingerprint).cloned()
    }

    /// Returns the keys for `payer`, of those that fit best: in their order, without those that rest, and those last that the
    /// provider rejects. Or else how long all of them rest.
    pub(super) fn choose(&self, payer: Payer<'_>) -> Result<Choice, Duration> {
        let (all, now) = (self.all(), self.clock.tick());
        let best = all.iter().filter_map(|key| key.fit(payer)).max();
        let theirs = all
            .iter()
            .filter(|key| best.is_some() && key.fit(payer) == best);
        let rest = theirs.clone().map(|key| key.rest(now)).min();
        let usable = theirs.filter(|key| key.rest(now).is_zero()).cloned();
        let mut usable: Vec<_> = usable.collect();
        usable.sort_by_key(|key| key.is_doubted());
        let mut others = VecDeque::from(usable);
        let key = others.pop_front().ok_or(rest.unwrap_or(DEADLINE))?;
        Ok(Choice { key, others })
    }

    /// True when a key neither rests nor is rejected.
    pub(super) fn is_any_good(&self) -> bool {
        let now = self.clock.tick();
        let is_good = |key: &Arc<Key>| key.state(now) == KeyState::Accepted;
        self.all().iter().any(is_good)
    }

    /// True when each key, or another one for the same callers, neither rests nor is rejected.
    pub(super) fn serve_everybody(&self) -> bool {
        let (all, now) = (self.all(), self.clock.tick());
        let is_good = |key: &Key| key.state(now) == KeyState::Accepted;
        all.iter()
            .all(|key| all.iter().any(|other| other.is_like(key) && is_good(other)))
    }

    /// Returns how each key is.
    pub(super) fn health(&self) -> Vec<KeyHealth> {
        let (now, today) = (self.clock.tick(), self.clock.now());
        let health = |key: &Arc<Key>| KeyHealth {
            alias: key.alias.clone(),
            state: key.state(now),
            last_success: key.last_success().map(|last| today.minus(now.since(last))),
        };
        self.all().iter().map(health).collect()
    }

    /// Looks whether the upstream answers and accepts `key`.
    pub(super) async fn look(&self, key: &Key) -> Result<Probe, UpstreamError> {
        let looked = self.lane.run(self.minter.probe(&key.fingerprint)).await;
        let looked = looked.map_err(|error| error.of_key(&key.alias));
        match &looked {
            Ok(probe) => key.looked(probe),
            Err(error) => key.failed(error),
        }
        looked
    }

    /// Judges a failure of a request of `sent`. A 401 or 403 may be about that request only, or a slip of the provider: it
    /// must not keep everybody out. Requests that are rejected at the same time share one look. A key without the permission
    /// to mint needs none.
    pub(super) async fn judge(&self, key: &Key, error: UpstreamError, sent: Tick) -> UpstreamError {
        match error {
            UpstreamError::KeyRejected(complaint) if !complaint.lacks_permission() => {
                if self.is_bad(key, &complaint, sent).await {
                    UpstreamError::KeyRejected(complaint).of_key(&key.alias)
                } else {
                    UpstreamError::Refused(complaint)
                }
            }
            error => error.of_key(&key.alias),
        }
    }

    async fn is_bad(&self, key: &Key, complaint: &Complaint, sent: Tick) -> bool {
        let mut last = key.judged.lock().await;
        if let Some((began, is_bad)) = *last
            && began > sent
        {
            return is_bad;
        }
        let began = self.clock.tick();
        let is_bad = self.is_refused(key, complaint).await;
        *last = Some((began, is_bad));
        is_bad
    }

    /// True when the free probe is rejected as well. A restricted key may mint and not list models: its 403 counts only when
    /// it gives the same reason. A probe that fails in another way says nothing of the key.
    async fn is_refused(&self, key: &Key, complaint: &Complaint) -> bool {
        match self.look(key).await {
            Ok(probe) => probe
                .refusal
                .is_some_and(|refusal| !refusal.code.is_empty() && refusal.code == complaint.code),
            Err(error) => matches!(error, UpstreamError::KeyRejected(_)),
        }
    }
}
