//! Sends one HTTP request to a broker on this machine: to its public listener, or to the one for operators.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::config::Ops;

/// Longest wait for an operator's answer.
const OPERATE: Duration = Duration::from_secs(10);
/// Most bytes of an answer that are read.
const MOST: u64 = 1024 * 1024;

/// Returns where a socket that listens on `address` can be reached from this machine.
pub(super) fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Sends `request` over a plain socket, which costs next to nothing, and returns status and body of the answer. Connecting,
/// each read and each write may take as long as `timeout`.
pub(super) fn ask(
    address: SocketAddr,
    timeout: Duration,
    request: &str,
) -> anyhow::Result<(String, String)> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let read = stream.take(MOST).read_to_end(&mut answer);
    // A connection that breaks after the answer takes nothing from it.
    if answer.is_empty() {
        read?;
    }
    let answer = String::from_utf8_lossy(&answer);
    let status = answer
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3));
    let status = status.context("the answer is not HTTP/1.1")?;
    let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    Ok((status.to_owned(), body.to_owned()))
}

/// Sends a request to the listener for operators, and returns the JSON of its answer.
pub(super) fn operate(ops: &Ops, what: &str, body: &str) -> anyhow::Result<Value> {
    let token = ops.token.as_ref();
    let token = token.context("ops.token is not set, so no listener for operators runs")?;
    let address = reachable(ops.listen);
    let request = format!(
        "{what} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        token.expose_secret(),
        body.len()
    );
    let answer = ask(address, OPERATE, &request);
    let failed = || format!("the listener for operators at {address} cannot be reached");
    let (status, body) = answer.with_context(failed)?;
    let json: Value = serde_json::from_str(&body).context("the answer is not JSON")?;
    let message = &json["error"]["message"];
    ensure!(status == "200", "{what} was answered {status}: {message}");
    Ok(json)
}
