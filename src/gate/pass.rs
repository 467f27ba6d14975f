//! Keeps what an admitted request may use up, and gives back what it did not use.

use std::mem::take;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::windows::{Receipt, Standing};
use super::{Gate, Limit};
use crate::limit::Offence;

/// What a request has used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Used {
    /// Nothing: it failed through no fault of the caller.
    Nothing,
    /// A place for the request itself. Nothing was minted.
    #[default]
    Request,
    /// Everything that a mint takes: there may have been one.
    Mint,
}

/// The places that an admitted request holds. Until something else is noted, it has used up a place for
/// the request itself. The last clone gives back what was not used up when nobody settled the pass:
/// the caller has left. Cheap to clone.
#[derive(Clone)]
pub struct Pass(Arc<Inner>);

struct Inner {
    gate: Gate,
    tightest: Option<Standing>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    receipt: Receipt,
    used: Used,
    offence: Option<Offence>,
}

/// The end of a pass.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    /// The limit that is nearest to its end, of those that callers are told about.
    pub standing: Option<Standing>,
    /// What the request did wrong.
    pub offence: Option<Offence>,
}

impl Pass {
    pub(super) fn new(gate: Gate, tightest: Option<Standing>, receipt: Receipt) -> Self {
        let state = State {
            receipt,
            ..State::default()
        };
        Self(Arc::new(Inner {
            gate,
            tightest,
            state: Mutex::new(state),
        }))
    }

    /// Notes that a mint begins. Until its outcome is noted, everything that a mint takes is used up.
    pub fn begin(&self) {
        self.0.state.lock().used = Used::Mint;
    }

    /// Notes what the broker's decision says was used up: a mint when it succeeded, else what `used`
    /// says of the error. Returns the outcome.
    pub fn spend<T, E>(
        &self,
        outcome: Result<T, E>,
        used: impl FnOnce(&E) -> Used,
    ) -> Result<T, E> {
        self.0.state.lock().used = outcome.as_ref().err().map_or(Used::Mint, used);
        outcome
    }

    /// Notes that the request is an offence.
    pub fn note_offence(&self, offence: Offence) {
        self.0.state.lock().offence = Some(offence);
    }

    /// Gives back what was not used up. A second call gives back nothing more.
    pub async fn settle(&self) -> Settled {
        let (unused, used, offence) = {
            let mut state = self.0.state.lock();
            (state.take_unused(), state.used, state.offence.take())
        };
        if let Some(unused) = unused {
            // Places that Redis cannot be told about stay taken there.
            let _ = self.0.gate.0.windows.release(&unused).await;
        }
        let standing = self.0.tightest.map(|standing| Standing {
            remaining: standing.remaining + u32::from(used.leaves(standing.limit)),
            ..standing
        });
        Settled { standing, offence }
    }
}

impl Used {
    /// Returns whether the place under `limit` was not used up.
    fn leaves(self, limit: Limit) -> bool {
        match self {
            Self::Nothing => true,
            Self::Request => !limit.row().counts_requests(),
            Self::Mint => false,
        }
    }
}

impl State {
    /// Takes the places that were not used up. The second time there are none.
    fn take_unused(&mut self) -> Option<Receipt> {
        let receipt = take(&mut self.receipt);
        let used = self.used;
        let unused = receipt.only(|limit| used.leaves(limit));
        (!unused.is_empty()).then_some(unused)
    }
}

impl Drop for Inner {
    /// Gives back what was not used up, when the caller left before its answer: nobody settled.
    fn drop(&mut self) {
        if let (Some(unused), Ok(runtime)) =
            (self.state.get_mut().take_unused(), Handle::try_current())
        {
            let gate = self.gate.clone();
            // At the end of the process a place in memory is lost anyway.
            runtime.spawn(async move { gate.0.windows.release(&unused).await });
        }
    }
}
