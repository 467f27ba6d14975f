//! `GET /usage`: reports of use.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use url::form_urlencoded;

use super::OpsRecords;
use crate::broker::BrokerError;
use crate::domain::parse_duration;
use crate::records::{By, UsageQuery, UsageRow};
use crate::web::code::Code;
use crate::web::error::ApiError;

/// The period of a report when the request names none.
const SINCE: &str = "7d";
/// Most rows of one report.
const MOST: u32 = 10_000;

#[derive(Serialize)]
struct Usage {
    /// The report: `day`, `role`, `persona` or `user`.
    by: &'static str,
    /// The beginning of the first UTC day: milliseconds since the Unix epoch.
    since: u64,
    rows: Vec<UsageRow>,
    /// True when there are more rows than these.
    truncated: bool,
}

/// Answers one report: `by` (default `day`) and `since` (default `7d`).
pub(super) async fn usage(State(ops): State<OpsRecords>, uri: Uri) -> Result<Response, ApiError> {
    let (mut by, mut since) = (By::Day, SINCE.to_owned());
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match &*name {
            "by" => by = By::parse(&value).ok_or_else(|| wrong("by"))?,
            "since" => since = value.into_owned(),
            _ => return Err(wrong("query")),
        }
    }
    let ago = parse_duration(&since).map_err(|_| wrong("since"))?;
    let since = ops.clock.now().minus(ago).start_of_day();
    let query = UsageQuery {
        by,
        since,
        most: MOST,
    };
    let rows = ops.records.usage(query).await;
    let rows = rows.map_err(BrokerError::NotRecorded)?;
    let answer = Usage {
        by: by.as_str(),
        since: since.as_millis(),
        truncated: rows.len() >= MOST as usize,
        rows,
    };
    Ok(Json(answer).into_response())
}

fn wrong(field: &str) -> ApiError {
    ApiError::malformed(Code::BadRequest, Some(field.to_owned()))
}
