//! Opens the sockets that the service listens on.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

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
        let public = listen(config.server.listen, "--listen or PORT")?;
        let ops = config.ops.token.is_some();
        let ops = ops.then(|| listen(config.ops.listen, "ops.listen"));
        let ops = ops.transpose()?;
        Ok(Self { public, ops })
    }
}

/// Opens a socket on `address`, which `setting` chooses.
fn listen(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
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
    bind().map_err(|error| {
        let help = help(&error);
        let context = format!("cannot listen on {address} ({help}; {setting} chooses it)");
        anyhow::Error::new(error).context(context)
    })
}

/// Returns the likely cause and its cure.
fn help(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::AddrInUse => "another process uses this port: end it, or choose another port",
        ErrorKind::AddrNotAvailable => {
            "this machine does not have this address: choose one that it has, or 0.0.0.0 for all"
        }
        ErrorKind::PermissionDenied => {
            "ports below 1024 need a privilege: choose a higher port, or grant CAP_NET_BIND_SERVICE"
        }
        _ => "choose another address",
    }
}
