//! `check --online`: asks the upstream, the issuers, the ledger, Redis, the webhook and the collector of traces, without changing
//! anything in them.

use std::fs::{self, File};
use std::net::ToSocketAddrs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use url::Url;

use super::check::Verdict::{Broken, Fine, Warning};
use super::check::{Finding, Verdict};
use super::ledger::{self, Use};
use super::models;
use super::serve::traces;
use crate::app::sharing::try_redis;
use crate::auth::Authenticator;
use crate::clock::{Clock, SystemClock};
use crate::config::{AuthMode, Config, Upstream};
use crate::domain::{ConnectMode, KeyFingerprint, SafetyKey, UpstreamCall, UpstreamCallId};
use crate::records::OpenError;
use crate::telemetry::chain;
use crate::upstream::openai::OpenAi;
use crate::upstream::{Calls, Complaint, Minter, Probe, UpstreamError};
use crate::webhook::Webhook;

/// Clocks further apart than this make expiry times misleading.
const MAX_SKEW: Duration = Duration::from_secs(5);

/// Longest time to open a WebSocket.
const UPGRADE: Duration = Duration::from_secs(5);
/// Longest time to list the models.
const LISTING: Duration = Duration::from_secs(5);
/// The id of a call that nobody has.
const NO_CALL: &str = "rtc_check";

/// Looks whether a client for the upstream can be built, and if `is_online` asks everybody that the settings name.
pub(super) async fn look(config: &Config, is_online: bool) -> anyhow::Result<Vec<Finding>> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let mut told = Vec::new();
    let mut findings = match OpenAi::new(&config.upstream, &SafetyKey::random(), clock.clone()) {
        Err(error) => vec![Broken(chain(&error)).of("upstream")],
        Ok(openai) if is_online => {
            let findings = upstream(config, &openai, &*clock).await;
            // Without a list, the days that this version knows remain.
            let days = clock.timeout(LISTING, openai.shutdowns()).await;
            told = days.ok().and_then(Result::ok).unwrap_or_default();
            findings
        }
        Ok(_) => Vec::new(),
    };
    findings.extend(models::findings(config, clock.now(), &told));
    if is_online {
        let hook = webhook(config, clock.clone()).await;
        let collector = collector(config).await;
        let issuers = issuers(config, clock.clone()).await;
        findings.extend(issuers.into_iter().map(|verdict| verdict.of("identity")));
        findings.push(ledger(config, clock).await.of("ledger"));
        findings.extend(redis(config).await.map(|verdict| verdict.of("redis")));
        findings.extend(hook.map(|verdict| verdict.of("webhook")));
        findings.extend(collector.map(|verdict| verdict.of("traces")));
    }
    Ok(findings)
}

/// Asks the upstream step by step, so that the first broken step is named.
async fn upstream(config: &Config, openai: &OpenAi, clock: &dyn Clock) -> Vec<Finding> {
    let settings = &config.upstream;
    // The names of the others may be known to the proxy alone.
    let proxy = settings.proxy.as_ref().map(ExposeSecret::expose_secret);
    let proxy = proxy.and_then(|address| Url::parse(address).ok());
    let url = proxy.as_ref().unwrap_or(&settings.base_url);
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or_default();
    if let Err(error) = (bare, port).to_socket_addrs() {
        return vec![Broken(format!("{host} has no address: {error}")).of("dns")];
    }
    let dns = Fine(format!("{host} has an address")).of("dns");
    let mut findings = vec![dns];
    let mut answer = None;
    for (key, about) in live_keys(settings) {
        match openai.probe(&key).await {
            Ok(probe) => {
                let verdict = judge(&probe, settings.is_providers_own());
                findings.push(verdict.with(&about).of("upstream"));
                answer = Some(probe);
            }
            Err(error) => findings.push(Broken(about + &explain(&error)).of("upstream")),
        }
    }
    if let Some(probe) = answer {
        findings.push(skew(&probe, clock).of("clock"));
        findings.push(side_channel(config, openai, clock).await.of("calls"));
    }
    findings
}

