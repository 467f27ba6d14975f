//! The page on calls: live calls with their money and time, and a button that hangs each one up.

use axum::extract::{Request, State};
use axum::response::Redirect;

use super::asked::{Asked, form};
use super::usage::MOST;
use super::users::path_of;
use super::view::{Action, Card, Cell, Choice, Column, Row, Table, View};
use super::words::{dollars, grouped};
use super::{Tab, cost};
use crate::broker::Which;
use crate::clock::Timestamp;
use crate::domain::Mark::{Estimated, Measured};
use crate::domain::{Account, Call, EndReason, Money, UpstreamCallId};
use crate::web::error::ApiError;
use crate::web::ops::OpsState;

/// Upper bound on the calls of a page. Their files have more.
const MOST_SHOWN: u32 = 200;

/// Returns the table of the calls that the page, or its file, has of everybody.
pub(super) async fn table(ops: &OpsState, asked: &Asked) -> Result<Table, ApiError> {
    table_of(ops, asked, None).await
}

/// Returns the table of the calls that the page, or its file, has of an account, or of everybody.
pub(super) async fn table_of(
    ops: &OpsState,
    asked: &Asked,
    account: Option<&Account>,
) -> Result<Table, ApiError> {
    let now = ops.app.face.clock.now();
    let part = match &asked.file {
        Some(_) => (0, MOST),
        None => (skipped(asked), MOST_SHOWN),
    };
    let calls = ops.app.broker.calls(account, part).await?;
    // The calls of an erased account have no owner any more.
    let is_meant = |call: &&Call| account.is_none() || call.account.as_ref() == account;
    let calls: Vec<_> = calls.iter().filter(is_meant).collect();
    Ok(Table {
        name: "calls",
        title: "Live calls, and those that ended within the hour",
        columns: columns(&calls),
        rows: calls.iter().map(|call| row(call, now)).collect(),
        empty: "There is no call, and none ended within the hour.",
    })
}

/// Returns the number of calls before the page that is asked for.
fn skipped(asked: &Asked) -> u32 {
    (asked.page() - 1) * MOST_SHOWN
}

/// Returns a sentence about the part of all calls that the page shows, if it is a part.
fn part(asked: &Asked, listed: u64) -> String {
    if listed <= MOST_SHOWN.into() {
        return String::new();
    }
    let first = u64::from(skipped(asked)) + 1;
    let last = listed
        .min(u64::from(skipped(asked) + MOST_SHOWN))
        .max(first);
    format!(
        " Here are calls {} to {} of {}, live ones first, and the latest first. The files have up to {}.",
        grouped(first),
        grouped(last),
        grouped(listed),
        grouped(MOST.into())
    )
}

/// Returns the choices between the pages before and after the one that is asked for.
fn neighbours(asked: &Asked, listed: u64) -> Vec<Choice> {
    let choice = |label: &str, page: u32| Choice {
        label: label.to_owned(),
        name: "page",
        value: page.to_string(),
        is_chosen: false,
    };
    let page = asked.page();
    let newer = (page > 1).then(|| choice("Newer calls", page - 1));
    let has_more = u64::from(page) * u64::from(MOST_SHOWN) < listed;
    let older = has_more.then(|| choice("Older calls", page + 1));
    newer.into_iter().chain(older).collect()
}

fn columns(calls: &[&Call]) -> Vec<Column> {
    let sum = |of: fn(&Call) -> Money| calls.iter().map(|call| of(call).as_count()).sum();
    let (whole, estimated) = (sum(|call| call.used.cost), sum(|call| call.used.estimated));
    vec![
        Column::name("State"),
        Column::name("User"),
        Column::name("Persona"),
        Column::figure("Time", Measured),
        Column::figure("Time left", Measured),
        Column::figure("Answers", Measured),
        Column {
            name: "Tokens",
            mark: cost::mark(whole, estimated),
        },
        Column::figure("Cost", Measured),
        Column::figure("Cost estimated", Estimated),
        Column::name("Network"),
        Column::name("Origin"),
        Column::name("Started"),
        Column::name("Replica"),
        Column::name("Reason"),
    ]
}

