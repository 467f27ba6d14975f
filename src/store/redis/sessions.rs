//! Owns the sessions that replicas share on a Redis server.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::{Script, ScriptInvocation};

use super::{PREFIX, micros, millis};
use crate::clock::{Clock, Tick};
use crate::domain::{Party, Ripeness, Session, SessionKey};
use crate::gate::windows::redis::{Link, LinkError};
use crate::store::memory::Bounds;
use crate::store::record::{self, Course};
use crate::store::{Advance, SessionStore, StoreError, Stored};

/// How long a session outlives its end, for the sweep that takes it out of all orders.
const GRACE: Duration = Duration::from_mins(10);
/// Sessions that one script forgets at most, so that nobody waits for it.
const CHUNK: u64 = 500;
/// Chunks of one sweep.
const CHUNKS: usize = 20;

/// Ends that one answer tells at most.
const MOST_ENDS: usize = 10_000;

/// Over what a session that a replica kept alone may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// Over an older one or none: it was opened while the server was gone.
    AnyOlder,
    /// Over an older one: if there is none, it was ended meanwhile.
    Older,
}

/// Sessions on a Redis server. Fails when the server does not answer.
///
/// They are stored under keyed hashes of their ids, and say whose they are and what for: nothing in there opens anything.
pub struct RedisStore {
    link: Arc<Link>,
    bounds: Bounds,
    clock: Arc<dyn Clock>,
    scripts: Scripts,
}

struct Scripts {
    open: Script,
    advance: Script,
    save: Script,
    end: Script,
    ends: Script,
    sweep: Script,
    live: Script,
}

fn script(body: &str) -> Script {
    Script::new(&format!("{}{body}", include_str!("scripts/forget.lua")))
}

impl RedisStore {
    /// A store with these bounds; `clock` tells the ticks that sessions are handed out with.
    pub fn new(bounds: Bounds, clock: Arc<dyn Clock>, link: Arc<Link>) -> Self {
        let scripts = Scripts {
            open: script(include_str!("scripts/open.lua")),
            advance: script(include_str!("scripts/advance.lua")),
            save: script(include_str!("scripts/save.lua")),
            end: script(include_str!("scripts/end.lua")),
            ends: script(include_str!("scripts/ends.lua")),
            sweep: script(include_str!("scripts/sweep.lua")),
            live: script("return redis.call('ZCARD', idle)"),
        };
        Self {
            link,
            bounds,
            clock,
            scripts,
        }
    }

    /// Writes a session that this replica kept alone while the server was gone. False: it no longer counts.
    pub(crate) async fn adopt(
        &self,
        key: SessionKey,
        stored: &Stored,
        over: Over,
    ) -> Result<bool, StoreError> {
        let over = match over {
            Over::AnyOlder => "any",
            Over::Older => "older",
        };
        self.put(key, stored, over).await
    }

    /// Ends the sessions that `party` had at `moment`; how many there were.
    pub(crate) async fn end_those_of(
        &self,
        party: Party,
        moment: Tick,
    ) -> Result<usize, StoreError> {
        let mut script = self.scripts.end.prepare_invoke();
        script.key(PREFIX).arg(party.to_text());
        script.arg(self.age(moment)).arg(self.time_to_live());
        self.link.run(&script).await.map_err(failed)
    }

    /// Whose sessions have ended within the last `lately`, by the word of any replica, and when; and whether those are all.
    pub(crate) async fn ends(
        &self,
        lately: Duration,
    ) -> Result<(Vec<(Party, Tick)>, bool), StoreError> {
        let mut script = self.scripts.ends.prepare_invoke();
        script.key(PREFIX).arg(micros(lately)).arg(MOST_ENDS);
        let told: Vec<String> = self.link.run(&script).await.map_err(failed)?;
        let read = |pair: &[String]| {
            let [whose, age] = pair else { return None };
            Some((Party::parse(whose)?, self.ago(age)?))
        };
        let ends: Option<Vec<_>> = told.chunks(2).map(read).collect();
        let ends = ends.ok_or_else(|| failed(self.link.nonsense()))?;
        let are_all = ends.len() < MOST_ENDS;
        Ok((ends, are_all))
    }

    /// True when the server was there and refused what it was asked: it would refuse it again.
    pub(crate) fn was_refused(error: &StoreError) -> bool {
        let cause = error.0.downcast_ref::<LinkError>();
        cause.is_some_and(LinkError::is_about_the_call)
    }

    /// How long an end is remembered: as long as a session may live that was open then.
    pub(crate) const fn longest_age(&self) -> Duration {
        self.bounds.max_age
    }

    /// True while the server is out of reach; not while that is merely in doubt.
    pub(crate) fn is_gone(&self) -> bool {
        self.link.is_gone()
    }

