//! Who callers are: credentials good and forged, issuers well and ill.

mod again;
mod before_signature;
mod entries;
mod forged;
mod forged_form;
mod forged_words;
mod jwks;
mod keys;
mod libraries;
mod lookup;
mod outage;
mod profiles;
mod providers;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use token_broker::auth::{AuthError, Authenticator, Credential};
use token_broker::clock::{Clock, ManualClock, Timestamp};
use token_broker::config::{Algorithm, Auth, AuthMode, Issuer, KeySource};
use token_broker::domain::{Identity, Naming};
use token_broker::http_client::Way;

use self::keys::Signer;
use crate::kit::host::Host;

/// What time it is when a test begins.
pub const NOW: u64 = 1_800_000_000;
/// An issuer.
pub const ID: &str = "https://id.example.com/";

/// An authenticator whose clock is turned by hand.
pub struct Door {
    pub clock: Arc<ManualClock>,
    pub authenticator: Authenticator,
}

impl Door {
    pub fn to(issuers: Vec<Issuer>) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(NOW)));
        let settings = auth(issuers);
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let authenticator =
            Authenticator::new(&settings, Naming::Plain, shared, &Way::default()).unwrap();
        Self {
            clock,
            authenticator,
        }
    }

    /// Before an issuer that publishes one key.
    pub async fn with_a_key() -> (Signer, Host, Self) {
        let key = Signer::es256("key");
        let host = Host::publishing(&[key.jwk()]).await;
        let door = Self::to(vec![publisher(&host, &[Algorithm::ES256])]);
        (key, host, door)
    }

    /// What becomes of a request with `token`.
    pub async fn shows(&self, token: &str) -> Result<Arc<Identity>, AuthError> {
        let credential = Credential::parse(format!("Bearer {token}").as_bytes())?;
        self.verifies(&credential).await
    }

    /// What becomes of a request with a token that was read already.
    pub async fn verifies(&self, credential: &Credential) -> Result<Arc<Identity>, AuthError> {
        let screened = self.authenticator.screen(credential)?;
        self.authenticator.verify(screened).await
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

pub fn auth(issuers: Vec<Issuer>) -> Auth {
    Auth {
        mode: AuthMode::Required,
        issuers,
        service_keys: Vec::new(),
        allow_plain_http: Vec::new(),
        default_role: Some("student".into()),
        known_roles: ["teacher", "student"].map(Into::into).into(),
    }
}

/// The issuer of [`ID`], with these keys.
pub fn issuer(keys: KeySource, algorithms: &[Algorithm]) -> Issuer {
    Issuer {
        audience: vec!["broker".into()],
        role_pointer: Some("/app_metadata/role".into()),
        name_pointer: Some("/user_metadata/full_name".into()),
        ..Issuer::new(ID, keys, algorithms.to_vec())
    }
}

/// The same, with its keys published at `host`.
pub fn publisher(host: &Host, algorithms: &[Algorithm]) -> Issuer {
    let url = host.url("/keys.json").parse().unwrap();
    issuer(KeySource::Jwks(url), algorithms)
}

/// Claims that are good for an hour, with these changes; `null` removes.
pub fn claims(changes: &Value) -> Value {
    let mut claims = json!({
        "iss": ID,
        "aud": "broker",
        "sub": "ana",
        "exp": NOW + 3600,
        "iat": NOW,
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        }
    }
    claims
}

/// The kind of an error.
pub fn called<T>(outcome: &Result<T, AuthError>) -> &'static str {
    match outcome {
        Ok(_) => "good",
        Err(AuthError::Forged(_)) => "forged",
        Err(AuthError::Rejected(_)) => "rejected",
        Err(AuthError::Unavailable { .. }) => "unavailable",
    }
}
