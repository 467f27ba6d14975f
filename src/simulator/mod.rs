//! Simulates the provider's edge on loopback, strictly, for tests, demonstrations, and front ends without a key.
//!
//! It cannot be mistaken for the real provider: its client secrets begin with `ek_sim_`, its answers
//! carry `x-simulated: true`, and it listens on loopback only. Each real peer of a call has a UDP socket on the address that the
//! machine uses towards others, because some browsers connect to no loopback address.

mod calls;
mod control;
mod costs;
mod edge;
mod effective;
mod fault;
mod mint;
mod plan;
mod refusal;
mod routes;
mod secrets;
mod serve;
mod transcription;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use secrecy::SecretString;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::calls::Registry;
use self::costs::Bill;
use self::edge::Edge;
use self::plan::{Plan, TOO_LONG};
use self::serve::Server;
use crate::clock::{Clock, Timestamp};
use crate::domain::{Money, canonical};

pub use self::calls::{
    AnnounceTo, Announcement, CallRequest, Calls, Drain, LiveSwitches, OddUsage, Reports, Second,
    SeenCall, Switches, Turn, TurnError,
};
pub use self::edge::Request;
pub use self::fault::FaultError;
pub use self::plan::Planned;
pub use self::secrets::SecretState;

/// Settings of a simulated provider.
pub struct Settings {
    /// Address to listen on, loopback only. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The accepted API key.
    pub api_key: SecretString,
    /// Clock for the expiry of secrets and the `Date` of answers.
    pub clock: Arc<dyn Clock>,
    /// Plan of failures at the start, at most 64 entries.
    pub faults: Vec<Planned>,
}

/// A running simulated provider. Stops when dropped.
pub struct Simulator {
    address: SocketAddr,
    server: Server,
}

impl Simulator {
    /// Starts a simulated provider.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] for an address that is not loopback or a plan that is too long;
    /// the system's error when the address cannot be bound.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        if !canonical(settings.listen.ip()).is_loopback() {
            return Err(invalid("the simulator listens on loopback addresses only"));
        }
        let plan = Plan::of(settings.faults).ok_or_else(|| invalid(TOO_LONG))?;
        let listener = TcpListener::bind(settings.listen).await?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let calls = Registry::new(settings.clock, tasks.clone(), stop.clone());
        let server = Server {
            edge: Arc::new(Edge::new(settings.api_key, calls, plan)),
            stop,
            tasks,
        };
        let address = listener.local_addr()?;
        server.tasks.spawn(server.clone().run(listener));
        Ok(Self { address, server })
    }

    /// Returns the address it listens on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the base URL for clients, `/v1` included.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Serves a connection that somebody else has accepted, for example behind TLS.
    pub fn serve(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let router = routes::router(Arc::clone(&self.server.edge));
        self.server.take(stream, router, None);
    }

    /// Appends an entry to the plan. Ignored when the plan has 64 entries.
    pub fn plan(&self, planned: Planned) {
        self.server.edge.state().plan.add(planned);
    }

    /// Clears the plan. Requests that hang already go on hanging.
    pub fn clear(&self) {
        self.server.edge.state().plan = Plan::default();
    }

    /// Returns the state of a client secret; `None` when it was never minted, or more than 10,000 mints ago.
    pub fn secret_state(&self, value: &str) -> Option<SecretState> {
        let now = self.server.edge.clock.now();
        self.server.edge.state().secrets.state(value, now)
    }

    /// Returns the last 64 requests for a client secret, oldest first, failed ones included.
    pub fn requests(&self) -> Vec<Request> {
        self.server.edge.state().requests.iter().cloned().collect()
    }

    /// Returns the number of requests for a client secret.
    pub fn seen(&self) -> u64 {
        self.server.edge.state().seen
    }

    /// Returns the number of minted client secrets, expired ones included.
    pub fn minted(&self) -> u64 {
        self.server.edge.state().minted
    }

    /// Returns its calls.
    pub fn calls(&self) -> Calls {
        Calls(Arc::clone(&self.server.edge.calls))
    }

    /// Accepts another API key from now on. It does not know the calls of other keys.
    pub fn accept_key(&self, key: &str) {
        self.server.edge.state().more_keys.push(key.to_owned());
    }

    /// Bills the UTC day of `moment` for `item`. The admin key that sees it is the API key with `-admin` behind it.
    pub fn bill(&self, moment: Timestamp, item: &str, money: Money) {
        self.server.edge.state().bills.push(Bill {
            day: moment.start_of_day().as_seconds(),
            item: item.into(),
            money,
        });
    }

    /// Returns the number of accepted connections.
    pub fn connections(&self) -> u64 {
        self.server.edge.state().connections
    }

    /// Closes all sockets, even in the middle of an answer, and waits until they are closed.
    pub async fn stop(self) {
        self.server.stop.cancel();
        self.server.tasks.close();
        self.server.tasks.wait().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.server.stop.cancel();
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