    async fn put(&self, key: SessionKey, stored: &Stored, over: &str) -> Result<bool, StoreError> {
        let session = &stored.session;
        let mut script = self.scripts.open.prepare_invoke();
        begin(&mut script, key, session)?;
        script
            .arg(stored.revision)
            .arg(session.refreshes)
            .arg(self.age(session.minted))
            .arg(self.age(session.opened))
            .arg(self.bounds.per_party)
            .arg(self.bounds.total)
            .arg(micros(self.bounds.max_age))
            .arg(self.time_to_live())
            .arg(over);
        self.link.run(&script).await.map_err(failed)
    }

    fn age(&self, tick: Tick) -> u64 {
        micros(self.clock.tick().since(tick))
    }

    /// The moment so many microseconds ago.
    fn ago(&self, age: &str) -> Option<Tick> {
        let age = Duration::from_micros(age.parse().ok()?);
        Some(self.clock.tick().minus(age))
    }

    fn time_to_live(&self) -> u64 {
        millis(self.bounds.max_age + GRACE)
    }

    fn read(&self, found: &[String]) -> Option<Advance> {
        let [text, whose, revision, refreshes, opened, minted, moved] = found else {
            return None;
        };
        let course = Course {
            opened: self.ago(opened)?,
            minted: self.ago(minted)?,
            refreshes: refreshes.parse().ok()?,
        };
        let before = Stored {
            session: record::read(text, Party::parse(whose)?, course)?,
            revision: revision.parse().ok()?,
        };
        let moved = moved == "1";
        Some(Advance { before, moved })
    }
}

/// What every script over one session begins with: its key, whose it is, what it is.
fn begin(
    script: &mut ScriptInvocation<'_>,
    key: SessionKey,
    session: &Session,
) -> Result<(), StoreError> {
    let text = record::write(session).ok_or_else(|| failed(LinkError::Nonsense))?;
    name(script, key);
    script.arg(session.owner.to_text()).arg(text);
    Ok(())
}

/// A cluster finds its node by the key.
fn name(script: &mut ScriptInvocation<'_>, key: SessionKey) {
    let mut full = format!("{PREFIX}s:").into_bytes();
    full.extend_from_slice(key.as_bytes());
    script.key(full).arg(&key.as_bytes()[..]);
}

fn failed(error: LinkError) -> StoreError {
    StoreError(Box::new(error))
}

#[async_trait]
impl SessionStore for RedisStore {
    async fn open(&self, key: SessionKey, session: Session) -> Result<(), StoreError> {
        let stored = Stored {
            session,
            revision: 0,
        };
        self.put(key, &stored, "always").await.map(|_| ())
    }

    async fn advance(
        &self,
        key: SessionKey,
        ripeness: Ripeness,
    ) -> Result<Option<Advance>, StoreError> {
        let mut script = self.scripts.advance.prepare_invoke();
        name(&mut script, key);
        script
            .arg(ripeness.owner.map(Party::to_text).unwrap_or_default())
            .arg(micros(ripeness.min_interval))
            .arg(ripeness.max_refreshes)
            .arg(micros(ripeness.max_age))
            .arg(self.time_to_live());
        let found: Vec<String> = self.link.run(&script).await.map_err(failed)?;
        if found.is_empty() {
            return Ok(None);
        }
        let advance = self.read(&found);
        advance
            .map(Some)
            .ok_or_else(|| failed(self.link.nonsense()))
    }

    async fn save(
        &self,
        key: SessionKey,
        session: Session,
        revision: u64,
    ) -> Result<bool, StoreError> {
        let mut script = self.scripts.save.prepare_invoke();
        begin(&mut script, key, &session)?;
        script
            .arg(revision)
            .arg(session.refreshes)
            .arg(self.age(session.minted))
            .arg(self.time_to_live());
        self.link.run(&script).await.map_err(failed)
    }

    async fn end(&self, party: Party) -> Result<usize, StoreError> {
        self.end_those_of(party, self.clock.tick()).await
    }

    async fn live(&self) -> Result<usize, StoreError> {
        let mut script = self.scripts.live.prepare_invoke();
        script.key(PREFIX);
        self.link.run(&script).await.map_err(failed)
    }

    async fn sweep(&self) -> Result<(), StoreError> {
        for _ in 0..CHUNKS {
            let mut script = self.scripts.sweep.prepare_invoke();
            script.key(PREFIX);
            script.arg(micros(self.bounds.max_age)).arg(CHUNK);
            let ended: u64 = self.link.run(&script).await.map_err(failed)?;
            if ended < CHUNK {
                break;
            }
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.link.is_up()
    }
}
