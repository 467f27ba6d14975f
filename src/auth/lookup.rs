//! Asks an issuer for the role or name that claims lack: briefly, and never so that a failure refuses
//! the caller.

use std::fmt::Write as _;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::Semaphore;
use url::Url;

use super::Credential;
use super::http::{FetchError, Fetcher, Headers, headers, send};
use super::json;
use super::profile::{Pointers, Profile};
use crate::clock::Tick;
use crate::config::Lookup;

/// Longest time for an answer, including the wait for one of [`MAX_AT_ONCE`] places.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Largest accepted answer, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// How long an answer is used.
const KEPT: Duration = Duration::from_mins(5);
/// How long a failed look-up is not repeated.
const REST: Duration = Duration::from_secs(30);
/// Shortest time between two log lines about failures: strangers' tokens must not fill the log.
const QUIET: Duration = Duration::from_secs(30);
/// Most look-ups at the same time.
const MAX_AT_ONCE: usize = 64;
/// Placeholder of the subject in an address.
const SUBJECT: &str = "{subject}";
/// Asks one issuer for profiles.
pub(super) struct LookUp {
    url: String,
    headers: Headers,
    pointers: Pointers,
    places: Semaphore,
    failures: Mutex<Failures>,
    fetcher: Fetcher,
}

/// Look-ups that failed since the last log line.
#[derive(Debug, Default)]
struct Failures {
    count: u64,
    logged: Option<Tick>,
}

impl Failures {
    /// Counts one more at `now`. Returns the number to log, when a line is due.
    fn add(&mut self, now: Tick) -> Option<u64> {
        self.count += 1;
        if self.logged.is_some_and(|logged| now.since(logged) < QUIET) {
            return None;
        }
        self.logged = Some(now);
        Some(std::mem::take(&mut self.count))
    }
}

impl LookUp {
    /// Returns the look-up that `settings` describe. Asks nothing yet.
    pub(super) fn new(
        settings: &Lookup,
        pointers: Pointers,
        fetcher: &Fetcher,
    ) -> Result<Self, &'static str> {
        let address = settings.url.replace(SUBJECT, "subject");
        let address = Url::parse(&address).map_err(|_| "its lookup_url is no address")?;
        fetcher.admit(&address)?;
        let headers = headers(&settings.headers).ok_or("its lookup_headers cannot be sent")?;
        Ok(Self {
            url: settings.url.clone(),
            headers,
            pointers,
            places: Semaphore::new(MAX_AT_ONCE),
            failures: Mutex::default(),
            fetcher: fetcher.clone(),
        })
    }

    /// Returns whether the answer may complete `profile`.
    pub(super) fn completes(&self, profile: &Profile) -> bool {
        (profile.role.is_none() && self.pointers.role.is_some())
            || (profile.name.is_none() && self.pointers.name.is_some())
    }

    /// Returns the issuer's profile of the caller, or an empty one when the look-up fails, and how long
    /// it may be used.
    pub(super) async fn profile(
        &self,
        subject: &str,
        credential: &Credential,
    ) -> (Profile, Duration) {
        let clock = &self.fetcher.clock;
        let asked = clock.timeout(TIMEOUT, self.ask(subject, credential)).await;
        match asked.unwrap_or(Err(FetchError::TimedOut)) {
            Ok(document) => (self.pointers.read(&document), KEPT),
            Err(error) => {
                let due = self.failures.lock().add(clock.tick());
                if let Some(number) = due {
                    let issuer = &*self.pointers.issuer;
                    tracing::warn!(
                        issuer,
                        %error,
                        number,
                        "look-ups failed; their identities have the default role for 30 s"
                    );
                }
                (Profile::default(), REST)
            }
        }
    }

    async fn ask(&self, subject: &str, credential: &Credential) -> Result<Value, FetchError> {
        let url = address(&self.url, subject).ok_or(FetchError::NotUnderstood)?;
        let place = self.places.acquire().await;
        let _place = place.map_err(|_| FetchError::Unreachable)?;
        let request = self.fetcher.get(url, TIMEOUT);
        let request = request.headers(self.headers.clone());
        let body = send(request.bearer_auth(credential.expose()), MAX_BYTES).await?;
        json::value(&body).ok_or(FetchError::NotUnderstood)
    }
}

/// Returns the address to ask about `subject`; `None` for `.` and `..`, which change the path: no
/// encoding hides dots (WHATWG URL, "double-dot path segment").
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
    fn a_subject_is_encoded_as_one_part_of_an_address() {
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
