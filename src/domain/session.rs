//! Sessions: whom a session belongs to, and the only move it can make.

use std::time::Duration;

use super::{
    Binding, Bindings, Caller, ConnectMode, Language, Network, Origin, Party, PersonaName,
};
use crate::clock::Timestamp;

/// How far ahead of the clock a mint may lie. Transactions that wait for each other read times that are
/// seconds apart; a minute means that the clock was set back.
const SET_BACK: Duration = Duration::from_mins(1);

/// The bounds on the refreshes of a session.
#[derive(Clone, Copy, Debug)]
pub struct RefreshRules {
    /// Least time between two mints of one session.
    pub min_interval: Duration,
    /// Most refreshes of one session.
    pub max_refreshes: u32,
    /// Longest life of one session.
    pub max_age: Duration,
    /// How firmly sessions are tied to networks.
    pub binding: Bindings,
}

/// The record of one caller's permission to mint again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The persona that the session was opened with.
    pub persona: PersonaName,
    /// The language that its caller asked for.
    pub language: Option<Language>,
    /// How the page connects: a refresh mints for the same way.
    pub mode: ConnectMode,
    /// The owner, to whom the session is counted.
    pub owner: Party,
    /// The networks that the session was used from. The network that opened it comes first.
    pub networks: Vec<Network>,
    /// The origin that opened the session.
    pub origin: Option<Origin>,
    /// The time at which the session was opened, on the database's clock.
    pub opened: Timestamp,
    /// The time of the last mint, on the database's clock.
    pub minted: Timestamp,
    /// The number of refreshes.
    pub refreshes: u32,
}

/// A refresh that the rules allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The session after the refresh.
    pub session: Session,
    /// True when the caller's network is new to the session, and was allowed.
    pub address_changed: bool,
}

/// Why a session may not be refreshed by this caller now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The time of the session is over.
    #[error("the session has ended")]
    Ended,
    /// The session belongs to another identity or another origin.
    #[error("the session belongs to somebody else")]
    Foreign,
    /// The session was used from as many other networks as the settings allow.
    #[error("the session is tied to other networks")]
    Network,
    /// The last mint is too recent.
    #[error("the session was refreshed too recently")]
    TooSoon {
        /// The time until the session may be refreshed.
        wait: Duration,
    },
    /// The session has used up its refreshes.
    #[error("the session has used up its refreshes")]
    Exhausted {
        /// The time until the session ends.
        wait: Duration,
    },
}

impl Refusal {
    /// True when the refusal can never become untrue. The other refusals depend on what may have changed elsewhere: a
    /// refresh was given back, or a clock differs.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Ended | Self::Foreign => true,
            Self::Network | Self::TooSoon { .. } | Self::Exhausted { .. } => false,
        }
    }
}

impl Session {
    /// Returns a session that `caller` opens at `now`.
    pub fn open(caller: &Caller, persona: PersonaName, now: Timestamp) -> Self {
        Self {
            persona,
            language: None,
            mode: ConnectMode::Direct,
            owner: caller.party(),
            networks: vec![caller.network()],
            origin: caller.origin.clone(),
            opened: now,
            minted: now,
            refreshes: 0,
        }
    }

    /// Returns the same session, opened at `now`.
    #[must_use]
    pub fn opened_at(&self, now: Timestamp) -> Self {
        Self {
            opened: now,
            minted: now,
            ..self.clone()
        }
    }

    /// True once its time is over.
    pub fn has_ended(&self, now: Timestamp, max_age: Duration) -> bool {
        now.since(self.opened) >= max_age
    }

