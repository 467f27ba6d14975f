//! `[quota.<role>]` and `[[quota.exceptions]]`: what identities may use.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::settings::Settings;
use super::{Auth, AuthMode, Mode};
use crate::domain::written::{money, some_whole};
use crate::domain::{Budget, CallLimits, Money, Naming, Quota, Quotas, SERVICE_KEYS};

const EXCEPTIONS: &str = "quota.exceptions";
/// The name of the quota for roles without a quota.
const EVERYBODY: &str = "default";

/// What identities may use.
#[derive(Clone, Debug, Default)]
pub struct QuotaSettings {
    /// `[quota.default]`: for identities whose role has no quota.
    pub everybody: Quota,
    /// `[quota.<role>]`, by role.
    pub roles: HashMap<Box<str>, Quota>,
    /// `[[quota.exceptions]]`: for single identities.
    pub exceptions: Vec<QuotaException>,
}

/// The quota of one identity.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaException {
    /// `iss` of the identity.
    pub issuer: String,
    /// `sub` of the identity, not hashed.
    pub subject: String,
    /// Most sessions in a month.
    #[serde(deserialize_with = "some_whole::<1, 1_000_000_000, _, _>")]
    sessions_per_month: Option<u32>,
    /// Most minutes of calls in a day.
    #[serde(deserialize_with = "some_whole::<1, 1_000_000, _, _>")]
    minutes_per_day: Option<u32>,
    /// Most minutes of calls in a week.
    #[serde(deserialize_with = "some_whole::<1, 1_000_000, _, _>")]
    minutes_per_week: Option<u32>,
    /// Most minutes of calls in a month.
    #[serde(deserialize_with = "some_whole::<1, 1_000_000, _, _>")]
    minutes_per_month: Option<u32>,
    /// Most money for calls in a day.
    #[serde(deserialize_with = "money")]
    money_per_day: Option<Money>,
    /// Most money for calls in a week.
    #[serde(deserialize_with = "money")]
    money_per_week: Option<Money>,
    /// Most money for calls in a month.
    #[serde(deserialize_with = "money")]
    money_per_month: Option<Money>,
    /// Most live calls.
    #[serde(deserialize_with = "some_whole::<1, 10_000, _, _>")]
    live_calls: Option<u32>,
    /// The limits of each call.
    call: CallLimits,
}

impl QuotaSettings {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let mut roles: HashMap<Box<str>, Quota> = settings.section("quota").unwrap_or_default();
        let mut quotas = Self {
            everybody: roles.remove(EVERYBODY).unwrap_or_default(),
            roles,
            exceptions: Vec::new(),
        };
        for (role, quota) in &quotas.roles {
            let name = format!("quota.{role}");
            let message =
                format!("is a section, not a setting; it holds {name}.sessions_per_month");
            settings.require(&[&name], *quota != Quota::default(), message);
        }
        let mut known = HashSet::new();
        for (name, exception) in settings.list_of::<QuotaException>("quota", "exceptions") {
            let is_new = known.insert((exception.issuer.clone(), exception.subject.clone()));
            exception.check(settings, &name, is_new);
            quotas.exceptions.push(exception);
        }
        quotas
    }

    /// Returns every quota with the name of its section.
    pub(super) fn named(&self) -> impl Iterator<Item = (String, Quota)> {
        let roles = self.roles.iter();
        let roles = roles.map(|(role, quota)| (format!("quota.{role}"), *quota));
        let exceptions = self.exceptions.iter().zip(1..);
        let exceptions =
            exceptions.map(|(one, number)| (format!("{EXCEPTIONS}[{number}]"), one.quota()));
        let everybody = (format!("quota.{EVERYBODY}"), self.everybody);
        [everybody].into_iter().chain(roles).chain(exceptions)
    }

    /// Returns the names of the quotas that limit time, turns or money of calls.
    pub(super) fn measured(&self) -> impl Iterator<Item = String> {
        let is_measured =
            |quota: &Quota| quota.budget() != Budget::default() || quota.call.are_measured();
        let measured = self.named().filter(move |(_, quota)| is_measured(quota));
        measured.map(|(name, _)| name)
    }

    /// Returns the quotas, with exceptions under the names that the records use.
    pub fn under_names(&self, naming: &Naming) -> Quotas {
        let accounts = self.exceptions.iter().map(|exception| {
            let issuer = exception.issuer.as_str().into();
            (
                naming.account(&issuer, &exception.subject),
                exception.quota(),
            )
        });
        Quotas {
            everybody: self.everybody,
            roles: self.roles.clone(),
            accounts: accounts.collect(),
        }
    }

    /// Warns of quotas that limit fewer identities than they seem to.
    pub(super) fn warn(&self, settings: &mut Settings, auth: &Auth) {
        let is_for_all = self.everybody != Quota::default();
        settings.warn_if(
            !self.roles.is_empty() && !is_for_all,
            "quota.default.sessions_per_month",
            "is not set, although roles have quotas: identities without a role, or with one that has no quota, are unlimited",
        );
        let limits_somebody = is_for_all || !self.roles.is_empty() || !self.exceptions.is_empty();
        settings.warn_if(
            settings.mode == Mode::Serve && auth.mode == AuthMode::Off && limits_somebody,
            "quota",
            "limits nobody while auth.mode is off: callers are not identities; set auth.mode to optional or required",
        );
        let mut trusted: HashSet<_> = auth.issuers.iter().map(|one| &*one.issuer).collect();
        trusted.extend(auth.service_keys.first().map(|_| SERVICE_KEYS));
        for (exception, number) in self.exceptions.iter().zip(1..) {
            // In dev mode, and where credentials are ignored, there may be no issuer yet.
            settings.warn_if(
                !trusted.is_empty() && !trusted.contains(exception.issuer.as_str()),
                &format!("{EXCEPTIONS}[{number}].issuer"),
                "matches none of the configured issuers, so the exception applies to nobody: write it exactly like the issuer of a preset or of [[auth.issuers]]",
            );
        }
    }
}

impl QuotaException {
    /// Returns what the identity may use.
    pub const fn quota(&self) -> Quota {
        Quota {
            sessions_per_month: self.sessions_per_month,
            minutes_per_day: self.minutes_per_day,
            minutes_per_week: self.minutes_per_week,
            minutes_per_month: self.minutes_per_month,
            money_per_day: self.money_per_day,
            money_per_week: self.money_per_week,
            money_per_month: self.money_per_month,
            live_calls: self.live_calls,
            call: self.call,
        }
    }

    fn check(&self, settings: &mut Settings, name: &str, is_new: bool) {
        for (field, text) in [("issuer", &self.issuer), ("subject", &self.subject)] {
            let message = "is required: iss and sub of the credential, exactly";
            settings.require_in((name, &[field]), !text.is_empty(), message);
        }
        let is_limited = self.quota() != Quota::default();
        let message = "is required, and at least 1";
        settings.require_in((name, &["sessions_per_month"]), is_limited, message);
        let message = "is excepted twice; keep one of the tables";
        settings.require_in((name, &["subject"]), is_new, message);
    }
}
