//! Lists the blocks in force (`GET /blocks`) and lifts one (`POST /blocks/lift`).

use std::net::IpAddr;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use crate::clock::seconds_up;
use crate::domain::{Naming, Network, Party};
use crate::gate::Gate;
use crate::gate::windows::WindowsError;
use crate::limit::Block;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::extract::Body;

/// Upper bound on the blocks of one answer.
const MOST: usize = 1000;
/// How long operators wait while Redis, which knows the blocks of all replicas, is unreachable.
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

#[derive(Serialize)]
struct Listed {
    /// The longest first.
    blocks: Vec<Row>,
}

/// Whose block to lift: an address, an identity, or a `party` of the list.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LiftRequest {
    address: Option<IpAddr>,
    /// `iss` of the identity's credential.
    issuer: Option<String>,
    /// `sub` of the identity's credential.
    subject: Option<String>,
    party: Option<String>,
}

#[derive(Serialize)]
struct Lifted {
    /// Whether there was such a block.
    lifted: bool,
}

impl LiftRequest {
    fn party(self, naming: &Naming) -> Option<Party> {
        match self {
            Self {
                address: Some(address),
                issuer: None,
                subject: None,
                party: None,
            } => Some(Party::Network(Network::of(address))),
            Self {
                address: None,
                issuer: Some(issuer),
                subject: Some(subject),
                party: None,
            } => {
                let account = naming.account(&issuer.into(), &subject);
                Some(Party::Identity(account.key()))
            }
            Self {
                address: None,
                issuer: None,
                subject: None,
                party: Some(party),
            } => Party::parse(&party),
            _ => None,
        }
    }
}

fn unavailable(_: WindowsError) -> ApiError {
    ApiError::from(Code::Overloaded).after(OUTAGE_WAIT)
}

/// Lists the blocks in force, the longest first.
pub(super) async fn list(State(gate): State<Gate>) -> Result<Response, ApiError> {
    let blocks = gate.blocks(MOST).await.map_err(unavailable)?;
    let blocks = blocks.into_iter().map(Row::from).collect();
    Ok(Json(Listed { blocks }).into_response())
}

/// Lifts a block, on every replica, and forgets the blocks before it.
pub(super) async fn lift(
    State(gate): State<Gate>,
    State(naming): State<Naming>,
    Body(asked): Body<LiftRequest>,
) -> Result<Response, ApiError> {
    let party = asked.party(&naming);
    let field = || ApiError::malformed(Code::BadRequest, Some("address".to_owned()));
    let party = party.ok_or_else(field)?;
    let lifted = gate.lift(party).await.map_err(unavailable)?;
    tracing::info!(party = party.to_text(), lifted, "operator lifted a block");
    Ok(Json(Lifted { lifted }).into_response())
}
