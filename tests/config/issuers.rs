//! Who is believed: `[auth]`, its presets, and `[[auth.issuers]]`.

use secrecy::ExposeSecret;
use token_broker::config::{Algorithm, AuthMode, Issuer, KeySource};

use super::*;

const ISSUERS: &str = r#"
[auth]
mode = "required"
default_role = "student"

[[auth.issuers]]
issuer = "https://id.example.com/"
audience = ["authenticated", "other"]
jwks_url = "https://id.example.com/.well-known/jwks.json"
algorithms = ["ES256", "ES384"]
role_pointer = "/app_metadata/role"
name_pointer = "/user_metadata/full_name"
required_claims = { "/role" = "authenticated", "/kind" = "user" }
refused_claims = { "/guest" = "true" }
lookup_url = "https://id.example.com/users/{subject}"
lookup_headers = { apikey = "canary7f3a", X-More = "canary7f3a too" }
lookup_name_pointer = "/0/full_name"

[[auth.issuers]]
issuer = "old"
audience = "one, two"
hmac_secret = "canary7f3a-canary7f3a-canary7f3a"

[[auth.issuers]]
issuer = "file"
authorized_parties = ["https://app.example.com"]
public_key_file = "public.pem"
algorithms = ["EdDSA"]
"#;

fn issuers(more: &[(&str, &str)]) -> Vec<Issuer> {
    serve(&good_and(more)).config.auth.issuers
}

