//! Checks operators: their token as bearer, or the cookie that a browser gets for the token.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use aws_lc_rs::hmac;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HeaderValue, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use parking_lot::RwLock;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::OpsState;
use crate::audit::Event;
use crate::auth::bearer;
use crate::clock::Timestamp;
use crate::domain::Caller;
use crate::limit::{Guard, GuardRules, Offence, Points};
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::layers::host::{host, is_among};
use crate::web::layers::origin::{only_origin, sent_by_foreign_page};

const CHALLENGE: HeaderValue = HeaderValue::from_static("Bearer realm=\"operators\"");
/// The name of the cookie.
const NAME: &str = "operator";
/// How long a browser stays signed in.
const LASTS: Duration = Duration::from_hours(12);

/// The check of the operators' token and of the cookies made for it.
pub(super) struct Entrance {
    lock: RwLock<Lock>,
    /// Names under which pages are served: those of this machine, and `ops.hosts`.
    hosts: Vec<String>,
    /// Counts wrong guesses, apart from the public's offences.
    guesses: Guard,
}

/// What the operators' token opens.
struct Lock {
    /// A hash of the token: compared in constant time, and equally long for every guess.
    token: Digest,
    /// Signs cookies. The key is the token, so that every replica accepts them, and a new token ends them.
    signer: hmac::Key,
}

impl Lock {
    fn of(token: &SecretString) -> Self {
        let token = token.expose_secret();
        Self {
            token: hashed(token),
            signer: hmac::Key::new(hmac::HMAC_SHA256, token.as_bytes()),
        }
    }
}

impl Entrance {
    /// Returns the check of `token`, with pages under the names `hosts`.
    pub(super) fn new(token: &SecretString, hosts: &[String]) -> Self {
        let local = crate::config::LOCALHOST.map(str::to_owned);
        Self {
            lock: RwLock::new(Lock::of(token)),
            hosts: local.iter().chain(hosts).cloned().collect(),
            guesses: guesses(),
        }
    }

    /// Takes another token over. The one before it, and the cookies made for it, open nothing any more.
    pub(super) fn adopt(&self, token: &SecretString) {
        *self.lock.write() = Lock::of(token);
    }

    /// True for the right token.
    pub(super) fn is_token(&self, guess: &str) -> bool {
        let lock = self.lock.read();
        verify_slices_are_equal(hashed(guess).as_ref(), lock.token.as_ref()).is_ok()
    }

    /// True for requests with the right token as bearer.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let (Some(only), None) = (lines.next(), lines.next()) else {
            return false;
        };
        bearer(only.as_bytes()).is_some_and(|guess| self.is_token(guess))
    }

    /// Returns the `Set-Cookie` of a browser that has shown the token. Over https, the cookie never travels in the clear.
    pub(super) fn cookie(&self, now: Timestamp, is_https: bool) -> String {
        let until = now.plus(LASTS).as_seconds();
        let signature = hmac::sign(&self.lock.read().signer, said(until).as_bytes());
        let signature = BASE64.encode(signature);
        set_cookie(&format!("{until}.{signature}"), LASTS, is_https)
    }

    /// True for requests with a cookie that this listener signed, until the cookie expires.
    fn knows(&self, headers: &HeaderMap, now: Timestamp) -> bool {
        let lines = headers.get_all(COOKIE).iter();
        let lines = lines.filter_map(|line| line.to_str().ok());
        let pairs = lines.flat_map(|line| line.split(';'));
        let named = pairs.filter_map(|pair| pair.trim().split_once('='));
        let mut ours = named.filter(|(name, _)| *name == NAME);
        ours.any(|(_, value)| self.is_signed(value, now))
    }

    fn is_signed(&self, value: &str, now: Timestamp) -> bool {
        let Some((until, signature)) = value.split_once('.') else {
            return false;
        };
        let (until, signature) = (until.parse::<u64>(), BASE64.decode(signature));
        let (Ok(until), Ok(signature)) = (until, signature) else {
            return false;
        };
        let said = said(until);
        let is_right = hmac::verify(&self.lock.read().signer, said.as_bytes(), &signature);
        is_right.is_ok() && now.as_seconds() < until
    }
}

/// Returns the `Set-Cookie` that makes a browser forget its cookie.
pub(super) fn no_cookie() -> String {
    set_cookie("", Duration::ZERO, false)
}

