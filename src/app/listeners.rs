//! Owns the sockets that the service listens on.

use std::net::SocketAddr;

use anyhow::Context;
use tokio::net::{TcpListener, TcpSocket};

use crate::config::Config;

/// Connections that may wait to be taken, so that a rush is not turned away by the kernel.
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
    /// Listens where `config` says.
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
        // A restart must not wait for the last run's connections to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    bind().with_context(|| format!("cannot listen on {address} ({help})"))
}
