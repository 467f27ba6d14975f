//! A corpus of forged credentials: each refused, as what it is, and nobody asked about it.

use serde_json::{Value, json};
use token_broker::config::{Algorithm, KeySource};

use super::host::{Answer, Host};
use super::keys::{Signer, encode};
use super::{Door, ID, NOW, called, claims, issuer, publisher};

const SECRET: &str = "a secret of forty characters, or so it is";
const SHARED: &str = "https://shared.example.com/";
const CURVE: &str = "https://curve.example.com/";

/// An issuer of each kind.
struct World {
    door: Door,
    rsa: Signer,
    curve: Signer,
    shared: Signer,
    keys: Host,
    curves: Host,
    /// What forgers name.
    elsewhere: Host,
}

impl World {
    async fn new() -> Self {
        let (rsa, curve) = (Signer::rs256("rsa"), Signer::es256("curve"));
        let keys = Host::publishing(&[rsa.jwk()]).await;
        let curves = Host::publishing(&[curve.jwk()]).await;
        let mut of_curves = publisher(&curves, &[Algorithm::Es256, Algorithm::Es384]);
        of_curves.issuer = CURVE.into();
        let mut of_secrets = issuer(KeySource::Hmac(SECRET.into()), &[Algorithm::Hs256]);
        of_secrets.issuer = SHARED.into();
        let of_rsa = publisher(&keys, &[Algorithm::Rs256]);
        let door = Door::to(vec![of_rsa, of_curves, of_secrets]);
        Self {
            door,
            rsa,
            curve,
            shared: Signer::hs256(SECRET),
            keys,
            curves,
            elsewhere: Host::that(Answer::Body("{}".into())).await,
        }
    }

    fn with(&self, changes: Value) -> String {
        let mut header = self.rsa.header();
        for (name, value) in changes.as_object().unwrap() {
            header[name] = value.clone();
        }
        self.rsa.with(&header, &claims(&json!({})))
    }
}

type Corpus = Vec<(&'static str, String, &'static str)>;

/// Tricks with algorithms.
fn algorithms(world: &World) -> Corpus {
    let good = world.rsa.token(&claims(&json!({})));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (_, body) = signed.split_once('.').unwrap();
    let unsigned = |alg: &str, signature: &str| {
        format!(
            "{}.{body}.{signature}",
            encode(json!({ "alg": alg, "kid": "rsa" }).to_string())
        )
    };
    let pem = Signer::hs256(world.rsa.pem());
    let modulus = Signer::hs256(world.rsa.jwk()["n"].as_str().unwrap());
    let document = Signer::hs256(world.rsa.jwk().to_string());
    let hs = json!({ "alg": "HS256", "kid": "rsa", "typ": "JWT" });
    let ours = claims(&json!({}));
    let shared = claims(&json!({ "iss": SHARED }));
    let curve = claims(&json!({ "iss": CURVE }));
    let es = |kid: &str| json!({ "alg": "ES256", "kid": kid });
    vec![
        ("none without signature", unsigned("none", ""), "forged"),
        (
            "none with a signature",
            unsigned("none", signature),
            "forged",
        ),
        ("None", unsigned("None", ""), "forged"),
        ("NONE", unsigned("NONE", signature), "forged"),
        ("noNE", unsigned("noNE", ""), "forged"),
        ("an empty algorithm", unsigned("", signature), "forged"),
        ("another case", unsigned("rs256", signature), "forged"),
        ("a blank behind", unsigned("RS256 ", signature), "forged"),
        (
            "an algorithm for encryption",
            unsigned("RSA-OAEP", signature),
            "forged",
        ),
        (
            "a curve nobody allowed",
            unsigned("ES256K", signature),
            "forged",
        ),
        (
            "the public key in PEM as secret",
            pem.with(&hs, &ours),
            "forged",
        ),
        ("the modulus as secret", modulus.with(&hs, &ours), "forged"),
        (
            "the key document as secret",
            document.with(&hs, &ours),
            "forged",
        ),
        (
            "a real secret at the wrong issuer",
            world.shared.with(&hs, &ours),
            "forged",
        ),
        (
            "an RSA key at the issuer with a secret",
            world.rsa.token(&shared),
            "forged",
        ),
        (
            "an empty secret",
            Signer::hs256("").with(&hs, &shared),
            "forged",
        ),
        (
            "another secret",
            Signer::hs256("another").with(&hs, &shared),
            "forged",
        ),
        (
            "the secret in base64",
            Signer::hs256(encode(SECRET)).with(&hs, &shared),
            "forged",
        ),
        (
            "ES256 with the name of an RSA key",
            world.curve.with(&es("rsa"), &ours),
            "forged",
        ),
        (
            "ES256 where it is allowed, by another key",
            Signer::es256("curve").token(&curve),
            "forged",
        ),
        (
            "ES384 with the name of a P-256 key",
            Signer::es384("curve").token(&curve),
            "forged",
        ),
        (
            "PS256 by the RS256 key",
            Signer::ps256("rsa").token(&ours),
            "forged",
        ),
        (
            "RS256 at the issuer of curves",
            world.rsa.token(&curve),
            "forged",
        ),
    ]
}

