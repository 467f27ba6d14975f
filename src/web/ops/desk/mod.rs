//! The dashboard: pages for operators who are signed in.

mod asked;
mod calls;
mod chart;
mod cost;
mod security;
mod service;
mod sign_in;
mod today;
mod usage;
mod users;
mod view;
mod words;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::extract::{Extension, Path, Request, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::stream::{self, Stream};

use self::asked::Asked;
use self::view::{Live, View};
use super::OpsState;
use super::entrance::{at_home, shows_bearer};
use crate::domain::Caller;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::layers::Probe;
use crate::web::routes::call_events::BUFFERING;

/// The path of the stream that tells a live page where the calls stand.
const LIVE: &str = "/pages/calls/live";
/// How often a live page is told where the calls stand.
const LOOK: Duration = Duration::from_secs(2);
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// The pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tab {
    Today,
    Usage,
    Users,
    User,
    Cost,
    Calls,
    Errors,
    Latency,
    Security,
}

impl Tab {
    /// The tabs of the navigation.
    const LISTED: [Self; 8] = [
        Self::Today,
        Self::Calls,
        Self::Usage,
        Self::Users,
        Self::Cost,
        Self::Errors,
        Self::Latency,
        Self::Security,
    ];

    const fn path(self) -> &'static str {
        match self {
            Self::Today => "/",
            Self::Usage => "/pages/usage",
            Self::Users => "/pages/users",
            Self::User => "/pages/user",
            Self::Cost => "/pages/cost",
            Self::Calls => "/pages/calls",
            Self::Errors => "/pages/errors",
            Self::Latency => "/pages/latency",
            Self::Security => "/pages/security",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Today => "Today",
            Self::Usage => "Usage",
            Self::Users => "Users",
            Self::User => "User",
            Self::Cost => "Cost",
            Self::Calls => "Live calls",
            Self::Errors => "Errors and limits",
            Self::Latency => "Latency",
            Self::Security => "Security",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        let mut all = Self::LISTED.into_iter().chain([Self::User]);
        all.find(|tab| tab.path().strip_prefix("/pages/") == Some(word))
    }

    async fn view(self, ops: &OpsState, asked: &Asked) -> Result<View, ApiError> {
        match self {
            Self::Today => today::view(ops).await,
            Self::Usage => usage::view(ops, asked).await,
            Self::Users => users::all(ops, asked).await,
            Self::User => users::one(ops, asked).await,
            Self::Cost => cost::view(ops, asked).await,
            Self::Calls => calls::view(ops, asked).await,
            Self::Errors => Ok(service::errors(ops)),
            Self::Latency => Ok(service::latency(ops)),
            Self::Security => security::view(ops).await,
        }
    }
}

/// Returns the routes of the dashboard.
pub(super) fn routes(state: &OpsState) -> Router<OpsState> {
    let signed_in = Router::new()
        .route("/", get(today))
        .route("/pages/{tab}", get(page))
        .route(LIVE, get(live))
        .route("/pages/calls/hangup", post(calls::hang_up))
        .route("/pages/security/lift", post(security::lift))
        .route("/pages/user/end", post(users::end))
        .route("/sign-out", post(sign_in::leave))
        .layer(from_fn_with_state(state.clone(), signed_in));
    let open = Router::new()
        .route("/sign-in", get(sign_in::form).post(sign_in::enter))
        .route("/style.css", get(style))
        .route("/script.js", get(script))
        .route("/icon.svg", get(icon));
    let all = signed_in.merge(open);
    all.layer(from_fn_with_state(state.clone(), at_home))
}

/// Shows others the page on which they can sign in. A wrong token counts as a guess, as it does on the paths for programs.
async fn signed_in(
    State(ops): State<OpsState>,
    Extension(caller): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    if ops.is_signed_in(request.headers()) {
        return next.run(request).await;
    }
    // A proxy in front may add a credential of another scheme.
    if shows_bearer(request.headers()) {
        if let Err(blocked) = ops.hear(&caller) {
            return blocked.into_response();
        }
        ops.note_guess(&caller);
    }
    view::sign_in(StatusCode::UNAUTHORIZED, String::new()).into_response()
}

async fn today(State(ops): State<OpsState>, uri: Uri) -> Result<Response, ApiError> {
    show(&ops, Tab::Today, &uri).await
}

async fn page(
    State(ops): State<OpsState>,
    Path(tab): Path<String>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let tab = Tab::parse(&tab).ok_or(Code::NotFound)?;
    show(&ops, tab, &uri).await
}

/// Answers a page, or one of its tables as a file.
async fn show(ops: &OpsState, tab: Tab, uri: &Uri) -> Result<Response, ApiError> {
    let asked = Asked::read(uri.query().unwrap_or_default())?;
    let view = tab.view(ops, &asked).await?;
    let Some((table, form)) = &asked.file else {
        return view::html(ops, &view, tab);
    };
    let mut tables = view.tables.iter();
    let table = tables.find(|known| known.name == table);
    Ok(table.ok_or(ApiError::at("table"))?.file(*form))
}

/// Tells where the calls stand, again and again, while the operator is signed in.
async fn live(
    State(ops): State<OpsState>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    // A stream has no more rows than its page.
    let asked = Asked::read(uri.query().unwrap_or_default())?.without_file();
    let looks = looks(ops, (asked, headers));
    let events = Sse::new(looks).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok((Extension(Probe), [(BUFFERING, "no")], events).into_response())
}

fn looks(
    ops: OpsState,
    request: (Asked, HeaderMap),
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((ops, request, true), async |(ops, request, is_first)| {
        let (asked, headers) = &request;
        if !is_first {
            ops.app.face.clock.sleep(LOOK).await;
        }
        if ops.app.broker.is_draining() || !ops.is_signed_in(headers) {
            return None;
        }
        let table = calls::table(&ops, asked).await;
        // A table that cannot be read now is read again.
        let event = table.map_or(Ok(Event::default().comment("unread")), |table| {
            Event::default().json_data(Live::of(table))
        });
        Some((Ok(event.ok()?), (ops, request, false)))
    })
}

async fn style() -> Response {
    asset(
        "text/css; charset=utf-8",
        include_str!("../../../../templates/ops/style.css"),
    )
}

async fn script() -> Response {
    asset(
        "text/javascript; charset=utf-8",
        include_str!("../../../../templates/ops/script.js"),
    )
}

async fn icon() -> Response {
    asset(
        "image/svg+xml",
        include_str!("../../../../templates/ops/icon.svg"),
    )
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    let kind = axum::http::HeaderValue::from_static(kind);
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, view::POLICY),
    ];
    (headers, text).into_response()
}
