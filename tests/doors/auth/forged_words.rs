//! Forged credentials whose header or claims are the trick: the signature is good each time.

use serde_json::json;

use super::forged::{CURVE, Corpus, World, refused_as};
use super::keys::Signer;
use super::{ID, NOW, claims};

/// Keys brought along, or named where forgers have them.
pub fn keys(world: &World) -> Corpus {
    let own = Signer::es256("own");
    let curve = claims(&json!({ "iss": CURVE }));
    let there = world.elsewhere.url("/keys.json");
    let brought = json!({ "alg": "ES256", "kid": "curve", "jwk": own.jwk() });
    let unnamed = json!({ "alg": "ES256", "jwk": own.jwk() });
    let chain = json!({ "alg": "ES256", "kid": "curve", "x5c": ["MIIB"] });
    let far = |name: &str| {
        own.with(
            &json!({ "alg": "ES256", "kid": "own", name: there }),
            &curve,
        )
    };
    let kid = |kid: &str| world.with(&json!({ "kid": kid }));
    let forged = [
        ("a key", own.with(&brought, &curve)),
        ("a certificate", own.with(&chain, &curve)),
    ];
    let rejected = [
        ("SQL as name", kid("' UNION SELECT 'x' --")),
        ("a shell as name", kid("rsa|id")),
        ("NUL in the name", kid("rsa\0")),
        ("a letter that looks alike", kid("rsа")),
        ("a long name", kid(&"r".repeat(129))),
        ("an empty name", kid("")),
        ("a key without a name", own.with(&unnamed, &curve)),
        ("keys at an address", far("jku")),
        ("a certificate at an address", far("x5u")),
        ("an address as name", kid(&there)),
        ("a path as name", kid("../../x")),
        ("a device as name", kid("/dev/null")),
        ("a very long name", kid(&"r".repeat(100_000))),
        ("a number as name", world.with(&json!({ "kid": 7 }))),
        ("a list as name", world.with(&json!({ "kid": ["rsa"] }))),
    ];
    let mut all = refused_as("forged", forged);
    all.extend(refused_as("rejected", rejected));
    all
}

/// Other members of headers.
pub fn headers(world: &World) -> Corpus {
    let with = |header| world.with(&header);
    let typ = |typ: &str| world.with(&json!({ "typ": typ }));
    let raw = |header| world.rsa.raw(header, &claims(&json!({})).to_string());
    let both = json!({ "b64": false, "crit": ["b64"] });
    let rejected = [
        ("extensions", with(json!({ "crit": ["exp"] }))),
        ("extensions, but none", with(json!({ "crit": [] }))),
        ("claims not encoded", with(both)),
        ("the same, unsaid", with(json!({ "b64": false }))),
        ("a token that logs out", typ("logout+jwt")),
        ("an event", typ("secevent+jwt")),
        ("a proof", typ("dpop+jwt")),
        ("an empty type", typ("")),
        ("a type that is no text", with(json!({ "typ": ["JWT"] }))),
        (
            "two algorithms",
            raw(r#"{"alg":"none","alg":"RS256","kid":"rsa"}"#),
        ),
        (
            "two in disguise",
            raw(r#"{"alg":"RS256","\u0061lg":"none"}"#),
        ),
        ("two names", raw(r#"{"alg":"RS256","kid":"x","kid":"rsa"}"#)),
        ("no algorithm", raw(r#"{"kid":"rsa"}"#)),
        ("a list", raw("[]")),
        ("nothing", raw("")),
    ];
    refused_as("rejected", rejected)
}

/// Claims that are not claims.
pub fn texts(world: &World) -> Corpus {
    let raw = |text: &str| world.rsa.raw(&world.rsa.header().to_string(), text);
    let end = NOW + 60;
    let start = format!(r#"{{"iss":"{ID}","aud":"broker","exp":{end},"sub":"ana""#);
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let all = [
        ("two subjects", raw(&format!(r#"{start},"sub":"root"}}"#))),
        ("two issuers", raw(&format!(r#"{start},"iss":"x"}}"#))),
        ("deep ones", raw(&format!(r#"{start},"deep":{deep}}}"#))),
        ("no number", raw(&format!(r#"{start},"nbf":1e999}}"#))),
        ("half of them", raw(&start)),
        ("more behind", raw(&format!("{start}}}{{}}"))),
        ("a list", raw("[]")),
        ("text", raw("\"ana\"")),
        ("nothing", raw("")),
    ];
    refused_as("rejected", all)
}

/// Claims that are not for us, or of another type.
pub fn claims_of_another_form(world: &World) -> Corpus {
    let (day, words) = (86_400, (NOW + 60).to_string());
    let changes = [
        ("no issuer", json!({ "iss": null })),
        ("another issuer", json!({ "iss": "https://evil.example/" })),
        (
            "nearly our issuer",
            json!({ "iss": ID.trim_end_matches('/') }),
        ),
        ("capitals", json!({ "iss": ID.to_uppercase() })),
        ("issuers", json!({ "iss": [ID] })),
        ("a long issuer", json!({ "iss": "a".repeat(2000) })),
        ("no audience", json!({ "aud": null })),
        ("another audience", json!({ "aud": "https://api.example/" })),
        ("an audience in parts", json!({ "aud": ["brok", "er"] })),
        ("an audience with more", json!({ "aud": ["broker", 7] })),
        ("an object as audience", json!({ "aud": { "broker": 1 } })),
        ("no subject", json!({ "sub": null })),
        ("an empty subject", json!({ "sub": "" })),
        ("a fraction as subject", json!({ "sub": 7.5 })),
        ("a long subject", json!({ "sub": "a".repeat(256) })),
        ("no end", json!({ "exp": null })),
        ("an end in words", json!({ "exp": words })),
        ("an end beyond time", json!({ "exp": 1e300 })),
        ("an end before time", json!({ "exp": -1 })),
        ("over", json!({ "exp": NOW - 31 })),
        ("not yet", json!({ "nbf": NOW + 31 })),
        ("a beginning in words", json!({ "nbf": "0" })),
        ("made in the future", json!({ "iat": NOW + 31 })),
        ("made in 2099", json!({ "iat": 4_070_908_800_u64 })),
        ("made long ago", json!({ "iat": NOW - 31 * day })),
    ];
    let signed = |change| world.rsa.token(&claims(&change));
    refused_as(
        "rejected",
        changes.map(|(name, change)| (name, signed(change))),
    )
}