/// Returns the keys that start something, each with the beginning of what is said of it: its alias, when there are several.
fn live_keys(settings: &Upstream) -> Vec<(KeyFingerprint, String)> {
    let mut keys = settings.keys();
    keys.retain(|key| !key.is_retired);
    let are_several = keys.len() > 1;
    let keys = keys.iter().map(|key| {
        let about = are_several.then(|| format!("key {}: ", key.alias));
        (key.fingerprint(), about.unwrap_or_default())
    });
    keys.collect()
}

/// Tries to join the side channel of a call that does not exist. A provider that does not know the call was reached by a
/// WebSocket, through the proxy if there is one.
async fn side_channel(config: &Config, openai: &OpenAi, clock: &dyn Clock) -> Verdict {
    let key = live_keys(&config.upstream).into_iter().next();
    let (Some(id), Some((key, _))) = (UpstreamCallId::parse(NO_CALL), key) else {
        return Warning("the side channels of calls were not tried".into());
    };
    let call = UpstreamCall { id, key };
    let joined = clock.timeout(UPGRADE, openai.join(&call)).await;
    let why = match joined.unwrap_or(Err(UpstreamError::TimedOut)) {
        Ok(_) | Err(UpstreamError::UnknownCall(_)) => {
            return Fine("side channels of calls can be joined".into());
        }
        Err(error) => chain(&error),
    };
    let text = format!(
        "side channels of calls cannot be joined: {why}. A proxy must let WebSockets through"
    );
    match config.connect.mode {
        ConnectMode::Direct => Warning(text),
        ConnectMode::Call | ConnectMode::Relay => Broken(text),
    }
}

/// Looks whether the server of the webhook is there.
async fn webhook(config: &Config, clock: Arc<dyn Clock>) -> Option<Verdict> {
    let webhook = Webhook::new(&config.alerts, &config.upstream.way(), clock);
    let webhook = match webhook {
        Ok(webhook) => webhook?,
        Err(error) => return Some(Broken(chain(&error))),
    };
    Some(match webhook.look().await {
        Ok(host) => Fine(format!("{host} answers; no message was sent")),
        Err(error) => Broken(format!("{}. Check alerts.webhook", chain(&error))),
    })
}

/// Looks whether the collector takes traces.
async fn collector(config: &Config) -> Option<Verdict> {
    let exporter = match traces(config) {
        Ok(exporter) => exporter?,
        Err(error) => return Some(Broken(format!("{error:#}"))),
    };
    let host = config.otel.endpoint.as_ref().and_then(Url::host_str);
    let host = host.unwrap_or_default();
    Some(match exporter.look().await {
        Ok(()) => Fine(format!("{host} takes traces; none was sent")),
        Err(error) => Broken(format!(
            "{host} takes no traces: {}. Check otel.endpoint and otel.headers",
            chain(&error)
        )),
    })
}

/// Judges a look at an API that is the provider's own, or at a gateway.
fn judge(probe: &Probe, is_providers_own: bool) -> Verdict {
    let millis = probe.latency.as_millis();
    let Some(refusal) = &probe.refusal else {
        return Fine(format!("answered in {millis} ms and takes the key"));
    };
    if refusal.lacks_permission() {
        return Fine(format!(
            "answered in {millis} ms and knows the key, which may not list models ({refusal}): minting does not need that"
        ));
    }
    if refusal.is_absence() {
        let text = format!(
            "answered in {millis} ms, but has no list of models ({refusal}), so the key was not tried"
        );
        return if is_providers_own {
            Broken(format!("{text}: correct OPENAI_BASE_URL"))
        } else {
            Warning(format!(
                "{text}: fine for a gateway that mints, else correct OPENAI_BASE_URL"
            ))
        };
    }
    let cure = refusal.cure().unwrap_or(
        "the key may not list models, which is fine if it may mint; or its region, network or project is not allowed, \
         which is not",
    );
    Warning(format!(
        "answered in {millis} ms, but with an error ({refusal}): {cure}"
    ))
}

