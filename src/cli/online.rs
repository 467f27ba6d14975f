//! `check --online`: asks the upstream, the issuers and the ledger, without changing anything in them.

use std::fs::{self, File};
use std::net::ToSocketAddrs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::check::State::{Broken, Fine, Warning};
use super::check::{Report, State};
use crate::app::records;
use crate::auth::Authenticator;
use crate::clock::Clock;
use crate::config::{AuthMode, Config, LedgerPlace};
use crate::records::OpenError;
use crate::telemetry;
use crate::upstream::openai::OpenAi;
use crate::upstream::{Complaint, Minter, Probe, UpstreamError};

/// Clocks further apart than this make expiry times misleading.
const MAX_SKEW: Duration = Duration::from_secs(5);

/// Asks all of them. `openai` is `None` when its settings cannot be used.
pub(super) async fn look(
    config: &Config,
    openai: Option<&OpenAi>,
    clock: Arc<dyn Clock>,
    report: &mut Report<'_>,
) {
    if let Some(openai) = openai {
        upstream(config, openai, &*clock, report).await;
    }
    issuers(config, clock.clone(), report).await;
    let (state, text) = ledger(config, clock).await;
    report.add("ledger", state, text);
}

/// Fetches every issuer's keys.
async fn issuers(config: &Config, clock: Arc<dyn Clock>, report: &mut Report<'_>) {
    const WHAT: &str = "identity";
    if config.auth.mode == AuthMode::Off {
        return report.add(
            WHAT,
            Fine,
            "nobody is asked for credentials (auth.mode is off)",
        );
    }
    let naming = records::naming(&config.ledger);
    let ca_file = config.upstream.ca_file.as_deref();
    let auth = match Authenticator::new(&config.auth, naming, clock, ca_file) {
        Ok(auth) => auth,
        Err(error) => return report.add(WHAT, Broken, telemetry::chain(&error)),
    };
    for (issuer, keys) in auth.check_issuers().await {
        let (state, text) = match &keys {
            Ok(0) => (
                Broken,
                "no key that its algorithms can be verified with".to_owned(),
            ),
            Ok(keys) => (Fine, format!("{keys} usable key(s)")),
            Err(error) => {
                let why = telemetry::chain(error);
                let text =
                    format!("the keys cannot be fetched: {why}. Check jwks_url and the network");
                (Broken, text)
            }
        };
        report.add(WHAT, state, format!("{issuer}: {text}"));
    }
}

/// Opens the ledger for reading.
async fn ledger(config: &Config, clock: Arc<dyn Clock>) -> (State, String) {
    let kind = records::kind(&config.ledger);
    if matches!(config.ledger.place, LedgerPlace::Memory) {
        return (Warning, "memory: it ends with the process".to_owned());
    }
    let error = match records::open_for_reading(&config.ledger, clock).await {
        Ok(ledger) => {
            ledger.close().await;
            return (
                Fine,
                format!("{kind}: it can be read, and has the right schema"),
            );
        }
        Err(error) => error,
    };
    match error.downcast_ref() {
        Some(OpenError::Missing(path)) => absent(path),
        Some(OpenError::Older { .. }) if kind == "sqlite" => {
            let text = "it has an older schema; the next start brings it up to date, after a copy";
            (Warning, text.to_owned())
        }
        _ => (Broken, format!("{error:#}")),
    }
}

/// Returns whether the first start can make the ledger's file.
fn absent(path: &Path) -> (State, String) {
    let shown = path.display();
    let probe = path.with_extension("check");
    match File::create_new(&probe).and_then(|_| fs::remove_file(&probe)) {
        Ok(()) => (
            Warning,
            format!("{shown} is not there yet; it is made at the first start"),
        ),
        Err(error) => {
            let why = error.kind();
            (
                Broken,
                format!("{shown} is not there, and cannot be made ({why}): see ledger.url"),
            )
        }
    }
}

/// Asks the upstream step by step, so that the first broken step is named.
async fn upstream(config: &Config, openai: &OpenAi, clock: &dyn Clock, report: &mut Report<'_>) {
    let url = &config.upstream.base_url;
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or_default();
    match (bare, port).to_socket_addrs().map(|mut found| found.next()) {
        Ok(Some(_)) => report.add("dns", Fine, format!("{host} has an address")),
        Ok(None) => return report.add("dns", Broken, format!("{host} has no address")),
        Err(error) => return report.add("dns", Broken, format!("{host} has no address: {error}")),
    }
    match openai.probe().await {
        Ok(probe) => {
            let (state, text) = key(&probe);
            report.add("upstream", state, text);
            let (state, text) = skew(&probe, clock);
            report.add("clock", state, text);
        }
        Err(error) => report.add("upstream", Broken, explain(&error)),
    }
}

fn key(probe: &Probe) -> (State, String) {
    let millis = probe.latency.as_millis();
    let Some(refusal) = &probe.refusal else {
        return (Fine, format!("answered in {millis} ms and takes the key"));
    };
    let text = refusal.cure().map_or_else(
        || format!(
            "answered in {millis} ms, but with 403 ({refusal}): the key may not list models, which is fine if it may mint; \
             or its region, network or project is not allowed, which is not"
        ),
        |cure| format!("answered in {millis} ms, but with {refusal}: {cure}"),
    );
    (Warning, text)
}

fn skew(probe: &Probe, clock: &dyn Clock) -> (State, String) {
    let Some(theirs) = probe.upstream_time else {
        return (
            Warning,
            "the upstream does not say what time it is".to_owned(),
        );
    };
    let ours = clock.now();
    let apart = ours.since(theirs).max(theirs.since(ours));
    let state = if apart > MAX_SKEW { Warning } else { Fine };
    (
        state,
        format!("within {} s of the upstream's", apart.as_secs() + 1),
    )
}

fn explain(error: &UpstreamError) -> String {
    let text = telemetry::chain(error);
    if let Some(cure) = error.complaint().and_then(Complaint::cure) {
        return format!("{text}: {cure}");
    }
    match error {
        UpstreamError::KeyRejected(_) => {
            format!("{text}. Check OPENAI_API_KEY, its project and its permissions")
        }
        UpstreamError::Unreachable(_) => {
            format!("{text}. Check OPENAI_BASE_URL, the network, and upstream.ca_file")
        }
        _ => text,
    }
}
