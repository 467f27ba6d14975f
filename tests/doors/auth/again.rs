//! Settings that change while keys are in use: what was fetched stays, and what has changed holds at once.

use serde_json::json;
use token_broker::config::{Algorithm, Issuer, KeySource, Lookup};

use super::keys::Signer;
use super::{Door, auth, called, claims, issuer, publisher};
use crate::kit::host::{Host, Reply};

fn adopt(door: &Door, issuers: Vec<Issuer>) {
    let trusting = door.authenticator.prepare(&auth(issuers)).unwrap();
    door.authenticator.adopt(trusting);
}

#[tokio::test]
async fn published_keys_stay_while_other_rules_change_even_when_their_host_is_away() {
    let signer = Signer::es256("one");
    let host = Host::publishing(&[signer.jwk()]).await;
    let rules = || publisher(&host, &[Algorithm::ES256]);
    let door = Door::to(vec![rules()]);
    let token = signer.token(&claims(&json!({})));
    assert_eq!(called(&door.shows(&token).await), "good");
    host.now(Reply::Close);
    let for_others = Issuer {
        audience: vec!["another service".into()],
        ..rules()
    };
    adopt(&door, vec![for_others]);
    assert_eq!(called(&door.shows(&token).await), "rejected");
    adopt(&door, vec![rules()]);
    assert_eq!(called(&door.shows(&token).await), "good");
    assert_eq!(host.asked(), 1, "fetched once");
}

#[tokio::test]
async fn keys_of_another_place_are_fetched_there_and_those_of_the_old_place_are_gone() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let host = Host::publishing(&[old.jwk()]).await;
    let other = Host::publishing(&[new.jwk()]).await;
    let door = Door::to(vec![publisher(&host, &[Algorithm::ES256])]);
    let [by_old, by_new] = [&old, &new].map(|signer| signer.token(&claims(&json!({}))));
    assert_eq!(called(&door.shows(&by_old).await), "good");
    adopt(&door, vec![publisher(&other, &[Algorithm::ES256])]);
    assert_eq!(called(&door.shows(&by_new).await), "good");
    assert_eq!(called(&door.shows(&by_old).await), "rejected");
    assert_eq!((host.asked(), other.asked()), (1, 1));
}

#[tokio::test]
async fn another_public_key_of_the_settings_holds_at_once() {
    let (old, new) = (Signer::es256(""), Signer::es256(""));
    let rules = |signer: &Signer| issuer(KeySource::Pem(signer.pem()), &[Algorithm::ES256]);
    let door = Door::to(vec![rules(&old)]);
    let [by_old, by_new] = [&old, &new].map(|signer| signer.token(&claims(&json!({}))));
    assert_eq!(called(&door.shows(&by_old).await), "good");
    adopt(&door, vec![rules(&new)]);
    assert_ne!(called(&door.shows(&by_old).await), "good");
    assert_eq!(called(&door.shows(&by_new).await), "good");
}

#[tokio::test]
async fn another_header_of_a_look_up_goes_with_the_next_one_and_that_comes_at_once() {
    let host = Host::that(Reply::Body(json!([{ "role": "teacher" }]).to_string())).await;
    let secret = "0123456789abcdef0123456789abcdef";
    let rules = |header: &str| Issuer {
        lookup: Some(Lookup {
            url: host.url("/profiles"),
            headers: vec![("apikey".into(), header.into())],
            role_pointer: Some("/0/role".into()),
            name_pointer: None,
        }),
        ..issuer(KeySource::Hmac(secret.into()), &[Algorithm::HS256])
    };
    let door = Door::to(vec![rules("old-key")]);
    let token = Signer::hs256(secret).token(&claims(&json!({})));
    for (number, header) in ["old-key", "new-key"].into_iter().enumerate() {
        adopt(&door, vec![rules(header)]);
        for _ in 0..2 {
            let identity = door.shows(&token).await.unwrap();
            assert_eq!(identity.role.as_deref(), Some("teacher"));
        }
        let heads = host.requests();
        assert_eq!(heads.len(), number + 1);
        let last = heads[number].to_lowercase();
        assert!(last.contains(&format!("apikey: {header}")), "{last}");
    }
}
