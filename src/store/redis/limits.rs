//! Owns the limits that replicas share on a Redis server.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Script;

use super::link::{Link, LinkError};
use super::{PREFIX, micros, millis};
use crate::clock::Timestamp;
use crate::domain::Network;
use crate::limit::claims::{self, Tally};
use crate::limit::{
    Block, Claim, Decision, GuardRules, Key, LimitError, LimitStore, Offence, Policy, PolicyId,
    RARELY, Receipt, Verdict,
};

/// How long a window outlives its last admission.
const GRACE: Duration = Duration::from_mins(1);

/// What says that all of before has been counted back, and lives as long as the longest window after it was last asked for.
const BEGUN: &str = "if ARGV[2] == '1' then redis.call('SET', KEYS[1], '1') end \
    return redis.call('PEXPIRE', KEYS[1], ARGV[1])";
/// Admissions that one script counts back at most, so that nobody waits for it.
const CHUNK: usize = 250;

/// Limits on a Redis server: exact over all replicas. Fails when the server does not answer.
pub struct RedisLimits {
    link: Arc<Link>,
    policies: Vec<Policy>,
    guard: GuardRules,
    decide: Script,
    release: Script,
    offend: Script,
    count_back: Script,
    begun: Script,
}

impl RedisLimits {
    /// Limits by `policies` and `guard`. A [`crate::limit::PolicyId`] is a place in `policies`; on the server they go by
    /// their names.
    pub fn new(policies: Vec<Policy>, guard: GuardRules, link: Arc<Link>) -> Self {
        Self {
            link,
            policies,
            guard,
            decide: Script::new(include_str!("scripts/decide.lua")),
            release: Script::new(include_str!("scripts/release.lua")),
            offend: Script::new(include_str!("scripts/offend.lua")),
            count_back: Script::new(include_str!("scripts/count_back.lua")),
            begun: Script::new(BEGUN),
        }
    }

    /// Whether the server's windows know what was used before it began. It remembers that as long as its longest window.
    pub(crate) async fn is_counted(&self) -> Result<bool, LimitError> {
        self.begun(false).await
    }

    /// Tells the server's windows what was used before it began, latest first. May be run by several replicas, and again
    /// after it was cut short: nothing is counted twice. Moments are the wall clock's, as the server's are.
    pub(crate) async fn count_back(
        &self,
        used: impl Iterator<Item = (Timestamp, Claim)> + Send,
    ) -> Result<(), LimitError> {
        let mut windows: HashMap<(PolicyId, Key), (u32, u64)> = HashMap::new();
        let mut chunk = Vec::with_capacity(CHUNK);
        for (at, claim) in used {
            let limit = self.policy(claim)?.rate.limit;
            let window = windows.entry((claim.policy, claim.key));
            let (held, oldest) = window.or_insert((0, u64::MAX));
            if *held >= limit {
                continue;
            }
            // Stamps of one window differ, and are the same whoever makes them.
            let latest = at.as_millis().saturating_mul(1000).saturating_add(999);
            (*held, *oldest) = (*held + 1, latest.min(*oldest - 1));
            chunk.push((claim, *oldest));
            if chunk.len() == CHUNK {
                self.push(&chunk).await?;
                chunk.clear();
            }
        }
        if !chunk.is_empty() {
            self.push(&chunk).await?;
        }
        self.begun(true).await.map(drop)
    }

    async fn push(&self, admissions: &[(Claim, u64)]) -> Result<(), LimitError> {
        let mut script = self.count_back.prepare_invoke();
        for (claim, stamp) in admissions {
            let rate = self.policy(*claim)?.rate;
            script.key(self.window(*claim)?);
            script.arg(rate.limit).arg(micros(rate.window));
            script.arg(millis(rate.window + GRACE)).arg(*stamp);
        }
        self.link.run(&script).await.map_err(unreachable)
    }

    async fn begun(&self, now: bool) -> Result<bool, LimitError> {
        let longest = self.policies.iter().map(|policy| policy.rate.window).max();
        let mut script = self.begun.prepare_invoke();
        script.key(format!("{PREFIX}begun"));
        script.arg(millis(longest.unwrap_or_default() + GRACE));
        script.arg(u8::from(now));
        self.link.run(&script).await.map_err(unreachable)
    }

    fn policy(&self, claim: Claim) -> Result<&Policy, LimitError> {
        let policy = self.policies.get(claim.policy.place());
        policy.ok_or_else(|| LimitError::new(claims::ClaimFault::Unknown))
    }

    /// True while the server is out of reach; not while that is merely in doubt.
    pub(crate) fn is_gone(&self) -> bool {
        self.link.is_gone()
    }

