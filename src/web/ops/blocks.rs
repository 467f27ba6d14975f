//! Lists the blocks in force (`GET /blocks`) and lifts one (`POST /blocks/lift`).

use std::net::IpAddr;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::OpsState;
use crate::clock::seconds_up;
use crate::domain::{Naming, Network, Party};
use crate::gate::windows::WindowsError;
use crate::limit::Block;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::extract::Body;

/// Upper bound on the blocks of one answer.
pub(super) const MOST: usize = 1000;
/// The wait of operators while Redis, which knows the blocks of all replicas, is unreachable.
const OUTAGE_WAIT: Duration = Duration::from_secs(5);

/// A block in force.
#[derive(Serialize)]
struct Row {
    /// The blocked network, or `identity`: records of identities are in the audit log.
    who: String,
    /// The name to lift the block by.
    party: String,
    /// Seconds that the block has left.
    seconds: u64,
    /// How many blocks came before it.
    repetition: u32,
}

impl From<Block> for Row {
    fn from(block: Block) -> Self {
        let who = match block.party {
            Party::Network(network) => network.to_string(),
            Party::Identity(_) => "identity".to_owned(),
        };
        Self {
            who,
            party: block.party.to_text(),
            seconds: seconds_up(block.lasts),
            repetition: block.repetition,
        }
    }
}

/// The owner of the block to lift: an address, an identity (`iss` and `sub` of its credential), or a `party` of the list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LiftRequest {
    address: Option<IpAddr>,
    issuer: Option<String>,
    subject: Option<String>,
    party: Option<String>,
}

impl LiftRequest {
    fn party(self, naming: &Naming) -> Option<Party> {
        match (self.address, self.issuer, self.subject, self.party) {
            (Some(address), None, None, None) => Some(Party::Network(Network::of(address))),
            (None, Some(issuer), Some(subject), None) => {
                let account = naming.account(&issuer.into(), &subject);
                Some(Party::Identity(account.key()))
            }
            (None, None, None, Some(party)) => Party::parse(&party),
            _ => None,
        }
    }
}

pub(super) fn unavailable(_: WindowsError) -> ApiError {
    ApiError::from(Code::Overloaded).after(OUTAGE_WAIT)
}

/// Lists the blocks in force, the longest first.
pub(super) async fn list(State(ops): State<OpsState>) -> Result<Json<Value>, ApiError> {
    let blocks = ops.app.gate.blocks(MOST).await.map_err(unavailable)?;
    let blocks: Vec<_> = blocks.into_iter().map(Row::from).collect();
    Ok(Json(json!({ "blocks": blocks })))
}

/// Lifts a block, on every replica, and forgets the blocks before it. Answers whether there was such a block.
pub(super) async fn lift(
    State(ops): State<OpsState>,
    Body(asked): Body<LiftRequest>,
) -> Result<Json<Value>, ApiError> {
    let party = asked.party(&ops.naming).ok_or(ApiError::at("address"))?;
    let lifted = ops.app.gate.lift(party).await.map_err(unavailable)?;
    tracing::info!(party = party.to_text(), lifted, "operator lifted a block");
    Ok(Json(json!({ "lifted": lifted })))
}
