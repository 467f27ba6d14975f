//! Owns what a session is: whom it belongs to, and the only moves it can make.

use std::time::Duration;

use super::{Caller, Language, Network, Origin, Party, PersonaName};
use crate::clock::Tick;

/// How firmly a session is tied to the address that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Another network is a stranger.
    Strict,
    /// Another network is recorded and allowed.
    Soft,
    /// Addresses do not matter.
    Off,
}

/// What bounds the refreshes of a session.
#[derive(Clone, Copy, Debug)]
pub struct RefreshRules {
    /// Least time between two mints of one session.
    pub min_interval: Duration,
    /// Most refreshes of one session.
    pub max_refreshes: u32,
    /// Longest life of one session.
    pub max_age: Duration,
    /// How firmly the address is bound.
    pub binding: Bindings,
}

/// What a store can see for itself of whether a session may be refreshed. The whole answer is [`Session::refresh`]'s: what
/// it allows is ripe.
#[derive(Clone, Copy, Debug)]
pub struct Ripeness {
    /// Whose it must be; `None` when its owner's network may have changed.
    pub owner: Option<Party>,
    /// Least time since it last minted.
    pub min_interval: Duration,
    /// Most refreshes it may have had, and one less.
    pub max_refreshes: u32,
    /// Age at which it has ended.
    pub max_age: Duration,
}

/// How firmly sessions are tied to addresses, by whom they belong to.
#[derive(Clone, Copy, Debug)]
pub struct Bindings {
    /// Sessions of callers without identity: nothing but the address tells them from strangers.
    pub anonymous: Binding,
    /// Sessions of identities, whose phones change networks.
    pub identified: Binding,
}

impl RefreshRules {
    /// What a session must be like that `caller` may refresh, as far as a store can see.
    pub fn ripe_for(&self, caller: &Caller) -> Ripeness {
        let owner = caller.party();
        let may_have_moved =
            matches!(owner, Party::Network(_)) && self.binding.anonymous != Binding::Strict;
        Ripeness {
            owner: (!may_have_moved).then_some(owner),
            min_interval: self.min_interval,
            max_refreshes: self.max_refreshes,
            max_age: self.max_age,
        }
    }
}

impl Bindings {
    const fn of(self, owner: Party) -> Binding {
        match owner {
            Party::Network(_) => self.anonymous,
            Party::Identity(_) => self.identified,
        }
    }
}

/// Our record of one caller's permission to mint again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The persona it was opened with.
    pub persona: PersonaName,
    /// The language its caller would like.
    pub language: Option<Language>,
    /// Whom it belongs to, and under whom it is counted.
    pub owner: Party,
    /// The network that opened it.
    pub network: Network,
    /// The origin that opened it.
    pub origin: Option<Origin>,
    /// When it was opened.
    pub opened: Tick,
    /// When it last minted.
    pub minted: Tick,
    /// How often it was refreshed.
    pub refreshes: u32,
}

/// A session that may mint again, as it will be once it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opening {
    /// The session after the refresh.
    pub session: Session,
    /// True when the caller came from another network and soft binding let it pass.
    pub address_changed: bool,
}

/// Why a session may not be refreshed by this caller now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its time is over.
    #[error("the session has ended")]
    Ended,
    /// It belongs to somebody else: another origin, or another network under strict binding.
    #[error("the session belongs to somebody else")]
    Foreign,
    /// The last mint was too short a time ago.
    #[error("the session was refreshed too recently")]
    TooSoon {
        /// How long until it may be refreshed.
        wait: Duration,
    },
    /// It has used up its refreshes.
    #[error("the session has used up its refreshes")]
    Exhausted,
}

impl Session {
    /// A session that `caller` opens at `now`.
    pub fn open(caller: &Caller, persona: PersonaName, now: Tick) -> Self {
        Self {
            persona,
            language: None,
            owner: caller.party(),
            network: caller.network(),
            origin: caller.origin.clone(),
            opened: now,
            minted: now,
            refreshes: 0,
        }
    }

    /// True once its time is over.
    pub fn has_ended(&self, now: Tick, max_age: Duration) -> bool {
        now.since(self.opened) >= max_age
    }

    /// True when its time has come, whoever asks.
    pub fn is_ripe(&self, now: Tick, ripeness: &Ripeness) -> bool {
        ripeness.owner.is_none_or(|owner| owner == self.owner)
            && !self.has_ended(now, ripeness.max_age)
            && self.refreshes < ripeness.max_refreshes
            && now.since(self.minted) >= ripeness.min_interval
    }

    /// The session once it has been refreshed at `now`.
    #[must_use]
    pub fn refreshed(&self, now: Tick) -> Self {
        Self {
            minted: now,
            refreshes: self.refreshes + 1,
            ..self.clone()
        }
    }

