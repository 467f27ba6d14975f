//! Grants: every use is reserved before its mint and settled after it.

use std::sync::Arc;
use std::time::Duration;

use super::audited::note_persona;
use super::call::MAX_SESSIONS;
use super::{BrokerError, Inner, Latest};
use crate::domain::{
    Caller, ClientSecret, ConnectMode, EntryId, Intent, Kind, KnownTicket, Language, Outcome,
    Party, Persona, PersonaName, Quota, Session, SessionChange, SessionId, SessionKey, Settlement,
    Ticket,
};
use crate::records::{Advance, CallBound, Exceeded, RecordsError, ReserveError, Settled};
use crate::upstream::{self, Facts, MintOrder, Payer, Turn, UpstreamError};

/// How long a used-up quota is remembered. Short, because a failed mint may give a place back.
const SPENT_FOR: Duration = Duration::from_secs(10);

/// A session, and a client secret that was minted under it.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Whether this grant opened the session or refreshed it.
    pub kind: Kind,
    /// The id with which the caller refreshes the session.
    pub session_id: SessionId,
    /// The entry of this use.
    pub entry: EntryId,
    /// How the page connects.
    pub mode: ConnectMode,
    /// The client secret in direct mode; in other modes the ticket.
    pub secret: ClientSecret,
    /// The persona of the client secret.
    pub persona: PersonaName,
    /// The time that the upstream took.
    pub upstream_took: Duration,
}

/// One use that is to be accounted for.
pub(super) struct Use<'a> {
    pub(super) caller: &'a Arc<Caller>,
    pub(super) persona: &'a Persona,
    pub(super) mode: ConnectMode,
    pub(super) language: Option<&'a Language>,
    /// The lifetime that the caller asks for. It can only shorten what the operator allows.
    pub(super) lifetime: Option<Duration>,
    pub(super) session_id: SessionId,
    pub(super) act: Act,
}

/// What the use does to its session.
pub(super) enum Act {
    /// Mints a client secret, and opens the session if there is one to be refreshed later.
    Mint(Option<Box<Session>>),
    /// Refreshes the session.
    Refresh,
}

impl Act {
    const fn kind(&self) -> Kind {
        match self {
            Self::Mint(_) => Kind::Mint,
            Self::Refresh => Kind::Refresh,
        }
    }
}

/// What is recorded of a use, what becomes of its session, and the ticket that was minted.
type Effect = (Outcome, SessionChange, Option<Box<KnownTicket>>);

/// A client secret, or a ticket in its place.
struct Minted {
    secret: ClientSecret,
    ticket: Option<Box<KnownTicket>>,
}

impl Inner {
    /// Records the intent, mints, and records the outcome. Nothing is minted before its intent is recorded, and nothing is
    /// delivered before its outcome is recorded.
    pub(super) async fn grant(&self, used: Use<'_>) -> Result<Arc<Grant>, BrokerError> {
        let (caller, kind) = (used.caller, used.act.kind());
        let granted = self.account_for(used).await;
        self.count_grant((kind, caller.role()), &granted);
        granted
    }

    async fn account_for(&self, used: Use<'_>) -> Result<Arc<Grant>, BrokerError> {
        let (parts, kind) = (&self.parts, used.act.kind());
        note_persona(&used.persona.name);
        if let Some(quota) = self.spent_quota(used.caller, kind) {
            return Err(self.quota_exceeded(quota));
        }
        // Refusals for lack of room come before the intent: there may be very many, and they must write nothing.
        let turn = self.turn(&used).await?;
        let key = SessionKey::of(&used.session_id);
        let reserving = parts.clock.tick();
        let entry = self.reserve(&used, key).await?;
        let (minted, took) = match turn {
            Some(turn) => self.mint(&used, turn).await,
            None => (Ok(self.mint_ticket(&used)), Duration::ZERO),
        };
        let opens = matches!(used.act, Act::Mint(Some(_)));
        // The database dates a refresh when it reserves it, and a new session when it settles it.
        let since = if opens { parts.clock.tick() } else { reserving };
        let outcome = self.outcome(&minted, used.act, key);
        let settled = self.settle(entry, took, outcome).await;
        let minted = minted.map_err(|error| {
            // The caller gets the same answer either way. An intent that stays without an outcome counts as uncertain.
            settled
                .as_ref()
                .err()
                .inspect(|error| self.note_records(error));
            BrokerError::mint(error, took)
        })?;
        let opened = match settled.map_err(BrokerError::NotSettled)? {
            Settled::Ended => return Err(BrokerError::Ended),
            Settled::Opened(opened) => Some(opened),
            Settled::Recorded => None,
        };
        let grant = Arc::new(Grant {
            kind,
            session_id: used.session_id,
            entry,
            mode: used.mode,
            secret: minted.secret,
            persona: used.persona.name.clone(),
            upstream_took: took,
        });
        if minted.ticket.is_none() && (opens || kind == Kind::Refresh) {
            let (owner, grant) = (used.caller.party(), Arc::clone(&grant));
            let latest = Latest {
                owner,
                grant,
                since,
            };
            self.latest.insert(key, latest);
        }
        if let Some(opened) = opened {
            self.sessions.opened(key, opened);
        }
        Ok(grant)
    }

