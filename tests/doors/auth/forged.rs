//! A corpus of forged credentials: each refused, as what it is, and nobody asked about it.

use serde_json::{Value, json};
use token_broker::config::{Algorithm, KeySource};

use super::keys::Signer;
use super::{Door, NOW, called, claims, forged_form, forged_words, issuer, publisher};
use crate::kit::host::{Host, Reply};

pub const SECRET: &str = "a secret of forty characters, or so it is";
pub const SHARED: &str = "https://shared.example.com/";
pub const CURVE: &str = "https://curve.example.com/";

/// An issuer of each kind.
pub struct World {
    pub door: Door,
    pub rsa: Signer,
    pub curve: Signer,
    pub shared: Signer,
    keys: Host,
    curves: Host,
    /// What forgers name.
    pub elsewhere: Host,
}

/// Names, credentials, and what each is to be refused as.
pub type Corpus = Vec<(&'static str, String, &'static str)>;

/// All of them are to be refused as the same.
pub fn refused_as<const N: usize>(what: &'static str, all: [(&'static str, String); N]) -> Corpus {
    all.map(|(name, token)| (name, token, what)).into()
}

impl World {
    async fn new() -> Self {
        let (rsa, curve) = (Signer::rs256("rsa"), Signer::es256("curve"));
        let keys = Host::publishing(&[rsa.jwk()]).await;
        let curves = Host::publishing(&[curve.jwk()]).await;
        let mut of_curves = publisher(&curves, &[Algorithm::ES256, Algorithm::ES384]);
        of_curves.issuer = CURVE.into();
        let mut of_secrets = issuer(KeySource::Hmac(SECRET.into()), &[Algorithm::HS256]);
        of_secrets.issuer = SHARED.into();
        let of_rsa = publisher(&keys, &[Algorithm::RS256]);
        let door = Door::to(vec![of_rsa, of_curves, of_secrets]);
        Self {
            door,
            rsa,
            curve,
            shared: Signer::hs256(SECRET),
            keys,
            curves,
            elsewhere: Host::that(Reply::Body("{}".into())).await,
        }
    }

    /// One of RSA, with these changes to its header.
    pub fn with(&self, changes: &Value) -> String {
        let mut header = self.rsa.header();
        for (name, value) in changes.as_object().unwrap() {
            header[name] = value.clone();
        }
        self.rsa.with(&header, &claims(&json!({})))
    }
}

#[tokio::test]
async fn forged_credentials_are_refused_as_what_they_are_and_nobody_whom_they_name_is_asked() {
    let world = World::new().await;
    let corpora = [
        forged_form::secrets(&world),
        forged_form::algorithms(&world),
        forged_form::signatures(&world),
        forged_form::forms(&world),
        forged_words::keys(&world),
        forged_words::headers(&world),
        forged_words::texts(&world),
        forged_words::claims_of_another_form(&world),
    ];
    let corpus: Vec<_> = corpora.into_iter().flatten().collect();
    assert!(corpus.len() >= 100, "{}", corpus.len());
    let mut wrong = Vec::new();
    for (name, token, expected) in corpus {
        let outcome = world.door.shows(&token).await;
        if called(&outcome) != expected {
            wrong.push(format!("{name}: {outcome:?} instead of {expected}"));
        }
        let long_part = token.split('.').max_by_key(|part| part.len()).unwrap();
        let text = format!("{outcome:?}");
        assert!(
            long_part.len() < 9 || !text.contains(long_part),
            "{name} is quoted"
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(
        world.elsewhere.connections(),
        0,
        "a forger's address was asked"
    );
    assert!(world.keys.asked() <= 2 && world.curves.asked() <= 2);
}

#[tokio::test]
async fn the_credential_that_the_corpus_is_made_from_is_good() {
    let world = World::new().await;
    let address = world.elsewhere.url("/");
    let bounds = json!({ "aud": ["x", "broker"], "exp": NOW - 29, "nbf": NOW + 29 });
    let good = [
        world.rsa.token(&claims(&json!({}))),
        world.curve.token(&claims(&json!({ "iss": CURVE }))),
        world.shared.token(&claims(&json!({ "iss": SHARED }))),
        world.with(&json!({ "typ": "at+JWT" })),
        world.with(&json!({ "jku": address, "x5u": address })),
        world.rsa.token(&claims(&bounds)),
    ];
    for token in good {
        assert_eq!(called(&world.door.shows(&token).await), "good");
    }
    assert_eq!(world.elsewhere.connections(), 0);
}
