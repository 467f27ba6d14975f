//! The composition root: chooses between kinds of windows, connects the rooms, and runs the service until it is told to end.

pub mod sharing;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::audit::{self, Audit, Sink};
use crate::auth::Authenticator;
use crate::broker::{Agreement, Broker, Parts, Recount, Rules};
use crate::clock::{Clock, millis};
use crate::config::{AuthMode, Config, LedgerPlace};
use crate::domain::Naming;
use crate::http_client::ClientError;
use crate::metrics::Vitals;
use crate::records::Records;
use crate::upstream::openai::OpenAi;
use crate::upstream::{Calls, Minter, Upstream};
use crate::web;
use crate::web::layers::Onion;
use crate::web::listener::{Ending, Listener};
use crate::web::listeners::Listeners;
use crate::web::ops::{self, OpsState};
use crate::web::state::{AppState, Face};
use crate::webhook::Webhook;
use sharing::Keeping;
use upkeep::{Alarm, Upkeep};

/// Longest time to give the calls of this replica to others when its work is cut off.
const LETTING_GO: Duration = Duration::from_secs(1);

/// How urgently the service is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Not at all.
    None,
    /// Let load balancers notice, let work end.
    Drain,
    /// Let work end.
    Finish,
    /// At once.
    Now,
}

/// The whole service, ready to run.
pub struct App {
    state: AppState,
    upkeep: Upkeep,
    ops: Option<OpsState>,
    /// How identities are named in records for the whole run.
    naming: Naming,
}

/// The neighbours of the service.
pub struct World {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The source of client secrets.
    pub minter: Arc<dyn Minter>,
    /// The provider's calls.
    pub calls: Arc<dyn Calls>,
    /// The record of use and of sessions.
    pub records: Arc<dyn Records>,
    /// The sink of audit lines.
    pub audit: Sink,
}

impl App {
    /// Returns the service that `config` describes, over open records, with the real upstream.
    pub async fn build(
        config: &Config,
        records: Arc<dyn Records>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let help = "the database of the records cannot be read at the start (see ledger.url)";
        let safety_key = records.safety_key().await.context(help)?;
        let openai = OpenAi::new(&config.upstream, &safety_key, Arc::clone(&clock))?;
        let openai = Arc::new(openai);
        let world = World {
            clock,
            minter: Arc::<OpenAi>::clone(&openai),
            calls: openai,
            records,
            audit: Box::new(audit::log),
        };
        let app = Self::assemble(config, world)?;
        // The entries that dev mode makes up count in no limit.
        if !config.demo.has_past {
            app.remember().await?;
        }
        app.join().await;
        // The calls of an earlier run go on at once, unless another replica may watch them.
        app.state.broker.tend_calls().await;
        Ok(app)
    }

    /// Returns the service that `config` describes, with the neighbours in `world`.
    pub fn assemble(config: &Config, world: World) -> anyhow::Result<Self> {
        let (clock, records) = (world.clock, world.records);
        let vitals = Arc::new(Vitals::new(Arc::clone(&clock)));
        let audit = Audit::new(world.audit, config.log.identity, Arc::clone(&vitals));
        let audit = Arc::new(audit);
        let keeping = Keeping::choose(config, &clock)?;
        let naming = config.ledger.naming();
        let way = config.upstream.way();
        let auth = Authenticator::new(&config.auth, naming.clone(), Arc::clone(&clock), &way)?;
        let auth = Arc::new(auth);
        let asks = config.auth.mode != AuthMode::Off;
        let (minter, calls) = (world.minter, world.calls);
        let upstream = Upstream::new(minter, calls, &config.upstream, Arc::clone(&vitals));
        let parts = Parts {
            upstream: Arc::new(upstream),
            gate: keeping.gate.clone(),
            auth: asks.then(|| Arc::clone(&auth)),
            records: Arc::clone(&records),
            audit: Arc::clone(&audit),
            vitals: Arc::clone(&vitals),
            clock: Arc::clone(&clock),
        };
        let face = Face::of(config, vitals, Arc::clone(&clock));
        let broker = Broker::new(parts, rules(config), agreement(config, &naming));
        let state = AppState {
            broker,
            gate: keeping.gate,
            auth,
            audit,
            face: Arc::new(face),
        };
        let alarm = alarm(config, &clock)?;
        let recount = Recount {
            local: keeping.local,
            shared: keeping.shared,
            shares: shares(config),
            records: Arc::clone(&records),
            clock,
        };
        let upkeep = Upkeep {
            alerts: RwLock::new(alarm),
            recount,
            retention: config.ledger.retention,
            probe_interval: config.upstream.probe_interval,
        };
        let (token, hosts) = (config.ops.token.as_ref(), config.ops.hosts.as_slice());
        let ops = token.map(|token| {
            let named = (naming.clone(), records);
            OpsState::new(&state, named, (token, hosts))
        });
        Ok(Self {
            state,
            upkeep,
            ops,
            naming,
        })
    }

