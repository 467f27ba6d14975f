//! Several entries of one issuer: a project signs with one algorithm, whichever others it might have chosen.

use serde_json::json;
use token_broker::auth::{FetchError, KeysCondition};
use token_broker::config::{Algorithm, Issuer, KeySource};

use super::keys::Signer;
use super::{Door, ID, called, claims, issuer, publisher};
use crate::kit::host::{Host, Reply};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// As the preset for Supabase writes them.
fn either(host: &Host) -> Vec<Issuer> {
    vec![
        publisher(host, &[Algorithm::ES256]),
        publisher(host, &[Algorithm::RS256]),
    ]
}

#[tokio::test]
async fn an_issuer_is_as_well_as_the_best_of_its_entries() {
    for key in [Signer::es256("key"), Signer::rs256("key")] {
        let host = Host::publishing(&[key.jwk()]).await;
        let door = Door::to(either(&host));
        assert_eq!(door.authenticator.condition(), KeysCondition::Down);
        assert!(!door.authenticator.is_ready());
        door.authenticator.keep_fresh().await;
        assert_eq!(door.authenticator.condition(), KeysCondition::Operational);
        assert!(door.authenticator.is_ready());
        let outcome = door.shows(&key.token(&claims(&json!({})))).await;
        assert_eq!(called(&outcome), "good");
        let checked = door.authenticator.check_issuers().await;
        assert_eq!(checked, [(ID.into(), Ok(1))]);
    }
}

#[tokio::test]
async fn one_issuer_does_not_answer_for_another() {
    let key = Signer::es256("key");
    let (well, ill) = (
        Host::publishing(&[key.jwk()]).await,
        Host::publishing(&[]).await,
    );
    let mut issuers = either(&well);
    issuers.extend(either(&ill).into_iter().map(|rules| Issuer {
        issuer: "https://other.example.com/".into(),
        ..rules
    }));
    let door = Door::to(issuers);
    door.authenticator.keep_fresh().await;
    assert_eq!(door.authenticator.condition(), KeysCondition::Down);
    assert!(door.authenticator.is_ready());
    let checked = door.authenticator.check_issuers().await;
    let other = ("https://other.example.com/".into(), Ok(0));
    assert_eq!(checked, [(ID.into(), Ok(1)), other]);
}

#[tokio::test]
async fn a_project_that_signs_with_a_secret_alone_needs_no_document_of_keys() {
    let host = Host::that(Reply::Close).await;
    let mut issuers = either(&host);
    let door = Door::to(either(&host));
    let checked = door.authenticator.check_issuers().await;
    assert_eq!(checked, [(ID.into(), Err(FetchError::Unreachable))]);
    let secret = KeySource::Hmac(SECRET.into());
    issuers.push(issuer(secret, &[Algorithm::HS256]));
    let door = Door::to(issuers);
    door.authenticator.keep_fresh().await;
    assert_eq!(door.authenticator.condition(), KeysCondition::Operational);
    let checked = door.authenticator.check_issuers().await;
    assert_eq!(checked, [(ID.into(), Ok(1))]);
}
