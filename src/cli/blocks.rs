//! Lists and lifts the blocks of a running broker, on the listener for operators.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{SettingsFlags, load, reachable, say};
use crate::config::{Mode, Ops};

/// Longest time that connecting, and each read, may take.
const PATIENCE: Duration = Duration::from_secs(10);

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
pub(super) fn blocks(
    flags: &SettingsFlags,
    environment: Vec<(String, String)>,
    asked: &BlocksFlags,
) -> anyhow::Result<ExitCode> {
    // Dev mode needs no API key: an operator who lifts a block need not know it.
    let ops = load(Mode::Dev, flags, environment)?.config.ops;
    let answer = match &asked.lift {
        None => request(&ops, "GET", "/blocks", "")?,
        Some(whose) => {
            let field = if whose.parse::<std::net::IpAddr>().is_ok() {
                "address"
            } else {
                "party"
            };
            request(
                &ops,
                "POST",
                "/blocks/lift",
                &json!({ field: whose }).to_string(),
            )?
        }
    };
    if asked.json {
        say(&answer.to_string())?;
    } else if asked.lift.is_some() {
        let is_lifted = answer["lifted"] == true;
        say(if is_lifted { "lifted" } else { "not blocked" })?;
    } else {
        for line in table(&answer) {
            say(&line)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(answer: &Value) -> Vec<String> {
    let blocks = answer["blocks"].as_array().map_or(&[][..], Vec::as_slice);
    if blocks.is_empty() {
        return vec!["nobody is blocked".to_owned()];
    }
    let row = |who: &str, seconds: &str, before: &str, party: &str| {
        format!("{who:<22} {seconds:>12} {before:>14}  {party}")
    };
    let text = |block: &Value, name: &str| match &block[name] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let head = row("who", "seconds left", "blocks before", "party");
    let rows = blocks.iter().map(|block| {
        let [who, seconds, before, party] =
            ["who", "seconds", "repetition", "party"].map(|name| text(block, name));
        row(&who, &seconds, &before, &party)
    });
    [head].into_iter().chain(rows).collect()
}

/// Sends one request over a plain socket, and returns the JSON of the answer.
fn request(ops: &Ops, method: &str, path: &str, body: &str) -> anyhow::Result<Value> {
    let token = ops.token.as_ref();
    let token = token.context("ops.token is not set, so no listener for operators runs")?;
    let address = reachable(ops.listen);
    let connect = || format!("the listener for operators at {address} cannot be reached");
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).with_context(connect)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/json\r\n"
    };
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        token.expose_secret(),
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("the answer is not HTTP")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    let json: Value = serde_json::from_str(body).context("the answer is not JSON")?;
    if status != "200" {
        bail!("{path} answered {status}: {}", json["error"]["message"]);
    }
    ensure!(json.is_object(), "the answer is not an object");
    Ok(json)
}
