//! Reads the presets for common issuers: keys, audience and claims, from one or two settings each.

use serde::Deserializer;
use url::{Host, Url};

use super::auth::Section;
use super::issuers::require_long;
use super::settings::Settings;
use super::{Issuer, KeySource};
use crate::domain::written::optional;
use crate::domain::{Algorithm, Origin, Origins, endpoint};

/// The setting that selects each preset.
pub(super) const NAMES: [&str; 7] = [
    "auth.supabase_url",
    "auth.auth0_domain",
    "auth.firebase_project",
    "auth.clerk_domain",
    "auth.keycloak_realm",
    "auth.entra_tenant",
    "auth.cognito_pool",
];

/// Returns the issuers of the presets that are set.
pub(super) fn read(settings: &mut Settings, section: &Section, origins: &Origins) -> Vec<Issuer> {
    let mut issuers = supabase(settings, section);
    issuers.extend(auth0(settings, section));
    issuers.extend(firebase(section));
    issuers.extend(clerk(settings, section, origins));
    issuers.extend(keycloak(settings, section));
    issuers.extend(entra(settings, section).into_iter().flatten());
    issuers.extend(cognito(settings, section).into_iter().flatten());
    issuers
}

/// Returns true when a preset is set, valid or not.
pub(super) fn are_given(settings: &Settings) -> bool {
    NAMES.iter().any(|name| !settings.text(name).is_empty())
}

/// Returns an issuer with one algorithm, whose claims `role` and `name` hold the profile.
fn issuer(name: &str, keys: KeySource, algorithm: Algorithm) -> Issuer {
    Issuer {
        role_pointer: Some("/role".into()),
        name_pointer: Some("/name".into()),
        ..Issuer::new(name, keys, vec![algorithm])
    }
}

/// Reads a Supabase project. Claims: <https://supabase.com/docs/guides/auth/jwt-fields>. Keys, ES256 or
/// RS256 as the project chose: <https://supabase.com/docs/guides/auth/signing-keys>. The anonymous key
/// and the service key are tokens of the same issuer with another `role`. Anonymous sign-ins create
/// identities without bound: <https://supabase.com/docs/guides/auth/auth-anonymous>.
fn supabase(settings: &mut Settings, section: &Section) -> Vec<Issuer> {
    const URL: &str = "auth.supabase_url";
    const SECRET: &str = "auth.supabase_jwt_secret";
    let secret = section.supabase_jwt_secret.clone();
    require_long(settings, SECRET, secret.as_ref());
    settings.require(
        &[SECRET, URL, "auth.supabase_jwt_secret_file"],
        secret.is_none() || section.supabase_url.is_some(),
        "needs auth.supabase_url beside it: the issuer is named by it",
    );
    let Some(url) = &section.supabase_url else {
        return Vec::new();
    };
    let name = format!("{url}/auth/v1");
    let of = |keys, algorithm| Issuer {
        audience: vec!["authenticated".into()],
        required_claims: vec![("/role".into(), "authenticated".into())],
        refused_claims: vec![("/is_anonymous".into(), "true".into())],
        role_pointer: Some("/app_metadata/role".into()),
        name_pointer: Some("/user_metadata/full_name".into()),
        ..issuer(&name, keys, algorithm)
    };
    let mut issuers = Vec::new();
    if let Some(jwks) = jwks(&name) {
        issuers.push(of(KeySource::Jwks(jwks.clone()), Algorithm::ES256));
        issuers.push(of(KeySource::Jwks(jwks), Algorithm::RS256));
    }
    issuers.extend(secret.map(|secret| of(KeySource::Hmac(secret), Algorithm::HS256)));
    issuers
}

/// Reads an Auth0 tenant. The audience is the identifier of the API, never a client id:
/// <https://auth0.com/docs/secure/tokens/access-tokens/validate-access-tokens>. An Action adds custom
/// claims: <https://auth0.com/docs/secure/tokens/json-web-tokens/create-custom-claims>.
fn auth0(settings: &mut Settings, section: &Section) -> Option<Issuer> {
    let (domain, audience) = (&section.auth0_domain, &section.auth0_audience);
    let is_paired = domain.is_none() == audience.is_empty();
    let message = "and auth.auth0_domain go together: the audience is the identifier of your API";
    settings.require(
        &["auth.auth0_audience", "auth.auth0_domain"],
        is_paired,
        message,
    );
    let name = format!("https://{}/", domain.as_ref()?);
    let jwks = jwks(name.trim_end_matches('/'))?;
    let audience = vec![audience.clone()];
    let auth0 = issuer(&name, KeySource::Jwks(jwks), Algorithm::RS256);
    Some(Issuer { audience, ..auth0 })
}

