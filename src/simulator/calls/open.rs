//! Creates calls from offers.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::multipart::Multipart;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use serde_json::Value;

use super::answer::answer;
use super::live::Live;
use super::{Registry, peer};
use crate::provider;
use crate::simulator::edge::{self, Edge, bearer};
use crate::simulator::fault::{Answer, Twist};
use crate::simulator::mint::models_exist;
use crate::simulator::plan::{OfCalls, Operation};
use crate::simulator::refusal::Refusal;

/// Size of an answer that is too large, in bytes.
const HUGE: usize = 2 * 1024 * 1024;

/// What somebody offers.
struct Offered {
    sdp: String,
    session: Value,
}

/// `POST /v1/realtime/calls`.
pub(in crate::simulator) async fn open(
    State(edge): State<Arc<Edge>>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Response> {
    let body = edge::read(body).await?;
    edge.remember_call(&uri, &headers, body.clone());
    let given = bearer(&headers);
    let secret = edge.secret_session(&given);
    let key = match &secret {
        Some(_) => given,
        None => edge.admit(&headers)?,
    };
    let twist = edge.suffer(Operation::Call(OfCalls::Calls)).await?;
    let offered = match secret {
        Some(session) => of_secret(&headers, &body, session)?,
        None => of_parts(&headers, body).await?,
    };
    check_sdp(&offered.sdp)?;
    let (id, sdp) = create(&edge.calls, &key, offered).await?;
    if let Some(twist) = &twist {
        twist.after_creation(&*edge.clock).await?;
    }
    Ok(answered(&id, sdp, twist.as_ref()))
}

async fn create(
    calls: &Arc<Registry>,
    key: &str,
    offered: Offered,
) -> Result<(String, String), Refusal> {
    let now = calls.clock.now();
    let switches = calls.desk().switches.clone();
    let mut live = Live::new(key, offered.sdp, &offered.session, (now, &switches));
    let sdp = peer::meet(calls, &mut live).await?;
    let sdp = sdp.unwrap_or_else(|| answer(&live, &switches));
    let id = live.id.clone();
    calls.desk().add(live);
    Ok((id, sdp))
}

/// Returns the answer: everything as recorded, but for the twist.
fn answered(id: &str, sdp: String, twist: Option<&Twist>) -> Response {
    let status = match twist {
        Some(Twist::NotCreated) => StatusCode::OK,
        _ => StatusCode::CREATED,
    };
    let location = match twist {
        Some(Twist::Location(location)) => location.clone(),
        _ => HeaderValue::try_from(format!("/v1/realtime/calls/{id}")).ok(),
    };
    let body = match twist {
        Some(Twist::Answer(Answer::Empty)) => Body::empty(),
        Some(Twist::Answer(wrong)) => wrong_body(*wrong, ("v=0\r\n".to_owned(), "")),
        _ => Body::from(sdp),
    };
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "Location, X-Request-Id",
        ),
    ];
    let mut response = (status, headers, body).into_response();
    if let Some(location) = location {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// Returns a body that begins like an answer, and ends so if it ends, without any SDP between but what is wrong with it.
pub(super) fn wrong_body(wrong: Answer, (begin, end): (String, &str)) -> Body {
    let beginning = |begin: String| stream::iter([Ok::<_, io::Error>(Bytes::from(begin))]);
    match wrong {
        Answer::Empty => Body::from(format!("{begin}{end}")),
        Answer::Huge => Body::from(format!("{begin}{}{end}", "a".repeat(HUGE))),
        Answer::Hangs => Body::from_stream(beginning(begin).chain(stream::pending())),
        Answer::Cut => {
            let end = async {
                // Lets hyper send what it has.
                tokio::task::yield_now().await;
                Err(io::ErrorKind::ConnectionAborted.into())
            };
            Body::from_stream(beginning(begin).chain(stream::once(end)))
        }
    }
}

/// Reads an offer that comes with a client secret: raw, for the session of the secret.
fn of_secret(headers: &HeaderMap, body: &Bytes, session: Value) -> Result<Offered, Refusal> {
    edge::assert_type(headers, "application/sdp")?;
    let sdp = text(body)?;
    Ok(Offered { sdp, session })
}

/// Reads an offer that comes with the API key: the parts `sdp` and `session`, and nothing else.
async fn of_parts(headers: &HeaderMap, body: Bytes) -> Result<Offered, Refusal> {
    let wrong = |message: &str| Refusal::new(400, "invalid_multipart_form", message);
    let mut request = Request::new(Body::from(body));
    *request.headers_mut() = headers.clone();
    let unreadable =
        |_| wrong("Expected a multipart/form-data request with the parts sdp and session.");
    let mut form = Multipart::from_request(request, &())
        .await
        .map_err(unreadable)?;
    let (mut sdp, mut session) = (None, None);
    while let Some(part) = form
        .next_field()
        .await
        .map_err(|_| wrong("The form is cut."))?
    {
        let name = part.name().unwrap_or_default().to_owned();
        let bytes = part.bytes().await.map_err(|_| wrong("The form is cut."))?;
        let place = match name.as_str() {
            "sdp" => &mut sdp,
            "session" => &mut session,
            _ => return Err(unknown_part(&name)),
        };
        if place.replace(bytes).is_some() {
            return Err(wrong("A part is repeated."));
        }
    }
    let sdp = sdp.ok_or_else(|| {
        Refusal::new(
            400,
            "missing_required_parameter",
            "Missing required parameter: 'sdp'.",
        )
        .at("sdp")
    })?;
    Ok(Offered {
        sdp: text(&sdp)?,
        session: session.map_or(Ok(Value::Null), |bytes| read_session(&bytes))?,
    })
}

fn unknown_part(name: &str) -> Refusal {
    let message = format!("Unknown parameter: '{name}'.");
    Refusal::new(400, "unknown_parameter", message).at(name)
}

fn read_session(bytes: &[u8]) -> Result<Value, Refusal> {
    let session: Value = serde_json::from_slice(bytes).map_err(|_| {
        Refusal::new(
            400,
            None,
            "We could not parse the JSON of the part session.",
        )
        .at("session")
    })?;
    provider::check(&session)?;
    models_exist(&session)?;
    Ok(session)
}

pub(super) fn check_sdp(sdp: &str) -> Result<(), Refusal> {
    if sdp.starts_with("v=0") && sdp.contains("\nm=audio ") {
        return Ok(());
    }
    let message = "The SDP offer could not be parsed.";
    Err(Refusal::new(400, "invalid_offer", message))
}

fn text(bytes: &[u8]) -> Result<String, Refusal> {
    let refused = |_| Refusal::new(400, "invalid_offer", "The SDP offer is not UTF-8.");
    String::from_utf8(bytes.to_vec()).map_err(refused)
}
