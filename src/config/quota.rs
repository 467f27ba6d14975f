//! Reads `[quota.<role>]` and `[[quota.exceptions]]`: what identities may use in a month.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer};

use super::settings::Settings;
use super::{Auth, AuthMode, Issuer, Mode};
use crate::domain::Quota;
use crate::domain::written::some_whole;

const SECTION: &str = "quota";
const EXCEPTIONS: &str = "quota.exceptions";
/// The name of the quota of everybody whose role has none.
const EVERYBODY: &str = "default";

/// What identities may use in a month.
#[derive(Clone, Debug, Default)]
pub struct QuotaSettings {
    /// `[quota.default]`: of identities whose role has no quota of its own.
    pub everybody: Quota,
    /// `[quota.<role>]`, by role.
    pub roles: HashMap<Box<str>, Quota>,
    /// `[[quota.exceptions]]`: of single identities.
    pub exceptions: Vec<QuotaException>,
}

/// The quota of one identity.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaException {
    /// The issuer that vouches for the identity.
    pub issuer: String,
    /// The name of the identity there, in plain words.
    pub subject: String,
    /// What the identity may use.
    #[serde(rename = "sessions_per_month", deserialize_with = "quota")]
    pub quota: Quota,
}

impl QuotaSettings {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let mut roles: HashMap<Box<str>, Quota> = settings.table(SECTION).unwrap_or_default();
        let quotas = Self {
            everybody: roles.remove(EVERYBODY).unwrap_or_default(),
            roles,
            exceptions: settings.list_of(EXCEPTIONS),
        };
        for (role, quota) in &quotas.roles {
            let holds = "is a section, not a setting; it holds";
            let name = format!("{SECTION}.{role}");
            let message = format!("{holds} {name}.sessions_per_month");
            settings.require(&[&name], *quota != Quota::default(), message);
        }
        for (index, one) in quotas.exceptions.iter().enumerate() {
            quotas.check(settings, index, one);
        }
        quotas
    }
}

impl QuotaSettings {
    fn check(&self, settings: &mut Settings, index: usize, one: &QuotaException) {
        let name = |field| format!("{EXCEPTIONS}[{}].{field}", index + 1);
        let given = [("issuer", &one.issuer), ("subject", &one.subject)];
        for (field, text) in given {
            let message = "is required: iss and sub of the credential, exactly";
            settings.require(&[&name(field)], !text.is_empty(), message);
        }
        settings.require(
            &[&name("sessions_per_month")],
            one.quota.sessions_per_month.is_some(),
            "is required, and at least 1",
        );
        let is_same =
            |other: &QuotaException| other.issuer == one.issuer && other.subject == one.subject;
        settings.require(
            &[&name("subject")],
            !self.exceptions[..index].iter().any(is_same),
            "is excepted twice; keep one of the tables",
        );
    }

    /// Warns of quotas that limit fewer identities than they seem to.
    pub(super) fn warn(&self, settings: &mut Settings, auth: &Auth) {
        if !self.roles.is_empty() && self.everybody == Quota::default() {
            settings.warn(
                "quota.default.sessions_per_month",
                "is not set, although roles have quotas: identities without a role, or with one that has no quota, are unlimited",
            );
        }
        if settings.mode == Mode::Serve && auth.mode == AuthMode::Off && self.limits_somebody() {
            settings.warn(
                SECTION,
                "limits nobody while auth.mode is off: callers are not identities; set auth.mode to optional or required",
            );
        }
        // In dev mode, and where no credential is asked for, there may be no issuer yet.
        if auth.issuers.is_empty() {
            return;
        }
        for (index, one) in self.exceptions.iter().enumerate() {
            let is_known = |known: &Issuer| *known.issuer == *one.issuer;
            if !auth.issuers.iter().any(is_known) {
                settings.warn(
                    &format!("{EXCEPTIONS}[{}].issuer", index + 1),
                    "is none of the issuers that are believed, so nobody is excepted by it: it must read exactly like theirs",
                );
            }
        }
    }

    /// True when somebody has a quota.
    pub(super) fn limits_somebody(&self) -> bool {
        self.everybody != Quota::default() || !self.roles.is_empty() || !self.exceptions.is_empty()
    }
}

fn quota<'de, D: Deserializer<'de>>(from: D) -> Result<Quota, D::Error> {
    let sessions_per_month = some_whole::<1, 1_000_000_000, _, _>(from)?;
    Ok(Quota { sessions_per_month })
}
