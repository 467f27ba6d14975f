//! Signs operators in and out in a browser.

use std::time::Duration;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Redirect, Response};

use super::asked::form as fields;
use super::view;
use crate::domain::Caller;
use crate::web::error::ApiError;
use crate::web::layers::origin::only_origin;
use crate::web::ops::OpsState;
use crate::web::ops::entrance::no_cookie;

/// The wait after a wrong guess.
const DELAY: Duration = Duration::from_secs(1);

/// Shows the form.
pub(super) async fn form() -> Result<Response, ApiError> {
    view::sign_in(StatusCode::OK, String::new())
}

/// Gives a browser that shows the token its cookie. The right token always enters, whatever was guessed before. A wrong
/// one is counted, and its answer is late.
pub(super) async fn enter(
    State(ops): State<OpsState>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, ApiError> {
    let origin = only_origin(request.headers()).unwrap_or_default();
    let is_https = origin.starts_with("https://");
    let [token] = fields(&ops, request, ["token"]).await?;
    let clock = &ops.app.face.clock;
    if ops.entrance.is_token(token.trim()) {
        tracing::info!(address = %caller.address(), "operator signed in to the dashboard");
        let cookie = ops.entrance.cookie(clock.now(), is_https);
        return Ok(([(SET_COOKIE, cookie)], Redirect::to("/")).into_response());
    }
    if ops.hear(&caller).is_err() {
        let trouble = "Too many wrong tokens came from this address. The right one still works.";
        return view::sign_in(StatusCode::TOO_MANY_REQUESTS, trouble.to_owned());
    }
    ops.note_guess(&caller);
    clock.sleep(DELAY).await;
    let trouble = "This is not the token in ops.token.".to_owned();
    view::sign_in(StatusCode::UNAUTHORIZED, trouble)
}

/// Makes the browser forget its cookie.
pub(super) async fn leave() -> Response {
    ([(SET_COOKIE, no_cookie())], Redirect::to("/sign-in")).into_response()
}