    /// How long what is admitted under the claim counts.
    pub(crate) fn window_of(&self, claim: Claim) -> Option<Duration> {
        self.policy(claim).ok().map(|policy| policy.rate.window)
    }

    fn window(&self, claim: Claim) -> Result<String, LimitError> {
        let name = self.policy(claim)?.name;
        Ok(format!("{PREFIX}w:{name}:{:x}", claim.key.to_bits()))
    }

    /// What the script's answer over `claims` comes to.
    fn read(&self, claims: &[Claim], answer: &[u64]) -> Result<Decision, LimitError> {
        let (verdict, now, told) = match *answer {
            [2, wait] => {
                let wait = Duration::from_micros(wait);
                return Ok(Decision::Blocked { wait });
            }
            [verdict, now, ref told @ ..] if told.len() == 3 * claims.len() => (verdict, now, told),
            _ => return Err(unreachable(self.link.nonsense())),
        };
        let mut tally = Tally::default();
        for (claim, told) in claims.iter().zip(told.chunks_exact(3)) {
            let policy = self.policy(*claim)?;
            let leaves = told[1].saturating_add(micros(policy.rate.window));
            let resets_in = Duration::from_micros(leaves.saturating_sub(now));
            let held = u32::try_from(told[0]).unwrap_or(u32::MAX);
            tally.hear(policy, Verdict::over(policy.rate, held, resets_in));
        }
        match (verdict, tally.outcome()) {
            (0, Ok(tightest)) => Ok(Decision::Admitted {
                tightest,
                receipt: Receipt::shared(
                    claims
                        .iter()
                        .zip(told.chunks_exact(3))
                        .map(|(claim, told)| (*claim, told[2])),
                ),
            }),
            (1, Err(standing)) => Ok(Decision::Refused {
                standing,
                wait: standing.resets_in,
                is_share: false,
            }),
            _ => Err(unreachable(self.link.nonsense())),
        }
    }
}

fn block_of(network: Network) -> String {
    format!("{PREFIX}b:{:x}", network.to_bits())
}

fn unreachable(error: LinkError) -> LimitError {
    LimitError::unreachable(error)
}

#[async_trait]
impl LimitStore for RedisLimits {
    async fn decide(&self, address: IpAddr, claims: &[Claim]) -> Result<Decision, LimitError> {
        claims::check(claims, self.policies.len()).map_err(LimitError::new)?;
        let mut script = self.decide.prepare_invoke();
        script.key(block_of(Network::of(address)));
        script.arg(u8::from(!self.guard.is_exempt(address)));
        for claim in claims {
            let rate = self.policy(*claim)?.rate;
            script.key(self.window(*claim)?);
            script.arg(rate.limit).arg(micros(rate.window));
            script.arg(millis(rate.window + GRACE));
        }
        let answer: Vec<u64> = self.link.run(&script).await.map_err(unreachable)?;
        self.read(claims, &answer)
    }

    async fn release(&self, receipt: Receipt) -> Result<(), LimitError> {
        let mut script = self.release.prepare_invoke();
        let mut is_empty = true;
        for (claim, stamp) in receipt.shared_places() {
            script.key(self.window(claim)?).arg(stamp);
            is_empty = false;
        }
        if is_empty {
            return Ok(());
        }
        self.link.run(&script).await.map_err(unreachable)
    }

    async fn offend(&self, address: IpAddr, offence: Offence) -> Result<Option<Block>, LimitError> {
        let points = self.guard.points(offence);
        if points == 0 || self.guard.is_exempt(address) {
            return Ok(None);
        }
        let network = Network::of(address);
        let is_rare = offence == Offence::RateLimited;
        let rarely = if is_rare { RARELY } else { Duration::ZERO };
        let (drains, step) = self.guard.draining();
        let mut script = self.offend.prepare_invoke();
        script
            .key(block_of(network))
            .key(format!("{PREFIX}o:{:x}", network.to_bits()))
            .key(format!("{PREFIX}blocks"))
            .key(format!("{PREFIX}scores"))
            .arg(points)
            .arg(micros(rarely))
            .arg(self.guard.full())
            .arg(drains)
            .arg(micros(step).max(1))
            .arg(micros(self.guard.block))
            .arg(micros(self.guard.block_max))
            .arg(self.guard.capacity)
            .arg(format!("{:x}", network.to_bits()))
            .arg(format!("{PREFIX}b:"));
        let answer: Vec<u64> = self.link.run(&script).await.map_err(unreachable)?;
        Ok(match *answer {
            [lasts, repetition] => Some(Block {
                network,
                lasts: Duration::from_micros(lasts),
                repetition: u32::try_from(repetition).unwrap_or(u32::MAX),
            }),
            _ => None,
        })
    }

    fn is_exact(&self) -> bool {
        self.link.is_up()
    }
}