    /// Waits for a turn at the upstream. Returns `None` for a mint that needs none.
    async fn turn(&self, used: &Use<'_>) -> Result<Option<Turn>, BrokerError> {
        if used.mode != ConnectMode::Direct {
            return Ok(None);
        }
        let (clock, asked) = (&self.parts.clock, self.parts.clock.tick());
        let payer = Payer::of(used.caller, &used.persona.name);
        let turn = self.parts.upstream.turn(used.caller.crowd(), payer).await;
        turn.map(Some)
            .map_err(|error| BrokerError::mint(error, clock.tick().since(asked)))
    }

    /// Mints one client secret. Returns the time that the upstream took, too.
    async fn mint(&self, used: &Use<'_>, turn: Turn) -> (Result<Minted, UpstreamError>, Duration) {
        let listener = used.caller.as_listener(used.language);
        let order = MintOrder {
            session: used.persona.session_for(&listener),
            lifetime: self.lifetime(used),
            behalf: used.caller.party(),
        };
        let started = self.parts.clock.tick();
        let minted = self.parts.upstream.mint(&order, turn).await;
        let ticket = None;
        let minted = minted.map(|secret| Minted { secret, ticket });
        (minted, self.parts.clock.tick().since(started))
    }

    /// Mints one ticket. Sends nothing to the provider.
    fn mint_ticket(&self, used: &Use<'_>) -> Minted {
        let (ticket, clock) = (Ticket::random(), &self.parts.clock);
        let (caller, lifetime) = (used.caller, self.lifetime(used));
        let identity = caller.identity.as_deref();
        let known = KnownTicket {
            hash: ticket.hash(),
            mode: used.mode,
            account: identity.map(|known| known.account.clone()),
            role: identity.and_then(|known| known.role.clone()),
            name: identity
                .and_then(|known| known.name.as_ref())
                .and_then(|name| ticket.seal(name)),
            persona: used.persona.name.clone(),
            language: used.language.cloned(),
            origin: caller.origin.clone(),
            expires_at: clock.now().plus(lifetime),
            uses: 0,
            entry: None,
        };
        let session = used.persona.session_for(&caller.as_listener(used.language));
        let ends = (known.expires_at, clock.tick().plus(lifetime));
        Minted {
            secret: ClientSecret::new(
                ticket.into_secret(),
                ends.0,
                ends.1,
                upstream::summary(&session),
            ),
            ticket: Some(Box::new(known)),
        }
    }

    /// Returns the lifetime of a client secret or a ticket: the requested one, at most the longest that is allowed.
    fn lifetime(&self, used: &Use<'_>) -> Duration {
        let allowed = Duration::from_secs(self.rules.session.token_seconds.into());
        used.lifetime.map_or(allowed, |asked| asked.min(allowed))
    }

    /// Returns the caller's quota, if the use has a place in it and the quota was found used up a moment ago.
    pub(super) fn spent_quota(&self, caller: &Caller, kind: Kind) -> Option<Exceeded> {
        let identity = caller.identity.as_deref()?;
        let (quota, since) = self.spent.get(&identity.key)?;
        let clock = &self.parts.clock;
        let is_fresh = clock.tick().since(since) < SPENT_FOR && clock.now() < quota.resets_at;
        (is_fresh && kind.is_session()).then_some(quota)
    }

    pub(super) fn quota_exceeded(&self, quota: Exceeded) -> BrokerError {
        let wait = quota.resets_at.since(self.parts.clock.now());
        BrokerError::QuotaExceeded { quota, wait }
    }

    /// Records a use that is about to happen. A refresh moves its session on in the same transaction.
    async fn reserve(&self, used: &Use<'_>, key: SessionKey) -> Result<EntryId, BrokerError> {
        let records = &self.parts.records;
        let of = (used.act.kind(), key);
        let intent = self.intent(used.caller, &used.persona.name, of);
        let entry = intent.id;
        let reserved = match used.act {
            Act::Mint(_) => records.reserve(intent).await,
            Act::Refresh => {
                let asked = Advance {
                    caller: Arc::clone(used.caller),
                    rules: self.refresh_rules,
                };
                let moved = records.advance(intent, asked).await;
                moved.map(|moved| self.sessions.learn(key, moved))
            }
        };
        reserved
            .map_err(|error| self.not_reserved(used.caller, error))
            // The cache is stale: it holds a session that was not advanced.
            .inspect_err(|_| self.sessions.forget(key))?;
        Ok(entry)
    }

