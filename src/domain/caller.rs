//! Owns what is known of the program at the other end of a request.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Identity, Language, Listener, Network, Origin, Party, RequestId};

/// The program at the other end of one request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Its address, found behind trusted proxies.
    pub address: IpAddr,
    /// The web page it runs in, when it says so. A filter, never an identity: any program can send any origin.
    pub origin: Option<Origin>,
    /// Whom it acts for, when it has shown a credential that is good.
    pub identity: Option<Arc<Identity>>,
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

    /// Whom its sessions belong to.
    pub fn party(&self) -> Party {
        self.identity.as_ref().map_or_else(
            || Party::Network(self.network()),
            |identity| Party::Identity(identity.key),
        )
    }

    /// What a persona may know of it, when it would like to hear `language`.
    pub fn as_listener<'a>(&'a self, language: Option<&'a Language>) -> Listener<'a> {
        Listener {
            name: self.identity.as_ref().and_then(|known| known.name.as_ref()),
            language,
            role: self.role(),
        }
    }

    /// The role it has, verified.
    pub fn role(&self) -> Option<&str> {
        self.identity.as_ref()?.role.as_deref()
    }
}
