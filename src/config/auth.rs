//! `[auth]`: which issuers are trusted, and whether callers must send a token.

use std::sync::Arc;

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::settings::Settings;
use super::{Mode, ServiceKey, issuers, presets, service_keys};
use crate::domain::written::{list, optional_word};
use crate::domain::{Algorithm, OriginPattern, Origins, own_host};

const MODE: &str = "auth.mode";

/// The issuers of callers' tokens.
#[derive(Clone, Debug, Deserialize)]
pub struct Auth {
    /// Whether callers must send a token.
    pub mode: AuthMode,
    /// Trusted issuers. An issuer with several kinds of key has several entries.
    #[serde(skip)]
    pub issuers: Vec<Issuer>,
    /// The keys of the operator's own programs.
    #[serde(skip)]
    pub service_keys: Vec<ServiceKey>,
    /// Hosts of one's own network that issuers' keys and look-ups may be fetched from over plain http.
    #[serde(deserialize_with = "own_hosts")]
    pub allow_plain_http: Vec<String>,
    /// Role of identities whose token names none.
    #[serde(deserialize_with = "optional_word")]
    pub default_role: Option<Box<str>>,
    /// Roles that a persona or a quota names, the personas' first, in the order of their file.
    #[serde(skip)]
    pub known_roles: Vec<Box<str>>,
}

/// Whether callers must send a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Tokens are ignored.
    Off,
    /// A caller without a token is anonymous. A token must be valid.
    Optional,
    /// Every caller must send a valid token.
    Required,
}

impl AuthMode {
    /// Returns the name that the settings use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

/// An issuer of JSON Web Tokens (RFC 7519), with one kind of key.
#[derive(Clone, Debug, Default)]
pub struct Issuer {
    /// Exact value of `iss`.
    pub issuer: Arc<str>,
    /// Values of which `aud` must name one. Empty only with `authorized_parties` or a required
    /// `/client_id`.
    pub audience: Vec<String>,
    /// Values of which `azp` must be one, unless empty. For Clerk, the origins of our pages.
    pub authorized_parties: Vec<String>,
    /// The authorized parties that are patterns of origins.
    pub party_patterns: Vec<OriginPattern>,
    /// True accepts tokens without `azp`, as Clerk issues them to native apps.
    pub azp_optional: bool,
    /// Where the keys are.
    pub keys: KeySource,
    /// Accepted signature algorithms, all of one family.
    pub algorithms: Vec<Algorithm>,
    /// JSON pointers (RFC 6901) to claims, and the values that they must have.
    pub required_claims: Vec<(String, String)>,
    /// JSON pointers to claims, and values that they must not have, like those of anonymous sign-ins.
    pub refused_claims: Vec<(String, String)>,
    /// JSON pointer to the claim that holds the subject, instead of `sub`.
    pub subject_pointer: Option<String>,
    /// JSON pointer to the claim that holds the role: a text, a list, or an object's keys.
    pub role_pointer: Option<String>,
    /// JSON pointer to the claim that holds the display name.
    pub name_pointer: Option<String>,
    /// Request for a role or name that the claims lack.
    pub lookup: Option<Lookup>,
}

impl Issuer {
    /// Returns an issuer with keys and algorithms, and nothing else set.
    pub fn new(issuer: &str, keys: KeySource, algorithms: Vec<Algorithm>) -> Self {
        Self {
            issuer: issuer.into(),
            keys,
            algorithms,
            ..Self::default()
        }
    }

    /// Returns true when the issuer's tokens must be addressed to us.
    ///
    /// Tokens are addressed by `aud`, by `azp` or, as Amazon Cognito's access tokens are, by `client_id`.
    pub fn names_us(&self) -> bool {
        let mut required = self.required_claims.iter();
        let in_client_id = required.any(|(pointer, _)| pointer == "/client_id");
        !self.audience.is_empty() || !self.authorized_parties.is_empty() || in_client_id
    }
}

/// Source of an issuer's keys.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A secret shared with the issuer.
    Hmac(SecretString),
    /// A document of public keys (RFC 7517).
    Jwks(Url),
    /// Public keys in PEM, one or more.
    Pem(String),
}

impl Default for KeySource {
    /// No keys.
    fn default() -> Self {
        Self::Pem(String::new())
    }
}

/// One HTTP request, with the caller's own token, for a role or name that the claims lack.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Address. `{subject}` is replaced by the percent-encoded subject.
    pub url: String,
    /// Further headers, like Supabase's `apikey`.
    pub headers: Vec<(String, SecretString)>,
    /// JSON pointer to the role in the answer.
    pub role_pointer: Option<String>,
    /// JSON pointer to the display name in the answer.
    pub name_pointer: Option<String>,
}

impl Auth {
    /// Reads the section, the presets and the tables of issuers. Some presets accept tokens of the pages of `origins` only.
    pub(super) fn read(settings: &mut Settings, origins: &Origins) -> Option<Self> {
        let mut auth: Self = settings.section("auth")?;
        let presets = presets::read(settings, origins, &auth.allow_plain_http);
        let presets = presets.into_iter().map(|table| ("auth".to_owned(), table));
        let issuers = presets.chain(settings.list_of("auth", "issuers"));
        auth.issuers = issuers
            .map(|(name, table)| issuers::read((settings, &auth.allow_plain_http), name, table))
            .collect();
        auth.service_keys = service_keys::read(settings);
        let is_off = auth.mode == AuthMode::Off;
        settings.warn_if(
            is_off && !auth.issuers.is_empty(),
            MODE,
            "is off: issuers are configured, but no credential is verified; set required or optional",
        );
        settings.warn_if(
            is_off && !auth.service_keys.is_empty(),
            MODE,
            "is off: service keys are configured, but none is looked at; set required or optional",
        );
        // A preset with a mistake gives no issuer, and is complained of already.
        let is_given = |name: &String| !settings.text(name).is_empty();
        let has_issuer = !auth.issuers.is_empty()
            || !auth.service_keys.is_empty()
            || presets::names().iter().any(is_given);
        settings.require(
            &[MODE, "auth.issuers"],
            is_off || has_issuer || settings.mode == Mode::Dev,
            format_args!(
                "needs an issuer of tokens: set {}, or write [[auth.issuers]] with issuer, audience, \
                 jwks_url and algorithms, or [[auth.service_keys]] for programs",
                presets::names().join(", ")
            ),
        );
        Some(auth)
    }
}

/// Reads a list of hosts of one's own network.
pub(super) fn own_hosts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    list(from, own_host)
}