    /// Makes the only move of a session: one refresh by `caller` at `now`, if `rules` allow it. A session from the
    /// future has the age zero. A mint that lies more than a minute ahead is ripe: the clock was set back.
    ///
    /// The owner is checked before the state, so that a stranger learns nothing.
    pub fn refresh(
        &self,
        caller: &Caller,
        now: Timestamp,
        rules: &RefreshRules,
    ) -> Result<Opening, Refusal> {
        let binding = rules.binding.of(self.owner);
        let address_changed = self.admit(caller, binding)?;
        if self.has_ended(now, rules.max_age) {
            return Err(Refusal::Ended);
        }
        if self.refreshes >= rules.max_refreshes {
            let wait = rules.max_age.saturating_sub(now.since(self.opened));
            return Err(Refusal::Exhausted { wait });
        }
        let wait = rules.min_interval.saturating_sub(now.since(self.minted));
        let was_set_back = self.minted.since(now) > SET_BACK;
        if !wait.is_zero() && !was_set_back {
            return Err(Refusal::TooSoon { wait });
        }
        let mut session = Self {
            minted: now,
            refreshes: self.refreshes + 1,
            ..self.clone()
        };
        // Where every network is allowed, only the audit log says so.
        if address_changed && binding != Binding::Soft {
            session.networks.push(caller.network());
        }
        Ok(Opening {
            session,
            address_changed,
        })
    }

