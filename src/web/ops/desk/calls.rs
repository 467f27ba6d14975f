//! The page on calls: those that live, with their money and time, and a button to hang each up.

use axum::extract::{Request, State};
use axum::response::Redirect;

use super::asked::form;
use super::users::path_of;
use super::view::{Action, Card, Cell, Column, Row, Table, View};
use super::words::{dollars, grouped};
use super::{Tab, cost};
use crate::broker::Which;
use crate::clock::Timestamp;
use crate::domain::Mark::{Estimated, Measured};
use crate::domain::{Call, EndReason, Money, UpstreamCallId};
use crate::web::error::ApiError;
use crate::web::ops::OpsState;

/// Returns the nano-dollars of an amount.
fn nanos(money: Money) -> u64 {
    u64::try_from(money.as_nanos()).unwrap_or_default()
}

/// Returns the table of all calls.
pub(super) async fn table(ops: &OpsState) -> Result<Table, ApiError> {
    table_of(ops, |_| true).await
}

/// Returns the table of the calls that are meant.
pub(super) async fn table_of(
    ops: &OpsState,
    is_meant: impl Fn(&Call) -> bool,
) -> Result<Table, ApiError> {
    let now = ops.app.face.clock.now();
    let calls = ops.app.broker.calls().await?;
    let calls = calls.iter().filter(|call| is_meant(call));
    Ok(Table {
        name: "calls",
        title: "Live calls, and those that ended within the hour",
        columns: columns(),
        rows: calls.map(|call| row(call, now)).collect(),
        empty: "There is no call, and none ended within the hour.",
    })
}

fn columns() -> Vec<Column> {
    vec![
        Column::name("State"),
        Column::name("Reason"),
        Column::name("User"),
        Column::name("Persona"),
        Column::figure("Time", Measured),
        Column::figure("Time left", Measured),
        Column::figure("Answers", Measured),
        Column::figure("Tokens", Measured),
        Column::figure("Cost", Measured),
        Column::figure("Cost estimated", Estimated),
        Column::name("Network"),
        Column::name("Origin"),
        Column::name("Started"),
        Column::name("Replica"),
    ]
}

fn row(call: &Call, now: Timestamp) -> Row {
    let (cost, estimated) = (nanos(call.used.cost), nanos(call.used.estimated));
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
            Cell::text(reason),
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

pub(super) async fn view(ops: &OpsState) -> Result<View, ApiError> {
    let calls = ops.app.broker.calls().await?;
    let live: Vec<_> = calls.iter().filter(|call| call.state.is_live()).collect();
    let sum = |of: fn(&Call) -> Money| live.iter().map(|call| nanos(of(call))).sum::<u64>();
    let cost = sum(|call| call.used.cost);
    let estimated = sum(|call| call.used.estimated);
    let held = sum(|call| call.held.money);
    let card = |name, value, note: &str, mark| Card {
        name,
        value,
        note: note.to_owned(),
        mark,
    };
    Ok(View {
        title: "Live calls",
        lead: "On all replicas. Where scripts run, the table follows the calls.".to_owned(),
        cards: vec![
            card(
                "Live calls",
                grouped(live.len() as u64),
                "at this moment",
                "measured",
            ),
            card(
                "Cost so far",
                dollars(cost),
                "of live calls",
                cost::mark(cost, estimated),
            ),
            card(
                "Held",
                dollars(held),
                "against budgets, for live calls",
                "estimated",
            ),
        ],
        actions: hang_up_all(live.len()),
        tables: vec![table(ops).await?],
        is_live: true,
        ..View::default()
    })
}

fn hang_up_all(live: usize) -> Vec<Action> {
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