    /// Returns why a use was not reserved. A quota that is used up is remembered.
    pub(super) fn not_reserved(&self, caller: &Caller, error: ReserveError) -> BrokerError {
        match error {
            ReserveError::QuotaExceeded(quota) => {
                if let Some(identity) = caller.identity.as_deref() {
                    let now = self.parts.clock.tick();
                    self.spent.insert(identity.key, (quota, now));
                }
                self.quota_exceeded(quota)
            }
            ReserveError::TooManyCalls(bound) => {
                let has_own = self.quota(caller).live_calls.is_some();
                BrokerError::TooManyCalls(setting(bound, caller, has_own))
            }
            ReserveError::Ticket(refusal) => BrokerError::Ticket(refusal),
            ReserveError::Repeated(entry) => BrokerError::Repeated(entry),
            ReserveError::Exhausted(budget) => {
                let wait = budget.resets_at.since(self.parts.clock.now());
                BrokerError::Exhausted { budget, wait }
            }
            ReserveError::Unknown => BrokerError::UnknownSession,
            ReserveError::Refused(refusal) => BrokerError::Refused(refusal),
            ReserveError::Unavailable(error) => BrokerError::NotRecorded(error),
        }
    }

    /// Returns the intent of a use of this kind by `caller`.
    pub(super) fn intent(
        &self,
        caller: &Caller,
        persona: &PersonaName,
        (kind, session): (Kind, SessionKey),
    ) -> Intent {
        let now = self.parts.clock.now();
        let identity = caller.identity.as_deref();
        Intent {
            id: EntryId::new(now),
            at: now,
            kind,
            account: identity.map(|known| known.account.clone()),
            role: identity.and_then(|known| known.role.clone()),
            persona: persona.clone(),
            network: caller.neighbourhood(),
            origin: caller.origin.clone(),
            session,
            request_id: caller.request_id.clone(),
            quota: if kind.is_session() {
                self.quota(caller)
            } else {
                Quota::default()
            },
        }
    }

    /// Returns the quota of `caller`. A caller without identity has none.
    pub(super) fn quota(&self, caller: &Caller) -> Quota {
        let identity = caller.identity.as_deref();
        identity.map_or_else(Quota::default, |known| {
            let agreement = self.agreement();
            agreement.quotas.of(&known.account, known.role.as_deref())
        })
    }

    /// Returns what is recorded of a mint, and what becomes of its session. The session opens with the outcome of its mint;
    /// a refresh that certainly minted nothing is given back.
    fn outcome(&self, minted: &Result<Minted, UpstreamError>, act: Act, key: SessionKey) -> Effect {
        let outcome = match minted {
            Ok(Minted { secret, .. }) => Outcome::Minted {
                expires_at: secret.expires_at,
                model: secret.upstream_session.model.as_deref().map(Into::into),
                upstream_request: secret.upstream_request.clone(),
            },
            Err(error) => {
                let Facts {
                    code, is_definite, ..
                } = error.facts();
                if is_definite {
                    Outcome::Failed { code }
                } else {
                    Outcome::Uncertain { code }
                }
            }
        };
        let change = match (act, &outcome) {
            (Act::Mint(Some(session)), Outcome::Minted { .. }) => SessionChange::Open {
                key,
                most: match session.owner {
                    Party::Identity(_) => self.rules.session.max_live,
                    Party::Network(_) => self.rules.session.max_live_network,
                },
                session,
            },
            (Act::Refresh, Outcome::Failed { .. }) => SessionChange::GiveBack(key),
            (Act::Mint(_) | Act::Refresh, _) => SessionChange::Keep,
        };
        let ticket = minted
            .as_ref()
            .ok()
            .and_then(|minted| minted.ticket.clone());
        (outcome, change, ticket)
    }

    pub(super) async fn settle(
        &self,
        id: EntryId,
        took: Duration,
        (outcome, session, ticket): Effect,
    ) -> Result<Settled, RecordsError> {
        let settlement = Settlement {
            id,
            at: self.parts.clock.now(),
            took,
            outcome,
            session,
            ticket,
        };
        self.parts.records.settle(settlement).await
    }

    /// Records that the client secret was not delivered. Closes the session if it was opened with it: no caller knows the
    /// session's id.
    pub(super) async fn note_undelivered(&self, grant: &Grant) {
        let key = SessionKey::of(&grant.session_id);
        let change = match grant.kind {
            Kind::Mint => {
                self.latest.remove(&key);
                SessionChange::Close(key)
            }
            Kind::Refresh | Kind::Call | Kind::Redemption | Kind::Transcription => {
                SessionChange::Keep
            }
        };
        let outcome = (Outcome::Undelivered, change, None);
        let settled = self.settle(grant.entry, grant.upstream_took, outcome).await;
        if let Err(error) = settled {
            self.note_records(&error);
        }
    }
}

/// Returns the name of the setting behind a bound on the calls of `caller`, whose quota may have a bound of its own.
fn setting(bound: CallBound, caller: &Caller, has_own: bool) -> &'static str {
    match (bound, caller.party()) {
        (CallBound::Owner, Party::Identity(_)) if has_own => "live_calls",
        (CallBound::Owner, Party::Identity(_)) => "max_live",
        (CallBound::Owner, Party::Network(_)) => "max_live_network",
        (CallBound::Anonymous, _) => "max_live_anonymous",
        (CallBound::Total, _) => "max_live_total",
        (CallBound::Kin, _) => MAX_SESSIONS,
    }
}
