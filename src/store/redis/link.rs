//! Owns the connection to the Redis server: made and made again off the path of requests, asked with a deadline.

use std::path::Path;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, FromRedisValue, RedisError, Script, ScriptInvocation,
    TlsCertificates,
};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::PREFIX;
use crate::tls::{self, TlsError};

/// Longest time a request waits for an answer, where nobody says otherwise (`redis.timeout` does).
const ANSWER: Duration = Duration::from_millis(50);
/// Longest time to connect. Nobody waits for it.
const CONNECT: Duration = Duration::from_secs(1);
/// How long the server is left alone after it was lost, and after it could not be reached.
const PAUSE: Duration = Duration::from_secs(1);
/// How often it is asked how it is while all is well.
const PROBE: Duration = Duration::from_secs(2);
/// Writes, because a server that only reads is of no use.
const PROBE_SCRIPT: &str = "return redis.call('SET', KEYS[1], '1', 'PX', 60000)";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// There is no connection.
    #[error("there is no connection to Redis")]
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
    /// The certificates that are to vouch for it cannot be used.
    #[error(transparent)]
    Roots(#[from] TlsError),
}

/// A connection that comes and goes.
pub struct Link {
    client: Client,
    probe: Script,
    patience: Duration,
    state: RwLock<State>,
    lost: Notify,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that a failure of one says nothing of the next.
    generation: u64,
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
            probe: Script::new(PROBE_SCRIPT),
            patience: ANSWER,
            state: RwLock::default(),
            lost: Notify::new(),
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
        self.read(|state| state.connection.is_some())
    }

    /// Runs a script, for a request: never connects, never waits longer than it may. Whatever goes wrong, the server is
    /// left alone until it is well again.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, LinkError> {
        let (connection, generation) =
            self.read(|state| (state.connection.clone(), state.generation));
        let connection = connection.ok_or(LinkError::Gone)?;
        let answer = ask(connection, script, self.patience).await;
        if let Err(error) = &answer {
            self.lose(generation, error);
        }
        answer
    }

    /// Connects, if the server is there and takes what is written.
    pub async fn join(&self) -> Result<(), LinkError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(CONNECT));
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let connection = timeout(CONNECT, connecting)
            .await
            .map_err(|_| LinkError::Slow)??;
        self.probe(connection.clone()).await?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.connection = Some(connection);
        state.generation += 1;
        drop(state);
        tracing::info!("Redis is there: limits and sessions are shared");
        Ok(())
    }

    /// Keeps the link alive; never returns. Calls `joined` whenever it has come back.
    pub async fn keep(&self, joined: impl AsyncFn()) {
        loop {
            if self.is_up() {
                tokio::select! {
                    () = sleep(PROBE) => self.look().await,
                    () = self.lost.notified() => {}
                }
            } else {
                sleep(PAUSE).await;
                match self.join().await {
                    Ok(()) => joined().await,
                    Err(error) => tracing::debug!(%error, "Redis is still gone"),
                }
            }
        }
    }

    async fn look(&self) {
        let (connection, generation) =
            self.read(|state| (state.connection.clone(), state.generation));
        if let Some(connection) = connection
            && let Err(error) = self.probe(connection).await
        {
            self.lose(generation, &error);
        }
    }

    async fn probe(&self, connection: MultiplexedConnection) -> Result<(), LinkError> {
        let mut script = self.probe.prepare_invoke();
        script.key(format!("{PREFIX}probe"));
        ask(connection, &script, CONNECT).await
    }

    /// Lets go of the connection that failed, unless that has happened already.
    fn lose(&self, generation: u64, error: &LinkError) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.generation != generation || state.connection.take().is_none() {
            return;
        }
        drop(state);
        self.lost.notify_one();
        let cause = chain(error);
        tracing::warn!(
            cause,
            "Redis is gone: this replica goes by what it knows itself (redis.on_failure)"
        );
    }

    fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
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
