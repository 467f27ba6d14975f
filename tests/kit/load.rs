//! Callers who send the same request again and again until they are told to stop.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::RequestBuilder;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::answer::Answer;
use super::waiting::{PATIENCE, eventually};

/// Least time between two requests of a caller.
const PAUSE: Duration = Duration::from_millis(10);

/// One request and its answer.
#[derive(Debug)]
pub struct Asked {
    /// The place of the request among those that the load was started with.
    pub caller: usize,
    pub sent: Instant,
    pub answered: Instant,
    pub answer: Answer,
}

/// Callers at work.
pub struct Load {
    callers: JoinSet<()>,
    over: CancellationToken,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Load {
    /// Starts one caller for each request.
    pub fn of(requests: impl IntoIterator<Item = RequestBuilder>) -> Self {
        let (over, asked) = (
            CancellationToken::new(),
            Arc::<Mutex<Vec<Asked>>>::default(),
        );
        let mut callers = JoinSet::new();
        for (caller, request) in requests.into_iter().enumerate() {
            let (over, asked) = (over.clone(), Arc::clone(&asked));
            callers.spawn(async move {
                // Callers read what they got before they ask again.
                let mut turns = interval(PAUSE);
                turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !over.is_cancelled() {
                    turns.tick().await;
                    let sent = Instant::now();
                    let answer = Answer::to(request.try_clone().unwrap()).await;
                    let one = Asked {
                        caller,
                        sent,
                        answered: Instant::now(),
                        answer,
                    };
                    asked.lock().unwrap().push(one);
                }
            });
        }
        Self {
            callers,
            over,
            asked,
        }
    }

    /// Returns how many answers had this status so far.
    pub fn answered(&self, status: u16) -> usize {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let answered = asked.iter().filter(|one| one.answer.status == status);
        answered.count()
    }

    /// Waits until `more` further answers have this status.
    pub async fn goes_on_until(&self, more: usize, status: u16) {
        let before = self.answered(status);
        let are_there = async || self.answered(status) >= before + more;
        eventually("the load is answered", PATIENCE, are_there).await;
    }

    /// Waits until a request is answered that was sent after `time` had passed.
    pub async fn goes_on(&self, time: Duration) {
        let end = Instant::now() + time;
        let is_later = |asked: &Vec<Asked>| asked.last().is_some_and(|last| last.sent >= end);
        let is_over = async || is_later(&self.asked.lock().unwrap());
        eventually("the load goes on", time + PATIENCE, is_over).await;
    }

    /// Lets every caller finish its request. Returns everything that was asked, in the order of the answers.
    pub async fn end(self) -> Vec<Asked> {
        self.over.cancel();
        self.callers.join_all().await;
        let mut asked = self.asked.lock().unwrap();
        std::mem::take(&mut *asked)
    }
}