fn set_cookie(value: &str, lasts: Duration, is_https: bool) -> String {
    let secure = if is_https { "; Secure" } else { "" };
    let seconds = lasts.as_secs();
    format!("{NAME}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

/// Returns the text that a cookie signs.
fn said(until: u64) -> String {
    format!("an operator until {until}")
}

/// True for requests with a bearer token, right or wrong.
pub(super) fn shows_bearer(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    lines.any(|line| bearer(line.as_bytes()).is_some())
}

fn hashed(token: &str) -> Digest {
    digest(&SHA256, token.as_bytes())
}

/// Returns the guard of the operators' token: ten wrong guesses within ten minutes block an address for
/// fifteen.
fn guesses() -> Guard {
    Guard::new(GuardRules {
        threshold: 10_000,
        decay: Duration::from_mins(10),
        block: Duration::from_mins(15),
        block_max: Duration::from_mins(15),
        capacity: 1024,
        weights: [(Offence::ForgedCredential, Points(1_000))].into(),
    })
}

impl OpsState {
    /// Fails while the address of `caller` is blocked for its guesses.
    pub(super) fn hear(&self, caller: &Caller) -> Result<(), ApiError> {
        let now = self.app.face.clock.tick();
        let blocked = self.entrance.guesses.blocked(caller.party(), now);
        blocked.map_or(
            Ok(()),
            |wait| Err(ApiError::from(Code::Blocked).after(wait)),
        )
    }

    /// Counts a wrong guess. An address that keeps guessing is blocked.
    pub(super) fn note_guess(&self, caller: &Caller) {
        let now = self.app.face.clock.tick();
        let guess = (Offence::ForgedCredential, None);
        if let Some(block) = self.entrance.guesses.offend(caller.party(), guess, now) {
            let details = || json!({ "listener": "ops", "seconds": block.lasts.as_secs() });
            self.app.audit.record(Event::ClientBlocked, caller, details);
        }
        let details = || json!({ "listener": "ops" });
        self.app.audit.record(Event::AuthFailed, caller, details);
    }

    /// True for requests of operators who are signed in.
    pub(super) fn is_signed_in(&self, headers: &HeaderMap) -> bool {
        let now = self.app.face.clock.now();
        self.entrance.admits(headers) || self.entrance.knows(headers, now)
    }
}

/// Lets operators in. The right token always opens, so that nobody's guesses lock an operator out. Every
/// wrong guess gets the same answer, and an address that keeps guessing is blocked.
pub(super) async fn let_in(
    State(ops): State<OpsState>,
    mut request: Request,
    next: Next,
) -> Response {
    if ops.entrance.admits(request.headers()) {
        return next.run(request).await;
    }
    let Some(caller) = request.extensions_mut().remove::<Caller>() else {
        return ApiError::from(Code::Internal).into_response();
    };
    if let Err(blocked) = ops.hear(&caller) {
        return blocked.into_response();
    }
    if request.headers().contains_key(AUTHORIZATION) {
        ops.note_guess(&caller);
    }
    let error = ApiError::from(Code::Unauthorized);
    ([(WWW_AUTHENTICATE, CHALLENGE)], error).into_response()
}

/// Serves pages under known names only, because a name that was rebound to this address would make a stranger's page one
/// of ours; and changes something only for a page of the same origin.
pub(super) async fn at_home(
    State(ops): State<OpsState>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let host = host(request.version(), request.uri(), request.headers())?;
    let host = host.filter(|host| is_among(host, &ops.entrance.hosts));
    let host = host.ok_or(Code::Misdirected)?;
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD);
    if !is_safe && !is_of_origin(request.headers(), &host) {
        return Err(Code::OriginNotAllowed.into());
    }
    Ok(next.run(request).await)
}

/// True for requests of a page that came from `host` itself.
fn is_of_origin(headers: &HeaderMap, host: &Authority) -> bool {
    let origin = only_origin(headers).unwrap_or_default();
    let place = ["http://", "https://"]
        .iter()
        .find_map(|scheme| origin.strip_prefix(scheme));
    let is_ours = place.is_some_and(|place| place.eq_ignore_ascii_case(host.as_str()));
    is_ours && !sent_by_foreign_page(headers)
}
