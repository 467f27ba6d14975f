//! `calls`: lists the calls of a running broker, and hangs them up, on the listener for operators.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ask::operate;
use super::table::{cells, table};
use super::{Given, say};
use crate::config::Mode;

#[derive(Debug, Args)]
pub(super) struct CallsFlags {
    /// Answer in JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    order: Option<Order>,
}

#[derive(Debug, Subcommand)]
enum Order {
    /// Hang up one call, or all of them
    Hangup {
        /// The id of the call
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// Hang up all live calls
        #[arg(long)]
        all: bool,
    },
}

/// Asks the running broker. Its replicas share one list of calls when they share a database.
pub(super) fn calls(given: &Given, asked: &CallsFlags) -> anyhow::Result<ExitCode> {
    // Dev mode needs no API key: an operator who hangs up need not know it.
    let ops = given.load(Mode::Dev)?.config.ops;
    let answer = match &asked.order {
        None => operate(&ops, "GET /calls", "")?,
        Some(Order::Hangup { id, all }) => {
            let which = match id {
                Some(id) => json!({ "id": id }),
                None => json!({ "all": all }),
            };
            operate(&ops, "POST /calls/hangup", &which.to_string())?
        }
    };
    say(&match &answer["ended"] {
        _ if asked.json => answer.to_string(),
        Value::Number(ended) => format!("calls hung up: {ended}"),
        _ => list(&answer),
    })
}

fn list(answer: &Value) -> String {
    const COLUMNS: [&str; 9] = [
        "id",
        "state",
        "seconds_left",
        "persona",
        "subject",
        "network",
        "turns",
        "cost",
        "reason",
    ];
    let mut rows = vec![COLUMNS.map(|column| column.replace('_', " ")).to_vec()];
    for call in answer["calls"].as_array().into_iter().flatten() {
        rows.push(cells(call, &COLUMNS));
    }
    if rows.len() == 1 {
        return "there is no call".to_owned();
    }
    let table = table(&rows);
    if answer["truncated"] == true {
        let live = &answer["live"];
        return format!(
            "{table}\nthere are more calls than these: {live} live. The dashboard pages through them"
        );
    }
    table
}
