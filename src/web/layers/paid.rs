//! Owns the order of the guards around one paid route.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use tower::{Layer, Service};

use super::rate_limit::{self, Windows};
use super::{arrival, identity, origin};
use crate::domain::Caller;
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::state::AppState;

/// The guards around a paid route, whose requests are counted under `windows`.
#[derive(Clone)]
pub(crate) struct Guards {
    state: AppState,
    windows: Windows,
}

/// A paid route behind its guards.
#[derive(Clone)]
pub(crate) struct Paid {
    guards: Guards,
    route: Route,
}

impl Guards {
    /// Guards that ask `state`.
    pub(crate) const fn new(state: AppState, windows: Windows) -> Self {
        Self { state, windows }
    }

    /// Origin first: pages that may not call use up nobody's allowance. Then who it is, because the address' windows and the
    /// identity's are decided together.
    async fn let_through(&self, mut request: Request, mut route: Route) -> Response {
        let Some(mut caller) = arrival::caller(&request) else {
            return ApiError::from(Code::Internal).into_response();
        };
        match origin::guard(&self.state.face, &request) {
            Ok(origin) => caller.origin = origin,
            Err(error) => {
                origin::note_refusal(&self.state, &caller, request.headers()).await;
                return error.into_response();
            }
        }
        // Credentials are costly to verify: who is blocked is not heard so far.
        if request.headers().contains_key(AUTHORIZATION)
            && let Some(refusal) = rate_limit::blocked(&self.state, &caller).await
        {
            return refusal;
        }
        match identity::of(&self.state, request.headers()).await {
            Ok(known) => caller.identity = known,
            Err(unknown) => {
                let refuse = async { identity::refuse(&self.state, &caller, &unknown) };
                return rate_limit::limit(&self.state, self.windows.asking(), &caller, refuse)
                    .await;
            }
        }
        let caller = Arc::new(caller);
        request
            .extensions_mut()
            .insert::<Arc<Caller>>(Arc::clone(&caller));
        let next = async {
            let Ok(response) = route.call(request).await;
            response
        };
        rate_limit::limit(&self.state, self.windows, &caller, next).await
    }
}

impl Layer<Route> for Guards {
    type Service = Paid;

    fn layer(&self, route: Route) -> Paid {
        Paid {
            guards: self.clone(),
            route,
        }
    }
}

impl Service<Request> for Paid {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // axum's routes are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { guards, route } = self.clone();
        Box::pin(async move { Ok(guards.let_through(request, route).await) })
    }
}
