//! Tokens in the shapes of usual providers, verified by their presets or by the general pointers.

use serde_json::{Value, json};
use token_broker::config::{Algorithm, Config, Issuer, KeySource, Mode};

use super::keys::Signer;
use super::{Door, NOW, called, claims, issuer, publisher};
use crate::kit::host::Host;
use crate::kit::log_lines::Lines;

const TENANT: &str = "8b3f2c1e-0000-4000-8000-0123456789ab";
const API: &str = "5d0c9f7a-1111-4222-8333-abcdef012345";

/// The issuers of a preset, with their keys at `host`.
fn preset(host: &Host, settings: &[(&str, &str)]) -> Vec<Issuer> {
    let usual = [
        ("auth.mode", "required"),
        ("cors.allowed_origins", "https://app.school.example"),
        ("upstream.api_key", "sk-test"),
        ("ledger.url", "memory"),
    ];
    let pairs = [&usual, settings].concat();
    let config = Config::from_pairs(Mode::Serve, &pairs).unwrap();
    let url = host.url("/keys.json");
    let here = |issuer: Issuer| Issuer {
        keys: KeySource::Jwks(url.parse().unwrap()),
        ..issuer
    };
    config.auth.issuers.into_iter().map(here).collect()
}

/// Checks that `good` is accepted in the role of a teacher, and what becomes of each change to it.
async fn check(door: &Door, signer: &Signer, (good, cases): (&Value, &[(Value, &str)])) {
    let known = door.shows(&signer.token(good)).await.unwrap();
    assert_eq!(known.role.as_deref(), Some("teacher"), "{good}");
    for (changes, expected) in cases {
        let mut claims = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            }
        }
        let outcome = door.shows(&signer.token(&claims)).await;
        assert_eq!(called(&outcome), *expected, "{changes}");
    }
}

#[tokio::test]
async fn f05_keycloak_names_the_client_in_azp_and_roles_in_a_list() {
    let signer = Signer::rs256("QkFp");
    // As Keycloak does, the key for encryption comes first.
    let mut encryption = signer.jwk();
    encryption["use"] = "enc".into();
    encryption["alg"] = "RSA-OAEP".into();
    let host = Host::publishing(&[encryption, signer.jwk()]).await;
    let realm = "https://id.school.example/realms/school";
    let settings = [
        ("auth.keycloak_realm", realm),
        ("auth.keycloak_client", "web"),
    ];
    let door = Door::to(preset(&host, &settings));
    let good = json!({
        "exp": NOW + 300, "iat": NOW, "auth_time": NOW, "jti": "onrtac:0b1e",
        "iss": realm, "aud": "account", "sub": "f1f1c0de-0000-4000-8000-000000000001",
        "typ": "Bearer", "azp": "web", "sid": "2f", "acr": "1",
        "allowed-origins": ["https://app.school.example"],
        "realm_access": { "roles": ["offline_access", "teacher", "uma_authorization"] },
        "resource_access": { "account": { "roles": ["view-profile"] } },
        "scope": "openid profile email", "name": "Ana Ruiz", "preferred_username": "ana",
    });
    let cases = [
        (json!({ "azp": "admin-cli" }), "rejected"),
        (json!({ "azp": null }), "rejected"),
        (
            json!({ "iss": "https://id.school.example/realms/master" }),
            "rejected",
        ),
    ];
    check(&door, &signer, (&good, &cases)).await;
    let known = door.shows(&signer.token(&good)).await.unwrap();
    assert_eq!(known.name.as_ref().unwrap().as_str(), "Ana Ruiz");
}

