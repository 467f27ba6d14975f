//! Reads the settings of callers' identity: which issuers are trusted, and whether tokens are required.

use std::sync::Arc;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::Mode;
use super::fields::secret;
use super::issuers::{self, IssuerTable, names_us};
use super::presets::{self, bare_url, domain, guid, pool, project, realm};
use super::settings::Settings;
use crate::domain::written::optional_word;
use crate::domain::{Algorithm, Origins};

const MODE: &str = "auth.mode";

/// The issuers of callers' tokens.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Whether callers must send a token.
    pub mode: AuthMode,
    /// Trusted issuers. An issuer with several kinds of key has several entries.
    pub issuers: Vec<Issuer>,
    /// Role of identities whose token names none.
    pub default_role: Option<Box<str>>,
    /// Roles that a persona or a quota names, the personas' first, in the order of their file.
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
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Exact value of `iss`.
    pub issuer: Arc<str>,
    /// Values of which `aud` must name one. Empty only with `authorized_parties` or a required
    /// `/client_id`.
    pub audience: Vec<String>,
    /// Values of which `azp` must be one, unless empty. For Clerk, the origins of our pages.
    pub authorized_parties: Vec<String>,
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
            audience: Vec::new(),
            authorized_parties: Vec::new(),
            azp_optional: false,
            keys,
            algorithms,
            required_claims: Vec::new(),
            refused_claims: Vec::new(),
            subject_pointer: None,
            role_pointer: None,
            name_pointer: None,
            lookup: None,
        }
    }

    /// Returns true when the issuer's tokens must be addressed to us.
    pub fn names_us(&self) -> bool {
        names_us(
            &self.audience,
            &self.authorized_parties,
            &self.required_claims,
        )
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

/// `[auth]` as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    mode: AuthMode,
    #[serde(deserialize_with = "optional_word")]
    default_role: Option<String>,
    #[serde(deserialize_with = "bare_url")]
    pub(super) supabase_url: Option<String>,
    #[serde(deserialize_with = "secret")]
    pub(super) supabase_jwt_secret: Option<SecretString>,
    #[serde(deserialize_with = "domain")]
    pub(super) auth0_domain: Option<String>,
    pub(super) auth0_audience: String,
    #[serde(deserialize_with = "project")]
    pub(super) firebase_project: Option<String>,
    #[serde(deserialize_with = "domain")]
    pub(super) clerk_domain: Option<String>,
    #[serde(deserialize_with = "realm")]
    pub(super) keycloak_realm: Option<String>,
    pub(super) keycloak_client: String,
    #[serde(deserialize_with = "guid")]
    pub(super) entra_tenant: Option<String>,
    #[serde(deserialize_with = "guid")]
    pub(super) entra_audience: Option<String>,
    #[serde(deserialize_with = "pool")]
    pub(super) cognito_pool: Option<String>,
    pub(super) cognito_client: String,
}

impl Auth {
    /// Reads the section. Some presets accept credentials from the pages of `origins` only.
    pub(super) fn read(settings: &mut Settings, origins: Option<&Origins>) -> Option<Self> {
        let section: Section = settings.table("auth")?;
        let mut issuers = presets::read(settings, &section, origins?);
        let tables: Vec<IssuerTable> = settings.list_of(issuers::LIST);
        let has_tables = !tables.is_empty();
        for (index, table) in tables.into_iter().enumerate() {
            issuers.extend(issuers::read(settings, index + 1, table));
        }
        let is_off = section.mode == AuthMode::Off;
        if is_off && !issuers.is_empty() {
            settings.warn(
                MODE,
                "is off: issuers are configured, but no credential is verified; set required or optional",
            );
        }
        // An issuer that is written and wrong is complained of already.
        let has_issuer = !issuers.is_empty() || has_tables || presets::are_given(settings);
        settings.require(
            &[MODE, issuers::LIST],
            is_off || has_issuer || settings.mode == Mode::Dev,
            format_args!(
                "needs an issuer of tokens: set {}, or write [[auth.issuers]] with issuer, audience, \
                 jwks_url and algorithms",
                presets::NAMES.join(", ")
            ),
        );
        Some(Self {
            mode: section.mode,
            issuers,
            default_role: section.default_role.map(Into::into),
            known_roles: Vec::new(),
        })
    }
}
