//! Owns the settings of who is believed to say whom a caller acts for.

use std::sync::Arc;

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::Mode;
use super::fields::secret;
use super::issuers::{self, IssuerTable, names_us};
use super::presets::{self, bare_url, domain, project};
use super::settings::Settings;
use crate::domain::written::optional_word;
use crate::domain::{Algorithm, Origins};

const MODE: &str = "auth.mode";

/// Who is believed to say whom a caller acts for.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Whether callers must show a credential.
    pub mode: AuthMode,
    /// Who may have issued it. The same issuer may stand here more than once, with other keys.
    pub issuers: Vec<Issuer>,
    /// The role of identities whose own is not known.
    pub default_role: Option<Box<str>>,
}

/// Whether callers must show a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// Nobody is asked, and what is shown is not looked at.
    Off,
    /// Who shows none is anonymous; who shows one must show a good one.
    Optional,
    /// All must.
    Required,
}

impl AuthMode {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Optional => "optional",
            Self::Required => "required",
        }
    }
}

/// Somebody who issues credentials: JSON Web Tokens (RFC 7519).
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its name, exactly as it stands in `iss`.
    pub issuer: Arc<str>,
    /// What `aud` must name one of; empty only where `authorized_parties` or a required `/client_id` is there.
    pub audience: Vec<String>,
    /// What `azp` must be one of, when not empty: the origins of our pages, for Clerk.
    pub authorized_parties: Vec<String>,
    /// Where its keys are.
    pub keys: KeySource,
    /// What it may sign with: all of one family.
    pub algorithms: Vec<Algorithm>,
    /// Claims that must have a certain value: JSON pointer (RFC 6901) and value.
    pub required_claims: Vec<(String, String)>,
    /// Claims that must not have a certain value, like that of sign-ins without a person: the same.
    pub refused_claims: Vec<(String, String)>,
    /// Where in the claims the role stands, as a JSON pointer.
    pub role_pointer: Option<String>,
    /// Where in the claims the display name stands, as a JSON pointer.
    pub name_pointer: Option<String>,
    /// Whom to ask for what the claims do not say.
    pub lookup: Option<Lookup>,
}

impl Issuer {
    /// True when its credentials must say that they are meant for us.
    pub fn names_us(&self) -> bool {
        names_us(
            &self.audience,
            &self.authorized_parties,
            &self.required_claims,
        )
    }
}

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A secret that it shares with us.
    Hmac(SecretString),
    /// A document of public keys (RFC 7517).
    Jwks(Url),
    /// Public keys in PEM, one or more.
    Pem(String),
}

/// One HTTP request, with the caller's own credential, for what the claims do not say.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// Where. `{subject}` stands for the subject, percent-encoded.
    pub url: String,
    /// What else goes along, like Supabase's `apikey`.
    pub headers: Vec<(String, SecretString)>,
    /// Where in the answer the role stands, as a JSON pointer.
    pub role_pointer: Option<String>,
    /// Where in the answer the display name stands, as a JSON pointer.
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
            "needs somebody who issues credentials: set auth.supabase_url, auth.auth0_domain, auth.firebase_project or \
             auth.clerk_domain, or write [[auth.issuers]] with issuer, audience, jwks_url and algorithms",
        );
        Some(Self {
            mode: section.mode,
            issuers,
            default_role: section.default_role.map(Into::into),
        })
    }
}
