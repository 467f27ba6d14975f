//! Answers `GET /metrics`, for Prometheus.

use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::OpsState;
use crate::metrics::Form;
use crate::web::layers::Probe;

/// Returns every series, in the format that `Accept` prefers. Not counted itself: monitors ask often.
pub(super) async fn metrics(State(ops): State<OpsState>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(ACCEPT).iter();
    let accept: Vec<_> = accept.filter_map(|line| line.to_str().ok()).collect();
    let form = Form::preferred(&accept.join(","));
    ops.app.broker.measure();
    let page = ops.app.face.vitals.series.page(form);
    let kind = HeaderValue::from_static(form.content_type());
    (Extension(Probe), [(CONTENT_TYPE, kind)], page).into_response()
}
