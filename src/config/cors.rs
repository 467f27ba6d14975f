//! Owns the settings of which web pages may call.

use super::Mode;
use super::settings::Settings;
use crate::domain::{Origin, OriginError, Origins};

/// Which web pages may call.
#[derive(Clone, Debug)]
pub struct Cors {
    /// The allow-list; in dev mode also every localhost origin.
    pub allowed_origins: Origins,
}

const ALLOWED: &str = "cors.allowed_origins";

impl Cors {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let parse = |text: &str| match text {
            "*" => Ok(None),
            _ => Origin::parse(text).map(Some),
        };
        let given: Vec<Option<Origin>> = settings.list::<_, OriginError>(ALLOWED, parse);
        let any = given.iter().any(Option::is_none);
        let mut origins = Origins::exactly(given.into_iter().flatten());
        if any {
            origins = origins.and_any();
        }
        if settings.mode == Mode::Dev {
            origins = origins.and_localhost();
        }
        check(&origins, settings);
        Self {
            allowed_origins: origins,
        }
    }
}

fn check(origins: &Origins, settings: &mut Settings) {
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
}
