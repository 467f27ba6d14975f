//! Describes the program at the other end of a request.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Identity, Language, Listener, Network, Origin, Party, PersonaName, RequestId, Trace};

/// The program at the other end of one request.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(super) address: IpAddr,
    pub(super) network: Network,
    pub(super) neighbourhood: Network,
    /// Whether the address forwards the requests of others.
    pub forwards: Forwards,
    /// The web page it runs in, when it says so. A filter, never an identity: any program can send any
    /// origin.
    pub origin: Option<Origin>,
    /// The identity that it acts for, when it has shown a good credential.
    pub identity: Option<Arc<Identity>>,
    /// The `User-Agent` as sent.
    pub user_agent: Option<Box<str>>,
    /// The request that it made.
    pub request_id: RequestId,
    /// The place of this request in its trace, when the trace is recorded.
    pub trace: Option<Trace>,
}

/// Whether an address forwards the requests of others, so that many callers share it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Forwards {
    /// Nothing says so.
    #[default]
    No,
    /// The address is in `server.trusted_proxies`.
    Trusted,
    /// The address is private or loopback, and sends `X-Forwarded-For` without being trusted.
    Untrusted,
}

impl Caller {
    /// Returns a caller at `address`, of whom nothing else is known.
    pub fn at(address: IpAddr, request_id: RequestId) -> Self {
        Self {
            address,
            network: Network::of(address),
            neighbourhood: Network::around(address),
            forwards: Forwards::No,
            origin: None,
            identity: None,
            user_agent: None,
            request_id,
            trace: None,
        }
    }

    /// Returns the address, found behind trusted proxies.
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Returns the network that the address is counted as: an IPv4 address or an IPv6 /64.
    pub const fn network(&self) -> Network {
        self.network
    }

    /// Returns the neighbourhood of the address: a /24 or a /48.
    pub const fn neighbourhood(&self) -> Network {
        self.neighbourhood
    }

    /// Returns whom its sessions and offences belong to.
    pub fn party(&self) -> Party {
        self.identity
            .as_ref()
            .map_or(Party::Network(self.network), |identity| {
                Party::Identity(identity.key)
            })
    }

    /// Returns whom it shares scarce places with: its identity, or else its neighbourhood.
    pub fn crowd(&self) -> Party {
        match self.party() {
            Party::Network(_) => Party::Network(self.neighbourhood),
            identity @ Party::Identity(_) => identity,
        }
    }

    /// Returns what a persona may know of it, when it would like to hear `language`.
    pub fn as_listener<'a>(&'a self, language: Option<&'a Language>) -> Listener<'a> {
        Listener {
            name: self.identity.as_ref().and_then(|known| known.name.as_ref()),
            language,
            role: self.role(),
        }
    }

    /// Returns the only personas that it may use, the usual one first; none when its role decides.
    pub fn personas(&self) -> &[PersonaName] {
        self.identity.as_ref().map_or(&[], |known| &known.personas)
    }

    /// Returns its verified role.
    pub fn role(&self) -> Option<&str> {
        self.identity.as_ref()?.role.as_deref()
    }
}
