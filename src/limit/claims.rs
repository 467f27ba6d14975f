//! Owns the claims of one request: what they must not be, and what their verdicts come to.

use super::window::Verdict;
use super::{Claim, MOST_CLAIMS, Policy, Standing};

/// How the claims of one request break the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClaimFault {
    #[error("a request may make at most {MOST_CLAIMS} claims")]
    TooMany,
    #[error("a claim names a policy that does not exist")]
    Unknown,
    #[error("two claims of a request name the same policy")]
    Repeated,
}

/// Whether `claims` keep the contract over so many policies.
pub(crate) fn check(claims: &[Claim], policies: usize) -> Result<(), ClaimFault> {
    if claims.len() > MOST_CLAIMS {
        return Err(ClaimFault::TooMany);
    }
    for (place, claim) in claims.iter().enumerate() {
        if claim.policy.0 >= policies {
            return Err(ClaimFault::Unknown);
        }
        let mut before = claims.iter().take(place);
        if before.any(|other| other.policy == claim.policy) {
            return Err(ClaimFault::Repeated);
        }
    }
    Ok(())
}

/// What the verdicts over the claims of one request come to.
#[derive(Default)]
pub(crate) struct Tally {
    tightest: Option<Standing>,
    refusal: Option<Standing>,
}

impl Tally {
    /// One more verdict, under `policy`.
    pub(crate) fn hear(&mut self, policy: &Policy, verdict: Verdict) {
        let standing = |remaining, resets_in| Standing {
            policy: policy.name,
            rate: policy.rate,
            remaining,
            resets_in,
        };
        match verdict {
            Verdict::Free {
                remaining,
                resets_in,
            } if !policy.is_shared
                && self
                    .tightest
                    .is_none_or(|tightest| remaining < tightest.remaining) =>
            {
                self.tightest = Some(standing(remaining, resets_in));
            }
            Verdict::Full { wait }
                if self.refusal.is_none_or(|refusal| wait > refusal.resets_in) =>
            {
                self.refusal = Some(standing(0, wait));
            }
            Verdict::Free { .. } | Verdict::Full { .. } => {}
        }
    }

    /// The tightest standing when every claim has a place, else the one with the longest wait.
    pub(crate) fn outcome(self) -> Result<Option<Standing>, Standing> {
        self.refusal.map_or(Ok(self.tightest), Err)
    }
}
