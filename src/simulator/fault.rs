//! Parses the names of failures, and lets the failures happen.

use std::future::pending;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::refusal::Refusal;
use super::wire;
use crate::clock::Clock;
use crate::domain::parse_duration;

/// A failure and its name.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Fault {
    name: String,
    failure: Failure,
}

/// What happens to a request.
#[derive(Clone, Debug)]
enum Failure {
    /// The request is refused in the provider's envelope.
    Refuse(Refusal),
    /// The answer is broken.
    Break(fn() -> Response),
    /// The answer is 307 to this address.
    Redirect(HeaderValue),
    /// The ordinary answer comes after a delay.
    Delay(Duration),
    /// No answer comes, and the connection stays open.
    Hang,
    /// The ordinary answer is changed.
    Twist(Twist),
}

/// A change of the ordinary answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Twist {
    /// The client secret has expired already.
    Expired,
    /// The client secret is missing.
    MissingValue,
    /// The answer to an offer has this `Location`, or none.
    Location(Option<HeaderValue>),
    /// The answer to an offer has this body.
    Answer(Answer),
    /// The answer to an offer is 200 instead of 201.
    NotCreated,
    /// The hang-up is confirmed and ends nothing.
    NoEffect,
    /// The hang-up ends the call, and the real peer vanishes instead of closing its connection.
    Silent,
    /// A transcript has no figures of use, and a stream of one has no last event.
    NoUsage,
    /// The call is created, and the answer to its offer is this refusal.
    Afterwards(Refusal),
    /// The call is created, and the answer to its offer comes after this time.
    Late(Duration),
}

impl Twist {
    /// Waits or refuses after a call was created, where the twist says so.
    pub(super) async fn after_creation(&self, clock: &dyn Clock) -> Result<(), Refusal> {
        match self {
            Self::Afterwards(refusal) => return Err(refusal.clone()),
            Self::Late(delay) => clock.sleep(*delay).await,
            _ => {}
        }
        Ok(())
    }
}

/// What is wrong with the body of an answer to an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The body is empty.
    Empty,
    /// The body has 2 MiB.
    Huge,
    /// The body never comes.
    Hangs,
    /// The connection breaks before the body is complete.
    Cut,
}

/// Error for a text that names no fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a fault is one of 400, 401, 403, 429, 429:SECONDS, 500 to 599, 503:SECONDS, quota, slow:DURATION, scope:NAME, hang, \
     hang-mid-body, garbage, html, huge, expired, missing-value, redirect:URL, disconnect, truncated"
)]
pub struct FaultError;

impl Fault {
    /// Fails, or returns the change of the ordinary answer.
    pub(super) async fn happen(self, clock: &dyn Clock) -> Result<Option<Twist>, Response> {
        match self.failure {
            Failure::Refuse(refusal) => Err(refusal.into()),
            Failure::Break(answer) => Err(answer()),
            Failure::Redirect(target) => {
                let location = [(header::LOCATION, target)];
                Err((StatusCode::TEMPORARY_REDIRECT, location).into_response())
            }
            Failure::Delay(delay) => {
                clock.sleep(delay).await;
                Ok(None)
            }
            Failure::Hang => pending().await,
            Failure::Twist(twist) => Ok(Some(twist)),
        }
    }
}

impl TryFrom<String> for Fault {
    type Error = FaultError;

    fn try_from(name: String) -> Result<Self, FaultError> {
        let failure = match name.split_once(':') {
            None => failure(&name),
            Some((word, argument)) => failure_with(word, argument),
        };
        let failure = failure.ok_or(FaultError)?;
        Ok(Self { name, failure })
    }
}

impl From<Fault> for String {
    fn from(fault: Fault) -> Self {
        fault.name
    }
}

fn failure(word: &str) -> Option<Failure> {
    Some(match word {
        "hang" => Failure::Hang,
        "hang-mid-body" => Failure::Break(wire::hang_mid_body),
        "garbage" => Failure::Break(wire::garbage),
        "html" => Failure::Break(wire::html),
        "huge" => Failure::Break(wire::huge),
        "disconnect" => Failure::Break(wire::disconnect),
        "truncated" => Failure::Break(wire::truncated),
        "429-bare" => Failure::Break(wire::too_many),
        "expired" => Failure::Twist(Twist::Expired),
        "missing-value" => Failure::Twist(Twist::MissingValue),
        "no-location" => Failure::Twist(Twist::Location(None)),
        "not-created" => Failure::Twist(Twist::NotCreated),
        "no-effect" => Failure::Twist(Twist::NoEffect),
        "silent" => Failure::Twist(Twist::Silent),
        "no-usage" => Failure::Twist(Twist::NoUsage),
        "empty-answer" => Failure::Twist(Twist::Answer(Answer::Empty)),
        "huge-answer" => Failure::Twist(Twist::Answer(Answer::Huge)),
        "hang-answer" => Failure::Twist(Twist::Answer(Answer::Hangs)),
        "cut-answer" => Failure::Twist(Twist::Answer(Answer::Cut)),
        _ => match word.strip_prefix("created-") {
            Some(word) => Failure::Twist(Twist::Afterwards(refusal(word, None)?)),
            None => Failure::Refuse(refusal(word, None)?),
        },
    })
}