/// Tricks with signatures and form.
fn forms(world: &World) -> Corpus {
    let good = world.rsa.token(&claims(&json!({})));
    let parts: Vec<_> = good.split('.').collect();
    let (header, body, signature) = (parts[0], parts[1], parts[2]);
    let other = encode(claims(&json!({ "sub": "root" })).to_string());
    let serialised = json!({ "protected": header, "payload": body, "signature": signature });
    let general =
        json!({ "payload": body, "signatures": [{ "protected": header, "signature": signature }] });
    let curve = claims(&json!({ "iss": CURVE }));
    let zeros = format!(
        "{}.{}",
        encode(world.curve.header().to_string()),
        encode(curve.to_string())
    );
    let swapped = world.rsa.token(&claims(&json!({ "sub": "ben" })));
    let swapped = swapped.rsplit_once('.').unwrap().1.to_owned();
    vec![
        ("an empty signature", format!("{header}.{body}."), "forged"),
        (
            "a short signature",
            format!("{header}.{body}.AAAA"),
            "forged",
        ),
        (
            "another claim",
            format!("{header}.{other}.{signature}"),
            "forged",
        ),
        (
            "the signature of another",
            format!("{header}.{body}.{swapped}"),
            "forged",
        ),
        (
            "an ECDSA signature of zeros",
            format!("{zeros}.{}", encode([0; 64])),
            "forged",
        ),
        (
            "a signature not in base64url",
            format!("{header}.{body}.A"),
            "malformed",
        ),
        (
            "no signature at all",
            format!("{header}.{body}"),
            "malformed",
        ),
        ("a dot behind", format!("{good}."), "malformed"),
        ("two dots behind", format!("{good}.."), "malformed"),
        ("a dot before", format!(".{good}"), "malformed"),
        ("only dots", "..".into(), "malformed"),
        ("one word", "token".into(), "malformed"),
        (
            "five parts, as encrypted ones have",
            format!("{good}.AA.AA"),
            "malformed",
        ),
        (
            "the flattened JSON form",
            serialised.to_string(),
            "malformed",
        ),
        ("the general JSON form", general.to_string(), "malformed"),
        (
            "padding",
            format!("{header}.{body}.{signature}="),
            "malformed",
        ),
        (
            "the other base64",
            format!("{header}.{body}.+{}", &signature[1..]),
            "malformed",
        ),
        (
            "a blank within",
            format!("{header}. {body}.{signature}"),
            "malformed",
        ),
        (
            "a line break within",
            format!("{header}.\n{body}.{signature}"),
            "malformed",
        ),
        (
            "letters that look alike",
            good.replacen('e', "е", 1),
            "malformed",
        ),
        ("a NUL within", format!("{good}\0"), "malformed"),
        (
            "100 KB",
            format!("{header}.{}.{signature}", "A".repeat(100_000)),
            "malformed",
        ),
        ("two of them", format!("{good},{good}"), "malformed"),
    ]
}