#[tokio::test]
async fn entra_tokens_of_both_versions_are_accepted_and_those_for_graph_are_not_forged() {
    let signer = Signer::rs256("entra-key");
    // As Entra does, the key says no algorithm.
    let mut jwk = signer.jwk();
    jwk.as_object_mut().unwrap().remove("alg");
    let host = Host::publishing(&[jwk]).await;
    let settings = [("auth.entra_tenant", TENANT), ("auth.entra_audience", API)];
    let door = Door::to(preset(&host, &settings));
    let two = json!({
        "aud": API, "iss": format!("https://login.microsoftonline.com/{TENANT}/v2.0"),
        "iat": NOW, "nbf": NOW, "exp": NOW + 4000, "azp": "6f", "azpacr": "0",
        "name": "Ana Ruiz", "oid": "aa", "preferred_username": "ana@school.example",
        "roles": ["Report.Read", "teacher"], "scp": "access_as_user", "sub": "pairwise-1",
        "tid": TENANT, "uti": "u", "ver": "2.0",
    });
    let one = json!({
        "aud": format!("api://{API}"), "iss": format!("https://sts.windows.net/{TENANT}/"),
        "iat": NOW, "nbf": NOW, "exp": NOW + 4000, "appid": "6f", "appidacr": "0",
        "roles": ["teacher"], "sub": "pairwise-1", "tid": TENANT, "unique_name": "ana", "ver": "1.0",
    });
    let other = "https://login.microsoftonline.com/00000000-0000-4000-8000-000000000000/v2.0";
    let cases = [
        (
            json!({ "aud": "00000000-0000-4000-8000-000000000000" }),
            "rejected",
        ),
        (json!({ "iss": other }), "rejected"),
    ];
    check(&door, &signer, (&two, &cases)).await;
    check(&door, &signer, (&one, &cases)).await;
    // Microsoft signs tokens for its Graph over another header than it sends, so that no API can
    // verify them. Pages that ask for the wrong scope send them.
    let mut graph = one.clone();
    graph["aud"] = "00000003-0000-0000-c000-000000000000".into();
    let mut header = signer.header();
    header["nonce"] = "hashed-before-signing".into();
    let original = signer.with(&header, &graph);
    header["nonce"] = "as-sent".into();
    let sent = signer.with(&header, &graph);
    let (body, _) = sent.rsplit_once('.').unwrap();
    let (_, signature) = original.rsplit_once('.').unwrap();
    let outcome = door.shows(&format!("{body}.{signature}")).await;
    assert_eq!(called(&outcome), "rejected");
}

#[tokio::test]
async fn cognito_names_the_client_in_client_id_or_aud_and_groups_in_a_list() {
    let signer = Signer::rs256("cognito-key=");
    let host = Host::publishing(&[signer.jwk()]).await;
    let settings = [
        ("auth.cognito_pool", "eu-central-1_AbCdEfGhI"),
        ("auth.cognito_client", "1example23456789"),
    ];
    let door = Door::to(preset(&host, &settings));
    let name = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI";
    let access = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": ["guests", "teacher"],
        "iss": name, "client_id": "1example23456789", "origin_jti": "o", "event_id": "e",
        "token_use": "access", "scope": "aws.cognito.signin.user.admin", "auth_time": NOW,
        "exp": NOW + 3600, "iat": NOW, "jti": "j", "username": "ana",
    });
    let identity = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": ["teacher"],
        "iss": name, "aud": "1example23456789", "cognito:username": "ana", "token_use": "id",
        "auth_time": NOW, "exp": NOW + 3600, "iat": NOW, "name": "Ana Ruiz",
    });
    let of_access = [
        (json!({ "client_id": "another" }), "rejected"),
        (json!({ "token_use": "refresh" }), "rejected"),
        (json!({ "client_id": null }), "rejected"),
    ];
    let of_identity = [
        (json!({ "aud": "another" }), "rejected"),
        (json!({ "token_use": "access" }), "rejected"),
    ];
    check(&door, &signer, (&access, &of_access)).await;
    check(&door, &signer, (&identity, &of_identity)).await;
}

#[tokio::test]
async fn f04_clerk_tokens_of_native_apps_without_azp_are_accepted_and_a_wrong_azp_is_not() {
    let signer = Signer::rs256("ins_2abc");
    let host = Host::publishing(&[signer.jwk()]).await;
    let settings = [("auth.clerk_domain", "clerk.school.example")];
    let door = Door::to(preset(&host, &settings));
    let good = json!({
        "azp": "https://app.school.example", "exp": NOW + 60, "fva": [7, -1], "iat": NOW,
        "iss": "https://clerk.school.example", "nbf": NOW - 10, "pla": "u:free", "role": "teacher",
        "sid": "sess_1", "sts": "active", "sub": "user_1", "v": 2,
    });
    let cases = [
        (json!({ "azp": null }), "good"),
        (json!({ "azp": "https://evil.example" }), "rejected"),
        (json!({ "azp": "" }), "rejected"),
    ];
    check(&door, &signer, (&good, &cases)).await;
}

#[tokio::test]
async fn f31_clerk_tokens_of_previews_that_fit_a_pattern_are_accepted() {
    let signer = Signer::rs256("ins_2abc");
    let host = Host::publishing(&[signer.jwk()]).await;
    let settings = [
        ("auth.clerk_domain", "clerk.school.example"),
        ("cors.allowed_origins", "https://*.preview.school.example"),
    ];
    let door = Door::to(preset(&host, &settings));
    let good = json!({
        "azp": "https://pr-12.preview.school.example", "exp": NOW + 60, "iat": NOW,
        "iss": "https://clerk.school.example", "role": "teacher", "sub": "user_1",
    });
    let cases = [
        (json!({ "azp": "https://app.school.example" }), "rejected"),
        (
            json!({ "azp": "https://a.b.preview.school.example" }),
            "rejected",
        ),
        (
            json!({ "azp": "https://*.preview.school.example.evil.example" }),
            "rejected",
        ),
    ];
    check(&door, &signer, (&good, &cases)).await;
}

