//! Owns asking an issuer for what its claims do not say: once per credential, briefly, and never so that it matters
//! whether it answers.
#![expect(
    clippy::disallowed_methods,
    reason = "waits for another machine on the real clock until its room takes a Clock"
)]

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::timeout;
use url::Url;

use super::Credential;
use super::http::{Ask, FetchError, Headers};
use super::jwks::Means;
use super::profile::{self, Profile};
use super::recent::{Print, Recent};
use super::trust::is_private_enough;
use crate::clock::Tick;
use crate::config::Lookup;

/// Longest time for an answer, waiting for a turn included.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Largest answer.
const LARGEST: usize = 64 * 1024;
/// How long an answer is believed.
const KEPT: Duration = Duration::from_mins(5);
/// How long nobody asks again after there was none.
const REST: Duration = Duration::from_secs(30);
/// Least time between two lines in the log about failures: strangers' credentials do not fill it.
const QUIET: Duration = Duration::from_secs(30);
/// Most answers that are remembered.
const ROOM: usize = 16_384;
/// Most questions at the same time.
const AT_ONCE: usize = 64;
/// What stands for the subject in an address.
const SUBJECT: &str = "{subject}";

/// Whom to ask.
pub(super) struct LookUp {
    settings: Lookup,
    headers: Headers,
    recent: Recent<Arc<Ticket>>,
    turns: Semaphore,
    failures: Mutex<Failures>,
    means: Means,
}

/// Questions that nobody answered.
#[derive(Debug, Default)]
struct Failures {
    all: u64,
    /// Of these, how many the log does not know of.
    untold: u64,
    told: Option<Tick>,
}

impl Failures {
    /// One more, at `now`. How many the log shall be told of, when it is time for that.
    fn count(&mut self, now: Tick) -> Option<u64> {
        self.all += 1;
        self.untold += 1;
        if self.told.is_some_and(|told| now.since(told) < QUIET) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// Whose credential it is.
pub(super) struct About<'a> {
    pub(super) issuer: &'a str,
    pub(super) subject: &'a str,
    pub(super) credential: &'a Credential,
    pub(super) print: Print,
}

/// One question, which everybody who has it waits for.
#[derive(Debug, Default)]
struct Ticket(OnceCell<Answer>);

#[derive(Clone, Debug)]
struct Answer {
    profile: Profile,
    until: Tick,
}

impl LookUp {
    /// As `settings` say. Asks nobody yet.
    pub(super) fn new(settings: &Lookup, means: &Means) -> Result<Self, &'static str> {
        let address = settings.url.replace(SUBJECT, "subject");
        let address = Url::parse(&address).map_err(|_| "the address of its look-up is none")?;
        is_private_enough(&address)?;
        let headers = Headers::of(&settings.headers);
        Ok(Self {
            settings: settings.clone(),
            headers: headers.ok_or("the headers of its look-up cannot be sent")?,
            recent: Recent::with_room_for(ROOM),
            turns: Semaphore::new(AT_ONCE),
            failures: Mutex::default(),
            means: means.clone(),
        })
    }

    /// Whether it could complete `profile`.
    pub(super) fn completes(&self, profile: &Profile) -> bool {
        (profile.role.is_none() && self.settings.role_pointer.is_some())
            || (profile.name.is_none() && self.settings.name_pointer.is_some())
    }

    /// What is known there. Nothing, when nobody answers.
    ///
    /// When the caller leaves while it asks, the next one who waits asks.
    pub(super) async fn profile(&self, about: About<'_>) -> Profile {
        let now = self.means.clock.tick();
        let is_good = |ticket: &Arc<Ticket>| ticket.0.get().is_none_or(|answer| now < answer.until);
        let ticket = self
            .recent
            .get_or_insert(about.print, is_good, Arc::default);
        let answer = ticket.0.get_or_init(|| self.answer(&about)).await;
        answer.profile.clone()
    }

    /// How often nobody answered.
    pub(super) fn failed(&self) -> u64 {
        self.failures().all
    }

    /// A panic elsewhere leaves them usable: they are numbers.
    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, about: &About<'_>) -> Answer {
        let asked = timeout(TIMEOUT, self.ask(about)).await;
        let asked = asked.unwrap_or(Err(FetchError::TimedOut));
        let now = self.means.clock.tick();
        match asked {
            Ok(document) => Answer {
                profile: Profile {
                    role: profile::role(&document, self.settings.role_pointer.as_deref()),
                    name: profile::name(&document, self.settings.name_pointer.as_deref()),
                },
                until: now.plus(KEPT),
            },
            Err(error) => {
                let untold = self.failures().count(now);
                if let Some(number) = untold {
                    let issuer = about.issuer;
                    tracing::warn!(issuer, %error, number, "look-ups failed: the identities have the default role");
                }
                Answer {
                    profile: Profile::default(),
                    until: now.plus(REST),
                }
            }
        }
    }

    async fn ask(&self, about: &About<'_>) -> Result<Value, FetchError> {
        let url = address(&self.settings.url, about.subject).ok_or(FetchError::NotUnderstood)?;
        let _turn = self
            .turns
            .acquire()
            .await
            .map_err(|_| FetchError::Unreachable)?;
        let ask = Ask {
            url,
            credential: Some(about.credential),
            headers: self.headers.clone(),
            timeout: TIMEOUT,
            most: LARGEST,
        };
        let body = self.means.http.get(ask).await?;
        serde_json::from_slice(&body).map_err(|_| FetchError::NotUnderstood)
    }
}

/// The address to ask about `subject`. `None` for the two subjects that would be a way up in it: no encoding hides dots
/// (WHATWG URL, "double-dot path segment").
fn address(template: &str, subject: &str) -> Option<Url> {
    if matches!(subject, "." | "..") && template.contains(SUBJECT) {
        return None;
    }
    let mut encoded = String::with_capacity(subject.len());
    for byte in subject.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").ok()?;
        }
    }
    Url::parse(&template.replace(SUBJECT, &encoded)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_one_piece_of_an_address() {
        let at = |subject| address("https://id.example/rest?id=eq.{subject}&x=1", subject);
        let text = |subject| at(subject).unwrap().to_string();
        let ana = "https://id.example/rest?id=eq.auth0%7Cana&x=1";
        assert_eq!(text("auth0|ana"), ana);
        let attack = "https://id.example/rest?id=eq.a%26id%3D1%23%2F..%0D%0A%25%C3%A9&x=1";
        assert_eq!(text("a&id=1#/..\r\n%é"), attack);
        let at = |subject| address("https://id.example/users/{subject}/role", subject);
        assert_eq!(at("../admin").unwrap().path(), "/users/..%2Fadmin/role");
        assert_eq!((at(".."), at(".")), (None, None));
        let fixed = address("https://id.example/userinfo", "..").unwrap();
        assert_eq!(fixed.path(), "/userinfo");
    }
}
