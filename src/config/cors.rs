//! `[cors]`: the web pages that may call.

use serde::{Deserialize, Deserializer};

use super::Mode;
use super::settings::Settings;
use crate::domain::written::list;
use crate::domain::{Origin, Origins};

/// The web pages that may call.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// The allow-list; in dev mode also every localhost origin.
    #[serde(deserialize_with = "origins")]
    pub allowed_origins: Origins,
}

const ALLOWED: &str = "cors.allowed_origins";

impl Cors {
    pub(super) fn read(settings: &mut Settings) -> Option<Self> {
        let mut cors: Self = settings.section("cors")?;
        let origins = &mut cors.allowed_origins;
        if settings.mode == Mode::Dev {
            *origins = std::mem::take(origins).and_localhost();
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
        settings.require_unless_dev(
            ALLOWED,
            origins.listed().all(Origin::is_trustworthy),
            "must be https (only localhost may be http): whoever is on the way could become that page",
        );
        Some(cors)
    }
}

/// Reads origins; `*` stands for every origin.
fn origins<'de, D: Deserializer<'de>>(from: D) -> Result<Origins, D::Error> {
    let given: Vec<Option<Origin>> = list(from, |text| match text {
        "*" => Ok(None),
        _ => Origin::parse(text).map(Some),
    })?;
    let any = given.iter().any(Option::is_none);
    let listed = Origins::exactly(given.into_iter().flatten());
    Ok(if any { listed.and_any() } else { listed })
}
