//! `blocks`: lists and lifts the blocks of a running broker, on the listener for operators.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::ask::{ask, reachable};
use super::table::{cells, table};
use super::{Given, say};
use crate::config::{Mode, Ops};

const TIMEOUT: Duration = Duration::from_secs(10);

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
        None => request(&ops, "GET /blocks", "")?,
        Some(whose) => {
            let is_address = whose.parse::<IpAddr>().is_ok();
            let field = if is_address { "address" } else { "party" };
            request(
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

/// Sends a request to the listener for operators, and returns the JSON of its answer.
fn request(ops: &Ops, what: &str, body: &str) -> anyhow::Result<Value> {
    let token = ops.token.as_ref();
    let token = token.context("ops.token is not set, so no listener for operators runs")?;
    let address = reachable(ops.listen);
    let request = format!(
        "{what} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        token.expose_secret(),
        body.len()
    );
    let answer = ask(address, TIMEOUT, &request);
    let failed = || format!("the listener for operators at {address} cannot be reached");
    let (status, body) = answer.with_context(failed)?;
    let json: Value = serde_json::from_str(&body).context("the answer is not JSON")?;
    let message = &json["error"]["message"];
    ensure!(status == "200", "{what} was answered {status}: {message}");
    Ok(json)
}
