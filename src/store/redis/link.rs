//! Owns the connection to the Redis server: made and made again off the path of requests, asked with a deadline.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for another machine on the real clock until its room takes a Clock"
)]

use std::mem::take;
use std::path::Path;
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, FromRedisValue, RedisError, Script,
    ScriptInvocation, TlsCertificates,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use super::PREFIX;
use crate::tls::{self, TlsError};

/// Longest time a request waits for an answer, where nobody says otherwise (`redis.timeout` does).
const ANSWER: Duration = Duration::from_millis(50);
/// Longest time to connect. No request waits for it.
const CONNECT: Duration = Duration::from_secs(1);
/// How long the server is left alone after it was lost, and after it could not be reached.
const PAUSE: Duration = Duration::from_secs(1);
/// The same, for a server that comes and goes: it would be told of at every turn.
const LONGEST_PAUSE: Duration = Duration::from_secs(3);
/// How long it must have been there not to be one that comes and goes.
const STEADY: Duration = Duration::from_secs(10);
/// How often it is asked how it is while all is well.
const PROBE: Duration = Duration::from_secs(2);
/// How often it is asked at once: one answer as quick as a request wants it is enough.
const TRIES: u32 = 10;
/// How often a slow server is told of.
const TOLD: Duration = Duration::from_mins(1);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It is not asked: there is no connection, or it is in doubt.
    #[error("Redis is not asked: it is gone, or was slow a moment ago")]
    Gone,
    /// It took too long.
    #[error("Redis did not answer in time")]
    Slow,
    /// The server, or the way to it, failed.
    #[error("Redis failed")]
    Failed(#[from] RedisError),
    /// The server answered what it never should.
    #[error("Redis answered nonsense")]
    Nonsense,
    /// The server may forget what must not be forgotten.
    #[error("Redis evicts keys when it is full ({0}): set its maxmemory-policy to noeviction")]
    Evicts(String),
    /// The certificates that are to vouch for it cannot be used.
    #[error(transparent)]
    Roots(#[from] TlsError),
}

impl LinkError {
    /// True when it says nothing of the server, only of what it was asked: of a session that another version wrote.
    pub(super) fn is_about_the_call(&self) -> bool {
        match self {
            Self::Nonsense => true,
            Self::Failed(error) => match error.code() {
                Some(code) => ["ERR", "WRONGTYPE"].contains(&code),
                None => error.kind() == ErrorKind::UnexpectedReturnType,
            },
            Self::Gone | Self::Slow | Self::Evicts(_) | Self::Roots(_) => false,
        }
    }
}

/// A connection that comes and goes.
pub struct Link {
    client: Client,
    probe: Script,
    patience: Duration,
    state: RwLock<State>,
    stirred: Notify,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that a failure of one says nothing of the next.
    generation: u64,
    /// It was slow once: requests do without it until it has been asked how it is.
    doubted: bool,
    /// How often it was slow since that was last told of, and when that was.
    doubts: u32,
    told: Option<Instant>,
    /// Calls that it refused since that was last told of, and why it refused the first.
    refused: Option<(u32, String)>,
}

/// From what the server has come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// From a moment's slowness.
    Moment,
    /// There was no connection.
    Outage,
}

enum Standing {
    Up,
    Doubted,
    Gone,
}

impl Link {
    /// A link to the server at `url`, not connected yet. Fails when `url` cannot be understood.
    pub fn new(url: &str) -> Result<Self, LinkError> {
        Ok(Self::of(Client::open(url)?))
    }

