//! Forged credentials whose algorithm, signature or form is the trick.

use serde_json::json;

use super::claims;
use super::forged::{CURVE, Corpus, SECRET, SHARED, World, refused_as};
use super::keys::{Signer, encode};

/// Secrets that are none, or another's.
pub fn secrets(world: &World) -> Corpus {
    let hs = json!({ "alg": "HS256", "kid": "rsa", "typ": "JWT" });
    let (ours, shared) = (claims(&json!({})), claims(&json!({ "iss": SHARED })));
    let by = |secret: &str, claims| Signer::hs256(secret).with(&hs, claims);
    let modulus = world.rsa.jwk()["n"].as_str().unwrap().to_owned();
    // The issuer has no secret at all: nothing tells a forger from a project with a legacy secret.
    let rejected = [
        ("the public key in PEM", by(&world.rsa.pem(), &ours)),
        ("the modulus", by(&modulus, &ours)),
        ("the key", by(&world.rsa.jwk().to_string(), &ours)),
        ("a real one, elsewhere", world.shared.with(&hs, &ours)),
    ];
    let forged = [
        ("none at all", by("", &shared)),
        ("another", by("another", &shared)),
        ("the secret in base64", by(&encode(SECRET), &shared)),
        ("the public key, at secrets", by(&world.rsa.pem(), &shared)),
    ];
    let mut all = refused_as("rejected", rejected);
    all.extend(refused_as("forged", forged));
    all
}

/// Algorithms that are none, or another issuer's, or another key's.
pub fn algorithms(world: &World) -> Corpus {
    let good = world.rsa.token(&claims(&json!({})));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (_, body) = signed.split_once('.').unwrap();
    let with = |alg: &str, signature: &str| {
        let header = json!({ "alg": alg, "kid": "rsa" }).to_string();
        format!("{}.{body}.{signature}", encode(header))
    };
    let (ours, curve) = (claims(&json!({})), claims(&json!({ "iss": CURVE })));
    let shared = claims(&json!({ "iss": SHARED }));
    let (of_rsa, other) = (
        json!({ "alg": "ES256", "kid": "rsa" }),
        Signer::es256("curve"),
    );
    let forged = [
        ("none, without signature", with("none", "")),
        ("none, with a signature", with("none", signature)),
        ("None", with("None", "")),
        ("NONE", with("NONE", signature)),
        ("noNE", with("noNE", "")),
        ("another key of that name", other.token(&curve)),
    ];
    let rejected = [
        ("an empty algorithm", with("", signature)),
        ("another case", with("rs256", signature)),
        ("a blank behind", with("RS256 ", signature)),
        ("one for encryption", with("RSA-OAEP", signature)),
        ("a curve nobody allowed", with("ES256K", signature)),
        ("another of the same key", with("RS512", signature)),
        ("RSA where secrets are", world.rsa.token(&shared)),
        ("RSA where curves are", world.rsa.token(&curve)),
        ("a curve where RSA is", world.curve.with(&of_rsa, &ours)),
        ("PS256 by the RS256 key", Signer::ps256("rsa").token(&ours)),
        ("ES384 by a P-256 key", Signer::es384("curve").token(&curve)),
    ];
    let mut all = refused_as("forged", forged);
    all.extend(refused_as("rejected", rejected));
    all
}

/// Signatures that are none, or of something else.
pub fn signatures(world: &World) -> Corpus {
    let good = world.rsa.token(&claims(&json!({})));
    let parts: Vec<_> = good.split('.').collect();
    let (header, body, signature) = (parts[0], parts[1], parts[2]);
    let root = encode(claims(&json!({ "sub": "root" })).to_string());
    let bens = world.rsa.token(&claims(&json!({ "sub": "ben" })));
    let bens = bens.rsplit_once('.').unwrap().1;
    let curve = encode(claims(&json!({ "iss": CURVE })).to_string());
    let zeros = format!("{}.{curve}", encode(world.curve.header().to_string()));
    let all = [
        ("an empty one", format!("{header}.{body}.")),
        ("a short one", format!("{header}.{body}.AAAA")),
        ("of other claims", format!("{header}.{root}.{signature}")),
        ("of another's", format!("{header}.{body}.{bens}")),
        ("of zeros", format!("{zeros}.{}", encode([0; 64]))),
        (
            "as DER",
            format!("{zeros}.{}", encode([0x30, 6, 2, 1, 1, 2, 1, 1])),
        ),
        ("twice", format!("{header}.{body}.{signature}{signature}")),
    ];
    refused_as("forged", all)
}

/// What is not of the compact form.
pub fn forms(world: &World) -> Corpus {
    let good = world.rsa.token(&claims(&json!({})));
    let parts: Vec<_> = good.split('.').collect();
    let (header, body, signature) = (parts[0], parts[1], parts[2]);
    let one = json!({ "protected": header, "signature": signature });
    let flat = json!({ "payload": body, "protected": header, "signature": signature });
    let general = json!({ "payload": body, "signatures": [one] });
    let long = "A".repeat(100_000);
    let all = [
        ("no signature at all", format!("{header}.{body}")),
        ("a signature of one letter", format!("{header}.{body}.A")),
        ("a dot behind", format!("{good}.")),
        ("two dots behind", format!("{good}..")),
        ("a dot before", format!(".{good}")),
        ("only dots", "..".into()),
        ("one word", "token".into()),
        ("nothing", String::new()),
        ("five parts, as encrypted", format!("{good}.AA.AA")),
        ("the flattened JSON form", flat.to_string()),
        ("the general JSON form", general.to_string()),
        ("padding", format!("{good}=")),
        ("base64 of the other kind", format!("{good}+/")),
        ("a blank within", format!("{header}. {body}.{signature}")),
        ("a line break", format!("{header}.\n{body}.{signature}")),
        ("letters that look alike", good.replacen('e', "е", 1)),
        ("a NUL", format!("{good}\0")),
        ("100 KB", format!("{header}.{long}.{signature}")),
        ("16 KiB and one", "A".repeat(16 * 1024 + 1)),
        ("two of them", format!("{good},{good}")),
    ];
    refused_as("rejected", all)
}
