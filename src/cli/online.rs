//! Owns `check --online`: what the world around says, door by door, without changing anything in it.

use std::fs;
use std::net::ToSocketAddrs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::check::{Finding, State, finding};
use crate::app::records::{self, Use};
use crate::auth::Authenticator;
use crate::clock::{Clock, SystemClock};
use crate::config::{AuthMode, Config, LedgerPlace};
use crate::domain::SafetyKey;
use crate::records::OpenError;
use crate::telemetry;
use crate::upstream::openai::OpenAi;
use crate::upstream::{Complaint, Minter, Probe, UpstreamError};

/// Clocks further apart than this make expiry times misleading.
const MAX_SKEW: Duration = Duration::from_secs(5);

/// Looks at every door.
pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let mut findings = upstream(config).await;
    findings.extend(issuers(config).await);
    findings.push(ledger(config).await);
    findings
}

/// Fetches every issuer's keys.
async fn issuers(config: &Config) -> Vec<Finding> {
    if config.auth.mode == AuthMode::Off {
        let text = "nobody is asked for credentials (auth.mode is off)";
        return vec![finding("identity", State::Fine, text)];
    }
    let naming = records::naming(&config.ledger);
    let ca_file = config.upstream.ca_file.as_deref();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let auth = match Authenticator::new(&config.auth, naming, clock, ca_file) {
        Ok(auth) => auth,
        Err(error) => {
            return vec![finding(
                "identity",
                State::Broken,
                &telemetry::chain(&error),
            )];
        }
    };
    let said = auth.check_issuers().await;
    let lines = said.iter().map(|(issuer, keys)| match keys {
        Ok(0) => {
            let text = format!("{issuer} has no key that its algorithms can be verified with");
            finding("identity", State::Broken, &text)
        }
        Ok(keys) => finding(
            "identity",
            State::Fine,
            &format!("{issuer}: {keys} usable key(s)"),
        ),
        Err(error) => {
            let why = telemetry::chain(error);
            let text = format!(
                "{issuer}: its keys cannot be fetched: {why}. Check jwks_url and the network"
            );
            finding("identity", State::Broken, &text)
        }
    });
    lines.collect()
}

/// Opens the ledger for reading.
async fn ledger(config: &Config) -> Finding {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let kind = records::kind(&config.ledger);
    if matches!(config.ledger.place, LedgerPlace::Memory) {
        return finding("ledger", State::Warning, "memory: it ends with the process");
    }
    match records::open(&config.ledger, Use::Reading, clock).await {
        Ok(ledger) => {
            ledger.close().await;
            finding(
                "ledger",
                State::Fine,
                &format!("{kind}: it can be read, and has the right schema"),
            )
        }
        Err(error) => match error.downcast_ref::<OpenError>() {
            Some(OpenError::Missing(path)) => absent(path),
            Some(OpenError::Older { .. }) if kind == "sqlite" => {
                let text =
                    "it has an older schema; the next start brings it up to date, after a copy";
                finding("ledger", State::Warning, text)
            }
            _ => finding("ledger", State::Broken, &format!("{error:#}")),
        },
    }
}

/// Asks the upstream, step by step, so that the first thing that is broken is named.
async fn upstream(config: &Config) -> Vec<Finding> {
    let url = &config.upstream.base_url;
    let (host, port) = (
        url.host_str().unwrap_or_default(),
        url.port_or_known_default().unwrap_or_default(),
    );
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = (bare, port)
        .to_socket_addrs()
        .map(|mut addresses| addresses.next().is_some());
    if !found.as_ref().is_ok_and(|found| *found) {
        let why = found
            .err()
            .map_or_else(String::new, |error| format!(": {error}"));
        return vec![finding(
            "dns",
            State::Broken,
            &format!("{host} has no address{why}"),
        )];
    }
    let mut findings = vec![finding(
        "dns",
        State::Fine,
        &format!("{host} has an address"),
    )];
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    match OpenAi::new(&config.upstream, &SafetyKey::random(), Arc::clone(&clock)) {
        Err(error) => findings.push(finding("upstream", State::Broken, &error.to_string())),
        Ok(openai) => match openai.probe().await {
            Ok(probe) => {
                findings.push(key(&probe));
                findings.push(skew(&probe, clock.as_ref()));
            }
            Err(error) => findings.push(finding("upstream", State::Broken, &explain(&error))),
        },
    }
    findings
}

fn key(probe: &Probe) -> Finding {
    let millis = probe.latency.as_millis();
    let Some(refusal) = &probe.refusal else {
        return finding(
            "upstream",
            State::Fine,
            &format!("answered in {millis} ms and takes the key"),
        );
    };
    let text = refusal.cure().map_or_else(
        || format!(
            "answered in {millis} ms, but with 403 ({refusal}): the key may not list models, which is fine if it may mint; \
             or its region, network or project is not allowed, which is not"
        ),
        |cure| format!("answered in {millis} ms, but with {refusal}: {cure}"),
    );
    finding("upstream", State::Warning, &text)
}

fn skew(probe: &Probe, clock: &dyn Clock) -> Finding {
    let Some(theirs) = probe.upstream_time else {
        return finding(
            "clock",
            State::Warning,
            "the upstream does not say what time it is",
        );
    };
    let ours = clock.now();
    let apart = ours.since(theirs).max(theirs.since(ours));
    let text = format!("within {} s of the upstream's", apart.as_secs() + 1);
    finding(
        "clock",
        if apart > MAX_SKEW {
            State::Warning
        } else {
            State::Fine
        },
        &text,
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

/// A ledger that the first start is to make, if it can.
fn absent(path: &Path) -> Finding {
    let shown = path.display();
    let probe = path.with_extension("check");
    let made = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&probe);
    match made.and_then(|_| fs::remove_file(&probe)) {
        Ok(()) => {
            let text = format!("{shown} is not there yet; it is made at the first start");
            finding("ledger", State::Warning, &text)
        }
        Err(error) => {
            let why = error.kind();
            let text = format!("{shown} is not there, and cannot be made ({why}): see ledger.url");
            finding("ledger", State::Broken, &text)
        }
    }
}
