//! Judges the GPT-Live sessions that the provider announces: sessions of lost calls are hung up, and sessions that belong to no
//! call of the broker are reported.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::dial::Attached;
use super::terms::Terms;
use super::watch::Watch;
use crate::audit::Event;
use crate::broker::{Broker, BrokerError, Inner};
use crate::clock::Timestamp;
use crate::config::Unowned;
use crate::domain::{Call, CallState, CallStep, Party, UpstreamCall, UpstreamCallId};
use crate::provider::{Dialect, EffectiveSession, News, ServerEvent, looks_like};
use crate::records::{ANNOUNCED, Announcement};
use crate::upstream::{HungUp, UpstreamError};

/// The wait before the next attempt to judge an announcement.
const AGAIN: Duration = Duration::from_secs(2);
/// The wait before the hang-up of an unowned session is repeated after a failure.
const HANG_UP_AGAIN: Duration = Duration::from_mins(1);
/// Longest time after its creation in which parts of the provider may not know a session.
const SPREADS: Duration = Duration::from_secs(10);
/// Longest time between an offer and the creation of its session. The two times come from two clocks.
const NEAR: Duration = Duration::from_mins(2);
/// Longest time to join the side channel of a session and to see the session.
const LOOK: Duration = Duration::from_secs(5);

/// What an announced session is.
enum Verdict {
    /// The session of a known call.
    Known,
    /// The session of a call whose creation had an unknown outcome.
    Adopted,
    /// A session of no call of the broker.
    Unowned,
    /// A session of no call of the broker, which was hung up.
    Closed,
    /// The session has ended.
    Over,
    /// The announcement is too old: the records have deleted calls of that time.
    Old,
    /// Not known yet: judge again after this time.
    Again(Duration),
}

impl Verdict {
    /// Returns the label in metrics; `None` while there is no verdict.
    const fn as_str(&self) -> Option<&'static str> {
        match self {
            Self::Known => Some("known"),
            Self::Adopted => Some("adopted"),
            Self::Unowned => Some("unowned"),
            Self::Closed => Some("closed"),
            Self::Over => Some("over"),
            Self::Old => Some("old"),
            Self::Again(_) => None,
        }
    }
}

/// A call that was lost, and its session.
struct Orphan {
    row: Call,
    terms: Terms,
    attached: Attached,
}

impl Broker {
    /// Records a session that the provider has announced by the webhook of this id. A repeated webhook changes nothing.
    pub async fn announced(
        &self,
        webhook: &str,
        session: UpstreamCallId,
        created_at: Timestamp,
    ) -> Result<(), BrokerError> {
        let parts = &self.0.parts;
        let announced = parts.records.announce(Announcement {
            webhook: webhook.into(),
            session,
            created_at,
            received_at: parts.clock.now(),
        });
        announced.await.map(drop).map_err(BrokerError::NotRecorded)
    }

    /// Judges the announcements that are due.
    pub async fn judge_announcements(&self) {
        let inner = &self.0;
        if inner.agreement().webhook_keys.is_none() {
            return;
        }
        match inner.parts.records.due_announcements().await {
            Ok(due) => {
                for announcement in due {
                    let inner = Arc::clone(inner);
                    let judging = async move { inner.judge_announced(&announcement).await };
                    self.0.watches.tasks.spawn(judging);
                }
            }
            Err(error) => inner.note_records(&error),
        }
    }
}

impl Inner {
    async fn judge_announced(self: &Arc<Self>, announced: &Announcement) {
        let verdict = self.verdict_of(announced).await;
        let again = match verdict {
            Verdict::Again(wait) => Some(wait),
            _ => None,
        };
        if let Some(outcome) = verdict.as_str() {
            let series = &self.parts.vitals.series;
            series.announcements.add([outcome], 1);
        }
        let judged = self.parts.records.judged(&announced.webhook, again);
        if let Err(error) = judged.await {
            self.note_records(&error);
        }
    }

    async fn verdict_of(self: &Arc<Self>, announced: &Announcement) -> Verdict {
        let records = &self.parts.records;
        // In this order: a call that gets its id in between is found by the id.
        let read = async {
            let unnamed = records.unnamed_calls().await?;
            Ok((unnamed, records.call(&announced.session).await?))
        };
        let unnamed: Vec<Call> = match read.await {
            Ok((_, Some(_))) => return Verdict::Known,
            Ok((unnamed, None)) => unnamed,
            Err(error) => {
                self.note_records(&error);
                return Verdict::Again(AGAIN);
            }
        };
        let since = announced.created_at.min(announced.received_at);
        if self.parts.clock.now().since(since) > ANNOUNCED {
            return Verdict::Old;
        }
        let may_be_its = |call: &Call| {
            let persona = self.agreement();
            let persona = persona.personas.named(call.persona.as_str());
            let is_live = persona.is_none_or(|one| one.session.dialect() == Dialect::Live);
            is_live && call.dialled_at <= announced.received_at
        };
        let mut lost: Vec<_> = unnamed.into_iter().filter(may_be_its).collect();
        if lost.iter().any(|call| call.state != CallState::Lost) {
            // The answer to its offer may still be on its way.
            return Verdict::Again(AGAIN);
        }
        lost.retain(|call| distance(call, announced) <= NEAR);
        if lost.is_empty() {
            return self.judge_unowned(announced).await;
        }
        self.look_for_orphan(announced, lost).await
    }

