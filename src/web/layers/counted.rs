//! Counts answers in the series of requests.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;

use super::trace::{JoinTook, UpstreamTook};
use crate::metrics::Series;
use crate::web::error::ApiError;

/// Counts a request of `route` and `method`, and how long it took. `None` stands for a caller who left before the answer.
pub(super) fn count(
    series: &Series,
    (route, method): (&str, &str),
    took: Duration,
    response: Option<&Response>,
) {
    let status = response.map(Response::status);
    // Strangers choose the method of what is refused for its path, method or host.
    let method = match status {
        Some(
            StatusCode::NOT_FOUND
            | StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::MISDIRECTED_REQUEST,
        ) => "-",
        _ => method,
    };
    let code = status.as_ref().map_or("left", |status| status.as_str());
    series.http_requests.add([route, method, code], 1);
    let Some(response) = response else { return };
    series.http_duration.observe([route, method], took);
    if let Some(UpstreamTook(upstream)) = response.extensions().get() {
        let join = response.extensions().get();
        let join = join.map_or(Duration::ZERO, |JoinTook(join)| *join);
        let own = took.saturating_sub(*upstream).saturating_sub(join);
        series.own_duration.observe([route], own);
    }
    if let Some(error) = response.extensions().get::<ApiError>() {
        let code = error.code.name().to_string();
        series.refusals.add([&code, route], 1);
        if let Some(limit) = error.limit {
            series.rate_limited.add([limit, route], 1);
        }
    }
}
