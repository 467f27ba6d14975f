//! Owns what is known of the issuers that many operators have: keys, audience and claims, from one or two settings each.

use serde::Deserializer;
use url::{Host, Url};

use super::auth::Section;
use super::issuers::require_long;
use super::settings::Settings;
use super::{Issuer, KeySource};
use crate::domain::written::optional;
use crate::domain::{Algorithm, Origin, Origins, endpoint};

/// The issuers of the presets that are given.
pub(super) fn read(settings: &mut Settings, section: &Section, origins: &Origins) -> Vec<Issuer> {
    let mut issuers = supabase(settings, section);
    issuers.extend(auth0(settings, section));
    issuers.extend(firebase(section));
    issuers.extend(clerk(settings, section, origins));
    issuers
}

/// True when a preset is given, right or wrong.
pub(super) fn are_given(settings: &Settings) -> bool {
    let names = [
        "auth.supabase_url",
        "auth.auth0_domain",
        "auth.firebase_project",
        "auth.clerk_domain",
    ];
    names.iter().any(|name| !settings.text(name).is_empty())
}

/// One that signs with a kind of key; its claims `role` and `name` say the rest.
fn issuer(name: &str, keys: KeySource, algorithm: Algorithm) -> Issuer {
    Issuer {
        issuer: name.into(),
        audience: Vec::new(),
        authorized_parties: Vec::new(),
        keys,
        algorithms: vec![algorithm],
        required_claims: Vec::new(),
        refused_claims: Vec::new(),
        role_pointer: Some("/role".into()),
        name_pointer: Some("/name".into()),
        lookup: None,
    }
}

/// Issuer, audience and claims: <https://supabase.com/docs/guides/auth/jwt-fields>. Where the keys are, and that they are
/// for ES256 or RS256, as the project chose: <https://supabase.com/docs/guides/auth/signing-keys>. The anonymous key and
/// the service key are credentials of the same issuer: their claim `role` is another. Anonymous sign-ins make as many
/// identities as somebody asks for: <https://supabase.com/docs/guides/auth/auth-anonymous>.
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
        issuers.push(of(KeySource::Jwks(jwks.clone()), Algorithm::Es256));
        issuers.push(of(KeySource::Jwks(jwks), Algorithm::Rs256));
    }
    issuers.extend(secret.map(|secret| of(KeySource::Hmac(secret), Algorithm::Hs256)));
    issuers
}

/// <https://auth0.com/docs/secure/tokens/access-tokens/validate-access-tokens>: the audience is the API's identifier, never
/// a client's id. Claims of one's own are added by an Action:
/// <https://auth0.com/docs/secure/tokens/json-web-tokens/create-custom-claims>.
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
    let auth0 = issuer(&name, KeySource::Jwks(jwks), Algorithm::Rs256);
    Some(Issuer { audience, ..auth0 })
}

/// <https://firebase.google.com/docs/auth/admin/verify-id-tokens#verify_id_tokens_using_a_third-party_jwt_library>. The keys
/// named there are certificates; these are the same as JWKS. Custom claims stand at the top:
/// <https://firebase.google.com/docs/auth/admin/custom-claims>. Anonymous sign-ins are refused as those of Supabase are.
fn firebase(section: &Section) -> Option<Issuer> {
    const KEYS: &str =
        "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com";
    let project = section.firebase_project.clone()?;
    let name = format!("https://securetoken.google.com/{project}");
    let jwks = endpoint(KEYS).ok()?;
    let firebase = issuer(&name, KeySource::Jwks(jwks), Algorithm::Rs256);
    Some(Issuer {
        audience: vec![project],
        refused_claims: vec![("/firebase/sign_in_provider".into(), "anonymous".into())],
        ..firebase
    })
}

/// <https://clerk.com/docs/guides/sessions/manual-jwt-verification>: no audience; `azp` is the page that asked for the
/// credential. `role` and `name` are added in the dashboard: <https://clerk.com/docs/guides/sessions/customize-session-tokens>.
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
        "needs cors.allowed_origins: Clerk's credentials name the page they are for, and nothing else",
    );
    let jwks = jwks(&name)?;
    let clerk = issuer(&name, KeySource::Jwks(jwks), Algorithm::Rs256);
    Some(Issuer {
        authorized_parties: pages,
        ..clerk
    })
}

/// Where the keys of the issuer at `base`, a checked host or URL, are published.
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

/// Reads the id of a Firebase project: letters, digits and `-`; old projects have a domain and a colon before.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_host_alone() {
        assert_eq!(
            read_domain("Tenant.eu.auth0.com"),
            Ok("tenant.eu.auth0.com".into())
        );
        for bad in [
            "",
            "localhost",
            "https://t.auth0.com",
            "t.auth0.com/",
            "t.auth0.com:1",
            "a@t.auth0.com",
            "10.0.0.1",
            "t.auth0.com?",
            "t.auth0.com#",
            "t auth0.com",
            "t.auth0.com.",
        ] {
            assert!(read_domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_project_url_is_a_host_and_no_path() {
        assert_eq!(
            read_bare_url("https://a.supabase.co/"),
            Ok("https://a.supabase.co".into())
        );
        assert_eq!(
            read_bare_url("http://127.0.0.1:54321"),
            Ok("http://127.0.0.1:54321".into())
        );
        for bad in [
            "https://a.supabase.co/auth/v1",
            "http://a.supabase.co",
            "https://a.supabase.co/?x",
            "a.supabase.co",
        ] {
            assert!(read_bare_url(bad).is_err(), "{bad}");
        }
    }
}
