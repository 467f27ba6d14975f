//! `GET /calls/{id}/events`: streams the state of a call to its page.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{self, Stream};

use super::calls::{CallView, ticket};
use crate::broker::Listening;
use crate::domain::{Call, CallState, UpstreamCallId};
use crate::web::code::Code;
use crate::web::error::{ApiError, Failure};
use crate::web::layers::paid::Admitted;
use crate::web::openapi::Refusals;
use crate::web::state::AppState;

/// How often the row of the call is read.
const LOOK: Duration = Duration::from_secs(1);
/// Proxies cut connections that are silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The wait of a page before it reads again, when this replica is about to stop.
const RETRY: Duration = Duration::from_secs(1);
/// Asks proxies not to hold events back (nginx).
pub(in crate::web) const BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The state of a stream of events.
struct Telling {
    state: AppState,
    listening: Listening,
    /// The call as the last event showed it.
    told: Option<Call>,
}

/// Where a call stands, as server-sent events: `state` at the beginning and with every change, `warning` when little time
/// is left, `ended` at the end. The id of an event is the call's revision; each event tells all.
#[utoipa::path(
    get,
    path = "/calls/{id}/events",
    tag = "calls",
    params(("id" = String, Path, description = "The id from `Location`.")),
    responses(
        (status = 200, description = "The events. Each holds a `CallView`.", body = CallView, content_type = "text/event-stream"),
        (status = 404, description = "No call of this caller has that id.", body = Failure<'static>),
        Refusals,
    )
)]
pub async fn events(
    State(state): State<AppState>,
    Extension(Admitted { caller, .. }): Extension<Admitted>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let id = UpstreamCallId::parse(&id).ok_or(Code::UnknownCall)?;
    let call = state
        .broker
        .call_of(&caller, ticket(&headers).as_ref(), &id)
        .await?;
    let listening = state.broker.listen(&call).await?;
    let telling = Telling {
        state,
        listening,
        told: None,
    };
    let events = Sse::new(stream(telling)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(([(BUFFERING, "no")], events).into_response())
}

fn stream(telling: Telling) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(Some(telling), async |telling| {
        let mut telling = telling?;
        let event = telling.next().await?;
        let goes_on = !telling.is_over();
        Some((Ok(event), goes_on.then_some(telling)))
    })
}

impl Telling {
    /// Waits until the call has changed.
    async fn next(&mut self) -> Option<Event> {
        let clock = &self.state.face.clock;
        loop {
            if self.state.broker.is_draining() {
                self.told = None;
                return Some(Event::default().retry(RETRY).comment("this replica stops"));
            }
            if self.told.is_some() {
                clock.sleep(LOOK).await;
            }
            // A row that cannot be read now is read again.
            let Ok(row) = self.state.broker.row(&self.listening).await else {
                clock.sleep(LOOK).await;
                continue;
            };
            let call = row?;
            let is_known = |told: &Call| told.revision == call.revision && told.state == call.state;
            if !self.told.as_ref().is_some_and(is_known) {
                return self.tell(call);
            }
        }
    }

    fn tell(&mut self, call: Call) -> Option<Event> {
        let was_warned = self.told.as_ref().is_some_and(|told| told.is_warned);
        let name = match call.state {
            CallState::Ended | CallState::Lost => "ended",
            _ if call.is_warned && !was_warned => "warning",
            _ => "state",
        };
        let view = CallView::of(&call, self.state.face.clock.now());
        let event = Event::default().event(name).id(call.revision.to_string());
        self.told = Some(call);
        event.json_data(view).ok()
    }

    /// True after the last event.
    fn is_over(&self) -> bool {
        let told = self.told.as_ref().map(|call| call.state);
        matches!(told, None | Some(CallState::Ended | CallState::Lost))
    }
}