#[tokio::test]
async fn okta_is_read_by_the_general_pointers() {
    let signer = Signer::rs256("okta-key");
    let host = Host::publishing(&[signer.jwk()]).await;
    let name = "https://school.okta.com/oauth2/default";
    let rules = Issuer {
        issuer: name.into(),
        audience: vec!["api://default".into()],
        subject_pointer: Some("/uid".into()),
        role_pointer: Some("/groups".into()),
        ..publisher(&host, &[Algorithm::RS256])
    };
    let door = Door::to(vec![rules]);
    let good = json!({
        "ver": 1, "jti": "AT.0", "iss": name, "aud": "api://default", "iat": NOW,
        "exp": NOW + 3600, "cid": "0oa1", "uid": "00u1", "scp": ["openid"], "auth_time": NOW,
        "sub": "ana@school.example", "groups": ["Everyone", "teacher"],
    });
    let cases = [
        (json!({ "aud": "api://other" }), "rejected"),
        (json!({ "uid": null }), "rejected"),
    ];
    check(&door, &signer, (&good, &cases)).await;
    let known = door.shows(&signer.token(&good)).await.unwrap();
    assert_eq!(&*known.account.subject, "00u1");
}

#[tokio::test]
async fn zitadel_is_read_by_the_general_pointers_and_its_roles_are_keys() {
    let signer = Signer::rs256("2601");
    let host = Host::publishing(&[signer.jwk()]).await;
    let rules = Issuer {
        issuer: "https://school.zitadel.cloud".into(),
        audience: vec!["260100000000000001".into()],
        role_pointer: Some("/urn:zitadel:iam:org:project:roles".into()),
        ..publisher(&host, &[Algorithm::RS256])
    };
    let door = Door::to(vec![rules]);
    let good = json!({
        "iss": "https://school.zitadel.cloud", "sub": "260200000000000002",
        "aud": ["260100000000000001@school", "260100000000000001"], "exp": NOW + 3600,
        "iat": NOW, "nbf": NOW, "client_id": "260100000000000001@school", "jti": "V2_1",
        "urn:zitadel:iam:org:project:roles": { "teacher": { "2603": "school.example" } },
    });
    let cases = [(json!({ "aud": ["260100000000000009"] }), "rejected")];
    check(&door, &signer, (&good, &cases)).await;
}

#[tokio::test]
async fn workos_is_read_by_the_general_pointers_although_it_names_no_audience() {
    let signer = Signer::rs256("sso_oidc_key_pair_1");
    let host = Host::publishing(&[signer.jwk()]).await;
    // The keys belong to one client, so that a token without `azp` is still for that client.
    let rules = Issuer {
        issuer: "https://api.workos.com".into(),
        audience: Vec::new(),
        authorized_parties: vec!["client_01".into()],
        azp_optional: true,
        role_pointer: Some("/role".into()),
        ..publisher(&host, &[Algorithm::RS256])
    };
    let door = Door::to(vec![rules]);
    let good = json!({
        "iss": "https://api.workos.com", "sub": "user_01", "sid": "session_01", "jti": "01H",
        "org_id": "org_01", "role": "teacher", "roles": ["teacher"], "permissions": [],
        "exp": NOW + 300, "iat": NOW,
    });
    let cases = [(json!({ "azp": "client_02" }), "rejected")];
    check(&door, &signer, (&good, &cases)).await;
    let stranger = Signer::es256("another-client").token(&good);
    assert_eq!(called(&door.shows(&stranger).await), "rejected");
}

#[tokio::test]
async fn f05_a_role_pointer_that_finds_no_known_role_is_warned_of_once() {
    let lines = Lines::listen();
    let signer = Signer::ed("ed");
    let rules = issuer(KeySource::Pem(signer.pem()), &[Algorithm::EdDSA]);
    let nowhere = json!({});
    let strangers = json!({ "app_metadata": { "role": ["guest", "offline_access"] } });
    for (changes, told) in [
        (nowhere, "finds no role"),
        (strangers, "finds several values"),
    ] {
        let door = Door::to(vec![rules.clone()]);
        for sub in ["ana", "ben"] {
            let mut claims = claims(&changes);
            claims["sub"] = sub.into();
            let known = door.shows(&signer.token(&claims)).await.unwrap();
            assert_eq!(known.role.as_deref(), Some("student"), "the default role");
        }
        let said = lines.take();
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(
            said[0].contains(told) && said[0].contains("/app_metadata/role"),
            "{said:?}"
        );
    }
}
