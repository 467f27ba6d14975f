//! Owns the simulated provider: its edge, imitated strictly, on loopback, for tests, demonstrations, and front-ends without a key.
//!
//! Its client secrets begin with `ek_sim_`, its answers carry `x-simulated: true`, and it listens on loopback only: it
//! cannot be mistaken for the real one.

mod control;
mod edge;
mod effective;
mod fault;
mod mint;
mod plan;
mod refusal;
mod routes;
mod secrets;
mod serve;
mod wire;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::edge::Edge;
use self::plan::Plan;
use crate::clock::Clock;
use crate::domain::canonical;

pub use self::edge::Request;
pub use self::fault::{Fault, FaultError};
pub use self::plan::{Planned, Times};
pub use self::secrets::SecretState;

/// How a simulated provider starts.
pub struct Settings {
    /// Where it listens; loopback only. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// The API key that it wants to see.
    pub api_key: SecretString,
    /// Its idea of time: when secrets expire, and the `Date` of its answers.
    pub clock: Arc<dyn Clock>,
    /// What fails from the beginning; at most 64 entries.
    pub faults: Vec<Planned>,
}

/// A simulated provider that runs. It stops when this is dropped.
pub struct Simulator {
    address: SocketAddr,
    edge: Arc<Edge>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Simulator {
    /// Starts one.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidInput`] when it is told to listen where others could reach it or the plan is too long;
    /// what the system says when the address cannot be had.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        if !canonical(settings.listen.ip()).is_loopback() {
            return Err(invalid("the simulator listens on loopback addresses only"));
        }
        let mut plan = Plan::default();
        if !settings.faults.into_iter().all(|planned| plan.add(planned)) {
            return Err(invalid("a plan of faults has at most 64 entries"));
        }
        let listener = TcpListener::bind(settings.listen).await?;
        let simulator = Self {
            address: listener.local_addr()?,
            edge: Arc::new(Edge::new(settings.api_key, settings.clock, plan)),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let server = serve::Server {
            router: routes::router(simulator.edge.clone()),
            edge: simulator.edge.clone(),
            stop: simulator.stop.clone(),
            tasks: simulator.tasks.clone(),
        };
        simulator.tasks.spawn(server.run(listener));
        Ok(simulator)
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What a client sets as the provider's base address, `/v1` included.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Adds to the end of the plan: `fault` fails so many mints. A number, or [`Times::UntilCleared`].
    ///
    /// What does not fit into the plan of 64 entries is left out.
    pub fn fail(&self, fault: Fault, times: impl Into<Times>) {
        self.plan(Planned {
            fault,
            times: times.into(),
            models: false,
        });
    }

    /// Adds an entry to the end of the plan, as [`Self::fail`] does. It may fail the list of models too.
    pub fn plan(&self, planned: Planned) {
        self.edge.plan().add(planned);
    }

    /// Nothing fails any more. What hangs already goes on hanging.
    pub fn clear(&self) {
        self.edge.plan().clear();
    }

    /// How a client secret stands now; `None` when it was never given, or more than 10,000 mints ago.
    pub fn secret_state(&self, value: &str) -> Option<SecretState> {
        let now = self.edge.clock.now();
        self.edge.secrets().state(value, now)
    }

    /// The last 64 requests for a client secret, oldest first, whatever became of them.
    pub fn requests(&self) -> Vec<Request> {
        self.edge.requests().iter().cloned().collect()
    }

    /// How many requests for a client secret have arrived.
    pub fn seen(&self) -> u64 {
        self.edge.seen.get()
    }

    /// How many client secrets it has given, those that were over already included.
    pub fn minted(&self) -> u64 {
        self.edge.minted.get()
    }

    /// How many connections it has accepted.
    pub fn connections(&self) -> u64 {
        self.edge.connections.get()
    }

    /// Closes its sockets, in the middle of an answer too, and waits until that is done.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}
