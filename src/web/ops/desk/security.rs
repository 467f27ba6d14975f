//! The page on security: blocks with a button to lift each, refused origins and credentials, and the health of keys.

use axum::extract::{Request, State};
use axum::response::Redirect;

use super::Tab;
use super::asked::form;
use super::service::{counts, lead};
use super::view::{Action, Cell, Column, Row, Table, View};
use super::words::moment_of;
use crate::clock::{Timestamp, seconds_up};
use crate::domain::Mark::Measured;
use crate::domain::Party;
use crate::limit::Block;
use crate::metrics::Level;
use crate::web::error::ApiError;
use crate::web::ops::OpsState;
use crate::web::ops::blocks::{MOST, unavailable};

pub(super) async fn view(ops: &OpsState) -> Result<View, ApiError> {
    let series = &ops.app.face.vitals.series;
    let lead = lead(ops) + " Blocks are those in force on all replicas.";
    let reasons = |name, title, family| counts((name, title), ["Reason"], family);
    Ok(View {
        title: "Security",
        lead,
        tables: vec![
            blocks(ops).await?,
            reasons("origins", "Refused origins", &series.origin_rejected),
            reasons(
                "credentials",
                "Refused credentials and tickets",
                &series.auth_failures,
            ),
            reasons("offences", "Offences", &series.anomalies),
            reasons("earned", "Blocks that were earned", &series.blocks),
            counts(("events", "Audit events"), ["Event"], &series.audit_events),
            keys(ops),
        ],
        ..View::default()
    })
}

async fn blocks(ops: &OpsState) -> Result<Table, ApiError> {
    let blocks = ops.app.gate.blocks(MOST).await.map_err(unavailable)?;
    Ok(Table {
        name: "blocks",
        title: "Blocks in force",
        columns: vec![
            Column::name("Who"),
            Column::figure("Time left", Measured),
            Column::figure("Blocks before", Measured),
        ],
        rows: blocks.iter().map(block).collect(),
        empty: "Nobody is blocked.",
    })
}

fn block(block: &Block) -> Row {
    let who = match block.party {
        Party::Network(network) => network.to_string(),
        Party::Identity(_) => "an identity: see the audit log".to_owned(),
    };
    Row {
        action: Some(Action {
            label: "Lift",
            whom: format!("the block of {who}"),
            path: "/pages/security/lift",
            fields: vec![("party", block.party.to_text())],
        }),
        cells: vec![
            Cell::text(who),
            Cell::span(seconds_up(block.lasts)),
            Cell::count(block.repetition.into()),
        ],
        ..Row::default()
    }
}

/// Returns the table of the provider's keys.
fn keys(ops: &OpsState) -> Table {
    let series = &ops.app.face.vitals.series;
    let successes = series.key_success.read(Level::figure);
    let row = |(key, rejected): &([Box<str>; 1], f64)| {
        let success = successes.iter().find(|(name, _)| name == key);
        let last = success.map_or(0.0, |(_, seconds)| *seconds);
        let state = if *rejected > 0.0 {
            "rejected"
        } else {
            "accepted"
        };
        let cells = [&key[0], state, &last_success(last)].map(Cell::text);
        Row {
            cells: cells.into(),
            ..Row::default()
        }
    };
    let rows = series.key_rejected.read(Level::figure);
    Table {
        name: "keys",
        title: "Keys of the provider",
        columns: ["Key", "State", "Last success"].map(Column::name).into(),
        rows: rows.iter().map(row).collect(),
        empty: "No key was used yet.",
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "seconds since 1970, for people"
)]
fn last_success(seconds: f64) -> String {
    if seconds > 0.0 {
        moment_of(Timestamp::from_seconds(seconds as u64))
    } else {
        "none yet".to_owned()
    }
}

/// Lifts a block, on every replica.
pub(super) async fn lift(
    State(ops): State<OpsState>,
    request: Request,
) -> Result<Redirect, ApiError> {
    let [party] = form(&ops, request, ["party"]).await?;
    let party = Party::parse(&party).ok_or(ApiError::at("party"))?;
    let lifted = ops.app.gate.lift(party).await.map_err(unavailable)?;
    tracing::info!(party = party.to_text(), lifted, "operator lifted a block");
    Ok(Redirect::to(Tab::Security.path()))
}
