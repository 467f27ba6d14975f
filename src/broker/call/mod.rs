//! Calls: an offer is exchanged for an answer, and the call that comes of it is watched until it is over.

mod again;
mod allowance;
mod dial;
mod hear;
mod limits;
mod line;
mod listening;
mod meter;
mod owner;
mod relay;
mod side;
mod tend;
mod terms;
mod transcribe;
mod watch;
mod written;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use serde_json::{Map, Value};
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use super::Choice;
use crate::clock::{Tick, Timestamp};
use crate::domain::{
    EntryId, Kind, KnownTicket, Offer, Party, PersonaName, Ticket, UpstreamCall, random_bytes,
};

pub use line::{Line, Order, RelayEnd};
pub use listening::Listening;
pub use owner::Which;
pub use relay::{RelayRequest, Relayed};
pub use transcribe::{
    AnswerCut, Part, Pieces, Transcribed, TranscriptionRequest, Upload, UploadError,
};

/// The time for which a replica watches a call, unless it renews its lease. A call of a dead replica is watched again
/// after so much time at most.
const LEASE: Duration = Duration::from_secs(30);

/// The lease is renewed so often.
const RENEW: Duration = Duration::from_secs(10);
/// Most callers that are remembered as having too many calls.
const FULL_CAPACITY: usize = 10_000;
/// Reads at the same time for those who ask about calls.
const READS_AT_ONCE: usize = 1;

/// A caller's request for a call. Hides itself: its session may hold what a page says.
#[derive(Clone)]
pub struct CallRequest {
    /// The persona.
    pub choice: Choice,
    /// The offer.
    pub offer: Offer,
    /// Settings of the upstream session that the page asks for.
    pub session: Map<String, Value>,
    /// The hash of the `Idempotency-Key`.
    pub idempotency: Option<Box<str>>,
    /// The ticket that the caller shows. Its persona and language replace the choice.
    pub ticket: Option<Arc<KnownTicket>>,
}

impl CallRequest {
    /// Returns the kind of the use that the call is.
    fn kind(&self) -> Kind {
        if self.ticket.is_some() {
            Kind::Redemption
        } else {
            Kind::Call
        }
    }
}

/// A call that runs, and the answer to its offer. Hides itself: the answer holds addresses and a password.
#[derive(Clone)]
pub struct Answered {
    /// The entry of the call.
    pub entry: EntryId,
    /// The call at the provider.
    pub call: UpstreamCall,
    /// The persona.
    pub persona: PersonaName,
    /// The answer: a session description (RFC 8866).
    pub sdp: String,
    /// The time at which the call ends.
    pub ends_at: Timestamp,
    /// What a caller with neither identity nor ticket shows to look at the call and to hang it up.
    pub ticket: Option<Ticket>,
    /// The time that the provider took for the answer.
    pub upstream_took: Duration,
    /// The time that the side channel took.
    pub join_took: Duration,
}

/// The lease under which this replica watches its calls.
#[derive(Default)]
struct Lease {
    renewed: Option<Tick>,
    /// How often it was renewed too late. Other replicas may have taken the calls over then.
    lapses: u32,
}

impl Lease {
    fn has_lapsed(&self, now: Tick) -> bool {
        self.renewed.is_some_and(|at| now.since(at) >= LEASE)
    }
}

impl fmt::Debug for CallRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "CallRequest({:?})", self.offer)
    }
}

impl fmt::Debug for Answered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Answered({})", self.entry)
    }
}

/// The calls that this replica watches.
pub(super) struct Watches {
    /// The name of this replica among those that share the records.
    replica: Box<str>,
    /// Wakes the watch of a call whose row was changed by somebody else.
    running: DashMap<EntryId, Arc<Notify>>,
    /// The relays that this replica carries.
    relays: DashMap<EntryId, line::Carried>,
    /// The pages that listen to the events of each call.
    listeners: Arc<DashMap<EntryId, usize>>,
    /// The lease of this replica.
    lease: Mutex<Lease>,
    /// Callers who had as many live calls as may be, and when, so that repeated requests cost nobody anything.
    pub(super) full: Cache<Party, (&'static str, Tick)>,
    /// The calls that are being dialled, and the answers of a moment ago, for requests that are repeated.
    again: again::Again,
    /// Reads of calls for those who ask about them. They must not keep others from the database.
    reads: Semaphore,
    /// The watches. Nobody waits for them at the end: another replica, or the next run, watches the calls.
    tasks: TaskTracker,
}

impl Watches {
    /// Returns no watches of a replica with a new name.
    pub(super) fn new() -> Self {
        Self {
            replica: format!("{:016x}", u64::from_ne_bytes(random_bytes())).into(),
            running: DashMap::new(),
            relays: DashMap::new(),
            listeners: Arc::default(),
            lease: Mutex::default(),
            full: Cache::new(FULL_CAPACITY),
            again: again::Again::new(),
            reads: Semaphore::new(READS_AT_ONCE),
            tasks: TaskTracker::new(),
        }
    }

    /// Returns what wakes the watch of a call. A watch that runs already is told to look.
    fn register(&self, entry: EntryId) -> Arc<Notify> {
        let told = Arc::new(Notify::new());
        if let Some(earlier) = self.running.insert(entry, Arc::clone(&told)) {
            earlier.notify_one();
        }
        told
    }

    /// Tells the watch of a call, if there is one, that its row was changed.
    fn wake(&self, entry: EntryId) {
        if let Some(told) = self.running.get(&entry) {
            told.notify_one();
        }
    }

    /// Returns how often the lease has run out until now.
    fn lapses(&self, now: Tick) -> u32 {
        let lease = self.lease.lock();
        lease.lapses + u32::from(lease.has_lapsed(now))
    }

    /// Tells all watches to look whether they still are the ones of their calls.
    fn wake_all(&self) {
        for told in &self.running {
            told.notify_one();
        }
    }

    /// Forgets a watch that has ended.
    fn forget(&self, entry: EntryId, told: &Arc<Notify>) {
        self.running
            .remove_if(&entry, |_, known| Arc::ptr_eq(known, told));
        self.relays.remove(&entry);
    }
}
