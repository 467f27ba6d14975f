//! Opens the sockets that the service listens on.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpSocket};

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
    /// Opens the sockets on these addresses. The error says what the operator can do.
    pub fn open(public: SocketAddr, ops: Option<SocketAddr>) -> Result<Self, ListenError> {
        Ok(Self {
            public: listen(public, "--listen or PORT")?,
            ops: ops.map(|ops| listen(ops, "ops.listen")).transpose()?,
        })
    }
}

/// Why a socket could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} ({}; {setting} chooses it)", help(.source))]
pub struct ListenError {
    address: SocketAddr,
    setting: &'static str,
    source: io::Error,
}

/// Opens a socket on `address`, which `setting` chooses.
fn listen(address: SocketAddr, setting: &'static str) -> Result<TcpListener, ListenError> {
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
    bind().map_err(|source| ListenError {
        address,
        setting,
        source,
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
