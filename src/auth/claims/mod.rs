//! Checks claims: issuer, subject, audience and times.

use std::time::Duration;

use serde_json::Value;

use super::AuthError;
use super::AuthError::Rejected;
use crate::clock::Timestamp;
use crate::config::Issuer;

/// Tolerated difference between an issuer's clock and ours.
pub(super) const LEEWAY: Duration = Duration::from_secs(30);
/// Longest accepted age of a token, and longest accepted rest of its life when it has no `iat`: the
/// longest life that common issuers let operators choose.
const MAX_AGE: Duration = Duration::from_hours(30 * 24);
/// Last accepted time, in seconds since the epoch: the end of the year 9999.
const LAST_SECOND: f64 = 253_402_300_799.0;
/// Longest subject, in characters (`OpenID` Connect Core §2).
const MAX_SUBJECT_LENGTH: usize = 255;
/// Longest issuer, in bytes.
const MAX_ISSUER_LENGTH: usize = 512;

/// Returns the issuer that the claims name, by which keys are chosen. Not verified yet.
pub(super) fn issuer(claims: &Value) -> Result<&str, AuthError> {
    let text = text(claims, "iss", "the token has no issuer (iss)")?;
    (text.len() <= MAX_ISSUER_LENGTH)
        .then_some(text)
        .ok_or(Rejected("the token's issuer is too long"))
}

/// Returns the subject of claims that are for us by the rules of their issuer (RFC 7519 §4.1,
/// RFC 8725 §3).
pub(super) fn subject(claims: &Value, rules: &Issuer) -> Result<Box<str>, AuthError> {
    let pointer = rules.subject_pointer.as_deref().unwrap_or("/sub");
    let subject = match claims.pointer(pointer) {
        Some(Value::String(text)) => text.as_str().into(),
        Some(Value::Number(number)) if !number.is_f64() => number.to_string().into_boxed_str(),
        Some(_) => {
            return Err(Rejected(
                "the token's subject is neither text nor a whole number",
            ));
        }
        None => {
            return Err(Rejected(
                "the token has no subject (sub, or the claim at subject_pointer)",
            ));
        }
    };
    if subject.is_empty() || subject.chars().count() > MAX_SUBJECT_LENGTH {
        return Err(Rejected("the token's subject is empty or too long"));
    }
    if subject.contains(char::is_control) {
        return Err(Rejected("the token's subject holds control characters"));
    }
    is_for_us(claims, rules)?;
    let holds = |(pointer, value): &(String, String)| {
        claims
            .pointer(pointer)
            .is_some_and(|claim| reads(claim, value))
    };
    if !rules.required_claims.iter().all(holds) {
        return Err(Rejected("the token lacks one of required_claims"));
    }
    if rules.refused_claims.iter().any(holds) {
        return Err(Rejected(
            "the token has one of refused_claims, like an anonymous sign-in",
        ));
    }
    Ok(subject)
}

/// Returns the first moment at which claims that are valid at `now` are so no longer.
pub(super) fn end(claims: &Value, now: Timestamp) -> Result<Timestamp, AuthError> {
    let ends = time(claims, "exp")?
        .ok_or(Rejected("the token never expires (no exp)"))?
        .plus(LEEWAY);
    if now >= ends {
        return Err(Rejected("the token has expired"));
    }
    if time(claims, "nbf")?.is_some_and(|begins| begins > now.plus(LEEWAY)) {
        return Err(Rejected("the token is not valid yet (nbf)"));
    }
    match time(claims, "iat")? {
        Some(issued) if issued > now.plus(LEEWAY) => Err(Rejected(
            "the token was issued in the future (iat): compare the clocks",
        )),
        Some(issued) if now.since(issued) > MAX_AGE + LEEWAY => {
            Err(Rejected("the token was issued more than 30 days ago"))
        }
        None if ends > now.plus(MAX_AGE + LEEWAY) => Err(Rejected(
            "the token has no iat and is valid for more than 30 days",
        )),
        Some(_) | None => Ok(ends),
    }
}

fn is_for_us(claims: &Value, rules: &Issuer) -> Result<(), AuthError> {
    let audience = texts(claims.get("aud"))?;
    let is_meant = |ours: &String| audience.contains(&ours.as_str());
    if !rules.audience.is_empty() && !rules.audience.iter().any(is_meant) {
        return Err(Rejected("the token is for another audience (aud)"));
    }
    if rules.authorized_parties.is_empty() {
        return Ok(());
    }
    if rules.azp_optional && claims.get("azp").is_none() {
        return Ok(());
    }
    let party = text(
        claims,
        "azp",
        "the token names no authorized party (azp): set azp_optional if native apps may call",
    )?;
    let is_ours = rules.authorized_parties.iter().any(|ours| ours == party);
    is_ours
        .then_some(())
        .ok_or(Rejected("the token was issued to another party (azp)"))
}

/// Returns whether a text, a number or a boolean is written as `text`.
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

/// Returns one text or a list of texts.
fn texts(claim: Option<&Value>) -> Result<Vec<&str>, AuthError> {
    let wrong = Rejected("the token's audience is neither text nor a list of texts");
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

/// Reads seconds since the Unix epoch, with or without fraction (RFC 7519 §2, `NumericDate`).
fn time(claims: &Value, name: &str) -> Result<Option<Timestamp>, AuthError> {
    let Some(claim) = claims.get(name) else {
        return Ok(None);
    };
    let seconds = claim
        .as_f64()
        .ok_or(Rejected("one of the token's times is not a number"))?;
    if !(0.0..=LAST_SECOND).contains(&seconds) {
        return Err(Rejected("one of the token's times is out of range"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked above"
    )]
    let millis = (seconds * 1000.0) as u64;
    Ok(Some(Timestamp::from_millis(millis)))
}

#[cfg(test)]
mod tests;
