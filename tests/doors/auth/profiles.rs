//! Issuers as the usual providers are set up: a credential for a sibling is not one for us.

use serde_json::{Value, json};
use token_broker::config::{Algorithm, Issuer, KeySource};

use super::keys::Signer;
use super::{Door, NOW, called, issuer, publisher};
use crate::kit::host::Host;

/// Whether each of `cases`, changes to `good`, is taken.
async fn expect(rules: Issuer, signer: &Signer, good: &Value, cases: &[(Value, bool)]) {
    let door = Door::to(vec![rules]);
    assert_eq!(called(&door.shows(&signer.token(good)).await), "good");
    for (changes, taken) in cases {
        let mut claims = good.clone();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            }
        }
        let outcome = called(&door.shows(&signer.token(&claims)).await);
        assert_eq!(
            outcome,
            if *taken { "good" } else { "rejected" },
            "{changes}"
        );
    }
}

#[tokio::test]
async fn auth0_for_the_client_or_another_api_is_not_for_us() {
    let signer = Signer::rs256("auth0");
    let host = Host::publishing(&[signer.jwk()]).await;
    let mut rules = publisher(&host, &[Algorithm::RS256]);
    rules.issuer = "https://school.eu.auth0.com/".into();
    rules.audience = vec!["https://broker.school.example".into()];
    let good = json!({
        "iss": "https://school.eu.auth0.com/",
        "aud": ["https://broker.school.example", "https://school.eu.auth0.com/userinfo"],
        "azp": "clientid", "sub": "auth0|ana", "iat": NOW, "exp": NOW + 86_400,
    });
    let cases = [
        (json!({ "aud": "clientid" }), false),
        (
            json!({ "aud": ["https://grades.school.example", "https://school.eu.auth0.com/userinfo"] }),
            false,
        ),
        (json!({ "aud": null }), false),
        (json!({ "iss": "https://other.eu.auth0.com/" }), false),
        (json!({ "iss": null }), false),
        (json!({ "aud": "https://broker.school.example" }), true),
    ];
    expect(rules, &signer, &good, &cases).await;
}

#[tokio::test]
async fn firebase_of_another_project_is_not_for_us() {
    let signer = Signer::rs256("google");
    let host = Host::publishing(&[signer.jwk()]).await;
    let mut rules = publisher(&host, &[Algorithm::RS256]);
    rules.issuer = "https://securetoken.google.com/school".into();
    rules.audience = vec!["school".into()];
    let good = json!({
        "iss": "https://securetoken.google.com/school", "aud": "school",
        "sub": "uid", "iat": NOW, "exp": NOW + 3600,
    });
    let cases = [
        // All projects are signed with the same keys.
        (
            json!({ "iss": "https://securetoken.google.com/evil", "aud": "evil" }),
            false,
        ),
        (
            json!({ "iss": "https://securetoken.google.com/evil" }),
            false,
        ),
        (json!({ "aud": "evil" }), false),
        (json!({ "sub": "" }), false),
        (json!({ "sub": null }), false),
    ];
    expect(rules, &signer, &good, &cases).await;
}

#[tokio::test]
async fn supabase_keys_for_services_are_nobody() {
    let secret = "super-secret-jwt-token-with-at-least-32-characters-long";
    let signer = Signer::hs256(secret);
    let mut rules = issuer(KeySource::Hmac(secret.into()), &[Algorithm::HS256]);
    rules.issuer = "https://abc.supabase.co/auth/v1".into();
    rules.audience = vec!["authenticated".into()];
    rules.required_claims = vec![("/role".into(), "authenticated".into())];
    let good = json!({
        "iss": "https://abc.supabase.co/auth/v1", "aud": "authenticated", "role": "authenticated",
        "sub": "7a0f", "iat": NOW, "exp": NOW + 3600,
    });
    let cases = [
        (json!({ "role": "service_role" }), false),
        (json!({ "role": "anon" }), false),
        (json!({ "role": null }), false),
        (json!({ "aud": null }), false),
        // The keys of a project, as they are: for ten years, and of nobody.
        (
            json!({ "iss": "supabase", "role": "anon", "aud": null, "sub": null, "exp": NOW + 315_360_000 }),
            false,
        ),
        (json!({ "iss": "https://xyz.supabase.co/auth/v1" }), false),
    ];
    expect(rules, &signer, &good, &cases).await;
}

