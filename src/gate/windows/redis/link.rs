//! Keeps the connection to the Redis server: connects off the path of requests, asks with a deadline.

use std::mem::take;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use parking_lot::RwLock;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, FromRedisValue, RedisError, Script,
    ScriptInvocation, TlsCertificates,
};
use tokio::sync::Notify;

use super::error::LinkError;
use super::key;
use crate::clock::{Clock, SystemClock, Tick};
use crate::tls;

/// Longest time that a request waits for an answer, unless `redis.timeout` says otherwise.
const ANSWER: Duration = Duration::from_millis(50);
/// Upper bound on an attempt to connect, probes included. No request waits for it.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Upper bound on the wait for one answer while connecting.
const CONNECT: Duration = Duration::from_secs(1);
/// Reconnect delay after the connection was lost or could not be made.
const PAUSE: Duration = Duration::from_secs(1);
/// Reconnect delay for a flapping server. Keeps the log quiet.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// Upper bound on the time between two replicas' return to the same server: the later one was pausing
/// when the server came back.
pub(in crate::gate) const APART: Duration = LONGEST_PAUSE.saturating_add(ATTEMPT);
/// How long the server must have answered in time not to count as flapping.
const STEADY: Duration = Duration::from_secs(10);
/// Late answers that are not further apart are as good as an outage.
const OFTEN: Duration = Duration::from_mins(1);
/// Interval of probes while the server answers.
const PROBE: Duration = Duration::from_secs(2);
/// Probe attempts before a slow server counts as down. One answer within `redis.timeout` is enough.
const TRIES: u32 = 10;
/// Shortest time between two log lines about late answers and rejected calls.
const TOLD: Duration = Duration::from_mins(1);

static CHECK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/probe.lua")));

/// A connection to the server, which is made again when it is lost.
pub struct Link {
    client: Client,
    patience: Duration,
    clock: Box<dyn Clock>,
    state: RwLock<State>,
    stirred: Notify,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// The number of connections so far, so that a failure of one does not count against the next.
    generation: u64,
    /// Whether the last answer was late. Requests do without the server until a probe succeeds.
    doubted: bool,
    /// Late answers since the last log line about trouble.
    late: u32,
    /// Late answers, rejected calls and lost connections since the start.
    failures: u64,
    /// Calls that the server rejected since that line, and the last reason.
    rejected: u32,
    cause: String,
    told: Option<Tick>,
}

/// What the server has come back from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// A late answer.
    Moment,
    /// A lost connection, or late answers again and again.
    Outage,
}

impl Link {
    /// Returns a link to the server at `url`, not connected yet. Fails when `url` is not valid.
    pub fn new(url: &str) -> Result<Self, LinkError> {
        Ok(Self {
            client: Client::open(url)?,
            patience: ANSWER,
            clock: Box::new(SystemClock::new()),
            state: RwLock::default(),
            stirred: Notify::new(),
        })
    }

