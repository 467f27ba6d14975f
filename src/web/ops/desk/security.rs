//! The page on security: blocks with a button to lift each, refused origins and credentials, and the health of keys.

use axum::extract::{Request, State};
use axum::response::Redirect;

use super::Tab;
use super::asked::form;
use super::service::{counts, lead};
use super::view::{Action, Cell, Column, Row, Table, View};
use crate::clock::seconds_up;
use crate::domain::Mark::{self, Estimated, Measured};
use crate::domain::Party;
use crate::limit::Block;
use crate::metrics::Nanos;
use crate::upstream::KeyHealth;
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

/// Returns the table of the provider's keys, with what calls and transcriptions cost by each.
fn keys(ops: &OpsState) -> Table {
    let costs = ops.app.face.vitals.series.key_cost.read(Nanos::count);
    let cost = |alias: &str, of: Mark| {
        let theirs = |([key, source], _): &&([Box<str>; 2], u64)| {
            **key == *alias && **source == *of.as_str()
        };
        Cell::money(costs.iter().filter(theirs).map(|(_, nanos)| nanos).sum())
    };
    let row = |key: &KeyHealth| {
        let last = key.last_success;
        let last = last.map_or_else(|| Cell::text("none yet"), Cell::moment);
        let (alias, state) = (Cell::text(&*key.alias), Cell::text(key.state.as_str()));
        let costs = [Measured, Estimated].map(|mark| cost(&key.alias, mark));
        let known = [alias, state, last];
        Row {
            cells: known.into_iter().chain(costs).collect(),
            ..Row::default()
        }
    };
    Table {
        name: "keys",
        title: "Keys of the provider",
        columns: vec![
            Column::name("Key"),
            Column::name("State"),
            Column::name("Last success"),
            Column::figure("Cost", Measured),
            Column::figure("Cost estimated", Estimated),
        ],
        rows: ops.app.broker.health().keys.iter().map(row).collect(),
        empty: "There is no key.",
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
