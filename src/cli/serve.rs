//! `serve`: runs the broker from its settings to its drain.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use super::check::Finding;
use super::ledger::{self, Use};
use super::reload::Reload;
use super::{Given, UNREAD_DOT_ENV, cost, has_dot_env};
use crate::app::{App, Urgency};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Loaded, Mode};
use crate::records::Records;
use crate::telemetry::{self, Exporter};
use crate::web::listeners::Listeners;

/// Runs the broker against the real upstream.
pub(super) fn serve(given: &Given) -> anyhow::Result<ExitCode> {
    let (loaded, sources) = match given.read(Mode::Serve) {
        Err(failure) if has_dot_env() => return Err(failure.context(UNREAD_DOT_ENV)),
        read => read?,
    };
    let traces = traces(&loaded.config)?;
    let _log = telemetry::start(&loaded.config.log, traces.as_ref())?;
    if has_dot_env() {
        tracing::warn!("{UNREAD_DOT_ENV}");
    }
    block_on(async {
        // First, because process 1 does not even notice a signal that it has no handler for.
        let reload = Arc::new(Notify::new());
        let urgency = signals(Some(Arc::clone(&reload)))?;
        let clock = Arc::new(SystemClock::new());
        let known: Arc<dyn Clock> = Arc::<SystemClock>::clone(&clock);
        let records = ledger::open(&loaded.config.ledger, Use::Serving, known).await?;
        let (app, listeners) = open(&loaded, records, clock).await?;
        for doubt in doubts(&loaded.config) {
            app.state().audit.warn_of_setting(&doubt);
        }
        announce(&loaded.config, &listeners)?;
        let reloading = Reload::new(given, (&app, traces.as_ref()), (loaded, sources));
        tokio::select! {
            () = telemetry::beside(traces.as_ref(), app.run(listeners, urgency)) => {}
            () = reloading.run(&reload) => {}
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// Returns the doubts about prices and limits in money, a sentence each.
pub(super) fn doubts(config: &Config) -> Vec<String> {
    let findings = cost::findings(config, SystemClock::new().now());
    let doubts = findings.iter().filter_map(Finding::doubt);
    doubts.map(str::to_owned).collect()
}

/// Builds the broker over `records`, writes the warnings about its settings to the audit log, and opens its listeners.
pub(super) async fn open(
    loaded: &Loaded,
    records: Arc<dyn Records>,
    clock: Arc<dyn Clock>,
) -> anyhow::Result<(App, Listeners)> {
    let app = App::build(&loaded.config, records, clock).await?;
    for warning in &loaded.warnings {
        app.state().audit.warn_of_setting(warning);
    }
    let config = &loaded.config;
    let ops = config.ops.token.as_ref().map(|_| config.ops.listen);
    Ok((app, Listeners::open(config.server.listen, ops)?))
}

/// Returns the way of traces to their collector, if there is one.
pub(super) fn traces(config: &Config) -> anyhow::Result<Option<Exporter>> {
    let clock = Arc::new(SystemClock::new());
    Ok(Exporter::new(&config.otel, &config.upstream.way(), clock)?)
}

/// Runs `work` to its end. Does not wait for what `work` leaves behind, like the look-up of a name.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Runtime::new().context("the runtime cannot be started")?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    outcome
}

/// Logs what runs, where, and which proxies and origins it trusts.
fn announce(config: &Config, listeners: &Listeners) -> anyhow::Result<()> {
    let proxies = listed(&config.server.trusted_proxies);
    let operators = match &listeners.ops {
        Some(ops) => format!("http://{}", ops.local_addr()?),
        None => "no listener (ops.token is not set)".to_owned(),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %format_args!("http://{}{}", listeners.public.local_addr()?, config.server.base_path),
        upstream = %config.upstream.base_url,
        trusted_proxies = %if proxies.is_empty() { "none" } else { &proxies },
        allowed_origins = %listed(config.cors.allowed_origins.listed()),
        limits = config.redis.url.as_ref().map_or("memory", |_| "redis"),
        records = ledger::kind(&config.ledger),
        identity = config.auth.mode.as_str(),
        operators = %operators,
        "ready"
    );
    Ok(())
}

fn listed(items: impl IntoIterator<Item = impl ToString>) -> String {
    let items: Vec<_> = items.into_iter().map(|item| item.to_string()).collect();
    items.join(",")
}

/// Listens for signals: SIGTERM drains, SIGINT finishes, and a second one of either ends at once. SIGHUP tells `reload`; where
/// nothing can be read again, it finishes, because a terminal that is closed sends it. SIGUSR1 has no effect: programs that
/// rotate logs send it.
pub(super) fn signals(reload: Option<Arc<Notify>>) -> anyhow::Result<watch::Receiver<Urgency>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut user = signal(SignalKind::user_defined1())?;
    let (tell, urgency) = watch::channel(Urgency::None);
    let listening = async move {
        loop {
            let asked = tokio::select! {
                _ = terminate.recv() => Urgency::Drain,
                _ = interrupt.recv() => Urgency::Finish,
                _ = hang_up.recv() => match &reload {
                    Some(reload) => {
                        reload.notify_one();
                        continue;
                    }
                    None => Urgency::Finish,
                },
                _ = user.recv() => {
                    tracing::warn!("signal ignored: SIGHUP reads the settings again, SIGTERM ends the broker");
                    continue;
                }
            };
            let is_first = *tell.borrow() == Urgency::None;
            tell.send_replace(if is_first { asked } else { Urgency::Now });
        }
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the process; there is nothing to wait for"
    )]
    tokio::spawn(listening);
    Ok(urgency)
}