/// Reads a Firebase project:
/// <https://firebase.google.com/docs/auth/admin/verify-id-tokens#verify_id_tokens_using_a_third-party_jwt_library>.
/// That page names certificates; the address below has the same keys as JWKS. Custom claims are at the
/// top level: <https://firebase.google.com/docs/auth/admin/custom-claims>.
fn firebase(section: &Section) -> Option<Issuer> {
    const KEYS: &str =
        "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com";
    let project = section.firebase_project.clone()?;
    let name = format!("https://securetoken.google.com/{project}");
    let jwks = endpoint(KEYS).ok()?;
    let firebase = issuer(&name, KeySource::Jwks(jwks), Algorithm::RS256);
    Some(Issuer {
        audience: vec![project],
        refused_claims: vec![("/firebase/sign_in_provider".into(), "anonymous".into())],
        ..firebase
    })
}

/// Reads a Clerk application. Its tokens have no audience; `azp` is the origin of the page that asked
/// for the token, and is missing in native apps:
/// <https://clerk.com/docs/guides/sessions/manual-jwt-verification>. The dashboard adds `role` and
/// `name`: <https://clerk.com/docs/guides/sessions/customize-session-tokens>.
fn clerk(settings: &mut Settings, section: &Section, origins: &Origins) -> Option<Issuer> {
    let name = format!("https://{}", section.clerk_domain.as_ref()?);
    let pages: Vec<_> = origins
        .listed()
        .map(Origin::as_str)
        .map(str::to_owned)
        .collect();
    settings.require(
        &["auth.clerk_domain", "cors.allowed_origins"],
        !pages.is_empty(),
        "needs cors.allowed_origins: a Clerk token names the page that it was issued to",
    );
    let jwks = jwks(&name)?;
    let clerk = issuer(&name, KeySource::Jwks(jwks), Algorithm::RS256);
    Some(Issuer {
        authorized_parties: pages,
        azp_optional: true,
        ..clerk
    })
}

/// Reads a Keycloak realm. Access tokens name the client that asked for them in `azp`; their `aud` is
/// other clients' business:
/// <https://www.keycloak.org/docs/latest/server_admin/#_protocol-mappers>. Realm roles are a list in
/// no fixed order.
fn keycloak(settings: &mut Settings, section: &Section) -> Option<Issuer> {
    let (realm, client) = (&section.keycloak_realm, &section.keycloak_client);
    settings.require(
        &["auth.keycloak_client", "auth.keycloak_realm"],
        realm.is_none() == client.is_empty(),
        "and auth.keycloak_realm go together: the client is the one that your page signs in with",
    );
    let realm = realm.as_ref()?;
    let keys = endpoint(&format!("{realm}/protocol/openid-connect/certs")).ok()?;
    Some(Issuer {
        authorized_parties: vec![client.clone()],
        role_pointer: Some("/realm_access/roles".into()),
        ..issuer(realm, KeySource::Jwks(keys), Algorithm::RS256)
    })
}

/// Reads an Entra ID tenant. An API accepts access tokens of version 1 or 2, as its manifest says, with
/// different issuers and audiences:
/// <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>.
fn entra(settings: &mut Settings, section: &Section) -> Option<[Issuer; 2]> {
    let (tenant, audience) = (&section.entra_tenant, &section.entra_audience);
    settings.require(
        &["auth.entra_audience", "auth.entra_tenant"],
        tenant.is_none() == audience.is_none(),
        "and auth.entra_tenant go together: the audience is the application (client) id of your API",
    );
    let (tenant, audience) = (tenant.as_ref()?, audience.as_ref()?);
    let host = "https://login.microsoftonline.com";
    let keys = endpoint(&format!("{host}/{tenant}/discovery/v2.0/keys")).ok()?;
    let names = [
        format!("{host}/{tenant}/v2.0"),
        format!("https://sts.windows.net/{tenant}/"),
    ];
    Some(names.map(|name| Issuer {
        audience: vec![audience.clone(), format!("api://{audience}")],
        role_pointer: Some("/roles".into()),
        ..issuer(&name, KeySource::Jwks(keys.clone()), Algorithm::RS256)
    }))
}

