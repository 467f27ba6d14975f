//! `serve`: runs the broker from its settings to its drain.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::{Given, UNREAD_DOT_ENV, cost, has_dot_env};
use crate::app::{App, Urgency, records, sharing};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Loaded, Mode};
use crate::telemetry::{self, Exporter};
use crate::web::listeners::Listeners;

/// Runs the broker against the real upstream.
pub(super) fn serve(given: &Given) -> anyhow::Result<ExitCode> {
    let loaded = match given.load(Mode::Serve) {
        Err(failure) if has_dot_env() => return Err(failure.context(UNREAD_DOT_ENV)),
        loaded => loaded?,
    };
    let traces = traces(&loaded.config)?;
    let _log = telemetry::start(&loaded.config.log, traces.as_ref())?;
    if has_dot_env() {
        tracing::warn!("{UNREAD_DOT_ENV}");
    }
    block_on(async {
        // First, because process 1 does not even notice a signal that it has no handler for.
        let urgency = signals(None)?;
        let (app, listeners) = open(&loaded).await?;
        for doubt in cost::findings(&loaded.config, SystemClock::new().now()) {
            if let Some(text) = doubt.doubt() {
                app.state().audit.warn_of_setting(text);
            }
        }
        announce(&loaded.config, &listeners)?;
        telemetry::beside(traces.as_ref(), app.run(listeners, urgency)).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Builds the broker, records the warnings about its settings, and opens its listeners.
pub(super) async fn open(loaded: &Loaded) -> anyhow::Result<(App, Listeners)> {
    let app = App::build(&loaded.config).await?;
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
        limits = sharing::limits_kind(config),
        records = records::kind(&config.ledger),
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

/// Listens for signals: SIGTERM drains, SIGINT finishes, and a second one of either ends at once. SIGHUP has the given
/// effect, or none: programs that rotate logs send it, and so does a terminal that is closed. SIGUSR1 has none.
pub(super) fn signals(on_hang_up: Option<Urgency>) -> anyhow::Result<watch::Receiver<Urgency>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut user = signal(SignalKind::user_defined1())?;
    let (tell, urgency) = watch::channel(Urgency::None);
    let listening = async move {
        loop {
            let asked = tokio::select! {
                _ = terminate.recv() => Some(Urgency::Drain),
                _ = interrupt.recv() => Some(Urgency::Finish),
                _ = hang_up.recv() => on_hang_up,
                _ = user.recv() => None,
            };
            let Some(asked) = asked else {
                tracing::warn!(
                    "signal ignored: settings are read at the start only; restart to apply changes"
                );
                continue;
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
