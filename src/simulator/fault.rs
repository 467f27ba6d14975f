//! Names the failures of the simulated provider, and parses their names.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::http::HeaderValue;

use crate::domain::parse_duration;

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `429`, `429:7`: too many requests, with seconds in `Retry-After`.
    RateLimited {
        /// Seconds in `Retry-After`, if it is sent.
        retry_after: Option<u64>,
    },
    /// `quota`: 429 because the account has no credit.
    QuotaExhausted,
    /// `401`: the API key was revoked.
    KeyRejected,
    /// `403`: the country is not served.
    Forbidden,
    /// `400`: the request was refused.
    BadRequest,
    /// `500` … `599`, `503:1`: the provider fails or is overloaded, with seconds in `Retry-After`.
    ServerError {
        /// The status.
        status: u16,
        /// Seconds in `Retry-After`, if it is sent.
        retry_after: Option<u64>,
    },
    /// `slow:2s`: the ordinary answer after a delay.
    Slow(Duration),
    /// `hang`: no answer; the connection stays open.
    Hang,
    /// `hang-mid-body`: the beginning of an answer, then nothing.
    HangMidBody,
    /// `garbage`: 200 with a body that is declared as JSON and is not.
    Garbage,
    /// `html`: 200 with a web page, as a captive portal answers.
    Html,
    /// `huge`: 200 with 10 MB of JSON.
    Huge,
    /// `expired`: a client secret that has expired already.
    ExpiredSecret,
    /// `missing-value`: the ordinary answer without its client secret.
    MissingValue,
    /// `redirect:URL`: 307 to that address.
    Redirect(String),
    /// `disconnect`: the connection is closed without an answer.
    Disconnect,
    /// `truncated`: the body ends before its announced length.
    Truncated,
}

/// Error for a text that names no fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a fault is one of 400, 401, 403, 429, 429:SECONDS, 500 to 599, 503:SECONDS, quota, slow:DURATION, hang, hang-mid-body, \
     garbage, html, huge, expired, missing-value, redirect:URL, disconnect, truncated"
)]
pub struct FaultError;

/// Faults that are named by a single word.
const WORDS: [(&str, Fault); 14] = [
    ("400", Fault::BadRequest),
    ("401", Fault::KeyRejected),
    ("403", Fault::Forbidden),
    ("429", Fault::RateLimited { retry_after: None }),
    ("quota", Fault::QuotaExhausted),
    ("hang", Fault::Hang),
    ("hang-mid-body", Fault::HangMidBody),
    ("garbage", Fault::Garbage),
    ("html", Fault::Html),
    ("huge", Fault::Huge),
    ("expired", Fault::ExpiredSecret),
    ("missing-value", Fault::MissingValue),
    ("disconnect", Fault::Disconnect),
    ("truncated", Fault::Truncated),
];

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        if let Some((_, fault)) = WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(fault.clone());
        }
        let (word, rest) = text
            .split_once(':')
            .map_or((text, None), |(word, rest)| (word, Some(rest)));
        let seconds = || {
            rest.map(|rest| rest.parse().map_err(|_| FaultError))
                .transpose()
        };
        match (word, rest) {
            ("429", _) => Ok(Self::RateLimited {
                retry_after: seconds()?,
            }),
            ("slow", Some(rest)) => parse_duration(rest).map(Self::Slow).map_err(|_| FaultError),
            ("redirect", Some(rest)) if !rest.is_empty() && HeaderValue::from_str(rest).is_ok() => {
                Ok(Self::Redirect(rest.to_owned()))
            }
            _ => {
                let status = word
                    .parse()
                    .ok()
                    .filter(|status| (500..=599).contains(status));
                Ok(Self::ServerError {
                    status: status.ok_or(FaultError)?,
                    retry_after: seconds()?,
                })
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((word, _)) = WORDS.iter().find(|(_, fault)| fault == self) {
            return formatter.write_str(word);
        }
        match self {
            Self::RateLimited { retry_after } => {
                write!(formatter, "429:{}", retry_after.unwrap_or_default())
            }
            Self::ServerError {
                status,
                retry_after: None,
            } => write!(formatter, "{status}"),
            Self::ServerError {
                status,
                retry_after: Some(seconds),
            } => write!(formatter, "{status}:{seconds}"),
            Self::Slow(delay) if delay.subsec_millis() == 0 => {
                write!(formatter, "slow:{}s", delay.as_secs())
            }
            Self::Slow(delay) => write!(formatter, "slow:{}ms", delay.as_millis()),
            Self::Redirect(target) => write!(formatter, "redirect:{target}"),
            // Every other fault is a word, as the test below proves.
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_written_as_it_is_read() {
        let words = WORDS.iter().map(|(word, _)| *word);
        let others = [
            "429:7",
            "429:0",
            "500",
            "503",
            "599",
            "slow:2s",
            "slow:250ms",
            "redirect:http://127.0.0.1:1/x",
        ];
        for text in words.chain(others) {
            let fault: Fault = text.parse().unwrap();
            assert_eq!(fault.to_string(), text);
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
            "slow",
            "slow:2",
            "redirect:",
            "redirect:a\nb",
            "Hang",
            "hang:1s",
        ] {
            assert_eq!(wrong.parse::<Fault>(), Err(FaultError), "{wrong:?}");
        }
    }
}
