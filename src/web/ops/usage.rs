//! `GET /usage`: reports of use.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use url::form_urlencoded;

use super::OpsState;
use crate::broker::BrokerError;
use crate::domain::parse_duration;
use crate::records::{By, UsageQuery, UsageRow};
use crate::web::error::ApiError;

/// The period of a report when the request names none.
const SINCE: &str = "7d";
/// Upper bound on the rows of one report.
const MOST: u32 = 10_000;

#[derive(Serialize)]
pub(super) struct Usage {
    /// The report: `day`, `role`, `persona`, `user` or `model`.
    by: &'static str,
    /// The beginning of the first UTC day: milliseconds since the Unix epoch.
    since: u64,
    rows: Vec<UsageRow>,
    /// True when there are more rows than these.
    truncated: bool,
}

/// Answers one report: `by` (default `day`) and `since` (default `7d`).
pub(super) async fn usage(State(ops): State<OpsState>, uri: Uri) -> Result<Json<Usage>, ApiError> {
    let (mut by, mut since) = (By::Day, SINCE.to_owned());
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match &*name {
            "by" => by = By::parse(&value).ok_or(ApiError::at("by"))?,
            "since" => since = value.into_owned(),
            _ => return Err(ApiError::at("query")),
        }
    }
    let ago = parse_duration(&since).map_err(|_| ApiError::at("since"))?;
    let query = UsageQuery {
        by,
        since: ops.app.face.clock.now().minus(ago).start_of_day(),
        most: MOST,
    };
    let since = query.since.as_millis();
    let report = ops.records.usage_at_most(query).await;
    let (rows, truncated) = report.map_err(BrokerError::NotRead)?;
    Ok(Json(Usage {
        by: by.as_str(),
        since,
        rows,
        truncated,
    }))
}