#[tokio::test]
async fn clerk_for_a_page_that_is_not_ours_is_not_for_us() {
    let signer = Signer::rs256("ins_2abc");
    let host = Host::publishing(&[signer.jwk()]).await;
    let mut rules = publisher(&host, &[Algorithm::RS256]);
    rules.issuer = "https://clerk.school.example".into();
    rules.audience.clear();
    rules.authorized_parties = vec![
        "https://school.example".into(),
        "https://app.school.example".into(),
    ];
    let good = json!({
        "iss": "https://clerk.school.example", "azp": "https://school.example",
        "sub": "user_1", "iat": NOW, "nbf": NOW - 10, "exp": NOW + 60,
    });
    let cases = [
        (json!({ "azp": "https://app.school.example" }), true),
        (json!({ "azp": "https://evil.school.example" }), false),
        (json!({ "azp": "https://school.example." }), false),
        (json!({ "azp": null }), false),
        (json!({ "azp": "" }), false),
    ];
    expect(rules, &signer, &good, &cases).await;
}

#[tokio::test]
async fn claims_say_role_and_name_and_else_there_is_the_default_role() {
    let signer = Signer::ed("ed");
    let rules = issuer(KeySource::Pem(signer.pem()), &[Algorithm::EdDSA]);
    let door = Door::to(vec![rules]);
    let about = json!({
        "app_metadata": { "role": "teacher" }, "user_metadata": { "full_name": "Ana {{ X }}" },
    });
    let known = door
        .shows(&signer.token(&super::claims(&about)))
        .await
        .unwrap();
    assert_eq!(known.role.as_deref(), Some("teacher"));
    assert_eq!(known.name.as_ref().unwrap().as_str(), "Ana X");
    assert_eq!(
        (&*known.account.issuer, &*known.account.subject),
        (super::ID, "ana")
    );
    assert_eq!(known.key, known.account.key());
    for role in [json!(7), json!(["guest"]), json!(""), json!("r".repeat(65))] {
        let about = json!({ "app_metadata": { "role": role } });
        let unknown = door
            .shows(&signer.token(&super::claims(&about)))
            .await
            .unwrap();
        assert_eq!(
            (unknown.role.as_deref(), &unknown.name),
            (Some("student"), &None),
            "{role}"
        );
    }
}

#[tokio::test]
async fn one_issuer_may_stand_there_more_than_once_with_other_keys() {
    let (old, new) = (Signer::hs256("o".repeat(32)), Signer::es256("new"));
    let (also, other) = (Signer::hs256("a".repeat(32)), Signer::hs256("x".repeat(32)));
    let host = Host::publishing(&[new.jwk()]).await;
    let secret = |text: &str| issuer(KeySource::Hmac(text.repeat(32).into()), &[Algorithm::HS256]);
    let mut narrow = secret("a");
    narrow.audience = vec!["narrow".into()];
    let door = Door::to(vec![
        secret("o"),
        publisher(&host, &[Algorithm::ES256]),
        narrow,
    ]);
    let claims = super::claims;
    for (signer, expected) in [
        (&old, "good"),
        (&new, "good"),
        (&also, "rejected"),
        (&other, "forged"),
    ] {
        assert_eq!(
            called(&door.shows(&signer.token(&claims(&json!({})))).await),
            expected
        );
    }
    let narrow = also.token(&claims(&json!({ "aud": "narrow" })));
    assert_eq!(called(&door.shows(&narrow).await), "good");
    assert_eq!(host.asked(), 1, "secrets need no documents");
}

#[tokio::test]
async fn a_key_that_says_its_algorithm_is_for_no_other() {
    let (own, other) = (Signer::rs256("rsa"), Signer::ps256("rsa"));
    let host = Host::publishing(&[own.jwk()]).await;
    let both = [Algorithm::RS256, Algorithm::PS256];
    let door = Door::to(vec![publisher(&host, &both)]);
    let claims = super::claims(&json!({}));
    assert_eq!(called(&door.shows(&own.token(&claims)).await), "good");
    let outcome = door.shows(&other.token(&claims)).await;
    assert_eq!(called(&outcome), "rejected");
    let mut silent = own.jwk();
    silent.as_object_mut().unwrap().remove("alg");
    host.publish(&[silent]);
    let door = Door::to(vec![publisher(&host, &both)]);
    assert_eq!(called(&door.shows(&other.token(&claims)).await), "good");
}