fn row(call: &Call, now: Timestamp) -> Row {
    let (cost, estimated) = (call.used.cost.as_count(), call.used.estimated.as_count());
    let reason = call.end_reason.map_or("", EndReason::as_str);
    let lasted = call.joined_at.map_or(0, |joined| {
        let end = call.ended_at.or(call.ending_at).unwrap_or(now);
        end.since(joined).as_secs()
    });
    let origin = call.origin.as_ref().map(ToString::to_string);
    Row {
        key: call.entry.to_string(),
        cells: vec![
            Cell::text(call.state.as_str()),
            user(call),
            Cell::text(call.persona.as_str()),
            Cell::span(lasted),
            Cell::span(call.seconds_left(now)),
            Cell::count(call.used.turns),
            Cell::count(call.used.usage.tokens()),
            Cell::money(cost.saturating_sub(estimated)),
            Cell::money(estimated),
            Cell::text(call.neighbourhood.to_string()),
            Cell::text(origin.unwrap_or_default()),
            Cell::moment(call.dialled_at),
            Cell::text(&*call.replica),
            Cell::text(reason),
        ],
        action: action(call),
    }
}

fn user(call: &Call) -> Cell {
    let account = call.account.as_ref();
    account.map_or(Cell::text("without identity"), |account| {
        let link = path_of(&account.issuer, &account.subject);
        Cell::text(&*account.subject).link(link)
    })
}

/// Returns the button of a call that can be hung up.
fn action(call: &Call) -> Option<Action> {
    let upstream = call.upstream.as_ref();
    let upstream = upstream.filter(|_| call.state.is_live() && call.ending_at.is_none())?;
    Some(Action {
        label: "Hang up",
        whom: format!("the call of persona {}", call.persona),
        path: "/pages/calls/hangup",
        fields: vec![("id", upstream.id.as_str().to_owned())],
    })
}

pub(super) async fn view(ops: &OpsState, asked: &Asked) -> Result<View, ApiError> {
    let sums = ops.app.broker.sum_up_calls().await?;
    let cost = (sums.nanodollars, sums.estimated_nanodollars);
    let card = |name, value, note: &str, mark| Card {
        name,
        value,
        note: note.to_owned(),
        mark,
    };
    Ok(View {
        title: "Live calls",
        lead: "On all replicas. Where scripts run, the table follows the calls.".to_owned()
            + &part(asked, sums.listed),
        query: vec![("page", asked.page().to_string())],
        choices: neighbours(asked, sums.listed),
        cards: vec![
            card(
                "Live calls",
                grouped(sums.live),
                "at this moment",
                "measured",
            ),
            card(
                "Cost so far",
                dollars(cost.0),
                "of live calls",
                cost::mark(cost.0, cost.1),
            ),
            card(
                "Held",
                dollars(sums.held_nanodollars),
                "against budgets, for live calls",
                "estimated",
            ),
        ],
        actions: hang_up_all(sums.live),
        tables: vec![table(ops, asked).await?],
        is_live: true,
        ..View::default()
    })
}

fn hang_up_all(live: u64) -> Vec<Action> {
    let action = Action {
        label: "Hang up all calls",
        whom: String::new(),
        path: "/pages/calls/hangup",
        fields: vec![("all", "yes".to_owned())],
    };
    (live > 1).then_some(action).into_iter().collect()
}

/// Hangs up one call by its `id`, or `all`.
pub(super) async fn hang_up(
    State(ops): State<OpsState>,
    request: Request,
) -> Result<Redirect, ApiError> {
    let [id, all] = form(&ops, request, ["id", "all"]).await?;
    let which = match (&*id, &*all) {
        ("", "yes") => Which::All,
        (id, "") => Which::One(UpstreamCallId::parse(id).ok_or(ApiError::at("id"))?),
        _ => return Err(ApiError::at("id")),
    };
    let ended = ops
        .app
        .broker
        .end_calls(&which, EndReason::Operator)
        .await?;
    tracing::info!(ended, "operator hung up calls in the dashboard");
    Ok(Redirect::to(Tab::Calls.path()))
}
