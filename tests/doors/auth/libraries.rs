//! Credentials that other people's libraries made.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use token_broker::config::{Algorithm, Issuer, KeySource};
use tokio::process::Command;

use super::{Door, ID, NOW, called, issuer};
use crate::kit::host::{Host, Reply};
use crate::kit::programs::{HELP, installed};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/doors/tokens")
        .join(name)
}

/// What the script prints: for each algorithm a credential, a document of keys and the key in PEM.
async fn made(mut command: Command) -> Vec<Value> {
    let claims = json!({
        "iss": ID, "aud": ["other", "broker"], "sub": "ana", "iat": NOW, "nbf": NOW, "exp": NOW + 60,
        "app_metadata": { "role": "teacher" }, "user_metadata": { "full_name": "María José" },
    });
    let output = command
        .arg(claims.to_string())
        .arg(SECRET)
        .output()
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}{HELP}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

async fn are_good(made: Vec<Value>) {
    let expected = [
        ("HS256", Algorithm::HS256),
        ("RS256", Algorithm::RS256),
        ("PS256", Algorithm::PS256),
        ("ES256", Algorithm::ES256),
        ("ES384", Algorithm::ES384),
        ("EdDSA", Algorithm::EdDSA),
    ];
    assert_eq!(made.len(), expected.len(), "{made:?}");
    for (line, (name, algorithm)) in made.iter().zip(expected) {
        assert_eq!(line["alg"], name);
        let token = line["token"].as_str().unwrap();
        if name == "HS256" {
            is_good(issuer(KeySource::Hmac(SECRET.into()), &[algorithm]), token).await;
            continue;
        }
        let host = Host::that(Reply::Body(line["jwks"].to_string())).await;
        is_good(super::publisher(&host, &[algorithm]), token).await;
        let pem = line["pem"].as_str().unwrap();
        is_good(issuer(KeySource::Pem(pem.to_owned()), &[algorithm]), token).await;
    }
}

async fn is_good(rules: Issuer, token: &str) {
    let name = format!("{:?}", rules.algorithms);
    let door = Door::to(vec![rules]);
    let identity = door.shows(token).await;
    assert_eq!(called(&identity), "good", "{name}: {identity:?}");
    let identity = identity.unwrap();
    assert_eq!(identity.role.as_deref(), Some("teacher"));
    assert_eq!(identity.name.as_ref().unwrap().as_str(), "María José");
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = if signature.starts_with('A') { 'B' } else { 'A' };
    let forged = format!("{signed}.{other}{}", &signature[1..]);
    assert_eq!(called(&door.shows(&forged).await), "forged", "{name}");
}

#[tokio::test]
async fn credentials_made_in_python_are_good() {
    let mut command = Command::new(installed("python/bin/python"));
    command.arg(script("sign.py"));
    are_good(made(command).await).await;
}

#[tokio::test]
async fn credentials_made_in_node_are_good() {
    let mut command = Command::new(installed("node/node"));
    command
        .arg(script("sign.mjs"))
        .arg(installed("node/node_modules"));
    are_good(made(command).await).await;
}
