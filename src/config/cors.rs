//! `[cors]`: the pages and apps that may call.

use serde::{Deserialize, Deserializer};

use super::Mode;
use super::settings::Settings;
use crate::domain::written::list;
use crate::domain::{Origin, OriginPattern, Origins};

/// The pages and apps that may call.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// The allow-list; in dev mode also every localhost origin.
    #[serde(deserialize_with = "origins")]
    pub allowed_origins: Origins,
    /// True accepts patterns that others may get fitting names for.
    pub allow_shared_suffix: bool,
}

const ALLOWED: &str = "cors.allowed_origins";
/// Longest part of an entry that a complaint shows, in characters.
const LONGEST_SHOWN: usize = 100;

impl Cors {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let mut cors: Self = settings.section("cors")?;
        cors.judge_patterns(settings);
        let origins = &mut cors.allowed_origins;
        if settings.mode == Mode::Dev {
            *origins = std::mem::take(origins).and(Origins::localhost());
        }
        settings.require(
            &[ALLOWED],
            !origins.is_empty(),
            "is required: list the pages that may call; set ALLOWED_ORIGINS=https://app.example.com",
        );
        settings.require_unless_dev(
            ALLOWED,
            !origins.allows_any(),
            "must not be *: any page on the web could spend your money; \
             list the pages, like ALLOWED_ORIGINS=https://app.example.com",
        );
        let plain = origins.listed().find(|origin| !origin.is_trustworthy());
        settings.require_unless_dev(
            ALLOWED,
            plain.is_none(),
            &format!(
                "must be https (only localhost may be http): anybody in between could replace that page{}",
                plain.map(|origin| shown(origin.as_str())).unwrap_or_default()
            ),
        );
        Some(cors)
    }

    /// Complains of patterns that others may get fitting names for, or warns of them where they are allowed.
    fn judge_patterns(&self, settings: &mut Settings) {
        let patterns = self.allowed_origins.patterns().iter();
        for pattern in patterns.filter(|pattern| pattern.is_shared()) {
            if self.allow_shared_suffix {
                let message = format!("lets everybody call who gets a name like {pattern} there");
                settings.warn(ALLOWED, message);
            } else {
                let message = format!(
                    "must not hold {pattern}: others may get names that fit; open one whole label below a domain of yours, \
                     like https://*.preview.example.com, or set cors.allow_shared_suffix = true"
                );
                settings.complain(ALLOWED, message);
            }
        }
    }
}

/// Reads origins and patterns; `*` stands for every origin.
fn origins<'de, D: Deserializer<'de>>(from: D) -> Result<Origins, D::Error> {
    let given = list(from, |text| {
        let read = match text {
            "*" => Ok(Origins::any()),
            _ if text.contains('*') => OriginPattern::parse(text).map(Origins::fitting),
            _ => Origin::parse(text).map(|origin| Origins::exactly([origin])),
        };
        read.map_err(|error| format!("{error}{}", shown(text)))
    })?;
    Ok(given.into_iter().fold(Origins::default(), Origins::and))
}

/// Returns the end of a complaint that shows an entry. What does not look like an origin may be a secret and is not shown.
fn shown(text: &str) -> String {
    let looks_like_origin = text.contains(['.', ':', '*']) && !text.contains('@');
    let cut: String = text.chars().take(LONGEST_SHOWN).collect();
    if looks_like_origin || text == "null" {
        format!(" (it is {cut:?})")
    } else {
        String::new()
    }
}