    /// Counts the recorded use of the last day in the windows, so that a restart gives nobody a new allowance.
    pub async fn remember(&self) -> anyhow::Result<()> {
        let remembered = self.upkeep.recount.remember().await;
        remembered.context("the ledger cannot be read at the start (see ledger.url)")
    }

    /// Connects to Redis, if replicas share a server and the server can be reached.
    pub async fn join(&self) {
        self.upkeep.recount.join().await;
    }

    /// Takes over what may change while the service runs: personas, quotas, budgets, prices, alerts, issuers and keys. An error
    /// has changed nothing.
    pub fn adopt(&self, config: &Config) -> anyhow::Result<()> {
        self.adopt_secrets(config)?;
        self.state.broker.adopt(agreement(config, &self.naming));
        Ok(())
    }

    /// Takes over API keys, the keys of issuers and programs, the secrets of webhooks, the operators' token and where alerts are
    /// sent. An error has changed nothing. A token that is gone or new needs a restart, because the listener does.
    pub fn adopt_secrets(&self, config: &Config) -> anyhow::Result<()> {
        let trusting = self.state.auth.prepare(&config.auth)?;
        let alarm = alarm(config, &self.upkeep.recount.clock)?;
        self.state.broker.load_keys(&config.upstream)?;
        self.state.auth.adopt(trusting);
        let webhook_keys = config.live.webhook_secret.clone();
        self.state.broker.adopt_webhook_keys(webhook_keys);
        *self.upkeep.alerts.write() = alarm;
        if let Some((ops, token)) = self.ops.as_ref().zip(config.ops.token.as_ref()) {
            ops.adopt(token);
        }
        Ok(())
    }

    /// Returns the public paths with their layers.
    pub fn onion(&self) -> Onion {
        web::onion(&self.state)
    }

    /// Returns the paths for operators with their layers; `None` without a token.
    pub fn ops_onion(&self) -> Option<Onion> {
        self.ops.as_ref().map(ops::onion)
    }

    /// True when there are paths for operators.
    pub const fn has_ops(&self) -> bool {
        self.ops.is_some()
    }

    /// Returns the state that requests share.
    pub const fn state(&self) -> &AppState {
        &self.state
    }