    /// Compares the session with calls that were lost.
    async fn look_for_orphan(
        self: &Arc<Self>,
        announced: &Announcement,
        mut lost: Vec<Call>,
    ) -> Verdict {
        lost.sort_by_key(|call| distance(call, announced));
        let clock = &self.parts.clock;
        let mut is_over = true;
        for key in self.parts.upstream.fingerprints() {
            let id = announced.session.clone();
            let call = UpstreamCall { id, key };
            let looking = Box::pin(clock.timeout(LOOK, self.orphan(&call, &lost)));
            match looking.await.unwrap_or(Err(UpstreamError::TimedOut)) {
                Ok(Some(orphan)) => return self.adopt_orphan(orphan, call).await,
                Ok(None) => return self.judge_unowned(announced).await,
                Err(UpstreamError::UnknownCall(_)) => {}
                Err(error) => {
                    let call = call.id.as_str();
                    tracing::debug!(call, %error, "an announced session cannot be looked at yet");
                    is_over = false;
                }
            }
        }
        let is_new = clock.now().since(announced.received_at) < SPREADS;
        if is_over && !is_new {
            Verdict::Over
        } else {
            Verdict::Again(AGAIN)
        }
    }

    /// Joins the side channel of a session. Returns the first of the `lost` calls that the session is of.
    async fn orphan(
        &self,
        call: &UpstreamCall,
        lost: &[Call],
    ) -> Result<Option<Orphan>, UpstreamError> {
        let mut channel = self.parts.upstream.join(call).await?;
        while let Some(frame) = channel.next().await {
            let Ok(ServerEvent {
                news: News::Session(shown),
                ..
            }) = Dialect::Live.read(&frame)
            else {
                continue;
            };
            let mut fitting = lost
                .iter()
                .filter_map(|row| Some((row, self.terms_if_of(row, &shown)?)));
            let Some((row, terms)) = fitting.next() else {
                channel.close().await;
                return Ok(None);
            };
            let attached = Attached::confirmed((channel, &shown), call, None)?;
            let row = row.clone();
            return Ok(Some(Orphan {
                row,
                terms,
                attached,
            }));
        }
        Err(UpstreamError::Invalid("it does not show the session"))
    }

    /// Returns the terms of a call if the session was created for it: by the name of its caller. The address of a caller
    /// without identity is not known any more, so that such a session is known by its instructions. So is one that shows no
    /// name.
    fn terms_if_of(&self, row: &Call, shown: &EffectiveSession<'_>) -> Option<Terms> {
        let agreement = self.agreement();
        let persona = agreement.personas.named(row.persona.as_str())?;
        let terms = self.terms_again(row, persona).ok()?;
        let is_its = match (row.owner, &shown.safety_identifier) {
            (Party::Identity(_), Some(name)) => {
                **name == self.parts.upstream.safety_identifier(&row.owner)
            }
            _ => looks_like(terms.session.as_json(), shown),
        };
        is_its.then_some(terms)
    }

    /// Names a lost call, and has its session closed.
    async fn adopt_orphan(self: &Arc<Self>, orphan: Orphan, call: UpstreamCall) -> Verdict {
        let entry = orphan.row.entry;
        let named = CallStep::Named(call.clone()).by_anybody();
        let row = match self.parts.records.change_call(entry, named).await {
            Ok(Some(row)) => row,
            // Another session, or another replica, was faster.
            Ok(None) => return Verdict::Again(AGAIN),
            Err(error) => {
                self.note_records(&error);
                return Verdict::Again(AGAIN);
            }
        };
        let details = json!({ "call": call.id.as_str(), "persona": row.persona.as_str() });
        self.parts.audit.note(Event::CallAdopted, details);
        let watch = Watch::new(self, (row, call), orphan.terms);
        self.watch(watch, Some(orphan.attached));
        // The row says that the call has to end.
        self.watches.wake(entry);
        Verdict::Adopted
    }

    /// Reports a session of no call of the broker, and hangs it up if the operator wants that.
    async fn judge_unowned(&self, announced: &Announcement) -> Verdict {
        let verdict = match self.rules.live.unowned {
            Unowned::Report => Verdict::Unowned,
            Unowned::Close => self.close_unowned(&announced.session).await,
        };
        let is_closed = matches!(verdict, Verdict::Closed);
        if is_closed || matches!(verdict, Verdict::Unowned) {
            let details =
                json!({ "session": announced.session.as_provider_writes(), "closed": is_closed });
            self.parts.audit.note(Event::UnownedSession, details);
        }
        verdict
    }

    /// Hangs a session up by the key that the provider knows it by.
    async fn close_unowned(&self, id: &UpstreamCallId) -> Verdict {
        let mut is_over = true;
        for key in self.parts.upstream.fingerprints() {
            let id = id.clone();
            match self.parts.upstream.hang_up(&UpstreamCall { id, key }).await {
                Ok(HungUp::Ended) => return Verdict::Closed,
                Ok(HungUp::WasOver) => {}
                Err(error) => {
                    tracing::warn!(%error, "a session that is not the broker's could not be hung up; it is tried again in a minute");
                    is_over = false;
                }
            }
        }
        if is_over {
            Verdict::Over
        } else {
            Verdict::Again(HANG_UP_AGAIN)
        }
    }
}

/// Returns the time between an offer and the creation of a session.
fn distance(call: &Call, announced: &Announcement) -> Duration {
    let (one, other) = (call.dialled_at, announced.created_at);
    one.since(other).max(other.since(one))
}