    /// The same, to a server with TLS whose certificate one of those in `ca_file` vouches for, and no public one.
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
            state: RwLock::default(),
            stirred: Notify::new(),
        }
    }

    /// The same, with requests that wait as long as this instead of 50 ms.
    #[must_use]
    pub const fn waiting(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// True while the server is believed to answer.
    pub fn is_up(&self) -> bool {
        matches!(self.standing(), Standing::Up)
    }

    /// True while there is no connection; not while it is merely in doubt.
    pub(crate) fn is_gone(&self) -> bool {
        matches!(self.standing(), Standing::Gone)
    }

    fn standing(&self) -> Standing {
        self.read(|state| match (&state.connection, state.doubted) {
            (None, _) => Standing::Gone,
            (Some(_), true) => Standing::Doubted,
            (Some(_), false) => Standing::Up,
        })
    }

    /// Runs a script, for a request: never connects, never waits longer than it may.
    /// When the server fails, it is left alone until it is well again.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, LinkError> {
        let believed = |state: &State| state.connection.clone().filter(|_| !state.doubted);
        let (connection, generation) = self.read(|state| (believed(state), state.generation));
        let connection = connection.ok_or(LinkError::Gone)?;
        let answer = ask(connection, script, self.patience).await;
        match &answer {
            Ok(_) => {}
            Err(LinkError::Slow) => self.doubt(generation),
            Err(error) if error.is_about_the_call() => self.note(error),
            Err(error) => self.lose(generation, error),
        }
        answer
    }

    /// Says that an answer was nonsense.
    pub(super) fn nonsense(&self) -> LinkError {
        self.note(&LinkError::Nonsense);
        LinkError::Nonsense
    }

    /// Connects, if the server is there and takes what is written.
    pub async fn join(&self) -> Result<(), LinkError> {
        let connection = match self.connect(&self.client).await {
            // Of a cluster, the node that has our keys.
            Err(LinkError::Failed(error)) if error.redirect_node().is_some() => {
                self.connect(&self.elsewhere(&error)?).await?
            }
            other => other?,
        };
        let mut state = self.write();
        state.connection = Some(connection);
        state.doubted = false;
        state.generation += 1;
        drop(state);
        tracing::info!("Redis is there: limits and sessions are shared");
        Ok(())
    }

    async fn connect(&self, client: &Client) -> Result<MultiplexedConnection, LinkError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(CONNECT));
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let connection = timeout(CONNECT, connecting)
            .await
            .map_err(|_| LinkError::Slow)??;
        self.probe(connection.clone()).await?;
        Ok(connection)
    }

    /// The node that `error` points to, asked as this one is.
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
                // A node that does not know its own name means the one that was asked.
                if !host.is_empty() {
                    host.clone_into(known);
                }
                *known_port = port;
            }
            _ => return Err(LinkError::Nonsense),
        }
        Ok(Client::open(info.set_addr(address))?)
    }

    /// Keeps the link alive; never returns. Calls `joined` whenever it has come back, and from what.
    pub async fn keep(&self, joined: impl AsyncFn(Absence)) {
        let (mut pause, mut since) = (PAUSE, Instant::now());
        let mut trusted: Option<Instant> = None;
        loop {
            match self.standing() {
                Standing::Up => tokio::select! {
                    () = sleep(PROBE) => self.look().await,
                    () = self.stirred.notified() => {}
                },
                Standing::Doubted => {
                    // What is told at each return may itself be what is slow.
                    if trusted.is_some_and(|last| last.elapsed() < PAUSE) {
                        sleep(PAUSE).await;
                    }
                    self.look().await;
                    trusted = Some(Instant::now());
                    if self.is_up() {
                        joined(Absence::Moment).await;
                    }
                }
                Standing::Gone => {
                    sleep(pause).await;
                    match self.join().await {
                        Ok(()) => {
                            let is_steady = since.elapsed() >= STEADY;
                            pause = if is_steady { PAUSE } else { LONGEST_PAUSE };
                            since = Instant::now();
                            joined(Absence::Outage).await;
                        }
                        Err(error) => tracing::debug!(%error, "Redis is still gone"),
                    }
                }
            }
        }
    }

    /// Asks how the server is, and believes it or lets go of it.
    async fn look(&self) {
        let (connection, generation) =
            self.read(|state| (state.connection.clone(), state.generation));
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
            match ask(connection.clone(), &script, self.patience.min(CONNECT)).await {
                // A server that is always slower than requests may wait for is of no use to them.
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
        let mut state = self.write();
        if state.generation == generation && !state.doubted {
            state.doubted = true;
            drop(state);
            self.stirred.notify_one();
            tracing::debug!("Redis is slow: requests do without it until it answers");
        }
    }

    /// The server is well; what it refused is told of.
    fn trust(&self, generation: u64) {
        let mut state = self.write();
        if state.generation == generation {
            state.doubts += u32::from(state.doubted);
            state.doubted = false;
        }
        let is_due = state.told.is_none_or(|told| told.elapsed() >= TOLD);
        let doubts = if is_due { take(&mut state.doubts) } else { 0 };
        if doubts > 0 {
            state.told = Some(Instant::now());
        }
        let refused = state.refused.take();
        drop(state);
        if doubts > 0 {
            tracing::warn!(
                times = doubts,
                "Redis took longer than redis.timeout: for that moment this replica went by what it knows itself (redis.on_failure). \
                 If the machine or the way is slow, raise redis.timeout"
            );
        }
        if let Some((times, cause)) = refused {
            tracing::warn!(
                times,
                cause,
                "Redis refused something: those requests went by what this replica knows itself. Do all replicas run one version, on a server of their own?"
            );
        }
    }

    fn note(&self, error: &LinkError) {
        let mut state = self.write();
        let refused = state.refused.get_or_insert_with(|| (0, chain(error)));
        refused.0 = refused.0.saturating_add(1);
    }

    /// Lets go of the connection that failed, unless that has happened already.
    fn lose(&self, generation: u64, error: &LinkError) {
        let mut state = self.write();
        if state.generation != generation || state.connection.take().is_none() {
            return;
        }
        drop(state);
        self.stirred.notify_one();
        let cause = chain(error);
        tracing::warn!(
            cause,
            "Redis is gone: this replica goes by what it knows itself (redis.on_failure)"
        );
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask<T: FromRedisValue>(
    mut connection: MultiplexedConnection,
    script: &ScriptInvocation<'_>,
    patience: Duration,
) -> Result<T, LinkError> {
    // EVALSHA; a server that has forgotten the script is given it again.
    let answer = timeout(patience, script.invoke_async(&mut connection)).await;
    Ok(answer.map_err(|_| LinkError::Slow)??)
}

/// A failure and what caused it, in one line.
fn chain(error: &LinkError) -> String {
    match error {
        LinkError::Failed(source) => format!("{error}: {source}"),
        other => other.to_string(),
    }
}
