//! The pages on users: all of them, and one of them with its days and its calls.

use axum::extract::{Request, State};
use axum::response::Redirect;

use super::asked::{Asked, form};
use super::calls;
use super::usage::{MOST, MOST_SHOWN, cells, columns, first, mark_of, named, report, share, total};
use super::view::{Action, Card, Cell, Column, Table, View, path_with};
use super::words::{dollars, grouped, span};
use super::{Tab, usage};
use crate::broker::BrokerError;
use crate::domain::Account;
use crate::records::{By, UsageRow};
use crate::web::error::ApiError;
use crate::web::ops::OpsState;

const NOBODY: &str = "without identity";

/// Returns the path of the page on one user.
pub(super) fn path_of(issuer: &str, subject: &str) -> String {
    path_with(Tab::User.path(), [("issuer", issuer), ("subject", subject)])
}

pub(super) async fn all(ops: &OpsState, asked: &Asked) -> Result<View, ApiError> {
    let since = asked.since(ops.app.face.clock.now());
    let most = asked.file.as_ref().map_or(MOST_SHOWN, |_| MOST);
    let users = first(ops, (By::User, most), since).await?;
    let everybody = report(ops, By::Role, since).await?;
    let whole = total(&everybody, "nanodollars");
    let mut columns = columns(&["User", "Issuer"], &users);
    columns.push(Column {
        name: "Share of cost, %",
        mark: mark_of(&everybody),
    });
    columns.push(Column::name("Last use"));
    let row = |row: &UsageRow| {
        let (issuer, subject) = (row.issuer.as_deref(), row.subject.as_deref());
        let link = path_of(issuer.unwrap_or_default(), subject.unwrap_or_default());
        let names = vec![named(subject, NOBODY).link(link), named(issuer, "")];
        let mut filled = cells(names, &row.sums);
        let share = share(row.sums.get("nanodollars"), whole);
        let last = crate::clock::Timestamp::from_millis(row.sums.last_at);
        filled.cells.extend([share, Cell::moment(last)]);
        filled
    };
    let table = Table {
        name: "users",
        title: "Users, busiest first",
        columns,
        rows: users.iter().map(row).collect(),
        empty: "Nobody used the service in this period.",
    };
    Ok(View {
        title: "Users",
        lead: format!(
            "Users are named as the ledger names them: by their subject, or by a pseudonym with ledger.pseudonymous. \
             The page has the {MOST_SHOWN} busiest, its files up to {}.",
            grouped(MOST.into())
        ),
        query: vec![("days", asked.days().to_string())],
        choices: asked.periods(),
        tables: vec![table],
        ..View::default()
    })
}

pub(super) async fn one(ops: &OpsState, asked: &Asked) -> Result<View, ApiError> {
    let (account, now) = (asked.account(), ops.app.face.clock.now());
    let since = asked.since(now);
    let days = ops.records.usage_of(&account, since).await;
    let days = days.map_err(BrokerError::NotRead)?;
    let row = |row: &UsageRow| cells(vec![named(row.day.as_deref(), "")], &row.sums);
    let table = Table {
        name: "days",
        title: "By day",
        columns: columns(&["Day"], &days),
        rows: days.iter().map(row).collect(),
        empty: "Nothing was used in this period.",
    };
    let calls = calls::table_of(ops, asked, Some(&account)).await?;
    Ok(View {
        title: "User",
        lead: if account.subject.is_empty() {
            "All callers without identity.".to_owned()
        } else {
            format!("{} at {}", account.subject, account.issuer)
        },
        query: vec![
            ("issuer", account.issuer.to_string()),
            ("subject", account.subject.to_string()),
            ("days", asked.days().to_string()),
        ],
        choices: asked.periods(),
        cards: cards(&days),
        chart: usage::chart(&days, "sessions", (since, now)),
        actions: end_action(&account),
        tables: vec![calls, table],
        ..View::default()
    })
}

fn cards(days: &[UsageRow]) -> Vec<Card> {
    let card = |name, value, mark| Card {
        name,
        value,
        note: "in this period".to_owned(),
        mark,
    };
    let cost = total(days, "nanodollars");
    vec![
        card("Sessions", grouped(total(days, "sessions")), "measured"),
        card("Time in calls", span(total(days, "seconds")), "measured"),
        card("Cost", dollars(cost), mark_of(days)),
    ]
}

fn end_action(account: &Account) -> Vec<Action> {
    if account.subject.is_empty() {
        return Vec::new();
    }
    let action = Action {
        label: "End all sessions and calls",
        whom: format!("of {}", account.subject),
        path: "/pages/user/end",
        fields: vec![
            ("issuer", account.issuer.to_string()),
            ("subject", account.subject.to_string()),
        ],
    };
    vec![action]
}

/// Ends all sessions and calls of one user, who is named as the ledger names users.
pub(super) async fn end(
    State(ops): State<OpsState>,
    request: Request,
) -> Result<Redirect, ApiError> {
    let [issuer, subject] = form(&ops, request, ["issuer", "subject"]).await?;
    if subject.is_empty() {
        return Err(ApiError::at("subject"));
    }
    let path = path_of(&issuer, &subject);
    let account = Account {
        issuer: issuer.into(),
        subject: subject.into(),
    };
    ops.app.broker.end_sessions(&account).await?;
    Ok(Redirect::to(&path))
}
