//! `blocks`: lists and lifts the blocks of a running broker, on the listener for operators.

use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::ask::operate;
use super::table::{cells, table};
use super::{Given, say};
use crate::config::Mode;

#[derive(Debug, Args)]
pub(super) struct BlocksFlags {
    /// Lift the block of this address, or of a party as the list names it
    #[arg(long, value_name = "ADDRESS|PARTY")]
    lift: Option<String>,
    /// Answer in JSON
    #[arg(long)]
    json: bool,
}

/// Asks the running broker. Its replicas share one list of blocks when they share Redis.
pub(super) fn blocks(given: &Given, asked: &BlocksFlags) -> anyhow::Result<ExitCode> {
    // Dev mode needs no API key: an operator who lifts a block need not know it.
    let ops = given.load(Mode::Dev)?.config.ops;
    let answer = match &asked.lift {
        None => operate(&ops, "GET /blocks", "")?,
        Some(whose) => {
            let is_address = whose.parse::<IpAddr>().is_ok();
            let field = if is_address { "address" } else { "party" };
            operate(
                &ops,
                "POST /blocks/lift",
                &json!({ field: whose }).to_string(),
            )?
        }
    };
    say(&match answer["lifted"].as_bool() {
        _ if asked.json => answer.to_string(),
        Some(true) => "lifted".to_owned(),
        Some(false) => "not blocked".to_owned(),
        None => list(&answer["blocks"]),
    })
}

fn list(blocks: &Value) -> String {
    let head = ["who", "seconds left", "blocks before", "party"].map(str::to_owned);
    let mut rows = vec![head.to_vec()];
    for block in blocks.as_array().into_iter().flatten() {
        rows.push(cells(block, &["who", "seconds", "repetition", "party"]));
    }
    if rows.len() == 1 {
        return "nobody is blocked".to_owned();
    }
    table(&rows)
}