/// Tricks with headers: the signature is good each time.
fn headers(world: &World) -> Corpus {
    let elsewhere = world.elsewhere.url("/keys.json");
    let own = Signer::es256("own");
    let brought = json!({ "alg": "ES256", "jwk": own.jwk(), "kid": "curve" });
    let unnamed = json!({ "alg": "ES256", "jwk": own.jwk() });
    let chain = json!({ "alg": "ES256", "kid": "curve", "x5c": ["MIIB"] });
    let curve = claims(&json!({ "iss": CURVE }));
    let far = |name: &str| json!({ "alg": "ES256", "kid": "own", name: elsewhere });
    let twice = r#"{"alg":"none","alg":"RS256","kid":"rsa"}"#;
    let escaped = r#"{"alg":"RS256","\u0061lg":"none","kid":"rsa"}"#;
    let text = claims(&json!({})).to_string();
    vec![
        ("a key brought along", own.with(&brought, &curve), "forged"),
        (
            "a key brought along without a name",
            own.with(&unnamed, &curve),
            "rejected",
        ),
        (
            "a certificate brought along",
            own.with(&chain, &curve),
            "forged",
        ),
        (
            "keys at an address",
            own.with(&far("jku"), &curve),
            "rejected",
        ),
        (
            "a certificate at an address",
            own.with(&far("x5u"), &curve),
            "rejected",
        ),
        (
            "an address as the key's name",
            world.with(json!({ "kid": elsewhere })),
            "rejected",
        ),
        (
            "a path",
            world.with(json!({ "kid": "../../x" })),
            "rejected",
        ),
        (
            "a device",
            world.with(json!({ "kid": "/dev/null" })),
            "rejected",
        ),
        (
            "SQL",
            world.with(json!({ "kid": "' UNION SELECT 'x' --" })),
            "forged",
        ),
        ("a shell", world.with(json!({ "kid": "rsa|id" })), "forged"),
        (
            "a name with NUL",
            world.with(json!({ "kid": "rsa\0" })),
            "forged",
        ),
        (
            "a name in other letters",
            world.with(json!({ "kid": "rsа" })),
            "forged",
        ),
        (
            "a long name",
            world.with(json!({ "kid": "r".repeat(129) })),
            "forged",
        ),
        (
            "a very long name",
            world.with(json!({ "kid": "r".repeat(100_000) })),
            "malformed",
        ),
        ("an empty name", world.with(json!({ "kid": "" })), "forged"),
        (
            "a number as name",
            world.with(json!({ "kid": 7 })),
            "malformed",
        ),
        (
            "extensions",
            world.with(json!({ "crit": ["exp"] })),
            "forged",
        ),
        (
            "extensions, none of them",
            world.with(json!({ "crit": [] })),
            "forged",
        ),
        (
            "claims that are not encoded",
            world.with(json!({ "b64": false, "crit": ["b64"] })),
            "forged",
        ),
        (
            "the same without saying so",
            world.with(json!({ "b64": false })),
            "forged",
        ),
        (
            "a token that logs out",
            world.with(json!({ "typ": "logout+jwt" })),
            "rejected",
        ),
        (
            "an event",
            world.with(json!({ "typ": "secevent+jwt" })),
            "rejected",
        ),
        (
            "a proof",
            world.with(json!({ "typ": "dpop+jwt" })),
            "rejected",
        ),
        (
            "a type that is no text",
            world.with(json!({ "typ": ["JWT"] })),
            "malformed",
        ),
        ("two algorithms", world.rsa.raw(twice, &text), "malformed"),
        (
            "two algorithms, one in disguise",
            world.rsa.raw(escaped, &text),
            "malformed",
        ),
        (
            "a list for a header",
            world.rsa.raw("[]", &text),
            "malformed",
        ),
        (
            "nothing for a header",
            world.rsa.raw("", &text),
            "malformed",
        ),
    ]
}

