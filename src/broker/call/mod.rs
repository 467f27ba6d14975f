//! Calls: an offer is exchanged for an answer, and the call that comes of it is watched until it is over.

mod again;
mod allowance;
mod announced;
mod attach;
mod dial;
mod hear;
mod limits;
mod line;
mod listening;
mod meter;
mod owner;
mod purse;
mod redial;
mod relay;
mod side;
mod tend;
mod terms;
mod transcribe;
mod undo;
mod watch;
mod written;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use super::Choice;
use crate::clock::{Tick, Timestamp};
use crate::domain::{
    Call, EntryId, Kind, KnownTicket, Offer, Party, PersonaName, Ticket, UpstreamCall, random_bytes,
};
use crate::provider::Dialect;
use crate::records::Turns;

pub use attach::Attachment;
pub use line::{Line, LineEnd, Order, Passes, RelayEnd};
pub use listening::Listening;
pub use owner::Which;
pub use relay::{RelayRequest, Relayed};
pub(super) use written::MAX_SESSIONS;

pub use transcribe::{AnswerCut, Part, Transcribed, TranscriptionRequest, Upload, UploadError};

/// The time for which a replica watches a call, unless it renews its lease. A call of a dead replica is watched again
/// within this time.
const LEASE: Duration = Duration::from_secs(30);

/// Time between two renewals of the lease.
const RENEW: Duration = Duration::from_secs(10);
/// Most callers that are remembered as having too many calls.
const FULL_CAPACITY: usize = 10_000;
/// Reads at the same time for those who ask about calls, and for those who follow them.
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
    /// The dialect that the page speaks; `None` when it speaks the persona's, whatever that is.
    pub dialect: Option<Dialect>,
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

/// What wakes the watch of a call, and the epoch under which the watch may change the row.
struct Told {
    changed: Notify,
    epoch: AtomicU32,
}

impl Told {
    fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }
}

/// A call that this replica watches.
struct Running {
    told: Arc<Told>,
    /// The call, once it is over. The audit event is written when the watch has counted the last use.
    over: Option<Call>,
}

/// The calls that this replica watches.
pub(super) struct Watches {
    /// The name of this replica among those that share the records.
    replica: Box<str>,
    running: DashMap<EntryId, Running>,
    /// The relays that this replica carries.
    relays: DashMap<EntryId, line::Carried>,
    /// Held by every program that is attached to a call.
    attached: Arc<()>,
    /// The pages that listen to the events of each call.
    listeners: Arc<DashMap<EntryId, usize>>,
    /// The lease of this replica.
    lease: Mutex<Lease>,
    /// True when this replica may have claimed calls without learning which.
    has_lost_claims: AtomicBool,
    /// Callers who had as many live calls as may be, and when, so that repeated requests cost nobody anything.
    pub(super) full: Cache<Party, (&'static str, Tick)>,
    /// The calls that are being dialled, and the answers of a moment ago, for requests that are repeated.
    again: again::Again,
    /// Reads of calls for those who ask about them. They must not keep others from the database.
    reads: Turns,
    /// Reads of calls for those who follow them.
    follows: Turns,
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
            attached: Arc::new(()),
            listeners: Arc::default(),
            lease: Mutex::default(),
            has_lost_claims: AtomicBool::new(false),
            full: Cache::new(FULL_CAPACITY),
            again: again::Again::new(),
            reads: Turns::new(READS_AT_ONCE),
            follows: Turns::new(READS_AT_ONCE),
            tasks: TaskTracker::new(),
        }
    }

    /// Notes that a call is watched. Returns what wakes its watch.
    fn register(&self, call: &Call) -> Arc<Told> {
        let told = Arc::new(Told {
            changed: Notify::new(),
            epoch: call.epoch.into(),
        });
        let running = Running {
            told: Arc::clone(&told),
            over: None,
        };
        self.running.insert(call.entry, running);
        told
    }

    /// Returns the numbers of calls, without relays, that this replica watches, and of relays and attached programs that it
    /// carries.
    pub(super) fn numbers(&self) -> (u64, u64) {
        let relays = self.relays.len();
        let calls = self.running.len().saturating_sub(relays);
        let attached = Arc::strong_count(&self.attached) - 1;
        (calls as u64, (relays + attached) as u64)
    }

    /// Tells the watch of a call, if there is one, that its row was changed.
    fn wake(&self, entry: EntryId) {
        if let Some(running) = self.running.get(&entry) {
            running.told.changed.notify_one();
        }
    }

    /// Leaves a call that this replica has claimed to the watch that it has already. Returns false when there is none.
    fn goes_on(&self, claimed: &Call) -> bool {
        let Some(running) = self.running.get(&claimed.entry) else {
            return false;
        };
        running.told.epoch.store(claimed.epoch, Ordering::Relaxed);
        running.told.changed.notify_one();
        true
    }

    /// Tells the watch of a call that the call is over; the watch may have more use to count. Returns false without a watch.
    fn takes_end(&self, over: &Call) -> bool {
        let Some(mut running) = self.running.get_mut(&over.entry) else {
            return false;
        };
        running.over = Some(over.clone());
        true
    }

    /// Returns how often the lease has run out until now.
    fn lapses(&self, now: Tick) -> u32 {
        let lease = self.lease.lock();
        lease.lapses + u32::from(lease.has_lapsed(now))
    }

    /// Tells all watches to look whether they still are the ones of their calls.
    fn wake_all(&self) {
        for running in &self.running {
            running.told.changed.notify_one();
        }
    }

    /// Forgets a watch that has ended. Returns its call, if that is over.
    fn forget(&self, entry: EntryId, told: &Arc<Told>) -> Option<Call> {
        let is_it = |_: &EntryId, running: &Running| Arc::ptr_eq(&running.told, told);
        let running = self.running.remove_if(&entry, is_it);
        self.relays.remove(&entry);
        running?.1.over
    }
}