fn jwks(issuer: &Issuer) -> &str {
    match &issuer.keys {
        KeySource::Jwks(url) => url.as_str(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_credential_is_asked_for_unless_the_operator_says_so() {
    let auth = serve(&good_and(&[])).config.auth;
    assert_eq!(auth.mode, AuthMode::Off);
    assert!(auth.issuers.is_empty() && auth.default_role.is_none());
    let config = Config::from_pairs(Mode::Dev, &[("auth.mode", "required")]).unwrap();
    assert_eq!(config.auth.mode, AuthMode::Required);
}

#[test]
fn an_issuer_says_all_that_is_needed_to_believe_it() {
    let auth = serve(&good_and_file(ISSUERS)).config.auth;
    assert_eq!(auth.mode, AuthMode::Required);
    assert_eq!(auth.default_role.as_deref(), Some("student"));
    let [jwks_issuer, hmac, pem] = auth.issuers.as_slice() else {
        panic!("{:?}", auth.issuers);
    };
    assert_eq!(&*jwks_issuer.issuer, "https://id.example.com/");
    assert_eq!(jwks_issuer.audience, ["authenticated", "other"]);
    assert_eq!(
        jwks(jwks_issuer),
        "https://id.example.com/.well-known/jwks.json"
    );
    assert_eq!(jwks_issuer.algorithms, [Algorithm::ES256, Algorithm::ES384]);
    let claims = [("/role", "authenticated"), ("/kind", "user")];
    assert_eq!(
        jwks_issuer.required_claims,
        claims.map(|(at, is)| (at.into(), is.into()))
    );
    let guest = ("/guest".to_owned(), "true".to_owned());
    assert_eq!(jwks_issuer.refused_claims, [guest]);
    let lookup = jwks_issuer.lookup.as_ref().unwrap();
    assert_eq!(lookup.url, "https://id.example.com/users/{subject}");
    assert_eq!(lookup.role_pointer.as_deref(), Some("/app_metadata/role"));
    assert_eq!(lookup.name_pointer.as_deref(), Some("/0/full_name"));
    let headers: Vec<_> = lookup
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.expose_secret()))
        .collect();
    assert_eq!(
        headers,
        [("apikey", "canary7f3a"), ("x-more", "canary7f3a too")]
    );
    assert!(matches!(&hmac.keys, KeySource::Hmac(secret) if secret.expose_secret() == LONG_SECRET));
    assert_eq!(hmac.algorithms, [Algorithm::HS256]);
    assert_eq!(hmac.audience, ["one", "two"]);
    assert!(matches!(&pem.keys, KeySource::Pem(text) if text == PUBLIC_KEY));
    assert_eq!(pem.authorized_parties, ["https://app.example.com"]);
    assert!(pem.audience.is_empty() && pem.lookup.is_none());
}

#[test]
fn no_secret_of_an_issuer_is_ever_shown() {
    let by_file = ISSUERS.replace(
        &format!("hmac_secret = \"{LONG_SECRET}\""),
        "hmac_secret_file = \"hmac\"",
    );
    for text in [ISSUERS, &by_file] {
        let loaded = serve(&good_and_file(text));
        assert!(!format!("{loaded:?}").contains(CANARY));
        let listing: Vec<_> = loaded.listing().collect();
        assert!(!format!("{listing:?}").contains(CANARY), "{listing:?}");
        for (name, line) in [("hmac_secret", 22), ("lookup_headers.apikey", 16)] {
            let table = if name == "hmac_secret" { 2 } else { 1 };
            let (value, source) = shown(&loaded, &format!("auth.issuers[{table}].{name}"));
            assert_eq!(
                (value.as_str(), source),
                ("***", format!("config/broker.toml:{line}"))
            );
        }
    }
    let supabase = [
        ("BROKER_AUTH__SUPABASE_URL", "https://p.supabase.co"),
        ("BROKER_AUTH__SUPABASE_JWT_SECRET", LONG_SECRET),
    ];
    let loaded = serve(&good_and(&supabase));
    assert!(!format!("{loaded:?}").contains(CANARY));
    assert_eq!(shown(&loaded, "auth.supabase_jwt_secret").0, "***");
}

#[test]
fn the_listing_shows_each_issuer_with_what_it_was_given_and_no_blanks() {
    let loaded = serve(&good_and_file(ISSUERS));
    let jwks = shown(&loaded, "auth.issuers[1].jwks_url");
    assert_eq!(jwks.1, "config/broker.toml:9");
    assert_eq!(
        shown(&loaded, "auth.issuers[1].required_claims./role").0,
        "authenticated"
    );
    let third = loaded
        .listing()
        .filter(|(name, ..)| name.starts_with("auth.issuers[3]"));
    assert_eq!(third.count(), 4);
}

#[test]
fn a_supabase_project_signs_with_either_kind_of_key_and_older_ones_with_a_secret() {
    let url = ("BROKER_AUTH__SUPABASE_URL", "https://p.supabase.co/");
    let two = issuers(&[url]);
    let all = issuers(&[url, ("BROKER_AUTH__SUPABASE_JWT_SECRET_FILE", "hmac")]);
    let algorithms = |issuers: &[Issuer]| {
        issuers
            .iter()
            .flat_map(|one| one.algorithms.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(algorithms(&two), [Algorithm::ES256, Algorithm::RS256]);
    assert_eq!(
        algorithms(&all),
        [Algorithm::ES256, Algorithm::RS256, Algorithm::HS256]
    );
    for issuer in &all {
        assert_eq!(&*issuer.issuer, "https://p.supabase.co/auth/v1");
        assert_eq!(issuer.audience, ["authenticated"]);
        assert_eq!(
            issuer.required_claims,
            [("/role".to_owned(), "authenticated".to_owned())]
        );
        assert_eq!(issuer.role_pointer.as_deref(), Some("/app_metadata/role"));
        assert_eq!(
            issuer.name_pointer.as_deref(),
            Some("/user_metadata/full_name")
        );
    }
    assert_eq!(
        jwks(&all[0]),
        "https://p.supabase.co/auth/v1/.well-known/jwks.json"
    );
    assert!(
        matches!(&all[2].keys, KeySource::Hmac(secret) if secret.expose_secret() == LONG_SECRET)
    );
}

#[test]
fn presets_bind_credentials_to_one_audience_or_to_our_pages() {
    let [auth0, firebase, clerk] = issuers(&[
        ("BROKER_AUTH__MODE", "optional"),
        ("BROKER_AUTH__AUTH0_DOMAIN", "Tenant.eu.auth0.com"),
        ("BROKER_AUTH__AUTH0_AUDIENCE", "https://api.example.com/"),
        ("BROKER_AUTH__FIREBASE_PROJECT", "my-app-1"),
        ("BROKER_AUTH__CLERK_DOMAIN", "clerk.example.com"),
    ])
    .try_into()
    .unwrap();
    assert_eq!(&*auth0.issuer, "https://tenant.eu.auth0.com/");
    assert_eq!(
        jwks(&auth0),
        "https://tenant.eu.auth0.com/.well-known/jwks.json"
    );
    assert_eq!(auth0.audience, ["https://api.example.com/"]);
    assert_eq!(&*firebase.issuer, "https://securetoken.google.com/my-app-1");
    assert_eq!(firebase.audience, ["my-app-1"]);
    assert!(jwks(&firebase).ends_with("/jwk/securetoken@system.gserviceaccount.com"));
    assert_eq!(&*clerk.issuer, "https://clerk.example.com");
    assert_eq!(
        jwks(&clerk),
        "https://clerk.example.com/.well-known/jwks.json"
    );
    assert!(clerk.audience.is_empty());
    assert_eq!(clerk.authorized_parties, ["https://app.example.com"]);
    assert!(clerk.azp_optional, "native apps have tokens without azp");
    for one in [auth0, firebase, clerk] {
        assert_eq!(one.algorithms, [Algorithm::RS256]);
    }
}

#[test]
fn presets_of_keycloak_entra_and_cognito_bind_tokens_to_one_client_or_api() {
    let id = "8b3f2c1e-0000-4000-8000-0123456789ab";
    let [keycloak, two, one, access, identity] = issuers(&[
        ("BROKER_AUTH__MODE", "optional"),
        (
            "BROKER_AUTH__KEYCLOAK_REALM",
            "https://id.example.com/realms/school/",
        ),
        ("BROKER_AUTH__KEYCLOAK_CLIENT", "web"),
        ("BROKER_AUTH__ENTRA_TENANT", id),
        ("BROKER_AUTH__ENTRA_AUDIENCE", id),
        ("BROKER_AUTH__COGNITO_POOL", "eu-central-1_AbC"),
        ("BROKER_AUTH__COGNITO_CLIENT", "client1"),
    ])
    .try_into()
    .unwrap();
    let realm = "https://id.example.com/realms/school";
    assert_eq!(&*keycloak.issuer, realm);
    assert_eq!(
        jwks(&keycloak),
        format!("{realm}/protocol/openid-connect/certs")
    );
    assert_eq!(keycloak.authorized_parties, ["web"]);
    assert!(!keycloak.azp_optional);
    for entra in [&two, &one] {
        let keys = format!("https://login.microsoftonline.com/{id}/discovery/v2.0/keys");
        assert_eq!(jwks(entra), keys);
        assert_eq!(entra.audience, [id.to_owned(), format!("api://{id}")]);
    }
    let pool = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbC";
    for cognito in [&access, &identity] {
        assert_eq!(&*cognito.issuer, pool);
        assert_eq!(jwks(cognito), format!("{pool}/.well-known/jwks.json"));
    }
    assert!(access.audience.is_empty() && access.names_us());
    assert_eq!(identity.audience, ["client1"]);
}

#[test]
fn known_roles_are_those_of_personas_and_then_those_of_quotas() {
    let quotas = "[quota.guest]\nsessions_per_month = 1\n[quota.admin]\nsessions_per_month = 1";
    let auth = serve(&good_and_file(quotas)).config.auth;
    let known: Vec<_> = auth.known_roles.iter().map(|role| &**role).collect();
    assert_eq!(known[known.len() - 2..], ["admin", "guest"]);
    assert!(known.len() > 2, "the personas' own: {known:?}");
}

#[test]
fn issuers_that_nobody_asks_are_warned_of() {
    let text = ISSUERS.replace("mode = \"required\"", "");
    let warnings = serve(&good_and_file(&text)).warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].starts_with("auth.mode: is off: issuers are configured"),
        "{warnings:?}"
    );
    assert!(serve(&good_and_file(ISSUERS)).warnings.is_empty());
}

#[test]
fn authorized_parties_may_be_patterns_that_others_fit_only_by_the_setting_of_origins() {
    let parties = [
        "https://*.preview.example.com",
        "https://*.vercel.app",
        "client-1*",
    ];
    let text = format!(
        "[cors]\nallow_shared_suffix = true\n[auth]\nmode = 'required'\n[[auth.issuers]]\n{}\nauthorized_parties = {parties:?}\n",
        "issuer = 'https://id.example/'\njwks_url = 'https://id.example/jwks'\nalgorithms = ['ES256']"
    );
    let issuers = serve(&good_and_file(&text)).config.auth.issuers;
    let patterns: Vec<_> = issuers[0]
        .party_patterns
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(patterns, parties[..2]);
    assert_eq!(issuers[0].authorized_parties, parties);
}
