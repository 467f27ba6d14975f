//! Checks claims: issuer, subject, audience and times.

use std::time::Duration;

use serde_json::Value;

use super::AuthError::{self, Rejected};
use super::require;
use crate::clock::Timestamp;
use crate::config::Issuer;

/// Tolerated difference between an issuer's clock and ours.
pub(super) const LEEWAY: Duration = Duration::from_secs(30);
/// Longest accepted age of a token, and longest accepted rest of its life when it has no `iat`: the
/// longest life that common issuers let operators choose.
const MAX_AGE: Duration = Duration::from_hours(30 * 24);
/// Last accepted time since the epoch: the end of the year 9999.
const LAST_MOMENT: Duration = Duration::from_secs(253_402_300_799);
/// Longest subject, in characters (`OpenID` Connect Core §2).
const MAX_SUBJECT_LENGTH: usize = 255;
/// Longest issuer, in bytes.
const MAX_ISSUER_LENGTH: usize = 512;

/// Returns the issuer that the claims name, by which keys are chosen. Not verified yet.
pub(super) fn issuer(claims: &Value) -> Result<&str, AuthError> {
    let text = text(claims, "iss", "the token has no issuer (iss)")?;
    require(
        text.len() <= MAX_ISSUER_LENGTH,
        "the token's issuer is too long",
    )?;
    Ok(text)
}

/// Returns the subject of claims that are for us by the rules of their issuer (RFC 7519 §4.1,
/// RFC 8725 §3).
pub(super) fn subject(claims: &Value, rules: &Issuer) -> Result<Box<str>, AuthError> {
    let pointer = rules.subject_pointer.as_deref().unwrap_or("/sub");
    let subject: Box<str> = match claims.pointer(pointer) {
        Some(Value::String(text)) => Ok(text.as_str().into()),
        Some(Value::Number(number)) if !number.is_f64() => Ok(number.to_string().into_boxed_str()),
        Some(_) => Err(Rejected(
            "the token's subject is neither text nor a whole number",
        )),
        None => Err(Rejected(
            "the token has no subject (sub, or the claim at subject_pointer)",
        )),
    }?;
    let is_short = (1..=MAX_SUBJECT_LENGTH).contains(&subject.chars().count());
    require(is_short, "the token's subject is empty or too long")?;
    let is_clean = !subject.contains(char::is_control);
    require(is_clean, "the token's subject holds control characters")?;
    is_for_us(claims, rules)?;
    let holds = |(pointer, value): &(String, String)| {
        let claim = claims.pointer(pointer);
        claim.is_some_and(|claim| reads(claim, value))
    };
    let has_required = rules.required_claims.iter().all(holds);
    require(has_required, "the token lacks one of required_claims")?;
    let has_refused = rules.refused_claims.iter().any(holds);
    require(
        !has_refused,
        "the token has one of refused_claims, like an anonymous sign-in",
    )?;
    Ok(subject)
}

/// Returns the first moment at which claims that are valid at `now` are so no longer.
pub(super) fn end(claims: &Value, now: Timestamp) -> Result<Timestamp, AuthError> {
    let latest = now.plus(LEEWAY);
    let ends = time(claims, "exp")?.ok_or(Rejected("the token never expires (no exp)"))?;
    let ends = ends.plus(LEEWAY);
    require(now < ends, "the token has expired")?;
    let begins = time(claims, "nbf")?;
    let has_begun = begins.is_none_or(|begins| begins <= latest);
    require(has_begun, "the token is not valid yet (nbf)")?;
    if let Some(issued) = time(claims, "iat")? {
        require(
            issued <= latest,
            "the token was issued in the future (iat): compare the clocks",
        )?;
        let is_young = now.since(issued) <= MAX_AGE + LEEWAY;
        require(is_young, "the token was issued more than 30 days ago")?;
    } else {
        let ends_soon = ends <= now.plus(MAX_AGE + LEEWAY);
        require(
            ends_soon,
            "the token has no iat and is valid for more than 30 days",
        )?;
    }
    Ok(ends)
}

fn is_for_us(claims: &Value, rules: &Issuer) -> Result<(), AuthError> {
    let audience = texts(claims.get("aud"))?;
    let is_meant = |ours: &String| audience.contains(&ours.as_str());
    let is_open = rules.audience.is_empty() || rules.audience.iter().any(is_meant);
    require(is_open, "the token is for another audience (aud)")?;
    let is_exempt = rules.azp_optional && claims.get("azp").is_none();
    if rules.authorized_parties.is_empty() || is_exempt {
        return Ok(());
    }
    let without =
        "the token names no authorized party (azp): set azp_optional if native apps may call";
    let party = text(claims, "azp", without)?;
    let is_ours = rules.authorized_parties.iter().any(|ours| ours == party)
        || rules.party_patterns.iter().any(|ours| ours.fits(party));
    require(is_ours, "the token was issued to another party (azp)")
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
    let wrong = || Rejected("the token's audience is neither text nor a list of texts");
    match claim {
        None => Ok(Vec::new()),
        Some(Value::String(one)) => Ok(vec![one]),
        Some(Value::Array(many)) => many.iter().map(|one| one.as_str().ok_or(wrong())).collect(),
        Some(_) => Err(wrong()),
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
    let since_epoch = Duration::try_from_secs_f64(seconds).ok();
    let since_epoch = since_epoch.filter(|moment| *moment <= LAST_MOMENT);
    let since_epoch = since_epoch.ok_or(Rejected("one of the token's times is out of range"))?;
    Ok(Some(Timestamp::from_millis(0).plus(since_epoch)))
}

#[cfg(test)]
mod tests;