    /// The only move a session makes: one refresh by `caller` at `now`, if `rules` let it.
    ///
    /// Whose it is comes before how it stands, so that a stranger learns nothing.
    pub fn refresh(
        &self,
        caller: &Caller,
        now: Tick,
        rules: &RefreshRules,
    ) -> Result<Opening, Refusal> {
        let address_changed = self.admit(caller, rules.binding.of(self.owner))?;
        if self.has_ended(now, rules.max_age) {
            return Err(Refusal::Ended);
        }
        if self.refreshes >= rules.max_refreshes {
            return Err(Refusal::Exhausted);
        }
        let wait = rules.min_interval.saturating_sub(now.since(self.minted));
        if !wait.is_zero() {
            return Err(Refusal::TooSoon { wait });
        }
        Ok(Opening {
            session: self.refreshed(now),
            address_changed,
        })
    }

    /// Whether it is `caller`'s; true when only its network is another one.
    fn admit(&self, caller: &Caller, binding: Binding) -> Result<bool, Refusal> {
        match (self.owner, caller.party()) {
            // Somebody has signed in since it was opened: an honest page, which is to open another one.
            (Party::Network(_), Party::Identity(_)) => return Err(Refusal::Ended),
            (Party::Identity(ours), theirs) if theirs != Party::Identity(ours) => {
                return Err(Refusal::Foreign);
            }
            _ => {}
        }
        let address_changed = binding != Binding::Off && caller.network() != self.network;
        let is_foreign = address_changed && binding == Binding::Strict;
        if caller.origin != self.origin || is_foreign {
            return Err(Refusal::Foreign);
        }
        Ok(address_changed)
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
            anonymous: Binding::Strict,
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
        };
        Caller {
            identity: Some(Arc::new(identity)),
            ..caller
        }
    }

    fn at(seconds: u64) -> Tick {
        Tick::from_duration(Duration::from_secs(seconds))
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
    fn refreshes_are_counted_and_end() {
        let (session, caller) = opened();
        let once = session.refresh(&caller, at(110), &RULES).unwrap().session;
        let twice = once.refresh(&caller, at(120), &RULES).unwrap().session;
        assert_eq!(twice.refreshes, 2);
        assert_eq!(
            twice.refresh(&caller, at(130), &RULES),
            Err(Refusal::Exhausted)
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
    fn another_origin_or_network_is_a_stranger_before_anything_else_is_said() {
        let (session, _) = opened();
        for stranger in [
            caller("203.0.113.7", Some("https://other.example.com")),
            caller("203.0.113.7", None),
            caller("203.0.113.8", Some("https://app.example.com")),
        ] {
            assert_eq!(
                session.refresh(&stranger, at(101), &RULES),
                Err(Refusal::Foreign)
            );
            assert_eq!(
                session.refresh(&stranger, at(9999), &RULES),
                Err(Refusal::Foreign)
            );
        }
    }

    #[test]
    fn what_may_be_refreshed_is_ripe_and_only_its_owner_finds_it_so() {
        let (session, owner) = opened();
        let (stranger, page) = (caller("203.0.113.8", None), owner.origin.clone());
        let moved = Caller {
            origin: page,
            ..stranger.clone()
        };
        let ana = signed_in(owner.clone(), "ana");
        let bindings = [Binding::Strict, Binding::Soft, Binding::Off];
        for (rules, who, second) in bindings.into_iter().map(bound).flat_map(|rules| {
            let everybody = [&owner, &stranger, &moved, &ana];
            everybody.into_iter().flat_map(move |who| {
                let seconds = [100, 109, 110, 3699, 3700, 9999];
                seconds.map(move |second| (rules, who, second))
            })
        }) {
            let ripe = session.is_ripe(at(second), &rules.ripe_for(who));
            let allowed = session.refresh(who, at(second), &rules).is_ok();
            assert!(ripe || !allowed, "{who:?} at {second}");
            let is_time = (110..3700).contains(&second);
            assert!(is_time || !ripe, "at {second}");
            let may_be_theirs = rules.binding.anonymous != Binding::Strict;
            assert!(
                !ripe || who.identity.is_none() && (may_be_theirs || who.address == owner.address)
            );
        }
    }

    #[test]
    fn soft_binding_notes_the_new_network_and_allows_it() {
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
    fn who_signs_in_leaves_the_session_from_before_behind_without_being_a_stranger() {
        let (session, caller) = opened();
        let refused = session.refresh(&signed_in(caller, "ana"), at(110), &RULES);
        assert_eq!(refused, Err(Refusal::Ended));
    }
}
