//! Puts the checks of admission around one paid route, in order.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use tower::{Layer, Service};

use super::{arrival, denied, identity, origin, trace};
use crate::domain::Caller;
use crate::gate::{Pass, Purpose};
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::state::AppState;

/// What the handler of a paid route learns about its request.
#[derive(Clone)]
pub struct Admitted {
    /// Who asks.
    pub caller: Arc<Caller>,
    /// What the request may use up.
    pub pass: Pass,
}

/// The checks around a paid route.
#[derive(Clone)]
pub(crate) struct Admission {
    state: AppState,
    purpose: Purpose,
}

/// A paid route behind its checks.
#[derive(Clone)]
pub(crate) struct Paid {
    admission: Admission,
    route: Route,
}

impl Admission {
    /// Returns checks that admit requests for `purpose`.
    pub(crate) const fn new(state: AppState, purpose: Purpose) -> Self {
        Self { state, purpose }
    }

    /// Checks the origin first: pages that may not call use up nobody's allowance. Then the identity,
    /// because the gate decides over all limits of address and identity at once.
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
        match identity::of(&self.state, &caller, request.headers()).await {
            Ok(known) => {
                if let Some(known) = &known {
                    trace::note_identity(&known.account);
                }
                caller.identity = known;
            }
            Err(unknown) => return identity::refuse(&self.state, &caller, &unknown).await,
        }
        let pass = match self.state.gate.admit(&caller, self.purpose).await {
            Ok(pass) => pass,
            Err(denied) => return denied::answer(&self.state, &caller, &denied),
        };
        let caller = Arc::new(caller);
        request.extensions_mut().insert(Admitted {
            caller: Arc::clone(&caller),
            pass: pass.clone(),
        });
        let Ok(mut response) = route.call(request).await;
        denied::settle(&self.state, &caller, &pass, &mut response).await;
        response
    }
}

impl Layer<Route> for Admission {
    type Service = Paid;

    fn layer(&self, route: Route) -> Paid {
        Paid {
            admission: self.clone(),
            route,
        }
    }
}

impl Service<Request> for Paid {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Routes of axum are always ready.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { admission, route } = self.clone();
        Box::pin(async move { Ok(admission.let_through(request, route).await) })
    }
}
