//! Keeps the connection to the Redis server: connects off the path of requests, asks with a deadline.

use std::mem::take;
use std::path::Path;
use std::time::Duration;

use parking_lot::RwLock;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, FromRedisValue, RedisError, Script,
    ScriptInvocation, TlsCertificates,
};
use tokio::sync::Notify;

use super::PREFIX;
use super::error::{LinkError, chain};
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
/// How long a connection must have lasted for the server not to count as flapping.
const STEADY: Duration = Duration::from_secs(10);
/// Interval of probes while the server answers.
const PROBE: Duration = Duration::from_secs(2);
/// Probe attempts before a slow server counts as down. One answer within `redis.timeout` is enough.
const TRIES: u32 = 10;
/// Shortest time between two log lines about a slow server.
const TOLD: Duration = Duration::from_mins(1);

/// A connection to the server, which is made again when it is lost.
pub struct Link {
    client: Client,
    probe: Script,
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
    /// Late answers since the last log line about them, and the moment of that line.
    doubts: u32,
    told: Option<Tick>,
    /// Calls that the server rejected since the last log line about them, and the first reason.
    refused: Option<(u32, String)>,
}

/// What the server has come back from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// A late answer.
    Moment,
    /// A lost connection.
    Outage,
}

enum Standing {
    Up,
    Doubted,
    Gone,
}

impl Link {
    /// Returns a link to the server at `url`, not connected yet. Fails when `url` is not valid.
    pub fn new(url: &str) -> Result<Self, LinkError> {
        Ok(Self::of(Client::open(url)?))
    }

    /// Returns a link to a TLS server whose certificate must be signed by one of those in `ca_file`.
    pub fn trusting(url: &str, ca_file: &Path) -> Result<Self, LinkError> {
        let certificates = TlsCertificates {
            client_tls: None,
            root_cert: Some(tls::pem(ca_file)?),
        };
        Ok(Self::of(Client::build_with_tls(url, certificates)?))
    }

    fn of(client: Client) -> Self {
        Self {
            client,
            probe: Script::new(include_str!("scripts/probe.lua")),
            patience: ANSWER,
            clock: Box::new(SystemClock::new()),
            state: RwLock::default(),
            stirred: Notify::new(),
        }
    }

    /// Returns the link with requests that wait for `patience` instead of 50 ms.
    #[must_use]
    pub fn waiting(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Returns whether the server is believed to answer.
    pub fn is_up(&self) -> bool {
        matches!(self.standing(), Standing::Up)
    }

    /// Returns whether there is no connection; false while the server is merely slow.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.standing(), Standing::Gone)
    }

