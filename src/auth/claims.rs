//! Owns the rules on claims: for whom, from whom, from when until when.

use std::time::Duration;

use serde_json::Value;

use super::AuthError;
use super::AuthError::Rejected;
use crate::clock::Timestamp;
use crate::config::Issuer;

/// How far an issuer's clock may be off.
pub(super) const LEEWAY: Duration = Duration::from_secs(30);
/// Oldest credential that is taken, where it says when it was issued, and the longest that one is taken for which does
/// not: the longest life that any of the common issuers lets operators choose.
const OLDEST: Duration = Duration::from_hours(30 * 24);
/// Last second that times are believed to lie in: the end of the year 9999.
const LAST_SECOND: f64 = 253_402_300_799.0;
/// Most characters of a subject (`OpenID` Connect Core §2).
const LONGEST_SUBJECT: usize = 255;
/// Most characters of an issuer.
const LONGEST_ISSUER: usize = 512;

/// Whom they say they are from. Known before anything is verified, so that keys can be chosen.
pub(super) fn issuer(claims: &Value) -> Result<&str, AuthError> {
    let text = text(claims, "iss", "it has no issuer")?;
    (text.len() <= LONGEST_ISSUER)
        .then_some(text)
        .ok_or(Rejected("its issuer's name is too long"))
}

/// Returns the subject of claims that are for us by the rules of their issuer (RFC 7519 §4.1,
/// RFC 8725 §3).
pub(super) fn subject(claims: &Value, rules: &Issuer) -> Result<Box<str>, AuthError> {
    let subject = text(claims, "sub", "it has no subject")?;
    if subject.is_empty() || subject.chars().count() > LONGEST_SUBJECT {
        return Err(Rejected("its subject is empty or too long"));
    }
    if subject.contains(char::is_control) {
        return Err(Rejected("its subject holds control characters"));
    }
    is_for_us(claims, rules)?;
    let holds = |(pointer, value): &(String, String)| {
        claims
            .pointer(pointer)
            .is_some_and(|claim| reads(claim, value))
    };
    if !rules.required_claims.iter().all(holds) {
        return Err(Rejected("it lacks a claim that it must have"));
    }
    if rules.refused_claims.iter().any(holds) {
        return Err(Rejected("it has a claim that it must not have"));
    }
    Ok(subject.into())
}

/// Returns the first moment at which claims that are valid at `now` are so no longer.
pub(super) fn end(claims: &Value, now: Timestamp) -> Result<Timestamp, AuthError> {
    let ends = time(claims, "exp")?
        .ok_or(Rejected("it never expires"))?
        .plus(LEEWAY);
    if now >= ends {
        return Err(Rejected("it has expired"));
    }
    if time(claims, "nbf")?.is_some_and(|begins| begins > now.plus(LEEWAY)) {
        return Err(Rejected("it is not valid yet"));
    }
    match time(claims, "iat")? {
        Some(issued) if issued > now.plus(LEEWAY) => Err(Rejected("it was issued in the future")),
        Some(issued) if now.since(issued) > OLDEST + LEEWAY => Err(Rejected("it is too old")),
        None if ends > now.plus(OLDEST + LEEWAY) => Err(Rejected("it is good for too long")),
        Some(_) | None => Ok(ends),
    }
}

fn is_for_us(claims: &Value, rules: &Issuer) -> Result<(), AuthError> {
    let audience = texts(claims.get("aud"))?;
    let is_meant = |ours: &String| audience.contains(&ours.as_str());
    if !rules.audience.is_empty() && !rules.audience.iter().any(is_meant) {
        return Err(Rejected("it is for another audience"));
    }
    if rules.authorized_parties.is_empty() {
        return Ok(());
    }
    let party = text(
        claims,
        "azp",
        "it does not say for which party it was issued",
    )?;
    let is_ours = rules.authorized_parties.iter().any(|ours| ours == party);
    is_ours
        .then_some(())
        .ok_or(Rejected("it was issued for another party"))
}

/// Whether a text, a number or a truth reads like `text`; nothing else does.
fn reads(claim: &Value, text: &str) -> bool {
    match claim {
        Value::String(own) => own == text,
        Value::Bool(own) => text.parse() == Ok(*own),
        Value::Number(own) => own.to_string() == text,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

fn text<'a>(claims: &'a Value, name: &str, without: &'static str) -> Result<&'a str, AuthError> {
    claims
        .get(name)
        .and_then(Value::as_str)
        .ok_or(Rejected(without))
}

/// One text or a list of them; nothing else.
fn texts(claim: Option<&Value>) -> Result<Vec<&str>, AuthError> {
    let wrong = Rejected("its audience is neither text nor a list of texts");
    match claim {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(many)) => {
            let texts: Option<_> = many.iter().map(Value::as_str).collect();
            texts.ok_or(wrong)
        }
        Some(_) => Err(wrong),
    }
}

/// Seconds since the Unix epoch, with or without fraction (RFC 7519 §2, `NumericDate`).
fn time(claims: &Value, name: &str) -> Result<Option<Timestamp>, AuthError> {
    let Some(claim) = claims.get(name) else {
        return Ok(None);
    };
    let seconds = claim
        .as_f64()
        .ok_or(Rejected("one of its times is not a number"))?;
    if !(0.0..=LAST_SECOND).contains(&seconds) {
        return Err(Rejected("one of its times is not within reason"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "its bounds were just looked at"
    )]
    let millis = (seconds * 1000.0) as u64;
    Ok(Some(Timestamp::from_millis(millis)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::config::{Algorithm, KeySource};

    const NOW: u64 = 1_800_000_000;

    fn rules() -> Issuer {
        Issuer {
            issuer: "https://id.example.com/".into(),
            audience: vec!["broker".into(), "other".into()],
            authorized_parties: Vec::new(),
            keys: KeySource::Hmac("unused".into()),
            algorithms: vec![Algorithm::Hs256],
            required_claims: Vec::new(),
            refused_claims: Vec::new(),
            role_pointer: None,
            name_pointer: None,
            lookup: None,
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
    fn times_are_good_within_thirty_seconds_and_not_beyond() {
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
    fn what_does_not_say_when_it_was_issued_is_good_for_thirty_days_at_most() {
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
    fn the_clock_decides_and_not_the_machine() {
        let clock = ManualClock::at(Timestamp::from_seconds(NOW));
        let claims = claims(&json!({}));
        clock.advance(Duration::from_millis(89_999));
        let ends = check(&claims, &rules(), clock.now()).unwrap();
        assert_eq!(ends, Timestamp::from_seconds(NOW + 90));
        clock.advance(Duration::from_millis(1));
        assert_eq!(
            check(&claims, &rules(), clock.now()),
            Err(Rejected("it has expired"))
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
            json!(7),
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
}
