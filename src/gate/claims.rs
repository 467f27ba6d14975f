//! Says in which windows a request counts: the claims that the gate decides over.

use std::collections::BTreeMap;

use super::limits::{Applies, Counts, Limit, Scope};
use crate::domain::{Caller, IdentityKey, Kind, Network};
use crate::limit::Key;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A new session.
    Open,
    /// A refresh of a session.
    Refresh,
    /// A call, with the session that it counts as.
    Call,
    /// A relay, with the session that it counts as.
    Relay,
    /// The redemption of a ticket, whose session was counted when it was minted.
    Redeem,
    /// A look at a call, or its end, by its owner. It is possible while the windows cannot be asked: the call would run on.
    Look,
    /// A look at a call, or its end, by whoever shows the call's own ticket. A block of the address stops nobody from that:
    /// others may have earned it, and the call would run on.
    LookWithTicket,
    /// A transcription of a recording.
    Transcribe,
}

/// The windows that one request counts in: each limit at most once, and as many as apply.
pub type Claims = BTreeMap<Limit, Key>;

/// Whom a request is counted for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject {
    /// The caller's address.
    pub network: Option<Network>,
    /// The network around that address.
    pub neighbourhood: Option<Network>,
    /// The identity that the caller acts for.
    pub identity: Option<IdentityKey>,
}

impl From<&Caller> for Subject {
    fn from(caller: &Caller) -> Self {
        Self {
            network: Some(caller.network()),
            neighbourhood: Some(caller.neighbourhood()),
            identity: caller.identity.as_ref().map(|known| known.key),
        }
    }
}

impl From<Kind> for Purpose {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Mint | Kind::Call => Self::Open,
            Kind::Redemption => Self::Redeem,
            Kind::Refresh => Self::Refresh,
            Kind::Transcription => Self::Transcribe,
        }
    }
}

impl Purpose {
    /// Returns the windows that a request of `subject` for this purpose counts in.
    pub fn claims(self, subject: &Subject) -> Claims {
        let counts = |limit: &Limit| match limit.row().counts {
            Counts::Openings => matches!(self, Self::Open | Self::Call | Self::Relay),
            Counts::Refreshes => self == Self::Refresh,
            Counts::Mints => !matches!(
                self,
                Self::Redeem | Self::Look | Self::LookWithTicket | Self::Transcribe
            ),
            Counts::Transcriptions => self == Self::Transcribe,
            Counts::Refusals => false,
        };
        let limits = Limit::ALL.into_iter().filter(counts);
        limits
            .filter_map(|limit| Some((limit, limit.key(subject)?)))
            .collect()
    }

    /// Returns the windows that a mint of the past still counts in, after a restart.
    pub fn claims_of_the_past(self, subject: &Subject) -> Claims {
        let mut claims = self.claims(subject);
        claims.retain(|limit, _| !limit.row().counts_requests());
        claims
    }
}

/// Returns the window that a refused credential of `caller` counts in.
pub(super) fn of_a_refused_credential(caller: &Caller) -> Claims {
    let limit = Limit::RefusedCredentials;
    [(limit, Key::from(caller.network()))].into()
}

impl Limit {
    /// Returns whose window counts a request of `subject`; `None` when the limit does not apply.
    fn key(self, subject: &Subject) -> Option<Key> {
        let row = self.row();
        let applies = match row.applies {
            Applies::Anonymous => subject.identity.is_none(),
            Applies::Verified => subject.identity.is_some(),
            Applies::All => true,
        };
        let key = match row.scope {
            Scope::Address => subject.network.map(Key::from),
            Scope::Neighbourhood => subject.neighbourhood.map(Key::from),
            Scope::Identity => subject.identity.map(Key::from),
            Scope::Everybody => Some(Key::EVERYBODY),
        };
        key.filter(|_| applies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Naming;

    fn subject(is_known: bool) -> Subject {
        let address = [203, 0, 113, 7].into();
        let account = Naming::Plain.account(&"https://id.example.com/".into(), "ana");
        Subject {
            network: Some(Network::of(address)),
            neighbourhood: Some(Network::around(address)),
            identity: is_known.then(|| account.key()),
        }
    }

    #[test]
    fn a_mint_without_identity_counts_in_nine_windows_and_none_is_dropped() {
        let claims = Purpose::Open.claims(&subject(false));
        let limits: Vec<_> = claims.into_keys().collect();
        let expected = [
            Limit::Token,
            Limit::TokenNetwork,
            Limit::AnonymousMints,
            Limit::AnonymousNetwork,
            Limit::Mints,
            Limit::MintsAnonymous,
            Limit::MintsNetwork,
            Limit::MintsDaily,
            Limit::MintsDailyAnonymous,
        ];
        assert_eq!(limits, expected);
    }

    #[test]
    fn a_verified_mint_counts_by_identity_and_under_the_ceiling_of_its_address() {
        let limits =
            |purpose: Purpose| -> Vec<_> { purpose.claims(&subject(true)).into_keys().collect() };
        let both = [Limit::IdentityMints, Limit::Mints, Limit::MintsDaily];
        let with = |own: &[Limit]| [own, &both].concat();
        let opening = with(&[Limit::VerifiedToken, Limit::Identity]);
        assert_eq!(limits(Purpose::Open), opening);
        assert_eq!(limits(Purpose::Refresh), with(&[Limit::VerifiedRefresh]));
    }
}