    /// Serves connections from `listeners` until `urgency` rises. Then ends with that urgency.
    pub async fn run(&self, listeners: Listeners, urgency: watch::Receiver<Urgency>) {
        let ending = Ending::default();
        let Listeners { public, ops } = listeners;
        let server = &self.state.face.server;
        let listener = Listener::new(self.onion(), server, ending.clone());
        let operators = self
            .ops_onion()
            .zip(ops)
            .map(|(onion, tcp)| (Listener::new(onion, server, ending.clone()), tcp));
        let serve_operators = async {
            if let Some((listener, tcp)) = operators {
                listener.serve(tcp).await;
            }
        };
        let all_work = async {
            tokio::join!(listener.serve(public), serve_operators);
            self.state.broker.finish().await;
            self.upkeep.recount.records.close().await;
        };
        tokio::select! {
            () = all_work => tracing::info!("all work has ended"),
            () = self.end(urgency, ending) => self.let_calls_go().await,
            () = Box::pin(self.upkeep.run(&self.state)) => {}
        }
        self.state.sum_up(true);
        let done = self.state.face.vitals.read();
        tracing::info!(
            requests = done.requests,
            refreshes = done.refreshes,
            uptime_s = done.uptime.as_secs(),
            "stopped"
        );
    }

    /// Gives the calls to another replica although some work has not ended.
    async fn let_calls_go(&self) {
        let gone = self.state.broker.let_calls_go();
        // Without the records, the lease runs out by itself.
        let _ = self.upkeep.recount.clock.timeout(LETTING_GO, gone).await;
    }

    /// Waits for the end to be requested, and conducts it. Returns when the time for work to end is over.
    async fn end(&self, mut urgency: watch::Receiver<Urgency>, ending: Ending) {
        let clock = &self.upkeep.recount.clock;
        let mut told = heard(&mut urgency, Urgency::Drain).await;
        self.state.broker.drain();
        ending.part.cancel();
        if told == Urgency::Drain {
            let wait = self.state.face.server.drain_delay;
            tracing::info!(
                wait_ms = millis(wait),
                "draining: /readyz answers 503, requests are still served"
            );
            // The delay may be cut short.
            let sooner = clock.timeout(wait, heard(&mut urgency, Urgency::Finish));
            told = sooner.await.unwrap_or(told);
        }
        ending.close.cancel();
        if told < Urgency::Now {
            tracing::info!("new connections are refused; waiting for running work to end");
            let wait = self.state.face.server.drain_timeout;
            let now = clock.timeout(wait, heard(&mut urgency, Urgency::Now));
            if now.await.is_err() {
                tracing::warn!("some work did not end in time and was aborted");
            }
        }
    }
}

/// Waits until the urgency is at least `least`. Never returns after the sender is gone.
async fn heard(urgency: &mut watch::Receiver<Urgency>, least: Urgency) -> Urgency {
    let told = urgency.wait_for(|now| *now >= least).await.map(|now| *now);
    match told {
        Ok(told) => told,
        Err(_) => std::future::pending().await,
    }
}

/// Returns when and how alerts are sent, if they are.
fn alarm(config: &Config, clock: &Arc<dyn Clock>) -> Result<Option<Alarm>, ClientError> {
    let webhook = Webhook::new(&config.alerts, &config.upstream.way(), Arc::clone(clock))?;
    Ok(webhook.map(|webhook| (config.alerts.clone(), Arc::new(webhook))))
}

/// Returns the rules of `config` that hold for a whole run.
fn rules(config: &Config) -> Rules {
    Rules {
        session: config.session.clone(),
        connect: config.connect.mode,
        call: config.call.clone(),
        live: config.live.clone(),
        transcription: config.transcription.clone(),
        relay: config.relay.clone(),
        drain_time: config.server.drain_delay + config.server.drain_timeout,
    }
}

/// Returns what callers may choose, use and spend by `config`.
fn agreement(config: &Config, naming: &Naming) -> Agreement {
    Agreement {
        personas: Arc::clone(&config.personas),
        quotas: config.quota.under_names(naming),
        money: config.money.clone(),
        webhook_keys: config.live.webhook_secret.clone(),
    }
}

/// Returns the number of replicas that write into one ledger.
fn shares(config: &Config) -> usize {
    let is_shared = matches!(config.ledger.place, LedgerPlace::Postgres(_));
    let replicas = config.redis.url.as_ref().filter(|_| is_shared);
    replicas.map_or(1, |_| config.redis.replicas.get() as usize)
}