/// Reads a Cognito user pool. Access tokens name the app client in `client_id`, identity tokens in
/// `aud`:
/// <https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-verifying-a-jwt.html>.
fn cognito(settings: &mut Settings, section: &Section) -> Option<[Issuer; 2]> {
    let (name, client) = (&section.cognito_pool, &section.cognito_client);
    settings.require(
        &["auth.cognito_client", "auth.cognito_pool"],
        name.is_none() == client.is_empty(),
        "and auth.cognito_pool go together: the client is the id of your app client",
    );
    let name = name.as_ref()?;
    let keys = KeySource::Jwks(jwks(name)?);
    let of = |kind: &str| Issuer {
        required_claims: vec![("/token_use".into(), kind.into())],
        role_pointer: Some("/cognito:groups".into()),
        ..issuer(name, keys.clone(), Algorithm::RS256)
    };
    let (mut access, mut identity) = (of("access"), of("id"));
    access
        .required_claims
        .push(("/client_id".into(), client.clone()));
    identity.audience = vec![client.clone()];
    Some([access, identity])
}

/// Returns the address of the keys of the issuer at `base`, a checked host or URL.
fn jwks(base: &str) -> Option<Url> {
    endpoint(&format!("{base}/.well-known/jwks.json")).ok()
}

/// Reads scheme, host and port.
pub(super) fn bare_url<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    optional(from, read_bare_url)
}

fn read_bare_url(text: &str) -> Result<String, &'static str> {
    let url = endpoint(text)?;
    let is_bare = url.path() == "/" && url.query().is_none();
    is_bare
        .then(|| url.as_str().trim_end_matches('/').to_owned())
        .ok_or("must end with its host, like https://abcdefgh.supabase.co")
}

/// Reads a host name.
pub(super) fn domain<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    optional(from, read_domain)
}

fn read_domain(text: &str) -> Result<String, &'static str> {
    let lower = text.to_ascii_lowercase();
    let is_name = matches!(Host::parse(&lower), Ok(Host::Domain(name)) if name == lower);
    (is_name && lower.contains('.') && !lower.ends_with('.'))
        .then_some(lower)
        .ok_or("must be a host alone, like tenant.eu.auth0.com or clerk.example.com: no https://, no path")
}

/// Reads the id of a Firebase project: letters, digits and `-`. Old ones start with a domain and a
/// colon.
pub(super) fn project<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte);
    optional(from, |text| {
        text.bytes()
            .all(is_plain)
            .then(|| text.to_owned())
            .ok_or("must be the project's id, like my-app-1a2b3, not its name or number")
    })
}

/// Reads the address of a Keycloak realm, as its tokens hold it in `iss`.
pub(super) fn realm<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    optional(from, read_realm)
}

fn read_realm(text: &str) -> Result<String, &'static str> {
    let url = endpoint(text)?;
    let is_realm = url.path().contains("/realms/") && url.query().is_none();
    is_realm
        .then(|| text.trim_end_matches('/').to_owned())
        .ok_or("must be the address of a realm, like https://id.example.com/realms/school")
}

/// Reads the id of an Entra ID tenant or application.
pub(super) fn guid<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    optional(from, read_guid)
}

fn read_guid(text: &str) -> Result<String, &'static str> {
    let lower = text.to_ascii_lowercase();
    let parts: Vec<_> = lower.split('-').map(str::len).collect();
    let is_hex = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
    (parts == [8, 4, 4, 4, 12] && lower.bytes().all(is_hex))
        .then_some(lower)
        .ok_or("must be an id like 8b3f2c1e-0000-4000-8000-0123456789ab, without api:// and not a name")
}

/// Reads the id of a Cognito user pool, which starts with its region, and returns its issuer.
pub(super) fn pool<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    optional(from, read_pool)
}

fn read_pool(text: &str) -> Result<String, &'static str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    text.split_once('_')
        .filter(|(region, id)| {
            region.contains('-') && !id.is_empty() && region.bytes().chain(id.bytes()).all(is_plain)
        })
        .map(|(region, _)| format!("https://cognito-idp.{region}.amazonaws.com/{text}"))
        .ok_or("must be the id of a user pool, like eu-central-1_AbCdEfGhI")
}
