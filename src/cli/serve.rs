//! Owns one run of the broker: settings, log, build, listen, serve, drain.

use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use super::{SettingsFlags, UNREAD_DOT_ENV, has_dot_env, load, local_url};
use crate::app::{App, Listeners, Urgency, records, sharing};
use crate::audit::Event;
use crate::config::{Config, Loaded, Mode};
use crate::telemetry;

/// Runs the broker against the real upstream.
pub(super) fn serve(
    flags: &SettingsFlags,
    environment: Vec<(String, String)>,
) -> anyhow::Result<ExitCode> {
    let loaded = load(Mode::Serve, flags, environment);
    let Loaded {
        config, warnings, ..
    } = match loaded {
        Err(failure) if has_dot_env() => return Err(failure.context(UNREAD_DOT_ENV)),
        loaded => loaded?,
    };
    let _log = telemetry::start(&config.log)?;
    if has_dot_env() {
        tracing::warn!("{UNREAD_DOT_ENV}");
    }
    block_on(async {
        // First of all: a signal that comes while we start is one to end orderly, and process 1 would not even notice it.
        let urgency = signals()?;
        let app = App::build(&config).await?;
        for warning in warnings {
            app.state()
                .audit
                .note(Event::ConfigWarning, json!({ "warning": warning }));
        }
        let listeners = Listeners::open(&config)?;
        announce(&config, &listeners)?;
        app.run(listeners, urgency).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Runs `work` to its end. What it leaves behind (a look-up of a name, say) is not waited for.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("the runtime cannot be started")?;
    let outcome = runtime.block_on(work);
    runtime.shutdown_background();
    outcome
}

/// The first lines of the log: what runs, where, and whom it believes.
fn announce(config: &Config, listeners: &Listeners) -> anyhow::Result<()> {
    let proxies: Vec<_> = config
        .server
        .trusted_proxies
        .iter()
        .map(ToString::to_string)
        .collect();
    let origins: Vec<_> = config
        .cors
        .allowed_origins
        .listed()
        .map(ToString::to_string)
        .collect();
    let operators = match &listeners.ops {
        Some(ops) => local_url(ops.local_addr()?, ""),
        None => "no listener (ops.token is not set)".to_owned(),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        listen = %local_url(listeners.public.local_addr()?, &config.server.base_path),
        upstream = %config.upstream.base_url,
        trusted_proxies = %if proxies.is_empty() { "none".to_owned() } else { proxies.join(",") },
        allowed_origins = %origins.join(","),
        limits = sharing::limits_kind(config),
        records = records::kind(&config.ledger),
        identity = config.auth.mode.as_str(),
        operators = %operators,
        "ready"
    );
    Ok(())
}

/// SIGTERM drains, SIGINT finishes, and a second one of either ends at once.
pub(super) fn signals() -> anyhow::Result<watch::Receiver<Urgency>> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let (tell, urgency) = watch::channel(Urgency::None);
    let next = async |terminate: &mut Signal, interrupt: &mut Signal| {
        tokio::select! {
            _ = terminate.recv() => Urgency::Drain,
            _ = interrupt.recv() => Urgency::Finish,
        }
    };
    let listening = async move {
        tell.send_replace(next(&mut terminate, &mut interrupt).await);
        next(&mut terminate, &mut interrupt).await;
        tell.send_replace(Urgency::Now);
        tell.closed().await;
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "it ends with the process; there is nothing to wait for"
    )]
    tokio::spawn(listening);
    Ok(urgency)
}