fn skew(probe: &Probe, clock: &dyn Clock) -> Verdict {
    let Some(theirs) = probe.upstream_time else {
        return Warning("the upstream does not say what time it is".into());
    };
    let ours = clock.now();
    let apart = ours.since(theirs).max(theirs.since(ours));
    let text = format!("within {} s of the upstream's", apart.as_secs() + 1);
    if apart > MAX_SKEW {
        Warning(text)
    } else {
        Fine(text)
    }
}

fn explain(error: &UpstreamError) -> String {
    let text = chain(error);
    if let Some(cure) = error.complaint().and_then(Complaint::cure) {
        return format!("{text}: {cure}");
    }
    let settings = match error {
        UpstreamError::KeyRejected(_) => "OPENAI_API_KEY, its project and its permissions",
        UpstreamError::Unreachable(_) => {
            "OPENAI_BASE_URL, the network, upstream.proxy, and upstream.ca_file"
        }
        _ => return text,
    };
    format!("{text}. Check {settings}")
}

/// Fetches every issuer's keys.
async fn issuers(config: &Config, clock: Arc<dyn Clock>) -> Vec<Verdict> {
    if config.auth.mode == AuthMode::Off {
        return vec![Fine(
            "nobody is asked for credentials (auth.mode is off)".into(),
        )];
    }
    let naming = config.ledger.naming();
    let way = config.upstream.way();
    let auth = match Authenticator::new(&config.auth, naming, clock, &way) {
        Ok(auth) => auth,
        Err(error) => return vec![Broken(chain(&error))],
    };
    let found = auth.check_issuers().await.into_iter();
    let verdict = |(issuer, keys)| match keys {
        Ok(0) => Broken(format!(
            "{issuer} has no key that its algorithms can be verified with"
        )),
        Ok(keys) => Fine(format!("{issuer}: {keys} usable key(s)")),
        Err(error) => {
            let why = chain(&error) + ". Check jwks_url and the network";
            Broken(format!("{issuer}: its keys cannot be fetched: {why}"))
        }
    };
    found.map(verdict).collect()
}

/// Tries Redis as `serve` does, which would start without it and only report degraded limits.
async fn redis(config: &Config) -> Option<Verdict> {
    Some(match try_redis(config).await? {
        Ok(()) => Fine("limits can be shared there".into()),
        Err(error) => Broken(format!(
            "limits cannot be shared there: {error:#}. Check redis.url, its password and its rights"
        )),
    })
}

/// Opens the ledger for reading.
async fn ledger(config: &Config, clock: Arc<dyn Clock>) -> Verdict {
    let kind = ledger::kind(&config.ledger);
    if kind == "memory" {
        return Warning("memory: it ends with the process".into());
    }
    let error = match ledger::open(&config.ledger, Use::Reading, clock).await {
        Ok(ledger) => {
            ledger.close().await;
            return Fine(format!("{kind}: it can be read, and has the right schema"));
        }
        Err(error) => error,
    };
    match error.downcast_ref() {
        Some(OpenError::Missing(path)) => absent(path),
        Some(OpenError::Older { .. }) if kind == "sqlite" => {
            let text = "it has an older schema; the next start brings it up to date, after a copy";
            Warning(text.into())
        }
        _ => Broken(format!("{error:#}")),
    }
}

/// Judges a ledger's file that the first start is to make.
fn absent(path: &Path) -> Verdict {
    let probe = path.with_extension("check");
    let made = File::create_new(&probe).and_then(|_| fs::remove_file(&probe));
    let shown = path.display();
    match made.map_err(|error| error.kind()) {
        Ok(()) => Warning(format!(
            "{shown} is not there yet; it is made at the first start"
        )),
        Err(why) => Broken(format!(
            "{shown} is not there, and cannot be made ({why}): see ledger.url"
        )),
    }
}