fn failure_with(word: &str, argument: &str) -> Option<Failure> {
    Some(match word {
        "slow" => Failure::Delay(parse_duration(argument).ok()?),
        "late-answer" => Failure::Twist(Twist::Late(parse_duration(argument).ok()?)),
        "scope" if !argument.is_empty() => Failure::Refuse(Refusal::missing_scope(argument)),
        "location" => {
            let location = HeaderValue::from_str(argument).ok()?;
            Failure::Twist(Twist::Location(Some(location)))
        }
        "redirect" if argument.is_empty() => return None,
        "redirect" => Failure::Redirect(HeaderValue::from_str(argument).ok()?),
        _ => Failure::Refuse(refusal(word, Some(argument.parse().ok()?))?),
    })
}

/// Returns the refusal of this name. Only some come with seconds to wait.
fn refusal(word: &str, retry_after: Option<u64>) -> Option<Refusal> {
    const TOLD: &str = "The simulated provider was told to refuse this request.";
    const LIMITED: &str = "Rate limit reached for requests. Please try again later.";
    const NO_CREDIT: &str =
        "You exceeded your current quota, please check your plan and billing details.";
    const BROKEN: &str = "The server had an error while processing your request. Sorry about that!";
    const COUNTRY: &str = "Country, region, or territory not supported";
    let mut refusal = match (word, retry_after) {
        ("400", None) => Refusal::new(400, "invalid_value", TOLD),
        ("401", None) => Refusal::wrong_key("sk-simulated-and-revoked"),
        ("403", None) => Refusal::new(403, "unsupported_country_region_territory", COUNTRY),
        ("429", _) => Refusal::new(429, "rate_limit_exceeded", LIMITED),
        ("quota", None) => Refusal::new(429, "insufficient_quota", NO_CREDIT),
        ("no-model", None) => Refusal::new(403, "model_not_found", TOLD),
        ("unknown", None) => Refusal::no_call(404),
        ("unknown-400", None) => Refusal::no_call(400),
        ("no-session", None) => Refusal::no_session(),
        ("conflict", None) => Refusal::new(409, "call_already_ended", TOLD),
        ("503", _) => Refusal::new(503, "server_is_overloaded", BROKEN),
        _ => {
            let status = word.parse().ok();
            let status = status.filter(|status| (500..=599).contains(status))?;
            Refusal::new(status, None, BROKEN)
        }
    };
    refusal.kind = match word {
        "400" | "401" | "no-model" | "unknown" | "unknown-400" | "no-session" | "conflict" => {
            refusal.kind
        }
        "403" => "request_forbidden",
        "429" => "requests",
        "quota" => "insufficient_quota",
        _ => "server_error",
    };
    refusal.retry_after = retry_after;
    Some(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str) -> Result<Fault, FaultError> {
        name.to_owned().try_into()
    }

    #[test]
    fn every_name_of_a_fault_is_accepted_and_kept() {
        for name in [
            "400",
            "401",
            "403",
            "429",
            "quota",
            "hang",
            "hang-mid-body",
            "garbage",
            "html",
            "huge",
            "expired",
            "missing-value",
            "disconnect",
            "truncated",
            "429:7",
            "429:0",
            "500",
            "503",
            "503:1",
            "599",
            "no-model",
            "unknown",
            "unknown-400",
            "conflict",
            "no-location",
            "location:/evil/../x",
            "not-created",
            "empty-answer",
            "huge-answer",
            "hang-answer",
            "cut-answer",
            "no-effect",
            "silent",
            "no-usage",
            "429-bare",
            "no-session",
            "created-503",
            "late-answer:2s",
            "slow:2s",
            "slow:250ms",
            "scope:model.request",
            "redirect:http://127.0.0.1:1/x",
        ] {
            let fault = parse(name).unwrap();
            assert_eq!(String::from(fault), name);
        }
    }

    #[test]
    fn what_is_not_a_fault_is_refused() {
        for wrong in [
            "",
            "200",
            "404",
            "499",
            "600",
            "429:",
            "429:-1",
            "429:soon",
            "401:7",
            "slow",
            "scope",
            "scope:",
            "slow:2",
            "redirect:",
            "redirect:a\nb",
            "Hang",
            "created-200",
            "late-answer",
            "hang:1s",
        ] {
            assert_eq!(parse(wrong).err(), Some(FaultError), "{wrong:?}");
        }
    }
}