    /// Checks that the session is `caller`'s. Returns whether the caller's network is new to it.
    fn admit(&self, caller: &Caller, binding: Binding) -> Result<bool, Refusal> {
        match (self.owner, caller.party()) {
            // The caller has signed in since: an honest page, which is to open another session.
            (Party::Network(_), Party::Identity(_)) => return Err(Refusal::Ended),
            (Party::Identity(ours), theirs) if theirs != Party::Identity(ours) => {
                return Err(Refusal::Foreign);
            }
            _ => {}
        }
        if caller.origin != self.origin {
            return Err(Refusal::Foreign);
        }
        match binding {
            _ if self.networks.contains(&caller.network()) => Ok(false),
            Binding::Off => Ok(false),
            Binding::AtMost(most) if self.networks.len() >= most => Err(Refusal::Network),
            Binding::AtMost(_) | Binding::Soft => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::domain::{Account, Identity, RequestId};

    const RULES: RefreshRules = RefreshRules {
        min_interval: Duration::from_secs(10),
        max_refreshes: 2,
        max_age: Duration::from_hours(1),
        binding: Bindings {
            anonymous: Binding::AtMost(1),
            identified: Binding::Soft,
        },
    };

    fn caller(address: &str, origin: Option<&str>) -> Caller {
        Caller {
            origin: origin.map(|text| Origin::parse(text).unwrap()),
            ..Caller::at(address.parse().unwrap(), RequestId::random())
        }
    }

    /// The rules, with this binding for callers without identity.
    fn bound(anonymous: Binding) -> RefreshRules {
        let binding = Bindings {
            anonymous,
            ..RULES.binding
        };
        RefreshRules { binding, ..RULES }
    }

    fn signed_in(caller: Caller, subject: &str) -> Caller {
        let account = Account {
            issuer: "https://id.example.com/".into(),
            subject: subject.into(),
        };
        let identity = Identity {
            key: account.key(),
            account,
            role: None,
            name: None,
            personas: Arc::default(),
        };
        Caller {
            identity: Some(Arc::new(identity)),
            ..caller
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn opened() -> (Session, Caller) {
        let caller = caller("203.0.113.7", Some("https://app.example.com"));
        (
            Session::open(&caller, PersonaName::parse("default").unwrap(), at(100)),
            caller,
        )
    }

    #[test]
    fn a_refresh_waits_exactly_the_interval() {
        let (session, caller) = opened();
        let early = session.refresh(&caller, at(103), &RULES);
        assert_eq!(
            early,
            Err(Refusal::TooSoon {
                wait: Duration::from_secs(7)
            })
        );
        assert!(session.refresh(&caller, at(110), &RULES).is_ok());
    }

    #[test]
    fn a_session_has_no_more_than_its_refreshes() {
        let (session, caller) = opened();
        let once = session.refresh(&caller, at(110), &RULES).unwrap().session;
        let twice = once.refresh(&caller, at(120), &RULES).unwrap().session;
        assert_eq!(twice.refreshes, 2);
        let wait = Duration::from_secs(3570);
        assert_eq!(
            twice.refresh(&caller, at(130), &RULES),
            Err(Refusal::Exhausted { wait })
        );
    }

    #[test]
    fn a_session_ends_with_its_age() {
        let (session, caller) = opened();
        assert!(session.refresh(&caller, at(3699), &RULES).is_ok());
        assert_eq!(
            session.refresh(&caller, at(3700), &RULES),
            Err(Refusal::Ended)
        );
    }

    #[test]
    fn another_origin_or_network_is_rejected_before_the_state_of_the_session_is_judged() {
        let (session, _) = opened();
        let page = Some("https://app.example.com");
        for (stranger, refusal) in [
            (
                caller("203.0.113.7", Some("https://other.example.com")),
                Refusal::Foreign,
            ),
            (caller("203.0.113.7", None), Refusal::Foreign),
            (caller("203.0.113.8", page), Refusal::Network),
        ] {
            for second in [101, 9999] {
                let refused = session.refresh(&stranger, at(second), &RULES);
                assert_eq!(refused, Err(refusal));
            }
        }
    }

    #[test]
    fn a_session_of_a_caller_without_identity_follows_it_through_four_networks_and_no_fifth() {
        let page = Some("https://app.example.com");
        let (mut session, _) = opened();
        let rules = RefreshRules {
            max_refreshes: 100,
            ..bound(Binding::AtMost(4))
        };
        let dual_stack = ["203.0.113.7", "2001:db8:5:6::9"];
        let egress = ["198.51.100.1", "198.51.100.2"];
        for (second, address) in (110..).step_by(10).zip(dual_stack.iter().chain(&egress)) {
            let moved = session.refresh(&caller(address, page), at(second), &rules);
            let moved = moved.unwrap();
            assert_eq!(moved.address_changed, *address != "203.0.113.7");
            session = moved.session;
        }
        let fifth = session.refresh(&caller("192.0.2.1", page), at(200), &rules);
        assert_eq!(fifth, Err(Refusal::Network));
        for (second, address) in (200..).step_by(10).zip(dual_stack.repeat(5)) {
            let again = session.refresh(&caller(address, page), at(second), &rules);
            let again = again.unwrap();
            assert!(!again.address_changed, "{address}");
            session = again.session;
        }
    }

    #[test]
    fn a_clock_that_was_set_back_by_more_than_a_minute_keeps_nobody_waiting() {
        let (session, caller) = opened();
        let wait = RULES.min_interval;
        let overlapping = session.refresh(&caller, at(41), &RULES);
        assert_eq!(overlapping, Err(Refusal::TooSoon { wait }));
        let set_back = session.refresh(&caller, at(1), &RULES).unwrap();
        assert_eq!(
            (set_back.session.minted, set_back.session.refreshes),
            (at(1), 1)
        );
        let again = set_back.session.refresh(&caller, at(2), &RULES);
        assert!(matches!(again, Err(Refusal::TooSoon { .. })), "{again:?}");
    }

    #[test]
    fn soft_binding_reports_a_new_network_and_allows_it() {
        let (session, _) = opened();
        let moved = caller("198.51.100.1", Some("https://app.example.com"));
        let soft = session
            .refresh(&moved, at(110), &bound(Binding::Soft))
            .unwrap();
        assert!(soft.address_changed);
        let off = session
            .refresh(&moved, at(110), &bound(Binding::Off))
            .unwrap();
        assert!(!off.address_changed);
    }

    #[test]
    fn the_session_of_an_identity_follows_it_to_another_network_and_nobody_else() {
        let page = Some("https://app.example.com");
        let (home, phone) = (caller("203.0.113.7", page), caller("198.51.100.1", page));
        let ana = signed_in(home.clone(), "ana");
        let session = Session::open(&ana, PersonaName::parse("default").unwrap(), at(100));
        let moved = session.refresh(&signed_in(phone, "ana"), at(110), &RULES);
        assert!(moved.unwrap().address_changed);
        for stranger in [signed_in(home.clone(), "ben"), home] {
            let refused = session.refresh(&stranger, at(110), &RULES);
            assert_eq!(refused, Err(Refusal::Foreign));
        }
    }

    #[test]
    fn a_caller_who_signs_in_finds_the_earlier_session_ended_and_is_no_stranger() {
        let (session, caller) = opened();
        let refused = session.refresh(&signed_in(caller, "ana"), at(110), &RULES);
        assert_eq!(refused, Err(Refusal::Ended));
    }
}
