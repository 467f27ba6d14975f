//! Owns `GET /usage`: what was used, summed up.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use url::form_urlencoded;

use crate::broker::Broker;
use crate::domain::parse_duration;
use crate::records::{By, UsageQuery, UsageRow};
use crate::web::code::Code;
use crate::web::error::ApiError;

/// What is asked when nothing is said.
const SINCE: &str = "7d";
/// Most rows of one report.
const MOST: u32 = 10_000;

#[derive(Serialize)]
struct Usage {
    /// The report: `day`, `role`, `persona` or `user`.
    by: &'static str,
    /// From when on, the beginning of a UTC day: milliseconds since the Unix epoch.
    since: u64,
    rows: Vec<UsageRow>,
    /// True when there are more than these.
    truncated: bool,
}

/// One report: `by` (day unless said otherwise) and `since` (7d unless said otherwise).
pub(super) async fn usage(State(broker): State<Broker>, uri: Uri) -> Result<Response, ApiError> {
    let (mut by, mut since) = (By::Day, SINCE.to_owned());
    for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
        match &*name {
            "by" => by = By::parse(&value).ok_or_else(|| wrong("by"))?,
            "since" => since = value.into_owned(),
            _ => return Err(wrong("query")),
        }
    }
    let ago = parse_duration(&since).map_err(|_| wrong("since"))?;
    let since = broker.now().minus(ago).start_of_day();
    let query = UsageQuery {
        by,
        since,
        most: MOST,
    };
    let rows = broker.usage(query).await?;
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
