//! Opens the dashboard in dev mode: with a token of this run, unless the settings have one.

use std::net::SocketAddr;

use secrecy::ExposeSecret;

use crate::config::Config;
use crate::domain::random_bytes;

/// Gives the dashboard a token where the settings have none, and then a free port unless the settings choose one. Returns
/// whether the token is of this run, so that it may be shown.
pub(super) fn open_desk(config: &mut Config, has_usual_address: bool) -> bool {
    let ops = &mut config.ops;
    // A token that is shown is for this machine only.
    if ops.token.is_some() || !ops.listen.ip().is_loopback() {
        return false;
    }
    if has_usual_address {
        ops.listen.set_port(0);
    }
    let token: [u8; 16] = random_bytes();
    ops.token = Some(format!("{:032x}", u128::from_be_bytes(token)).into());
    true
}

/// Returns what to say about the dashboard at `address`.
pub(super) fn about_desk(config: &Config, address: Option<SocketAddr>, is_shown: bool) -> String {
    let (Some(address), Some(token)) = (address, &config.ops.token) else {
        return String::new();
    };
    let token = if is_shown {
        token.expose_secret()
    } else {
        "your ops.token"
    };
    let note = if config.demo.has_past {
        ", with a made-up month of use"
    } else {
        ""
    };
    format!(
        "\n  See live calls, usage and cost{note}:\n    http://{address}/\n    Sign in with {token}\n"
    )
}