/// Tricks with claims: the signature is good each time.
fn bodies(world: &World) -> Corpus {
    let signed = |changes: Value| world.rsa.token(&claims(&changes));
    let raw = |text: &str| world.rsa.raw(&world.rsa.header().to_string(), text);
    let twice = format!(
        r#"{{"iss":"{ID}","aud":"broker","sub":"ana","sub":"root","exp":{}}}"#,
        NOW + 60
    );
    let (two, deep) = (
        "a".repeat(2000),
        format!("{}1{}", "[".repeat(200), "]".repeat(200)),
    );
    let huge = format!(r#"{{"iss":"{ID}","aud":"broker","sub":"ana","exp":1e999}}"#);
    vec![
        ("two subjects", raw(&twice), "malformed"),
        ("a list for claims", raw("[]"), "malformed"),
        ("text for claims", raw("\"ana\""), "malformed"),
        ("nothing for claims", raw(""), "malformed"),
        (
            "deep claims",
            raw(&format!(r#"{{"iss":"{ID}","deep":{deep}}}"#)),
            "malformed",
        ),
        ("a number that is none", raw(&huge), "malformed"),
        ("no issuer", signed(json!({ "iss": null })), "rejected"),
        (
            "another issuer",
            signed(json!({ "iss": "https://evil.example/" })),
            "rejected",
        ),
        (
            "nearly our issuer",
            signed(json!({ "iss": ID.trim_end_matches('/') })),
            "rejected",
        ),
        (
            "our issuer in capitals",
            signed(json!({ "iss": ID.to_uppercase() })),
            "rejected",
        ),
        (
            "a list of issuers",
            signed(json!({ "iss": [ID] })),
            "rejected",
        ),
        ("a long issuer", signed(json!({ "iss": two })), "rejected"),
        ("no audience", signed(json!({ "aud": null })), "rejected"),
        (
            "another audience",
            signed(json!({ "aud": "https://api.example/" })),
            "rejected",
        ),
        (
            "an audience by parts",
            signed(json!({ "aud": ["brok", "er"] })),
            "rejected",
        ),
        (
            "an audience that is no text",
            signed(json!({ "aud": { "broker": 1 } })),
            "rejected",
        ),
        ("no subject", signed(json!({ "sub": null })), "rejected"),
        ("an empty subject", signed(json!({ "sub": "" })), "rejected"),
        (
            "a number as subject",
            signed(json!({ "sub": 7 })),
            "rejected",
        ),
        (
            "a long subject",
            signed(json!({ "sub": "a".repeat(256) })),
            "rejected",
        ),
        ("no end", signed(json!({ "exp": null })), "rejected"),
        (
            "an end in words",
            signed(json!({ "exp": (NOW + 60).to_string() })),
            "rejected",
        ),
        (
            "an end beyond time",
            signed(json!({ "exp": 1e300 })),
            "rejected",
        ),
        (
            "an end before time",
            signed(json!({ "exp": -1 })),
            "rejected",
        ),
        ("over", signed(json!({ "exp": NOW - 31 })), "rejected"),
        ("not yet", signed(json!({ "nbf": NOW + 31 })), "rejected"),
        (
            "a beginning in words",
            signed(json!({ "nbf": "0" })),
            "rejected",
        ),
        (
            "made in the future",
            signed(json!({ "iat": NOW + 31 })),
            "rejected",
        ),
        (
            "made in 2099",
            signed(json!({ "iat": 4_070_908_800_u64 })),
            "rejected",
        ),
        (
            "made long ago",
            signed(json!({ "iat": NOW - 31 * 86_400 })),
            "rejected",
        ),
    ]
}

#[tokio::test]
async fn forged_credentials_are_refused_as_what_they_are_and_nobody_whom_they_name_is_asked() {
    let world = World::new().await;
    let corpora = [
        algorithms(&world),
        forms(&world),
        headers(&world),
        bodies(&world),
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
async fn what_the_corpus_is_made_from_is_good() {
    let world = World::new().await;
    let good = [
        world.rsa.token(&claims(&json!({}))),
        world.curve.token(&claims(&json!({ "iss": CURVE }))),
        world.shared.token(&claims(&json!({ "iss": SHARED }))),
        world.with(json!({ "typ": "at+JWT" })),
        world.with(json!({ "jku": world.elsewhere.url("/"), "x5u": world.elsewhere.url("/") })),
        world.rsa.token(&claims(
            &json!({ "aud": ["x", "broker"], "exp": NOW - 29, "nbf": NOW + 29 }),
        )),
    ];
    for token in good {
        assert_eq!(called(&world.door.shows(&token).await), "good");
    }
    assert_eq!(world.elsewhere.connections(), 0);
}
