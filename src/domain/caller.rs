//! Owns what is known of the program at the other end of a request.

use std::net::IpAddr;

use super::{Network, Origin, RequestId};

/// The program at the other end of one request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its address, found behind trusted proxies.
    pub address: IpAddr,
    /// The web page it runs in, when it says so. A filter, never an identity: any program can send any origin.
    pub origin: Option<Origin>,
    /// What it calls itself, as sent.
    pub user_agent: Option<Box<str>>,
    /// The request it made.
    pub request_id: RequestId,
}

impl Caller {
    /// The network it is counted under.
    pub fn network(&self) -> Network {
        Network::of(self.address)
    }
}
