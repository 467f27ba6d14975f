//! Owns the settings of what identities may use in a month.

use std::collections::HashMap;

use super::complaint::nearest;
use super::settings::{Entry, Settings};
use super::tables::Table;
use super::value::Value;
use super::{Auth, AuthMode, Issuer, Mode, Source};
use crate::domain::Quota;

/// The section; what stands in it is named by roles, which only the operator knows.
pub(super) const SECTION: &str = "quota";
/// The quota of those whose role has none.
const EVERYBODY: &str = "default";
const EXCEPTIONS: &str = "quota.exceptions";
/// What a role's section holds.
const FIELD: &str = "sessions_per_month";
/// What only measured use can be held to.
const MEASURED: [&str; 2] = ["tokens_per_month", "cost_per_month"];
const LIMITS: std::ops::RangeInclusive<i64> = 1..=1_000_000_000;

/// What identities may use in a month.
#[derive(Clone, Debug, Default)]
pub struct QuotaSettings {
    /// Those whose role has no quota of its own: `[quota.default]`.
    pub everybody: Quota,
    /// By role: `[quota.<role>]`.
    pub roles: HashMap<Box<str>, Quota>,
    /// Single identities: `[[quota.exceptions]]`.
    pub exceptions: Vec<QuotaException>,
}

/// The quota of one identity.
#[derive(Clone, Debug)]
pub struct QuotaException {
    /// Who vouches for it.
    pub issuer: String,
    /// Who it is there, in plain words.
    pub subject: String,
    /// What it may use.
    pub quota: Quota,
}

impl QuotaSettings {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let names = settings.entries().iter().map(|entry| entry.name.clone());
        let given: Vec<_> = names
            .filter_map(|name| role_of(&name).map(|role| (role.to_owned(), name.clone())))
            .collect();
        let mut quotas = Self::default();
        for (role, name) in given {
            let quota = quota(settings, &name);
            if role == EVERYBODY {
                quotas.everybody = quota;
            } else {
                quotas.roles.insert(role.into(), quota);
            }
        }
        for table in Table::all(settings, EXCEPTIONS) {
            quotas.exceptions.push(exception(settings, &table));
        }
        quotas.check(settings);
        quotas
    }

    /// Quotas that hold fewer than they seem to.
    pub(super) fn warn(&self, settings: &mut Settings, auth: &Auth) {
        let everybody = format!("{SECTION}.{EVERYBODY}.{FIELD}");
        if !self.roles.is_empty() && self.everybody.sessions_per_month.is_none() {
            settings.warn(
                &everybody,
                "is not set, although roles have quotas: identities without a role, or with one that has no quota, are unlimited",
            );
        }
        if settings.mode == Mode::Serve && auth.mode == AuthMode::Off && self.limits_somebody() {
            settings.warn(
                SECTION,
                "limits nobody while auth.mode is off: callers are not identities; set auth.mode to optional or required",
            );
        }
        // In dev mode, and where nobody is asked, there may be no issuer yet.
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
        self.everybody.sessions_per_month.is_some()
            || !self.roles.is_empty()
            || !self.exceptions.is_empty()
    }

    fn check(&self, settings: &mut Settings) {
        for (index, one) in self.exceptions.iter().enumerate() {
            let is_same =
                |other: &QuotaException| other.issuer == one.issuer && other.subject == one.subject;
            let name = format!("{EXCEPTIONS}[{}].subject", index + 1);
            settings.require(
                &[&name],
                !self.exceptions[..index].iter().any(is_same),
                "is excepted twice; keep one of the tables",
            );
        }
    }
}

fn quota(settings: &mut Settings, name: &str) -> Quota {
    Quota {
        sessions_per_month: Some(settings.number(name, LIMITS)),
    }
}

fn exception(settings: &mut Settings, table: &Table) -> QuotaException {
    for field in ["issuer", "subject"] {
        let name = table.field(field);
        let is_given = !settings.text(&name).is_empty();
        let message = "is required: iss and sub of the credential, exactly";
        settings.require(&[&name], is_given, message);
    }
    let limit = table.field(FIELD);
    let is_given = settings.whole(&limit).is_some_and(|number| number != 0);
    settings.require(&[&limit], is_given, "is required, and at least 1");
    QuotaException {
        issuer: settings.text(&table.field("issuer")),
        subject: settings.text(&table.field("subject")),
        quota: if is_given {
            quota(settings, &limit)
        } else {
            Quota::default()
        },
    }
}

/// The role that a setting is about: `student` for `quota.student.sessions_per_month`.
fn role_of(name: &str) -> Option<&str> {
    let (section, field) = name.rsplit_once('.')?;
    let role = section.strip_prefix(SECTION)?.strip_prefix('.')?;
    (field == FIELD && !role.is_empty() && !name.starts_with(&format!("{EXCEPTIONS}[")))
        .then_some(role)
}

/// Makes a setting of `name` when it is a role's quota: the defaults cannot know the roles.
pub(super) fn admit(settings: &mut Settings, name: &str) {
    if role_of(name).is_some() && super::tables::help(name).is_none() && !settings.has(name) {
        // A placeholder for when the value turns out to be wrong.
        settings.add(Entry::new(name.into(), Value::Whole(1), Source::Default));
    }
}

/// What to tell somebody who wrote `name`, which is no setting but stands in this section.
pub(super) fn help(name: &str) -> Option<String> {
    let below = name.strip_prefix(SECTION)?;
    let Some((role, field)) = below
        .strip_prefix('.')
        .and_then(|rest| rest.rsplit_once('.'))
    else {
        let is_ours = below.is_empty() || below.starts_with('.');
        let role = if below.is_empty() { ".<role>" } else { below };
        return is_ours
            .then(|| format!("is a section, not a setting; it holds {SECTION}{role}.{FIELD}"));
    };
    if MEASURED.contains(&field) {
        return Some(format!(
            "needs measured use, which direct mode does not have; {FIELD} can be limited"
        ));
    }
    let close = nearest(field, [FIELD]);
    Some(format!(
        "is not a setting; the nearest is {SECTION}.{role}.{close}"
    ))
}
