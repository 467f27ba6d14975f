//! Owns what is known of the issuers that many operators have: keys, audience and claims, from one or two settings each.

use url::{Host, Url};

use super::issuers::{endpoint, hmac_secret};
use super::settings::Settings;
use super::{Algorithm, Issuer, KeySource};
use crate::domain::{Origin, Origins};

/// Reads the presets that are given.
pub(super) fn read(settings: &mut Settings, origins: &Origins) -> Vec<Issuer> {
    let mut issuers = supabase(settings);
    issuers.extend(auth0(settings));
    issuers.extend(firebase(settings));
    issuers.extend(clerk(settings, origins));
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
fn supabase(settings: &mut Settings) -> Vec<Issuer> {
    const URL: &str = "auth.supabase_url";
    const SECRET: &str = "auth.supabase_jwt_secret";
    let url = settings.optional(URL, bare_url);
    let secret = hmac_secret(settings, SECRET);
    let is_alone = secret.is_some() && settings.text(URL).is_empty();
    settings.require(
        &[SECRET, "auth.supabase_jwt_secret_file"],
        !is_alone,
        "needs auth.supabase_url beside it: the issuer is named by it",
    );
    let Some(url) = url else {
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
    if let Some(jwks) = jwks(settings, URL, &name) {
        issuers.push(of(KeySource::Jwks(jwks.clone()), Algorithm::Es256));
        issuers.push(of(KeySource::Jwks(jwks), Algorithm::Rs256));
    }
    issuers.extend(secret.map(|secret| of(KeySource::Hmac(secret), Algorithm::Hs256)));
    issuers
}

/// <https://auth0.com/docs/secure/tokens/access-tokens/validate-access-tokens>: the audience is the API's identifier, never
/// a client's id. Claims of one's own are added by an Action:
/// <https://auth0.com/docs/secure/tokens/json-web-tokens/create-custom-claims>.
fn auth0(settings: &mut Settings) -> Option<Issuer> {
    const DOMAIN: &str = "auth.auth0_domain";
    const AUDIENCE: &str = "auth.auth0_audience";
    let domain = settings.optional(DOMAIN, domain);
    let audience = settings.text(AUDIENCE);
    let is_paired = settings.text(DOMAIN).is_empty() == audience.is_empty();
    let message = "and auth.auth0_domain go together: the audience is the identifier of your API";
    settings.require(&[AUDIENCE, DOMAIN], is_paired, message);
    let name = format!("https://{}/", domain?);
    let jwks = jwks(settings, DOMAIN, name.trim_end_matches('/'))?;
    let audience = vec![audience];
    let auth0 = issuer(&name, KeySource::Jwks(jwks), Algorithm::Rs256);
    Some(Issuer { audience, ..auth0 })
}

/// <https://firebase.google.com/docs/auth/admin/verify-id-tokens#verify_id_tokens_using_a_third-party_jwt_library>. The keys
/// named there are certificates; these are the same as JWKS. Custom claims stand at the top:
/// <https://firebase.google.com/docs/auth/admin/custom-claims>. Anonymous sign-ins are refused as those of Supabase are.
fn firebase(settings: &mut Settings) -> Option<Issuer> {
    const PROJECT: &str = "auth.firebase_project";
    const KEYS: &str =
        "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com";
    let project = settings.optional(PROJECT, project)?;
    let name = format!("https://securetoken.google.com/{project}");
    let jwks = settings.parsed(PROJECT, |_| endpoint(KEYS))?;
    let firebase = issuer(&name, KeySource::Jwks(jwks), Algorithm::Rs256);
    Some(Issuer {
        audience: vec![project],
        refused_claims: vec![("/firebase/sign_in_provider".into(), "anonymous".into())],
        ..firebase
    })
}

/// <https://clerk.com/docs/guides/sessions/manual-jwt-verification>: no audience; `azp` is the page that asked for the
/// credential. `role` and `name` are added in the dashboard: <https://clerk.com/docs/guides/sessions/customize-session-tokens>.
fn clerk(settings: &mut Settings, origins: &Origins) -> Option<Issuer> {
    const DOMAIN: &str = "auth.clerk_domain";
    let name = format!("https://{}", settings.optional(DOMAIN, domain)?);
    let pages: Vec<_> = origins
        .listed()
        .map(Origin::as_str)
        .map(str::to_owned)
        .collect();
    settings.require(
        &[DOMAIN, "cors.allowed_origins"],
        !pages.is_empty(),
        "needs cors.allowed_origins: Clerk's credentials name the page they are for, and nothing else",
    );
    let jwks = jwks(settings, DOMAIN, &name)?;
    let clerk = issuer(&name, KeySource::Jwks(jwks), Algorithm::Rs256);
    Some(Issuer {
        authorized_parties: pages,
        ..clerk
    })
}

fn jwks(settings: &mut Settings, setting: &str, base: &str) -> Option<Url> {
    let url = format!("{base}/.well-known/jwks.json");
    settings.parsed(setting, |_| endpoint(&url))
}

/// Scheme, host and port, without a slash behind.
fn bare_url(text: &str) -> Result<String, &'static str> {
    let url = endpoint(text)?;
    let is_bare = url.path() == "/" && url.query().is_none();
    is_bare
        .then(|| url.as_str().trim_end_matches('/').to_owned())
        .ok_or("must end with its host, like https://abcdefgh.supabase.co")
}

fn domain(text: &str) -> Result<String, &'static str> {
    let lower = text.to_ascii_lowercase();
    let is_name = matches!(Host::parse(&lower), Ok(Host::Domain(name)) if name == lower);
    (is_name && lower.contains('.') && !lower.ends_with('.'))
        .then_some(lower)
        .ok_or("must be a host alone, like tenant.eu.auth0.com or clerk.example.com: no https://, no path")
}

/// Letters, digits and `-`; old projects have a domain and a colon before.
fn project(text: &str) -> Result<String, &'static str> {
    let is_plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte);
    text.bytes()
        .all(is_plain)
        .then(|| text.to_owned())
        .ok_or("must be the project's id, like my-app-1a2b3, not its name or number")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_a_host_alone() {
        assert_eq!(
            domain("Tenant.eu.auth0.com"),
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
            assert!(domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_project_url_is_a_host_and_no_path() {
        assert_eq!(
            bare_url("https://a.supabase.co/"),
            Ok("https://a.supabase.co".into())
        );
        assert_eq!(
            bare_url("http://127.0.0.1:54321"),
            Ok("http://127.0.0.1:54321".into())
        );
        for bad in [
            "https://a.supabase.co/auth/v1",
            "http://a.supabase.co",
            "https://a.supabase.co/?x",
            "a.supabase.co",
        ] {
            assert!(bare_url(bad).is_err(), "{bad}");
        }
    }
}
