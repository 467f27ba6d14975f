//! Admits requests of the paid routes: origin, identity, limits, in this order.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::{denied, identity, origin, trace};
use crate::domain::{Caller, ConnectMode, KnownTicket};
use crate::gate::{Pass, Purpose};
use crate::web::code::Code;
use crate::web::error::ApiError;
use crate::web::here::Here;
use crate::web::routes::calls;
use crate::web::state::AppState;
use crate::web::upgrade;

/// A caller whose request was admitted.
#[derive(Clone)]
pub struct Admitted {
    /// The caller.
    pub caller: Arc<Caller>,
    /// What the request may use up.
    pub pass: Pass,
    /// The ticket that the request shows instead of a credential, and may redeem.
    pub ticket: Option<Arc<KnownTicket>>,
    /// Where the request has reached the service.
    pub here: Here,
}

/// Admits a request for `purpose`, passes it to its route and settles what it used up.
pub(crate) async fn let_through(
    State((state, purpose)): State<(AppState, Purpose)>,
    mut request: Request,
    next: Next,
) -> Response {
    upgrade::move_credential(request.headers_mut());
    let Some(mut caller) = request.extensions_mut().remove::<Caller>() else {
        return ApiError::from(Code::Internal).into_response();
    };
    let admitted = admit(&state, purpose, (&mut caller, request.headers()));
    let (pass, ticket) = match admitted.await {
        Ok(admitted) => admitted,
        Err(mut refusal) => {
            refusal.extensions_mut().insert(caller.party());
            return refusal;
        }
    };
    let caller = Arc::new(caller);
    let here = Here::of(request.headers());
    request.extensions_mut().insert(Admitted {
        caller: Arc::clone(&caller),
        pass: pass.clone(),
        ticket,
        here,
    });
    let mut response = next.run(request).await;
    denied::settle(&state, &caller, &pass, &mut response).await;
    response.extensions_mut().insert(caller.party());
    response
}

/// Checks the origin first, because pages that may not call use up nobody's allowance. Then finds out the identity,
/// because the gate decides over all limits of address and identity at once. A ticket says who its bearer is, and its session
/// was counted when it was minted.
async fn admit(
    state: &AppState,
    purpose: Purpose,
    (caller, headers): (&mut Caller, &HeaderMap),
) -> Result<(Pass, Option<Arc<KnownTicket>>), Response> {
    caller.origin = origin::guard(state, caller, headers).await?;
    let (mut purpose, mut known) = (purpose, None);
    match (purpose, calls::ticket(headers)) {
        // A ticket shows its own call only, and says nothing of who its holder is.
        (Purpose::Look, Some(_)) => purpose = Purpose::LookWithTicket,
        (Purpose::Call | Purpose::Relay, Some(shown)) => {
            let mode = if purpose == Purpose::Call {
                ConnectMode::Call
            } else {
                ConnectMode::Relay
            };
            let ticket = identity::of_ticket(state, caller, (&shown, mode)).await?;
            caller.identity = ticket.identity(&shown);
            (purpose, known) = (Purpose::Redeem, Some(Arc::new(ticket)));
        }
        _ => caller.identity = identity::of(state, caller, headers).await?,
    }
    if let Some(known) = &caller.identity {
        trace::note_identity(&known.account, state.face.log_identity);
    }
    let admitted = state.gate.admit(caller, purpose).await;
    admitted
        .map(|pass| (pass, known))
        .map_err(|denied| denied::answer(state, caller, &denied))
}