    fn standing(&self) -> Standing {
        let state = self.state.read();
        match (&state.connection, state.doubted) {
            (None, _) => Standing::Gone,
            (Some(_), true) => Standing::Doubted,
            (Some(_), false) => Standing::Up,
        }
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
            Err(error) if error.is_about_the_call() => self.note(error),
            Err(error) => self.lose(generation, error),
        }
        answer
    }

    /// Notes an answer of an unexpected form.
    pub(super) fn nonsense(&self) -> LinkError {
        self.note(&LinkError::Nonsense);
        LinkError::Nonsense
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
            // In a cluster, connect to the node that holds the keys.
            Err(LinkError::Failed(error)) if error.redirect_node().is_some() => {
                self.connect(&self.elsewhere(&error)?).await
            }
            other => other,
        }
    }

    async fn connect(&self, client: &Client) -> Result<MultiplexedConnection, LinkError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(CONNECT));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let connection = self
            .clock
            .timeout(CONNECT, connecting)
            .await
            .map_err(|_| LinkError::Slow)??;
        self.probe(connection.clone()).await?;
        Ok(connection)
    }

    /// Returns a client for the node that `error` points to, with the same credentials.
    fn elsewhere(&self, error: &RedisError) -> Result<Client, LinkError> {
        let (node, _) = error.redirect_node().ok_or(LinkError::Nonsense)?;
        let (host, port) = node.rsplit_once(':').ok_or(LinkError::Nonsense)?;
        let port = port.parse().map_err(|_| LinkError::Nonsense)?;
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
                *known_port = port;
            }
            _ => return Err(LinkError::Nonsense),
        }
        Ok(Client::open(info.set_addr(address))?)
    }

    /// Keeps the link alive; never returns. Calls `joined` whenever the server has come back.
    pub async fn keep(&self, joined: impl AsyncFn(Absence)) {
        let (mut pause, mut since) = (PAUSE, self.clock.tick());
        let mut trusted: Option<Tick> = None;
        loop {
            match self.standing() {
                Standing::Up => tokio::select! {
                    () = self.clock.sleep(PROBE) => self.look().await,
                    () = self.stirred.notified() => {}
                },
                Standing::Doubted => {
                    // The work that `joined` does may itself be slow.
                    if trusted.is_some_and(|last| self.since(last) < PAUSE) {
                        self.clock.sleep(PAUSE).await;
                    }
                    self.look().await;
                    trusted = Some(self.clock.tick());
                    if self.is_up() {
                        joined(Absence::Moment).await;
                    }
                }
                Standing::Gone => {
                    self.clock.sleep(pause).await;
                    match self.join().await {
                        Ok(()) => {
                            let is_steady = self.since(since) >= STEADY;
                            pause = if is_steady { PAUSE } else { LONGEST_PAUSE };
                            since = self.clock.tick();
                            joined(Absence::Outage).await;
                        }
                        Err(error) => tracing::debug!(%error, "Redis is still unreachable"),
                    }
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
        let mut script = self.probe.prepare_invoke();
        script.key(format!("{PREFIX}probe"));
        let mut tries = 0;
        let (most, policy): (String, String) = loop {
            tries += 1;
            let patience = self.patience.min(CONNECT);
            match self.ask(connection.clone(), &script, patience).await {
                // A server that is always slower than redis.timeout is of no use to requests.
                Err(LinkError::Slow) if tries < TRIES => {}
                answer => break answer?,
            }
        };
        let evicts = most != "0" && policy != "noeviction";
        if evicts {
            Err(LinkError::Evicts(policy))
        } else {
            Ok(())
        }
    }

    fn doubt(&self, generation: u64) {
        let mut state = self.state.write();
        if state.generation == generation && !state.doubted {
            state.doubted = true;
            drop(state);
            self.stirred.notify_one();
            tracing::debug!("Redis answered late: requests do without it until a probe succeeds");
        }
    }

    /// Trusts the server again, and logs what it was late for and what it rejected.
    fn trust(&self, generation: u64) {
        let mut state = self.state.write();
        if state.generation == generation {
            state.doubts += u32::from(state.doubted);
            state.doubted = false;
        }
        let is_due = state.told.is_none_or(|told| self.since(told) >= TOLD);
        let doubts = if is_due { take(&mut state.doubts) } else { 0 };
        if doubts > 0 {
            state.told = Some(self.clock.tick());
        }
        let refused = state.refused.take();
        drop(state);
        if doubts > 0 {
            tracing::warn!(
                times = doubts,
                "Redis took longer than redis.timeout: this replica applied redis.on_failure for that moment. \
                 If the server or the network is slow, raise redis.timeout"
            );
        }
        if let Some((times, cause)) = refused {
            tracing::warn!(
                times,
                cause,
                "Redis rejected script calls: this replica applied redis.on_failure to those requests. Check that all \
                 replicas run the same version and that no other program uses this database"
            );
        }
    }

    fn note(&self, error: &LinkError) {
        let mut state = self.state.write();
        let refused = state.refused.get_or_insert_with(|| (0, chain(error)));
        refused.0 = refused.0.saturating_add(1);
    }

    /// Drops the connection that failed, unless that has happened already.
    fn lose(&self, generation: u64, error: &LinkError) {
        let mut state = self.state.write();
        if state.generation != generation || state.connection.take().is_none() {
            return;
        }
        drop(state);
        self.stirred.notify_one();
        let cause = chain(error);
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
