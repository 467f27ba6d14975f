//! Opens the sockets that the service listens on.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::{TcpListener, TcpSocket};

use crate::config::Config;

/// Bounds the connections that wait to be accepted, so that the kernel refuses none in a rush.
const BACKLOG: u32 = 4096;

/// The sockets of one service.
#[derive(Debug)]
pub struct Listeners {
    /// For callers.
    pub public: TcpListener,
    /// For operators, when they have a token.
    pub ops: Option<TcpListener>,
}

impl Listeners {
    /// Opens the sockets on the addresses of `config`.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let help = "is another process using it? Choose another with --listen or PORT";
        let public = listen(config.server.listen, help)?;
        let help = "is another process using it? Choose another with ops.listen";
        let ops = config.ops.token.is_some();
        let ops = ops.then(|| listen(config.ops.listen, help)).transpose()?;
        Ok(Self { public, ops })
    }
}

fn listen(address: SocketAddr, help: &str) -> anyhow::Result<TcpListener> {
    let bind = || {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        // A restart must not wait until the kernel has forgotten the connections of the last run.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().with_context(|| format!("cannot listen on {address} ({help})"))
}
