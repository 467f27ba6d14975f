//! Claims that are accepted, and claims that are not.

use serde_json::json;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::config::KeySource;
use crate::domain::Algorithm;

const NOW: u64 = 1_800_000_000;

fn rules() -> Issuer {
    Issuer {
        audience: vec!["broker".into(), "other".into()],
        ..Issuer::new(
            "https://id.example.com/",
            KeySource::Hmac("unused".into()),
            vec![Algorithm::HS256],
        )
    }
}

fn claims(changes: &Value) -> Value {
    let mut claims = json!({ "sub": "ana", "aud": "broker", "exp": NOW + 60 });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

/// Both rules together: the moment at which good claims end.
fn check(claims: &Value, rules: &Issuer, now: Timestamp) -> Result<Timestamp, AuthError> {
    let ends = end(claims, now)?;
    subject(claims, rules).map(|_| ends)
}

fn good(changes: &Value) -> bool {
    let now = Timestamp::from_seconds(NOW);
    check(&claims(changes), &rules(), now).is_ok()
}

#[test]
fn f34_times_are_good_within_thirty_seconds_and_not_beyond() {
    let table = [
        ("exp", -29, true),
        ("exp", -30, false),
        ("exp", -31, false),
        ("nbf", 29, true),
        ("nbf", 30, true),
        ("nbf", 31, false),
        ("iat", 29, true),
        ("iat", 30, true),
        ("iat", 31, false),
        ("iat", -30 * 86_400, true),
        ("iat", -30 * 86_400 - 31, false),
        ("iat", 70 * 365 * 86_400, false),
    ];
    for (name, offset, accepted) in table {
        let at = NOW.saturating_add_signed(offset);
        assert_eq!(good(&json!({ name: at })), accepted, "{name} {offset}");
    }
    assert!(good(&json!({ "exp": 1_800_000_000.5 })));
    assert!(good(&json!({ "nbf": 1_800_000_030.0 })));
    assert!(!good(&json!({ "nbf": 1_800_000_030.5 })));
}

#[test]
fn a_token_without_iat_is_valid_for_thirty_days_at_most() {
    let month = 30 * 86_400;
    for (exp, iat, accepted) in [
        (month, None, true),
        (month + 1, None, false),
        (100 * month, None, false),
        (100 * month, Some(NOW), true),
    ] {
        let mut changes = json!({ "exp": NOW + exp });
        if let Some(iat) = iat {
            changes["iat"] = json!(iat);
        }
        assert_eq!(good(&changes), accepted, "{changes}");
    }
}

#[test]
fn expiry_is_judged_by_the_given_clock() {
    let clock = ManualClock::at(Timestamp::from_seconds(NOW));
    let claims = claims(&json!({}));
    clock.advance(Duration::from_millis(89_999));
    let ends = check(&claims, &rules(), clock.now()).unwrap();
    assert_eq!(ends, Timestamp::from_seconds(NOW + 90));
    clock.advance(Duration::from_millis(1));
    assert_eq!(
        check(&claims, &rules(), clock.now()),
        Err(Rejected("the token has expired"))
    );
}

#[test]
fn claims_of_another_type_are_refused() {
    for name in ["exp", "nbf", "iat"] {
        for value in [
            json!(NOW.to_string()),
            json!(null),
            json!(true),
            json!([NOW]),
            json!({}),
            json!(-1),
            json!(1e300),
            json!(-1e300),
            json!(u64::MAX),
            json!(i64::MIN),
        ] {
            assert!(!good(&json!({ name: value })), "{name} {value}");
        }
    }
    for value in [
        json!(7.5),
        json!(true),
        json!(null),
        json!(""),
        json!(["ana"]),
        json!("a".repeat(256)),
        json!("ana\n"),
        json!("a\u{0}na"),
        json!("\u{1b}[2Jana"),
        json!("ana\u{7f}"),
        json!("ana\u{85}"),
    ] {
        assert!(!good(&json!({ "sub": value })), "{value}");
    }
    assert!(good(&json!({ "sub": "a".repeat(255) })));
    for name in ["exp", "sub", "aud"] {
        let mut claims = claims(&json!({}));
        claims.as_object_mut().unwrap().remove(name);
        let now = Timestamp::from_seconds(NOW);
        assert!(check(&claims, &rules(), now).is_err(), "without {name}");
    }
    for value in [
        json!(null),
        json!(7),
        json!(""),
        json!("a".repeat(513)),
        json!(["a"]),
    ] {
        let named = issuer(&json!({ "iss": value })).map(str::to_owned);
        assert_eq!(named.is_ok(), value == "", "{value}");
    }
    assert!(issuer(&json!({})).is_err());
}

#[test]
fn f33_a_whole_number_is_a_subject_and_a_pointer_may_name_another_claim() {
    let mut rules = rules();
    let numeric = claims(&json!({ "sub": 42, "user": { "uid": "u-1" } }));
    assert_eq!(subject(&numeric, &rules).as_deref(), Ok("42"));
    rules.subject_pointer = Some("/user/uid".into());
    assert_eq!(subject(&numeric, &rules).as_deref(), Ok("u-1"));
    rules.subject_pointer = Some("/absent".into());
    assert!(subject(&numeric, &rules).is_err());
}

#[test]
fn one_audience_must_be_ours() {
    for (audience, accepted) in [
        (json!("broker"), true),
        (json!(["x", "other"]), true),
        (json!("Broker"), false),
        (json!("broker "), false),
        (json!("x"), false),
        (json!([]), false),
        (json!(["x", "y"]), false),
        (json!(["broker", 7]), false),
        (json!({ "0": "broker" }), false),
        (json!(null), false),
    ] {
        assert_eq!(good(&json!({ "aud": audience })), accepted, "{audience}");
    }
}

#[test]
fn a_party_must_be_ours_where_parties_are_named() {
    let now = Timestamp::from_seconds(NOW);
    let (mut with, mut instead) = (rules(), rules());
    with.authorized_parties = vec!["https://school.example".into()];
    instead
        .authorized_parties
        .clone_from(&with.authorized_parties);
    instead.audience.clear();
    for (azp, accepted) in [
        (json!("https://school.example"), true),
        (json!("https://evil.example"), false),
        (json!(["https://school.example"]), false),
        (json!(null), false),
    ] {
        let mut claims = claims(&json!({ "azp": azp }));
        assert_eq!(check(&claims, &with, now).is_ok(), accepted, "{azp}");
        claims.as_object_mut().unwrap().remove("aud");
        assert_eq!(check(&claims, &instead, now).is_ok(), accepted, "{azp}");
        assert!(check(&claims, &with, now).is_err(), "both are wanted");
    }
    assert!(check(&claims(&json!({})), &with, now).is_err(), "no party");
}

#[test]
fn f04_a_token_without_azp_is_accepted_where_that_is_set_and_a_wrong_azp_never() {
    let now = Timestamp::from_seconds(NOW);
    let mut rules = rules();
    rules.authorized_parties = vec!["https://school.example".into()];
    rules.azp_optional = true;
    for (azp, accepted) in [
        (None, true),
        (Some(json!("https://school.example")), true),
        (Some(json!("https://evil.example")), false),
        (Some(json!("")), false),
        (Some(json!(null)), false),
    ] {
        let mut claims = claims(&json!({}));
        if let Some(azp) = azp {
            claims["azp"] = azp;
        }
        assert_eq!(check(&claims, &rules, now).is_ok(), accepted, "{claims}");
    }
}

#[test]
fn required_claims_are_exact_texts_at_pointers() {
    let mut rules = rules();
    let role = ("/realm_access/roles/0".to_owned(), "user".to_owned());
    let namespaced = (
        "/https:~1~1school.example~1kind".to_owned(),
        "a~b".to_owned(),
    );
    rules.required_claims = vec![role, namespaced];
    let good =
        |changes: &Value| check(&claims(changes), &rules, Timestamp::from_seconds(NOW)).is_ok();
    let having = |role: Value| json!({ "realm_access": { "roles": [role] }, "https://school.example/kind": "a~b" });
    assert!(good(&having(json!("user"))));
    for other in [
        json!("User"),
        json!("user "),
        json!(["user"]),
        json!(true),
        json!(null),
    ] {
        assert!(!good(&having(other.clone())), "{other}");
    }
    assert!(!good(&json!({ "realm_access": { "roles": ["user"] } })));
    assert!(!good(&json!({})));
}

#[test]
fn claims_are_required_and_refused_by_how_they_read() {
    let now = Timestamp::from_seconds(NOW);
    for (value, text, reads) in [
        (json!(true), "true", true),
        (json!(false), "true", false),
        (json!("true"), "true", true),
        (json!(5), "5", true),
        (json!(-0.5), "-0.5", true),
        (json!("x"), "x", true),
        (json!("\"x\""), "x", false),
        (json!(null), "null", false),
        (json!(["x"]), "x", false),
        (json!({}), "{}", false),
    ] {
        let pair = vec![("/firebase/kind".to_owned(), text.to_owned())];
        let (mut required, mut refused) = (rules(), rules());
        required.required_claims.clone_from(&pair);
        refused.refused_claims = pair;
        let claims = claims(&json!({ "firebase": { "kind": value } }));
        assert_eq!(check(&claims, &required, now).is_ok(), reads, "{value}");
        assert_eq!(check(&claims, &refused, now).is_ok(), !reads, "{value}");
    }
    let mut refused = rules();
    refused.refused_claims = vec![("/is_anonymous".to_owned(), "true".to_owned())];
    assert!(check(&claims(&json!({})), &refused, now).is_ok(), "absent");
}