    /// Returns a link to a TLS server whose certificate must be signed by one of those in `ca_file`.
    pub fn trusting(url: &str, ca_file: &Path) -> Result<Self, LinkError> {
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: Some(tls::pem(ca_file)?),
        };
        let client = Client::build_with_tls(url, certificates)?;
        Ok(Self {
            client,
            ..Self::new(url)?
        })
    }

    /// Returns the link with requests that wait for `patience` instead of 50 ms.
    #[must_use]
    pub fn waiting(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Returns whether the server is believed to answer.
    pub fn is_up(&self) -> bool {
        let state = self.state.read();
        state.connection.is_some() && !state.doubted
    }

    /// Returns the number of late answers, rejected calls and lost connections since the start.
    pub fn failures(&self) -> u64 {
        self.state.read().failures
    }

    /// Returns whether there is no connection; false while the server is merely slow.
    pub fn is_gone(&self) -> bool {
        self.state.read().connection.is_none()
    }

    /// Runs a script for a request. Never connects and never waits longer than `redis.timeout`. After a
    /// failure the server is not asked until a probe succeeds.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, LinkError> {
        let (connection, generation) = {
            let state = self.state.read();
            let trusted = state.connection.clone().filter(|_| !state.doubted);
            (trusted.ok_or(LinkError::Gone)?, state.generation)
        };
        let answer = self.ask(connection, script, self.patience).await;
        match &answer {
            Ok(_) => {}
            Err(LinkError::Slow) => self.doubt(generation),
            Err(error) if error.is_about_the_call() => {
                let mut state = self.state.write();
                state.rejected += 1;
                state.failures += 1;
                state.cause = error.to_string();
            }
            Err(error) => self.lose(generation, error),
        }
        answer
    }

    /// Connects, if the server is reachable and accepts writes.
    pub async fn join(&self) -> Result<(), LinkError> {
        let attempt = self.clock.timeout(ATTEMPT, self.attempt()).await;
        let connection = attempt.map_err(|_| LinkError::Slow)??;
        let mut state = self.state.write();
        state.connection = Some(connection);
        state.doubted = false;
        state.generation += 1;
        drop(state);
        tracing::info!("Redis is reachable: limits are shared with all replicas");
        Ok(())
    }

    async fn attempt(&self) -> Result<MultiplexedConnection, LinkError> {
        match self.connect(&self.client).await {
            Err(LinkError::Failed(error)) => match self.elsewhere(&error) {
                Some(client) => self.connect(&client).await,
                None => Err(error.into()),
            },
            other => other,
        }
    }

    async fn connect(&self, client: &Client) -> Result<MultiplexedConnection, LinkError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(CONNECT));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let connection = self.clock.timeout(CONNECT, connecting).await;
        let connection = connection.map_err(|_| LinkError::Slow)??;
        self.probe(connection.clone()).await?;
        Ok(connection)
    }

    /// Returns a client for the node of a cluster that holds the keys, with the same credentials, if
    /// `error` names that node.
    fn elsewhere(&self, error: &RedisError) -> Option<Client> {
        let (node, _) = error.redirect_node()?;
        let (host, port) = node.rsplit_once(':')?;
        let info = self.client.get_connection_info().clone();
        let mut address = info.addr().clone();
        match &mut address {
            ConnectionAddr::Tcp(known, known_port)
            | ConnectionAddr::TcpTls {
                host: known,
                port: known_port,
                ..
            } => {
                // A node that does not know its own name means the host that was asked.
                if !host.is_empty() {
                    host.clone_into(known);
                }
                *known_port = port.parse().ok()?;
            }
            _ => return None,
        }
        Client::open(info.set_addr(address)).ok()
    }

    /// Keeps the link alive; never returns. Calls `back` whenever the server has come back.
    pub async fn keep(&self, back: impl AsyncFn(Absence)) {
        let mut last: Option<Tick> = None;
        let mut pause = PAUSE;
        loop {
            let is_recent = |within| last.is_some_and(|last| self.since(last) < within);
            if self.is_gone() {
                self.clock.sleep(pause).await;
                if let Err(error) = self.join().await {
                    tracing::debug!(%error, "Redis is still unreachable");
                    continue;
                }
                pause = if is_recent(STEADY) {
                    LONGEST_PAUSE
                } else {
                    PAUSE
                };
                last = Some(self.clock.tick());
                back(Absence::Outage).await;
            } else if self.is_up() {
                tokio::select! {
                    () = self.clock.sleep(PROBE) => self.look().await,
                    () = self.stirred.notified() => {}
                }
            } else {
                // The work that `back` does may itself be slow.
                if is_recent(PAUSE) {
                    self.clock.sleep(PAUSE).await;
                }
                self.look().await;
                if self.is_up() {
                    let often = is_recent(OFTEN).then_some(Absence::Outage);
                    last = Some(self.clock.tick());
                    back(often.unwrap_or(Absence::Moment)).await;
                }
            }
        }
    }

    /// Probes the server, and trusts or drops the connection.
    async fn look(&self) {
        let (connection, generation) = {
            let state = self.state.read();
            (state.connection.clone(), state.generation)
        };
        let Some(connection) = connection else { return };
        match self.probe(connection).await {
            Ok(()) => self.trust(generation),
            Err(error) => self.lose(generation, &error),
        }
    }

    async fn probe(&self, connection: MultiplexedConnection) -> Result<(), LinkError> {
        let script = CHECK.key(key("probe"));
        let patience = self.patience.min(CONNECT);
        for _ in 0..TRIES {
            let answer = self.ask(connection.clone(), &script, patience).await;
            let (most, policy): (String, String) = match answer {
                // A server that is always slower than redis.timeout is of no use to requests.
                Err(LinkError::Slow) => continue,
                answer => answer?,
            };
            let evicts = most != "0" && policy != "noeviction";
            return if evicts {
                Err(LinkError::Evicts(policy))
            } else {
                Ok(())
            };
        }
        Err(LinkError::Slow)
    }

    fn doubt(&self, generation: u64) {
        let mut state = self.state.write();
        if state.generation == generation && !state.doubted {
            state.doubted = true;
            state.late += 1;
            state.failures += 1;
            drop(state);
            self.stirred.notify_one();
            tracing::debug!("Redis answered late: requests do without it until a probe succeeds");
        }
    }

    /// Trusts the server again, and logs late answers and rejected calls.
    fn trust(&self, generation: u64) {
        let mut state = self.state.write();
        if state.generation == generation {
            state.doubted = false;
        }
        let is_due = state.told.is_none_or(|told| self.since(told) >= TOLD);
        if is_due && state.late + state.rejected > 0 {
            state.told = Some(self.clock.tick());
            let (late, rejected) = (take(&mut state.late), take(&mut state.rejected));
            let cause = take(&mut state.cause);
            drop(state);
            tracing::warn!(
                late,
                rejected,
                cause,
                "Redis was slower than redis.timeout or rejected calls: this replica applied redis.on_failure to \
                 those requests. If the server or the network is slow, raise redis.timeout. If calls were rejected, \
                 check that all replicas run the same version and that no other program uses this database"
            );
        }
    }

    /// Drops the connection that failed, unless that has happened already.
    fn lose(&self, generation: u64, error: &LinkError) {
        let mut state = self.state.write();
        if state.generation != generation || state.connection.take().is_none() {
            return;
        }
        state.failures += 1;
        drop(state);
        self.stirred.notify_one();
        let cause = error.to_string();
        tracing::warn!(
            cause,
            "Redis is unreachable: this replica applies redis.on_failure until it is back"
        );
    }

    async fn ask<T: FromRedisValue>(
        &self,
        mut connection: MultiplexedConnection,
        script: &ScriptInvocation<'_>,
        patience: Duration,
    ) -> Result<T, LinkError> {
        // EVALSHA; a server that has forgotten the script receives it again.
        let asked = script.invoke_async(&mut connection);
        let answer = self.clock.timeout(patience, asked).await;
        Ok(answer.map_err(|_| LinkError::Slow)??)
    }

    fn since(&self, moment: Tick) -> Duration {
        self.clock.tick().since(moment)
    }
}
