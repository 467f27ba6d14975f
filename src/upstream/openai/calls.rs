//! Calls of OpenAI's Realtime API and of GPT-Live: the exchange of SDP, the start of a side channel, the hang-up.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::header::{
    ACCEPT, CONNECTION, CONTENT_TYPE, LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use reqwest::{RequestBuilder, Response, StatusCode, Upgraded, Url};

use super::keys::Loaded;
use super::socket::Socket;
use super::{
    MAX_ANSWER_BYTES, OpenAi, SAFETY_IDENTIFIER, TOO_LARGE, read_capped, refusal, request_id,
    transport,
};
use crate::domain::{KeyFingerprint, Party, UpstreamCall, UpstreamCallId, below, random_bytes};
use crate::provider::Dialect;
use crate::upstream::calls::{
    Begun, CallOrder, Calls, HungUp, Pending, RelayLeg, RelayOrder, SideChannel,
};
use crate::upstream::{Transcription, TranscriptionOrder, UpstreamError, wire};
use crate::websocket::{Bounds, Leg, Role, derive_accept_key};

#[async_trait]
impl Calls for OpenAi {
    fn exchange(&self, order: CallOrder, key: &KeyFingerprint) -> Pending<Begun> {
        let key = self.keys.choose(key);
        if order.session.dialect() == Dialect::Live {
            return self.create_session(&order, &key);
        }
        // Held until the answer is read.
        let connection = self.connections.take();
        let boundary = URL_SAFE_NO_PAD.encode(random_bytes::<18>());
        let request = connection
            .post(self.calls_url.clone())
            .header(&self.keys.header, &key.value)
            .header(
                CONTENT_TYPE,
                format!("multipart/form-data; boundary={boundary}"),
            )
            .header(ACCEPT, "application/sdp")
            .header(SAFETY_IDENTIFIER, self.pseudonym(&order.behalf))
            .body(wire::call_body(&order, &boundary));
        let key = key.fingerprint.clone();
        Box::pin(async move {
            let response = request.send().await.map_err(cut)?;
            if response.status() != StatusCode::CREATED {
                return Err(refusal(response).await);
            }
            let id = call_id(&response).ok_or(UpstreamError::Invalid("it names no call"))?;
            let request = request_id(response.headers());
            let answer = Box::pin(async move {
                let answer = read_capped(response).await;
                drop(connection);
                wire::read_answer(answer?)
            });
            Ok(Begun::new((UpstreamCall { id, key }, request), answer))
        })
    }

    fn safety_identifier(&self, party: &Party) -> String {
        self.pseudonym(party)
    }

    fn relay(&self, order: RelayOrder, key: &KeyFingerprint) -> Pending<RelayLeg> {
        let mut url = self.socket_url.clone();
        if order.is_transcription {
            url.query_pairs_mut().append_pair("intent", "transcription");
        } else if let Some(model) = &order.model {
            url.query_pairs_mut().append_pair("model", model);
        }
        let key = self.keys.choose(key);
        let (request, nonce) = self.upgrade(url, &key.fingerprint);
        let request = request.header(SAFETY_IDENTIFIER, self.pseudonym(&order.behalf));
        let (key, clock) = (key.fingerprint.clone(), Arc::clone(&self.clock));
        Box::pin(async move {
            let response = request.send().await.map_err(transport)?;
            if response.status() != StatusCode::SWITCHING_PROTOCOLS {
                return Err(refusal(response).await);
            }
            let connection = upgraded(response, &nonce).await?;
            let leg = Leg::over(Box::new(connection), (Role::Client, order.bounds), clock).await;
            Ok(RelayLeg { leg, key })
        })
    }

    fn transcribe(
        &self,
        order: TranscriptionOrder,
        key: &KeyFingerprint,
    ) -> Pending<Transcription> {
        self.send_recording(order, key)
    }

    async fn join(&self, call: &UpstreamCall) -> Result<Box<dyn SideChannel>, UpstreamError> {
        let url = match call.id.dialect() {
            Dialect::Realtime => {
                let mut url = self.socket_url.clone();
                url.query_pairs_mut()
                    .append_pair("call_id", call.id.as_str());
                url
            }
            Dialect::Live => self.session_url(call, "attach"),
        };
        let connection = self.side_channel(call, url).await?;
        Ok(Box::new(
            Socket::open(connection, Arc::clone(&self.clock)).await,
        ))
    }

    async fn attach(&self, call: &UpstreamCall, bounds: Bounds) -> Result<Leg, UpstreamError> {
        let mut url = self.session_url(call, "attach");
        // A program is told that the session is over.
        url.query_pairs_mut().append_pair("graceful_close", "true");
        let connection = self.side_channel(call, url).await?;
        let of = (Role::Client, bounds);
        Ok(Leg::over(Box::new(connection), of, Arc::clone(&self.clock)).await)
    }

    async fn hang_up(&self, call: &UpstreamCall) -> Result<HungUp, UpstreamError> {
        let url = match call.id.dialect() {
            Dialect::Realtime => below(&self.calls_url, &format!("{}/hangup", call.id.as_str())),
            Dialect::Live => self.session_url(call, "hangup"),
        };
        let key = self.keys.choose(&call.key);
        let request = self.http1.post(url).header(&self.keys.header, &key.value);
        let response = request.send().await.map_err(transport)?;
        if response.status().is_success() {
            return Ok(HungUp::Ended);
        }
        match self
            .unknown_or_refused(call, response, UNKNOWN_TO_HANG_UPS)
            .await
        {
            UpstreamError::UnknownCall(_) => Ok(HungUp::WasOver),
            error => Err(error),
        }
    }
}

impl OpenAi {
    /// Creates a GPT-Live session. The answer holds the id and the SDP together, and the id is not waited for any longer than it
    /// takes.
    fn create_session(&self, order: &CallOrder, key: &Loaded) -> Pending<Begun> {
        // Held until the answer is read.
        let connection = self.connections.take();
        let body = wire::live_body(order, &self.pseudonym(&order.behalf));
        let request = connection
            .post(self.sessions_url.clone())
            .header(&self.keys.header, &key.value)
            .header(CONTENT_TYPE, "application/json")
            .body(body);
        let key = key.fingerprint.clone();
        Box::pin(async move {
            let mut response = request.send().await.map_err(cut)?;
            if !response.status().is_success() {
                return Err(match refusal(response).await {
                    // GPT-Live limits the sessions at once, by model, and not the requests.
                    UpstreamError::RateLimited(told) => UpstreamError::SessionLimit(told),
                    error => error,
                });
            }
            let request = request_id(response.headers());
            // The session exists by now. Its id comes first, so that it can be ended whatever happens to the rest.
            let mut body = Vec::new();
            let id = loop {
                if let Some(id) = wire::read_live_id(&body) {
                    break id;
                }
                if !read_part(&mut response, &mut body).await? {
                    break wire::read_live(&body)?.0;
                }
            };
            let answer = Box::pin(async move {
                while read_part(&mut response, &mut body).await? {}
                drop(connection);
                wire::read_live(&body)?.1
            });
            Ok(Begun::new((UpstreamCall { id, key }, request), answer))
        })
    }

    /// Returns a connection to the side channel of `call` at `url`.
    async fn side_channel(&self, call: &UpstreamCall, url: Url) -> Result<Upgraded, UpstreamError> {
        let (request, nonce) = self.upgrade(url, &call.key);
        let response = request.send().await.map_err(transport)?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(self
                .unknown_or_refused(call, response, UNKNOWN_TO_JOINS)
                .await);
        }
        upgraded(response, &nonce).await
    }

    /// Returns the address of a GPT-Live session, for one verb.
    fn session_url(&self, call: &UpstreamCall, verb: &str) -> Url {
        let id = call.id.as_provider_writes();
        below(&self.sessions_url, &format!("{id}/{verb}"))
    }

    /// Returns a request for a WebSocket with this key, and its nonce.
    fn upgrade(&self, url: Url, key: &KeyFingerprint) -> (RequestBuilder, String) {
        let nonce = STANDARD.encode(random_bytes::<16>());
        let request = self
            .http1
            .get(url)
            .header(&self.keys.header, &self.keys.choose(key).value)
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "websocket")
            .header(SEC_WEBSOCKET_VERSION, "13")
            .header(SEC_WEBSOCKET_KEY, &nonce);
        (request, nonce)
    }

    /// Reads a refusal of a request about a call. That the provider does not know the call means something only when the key
    /// is the one that created it.
    async fn unknown_or_refused(
        &self,
        call: &UpstreamCall,
        response: Response,
        unknown: &[u16],
    ) -> UpstreamError {
        let error = refusal(response).await;
        let Some(complaint) = error.complaint() else {
            return error;
        };
        let is_unknown = unknown.contains(&complaint.status)
            || (complaint.status == 400 && complaint.code.starts_with("call_id_not_found"));
        let complaint = complaint.clone();
        if !self.keys.has(&call.key) {
            UpstreamError::OtherKey(complaint)
        } else if is_unknown {
            UpstreamError::UnknownCall(complaint)
        } else {
            error
        }
    }
}

/// Reads the next part of an answer. Returns false at its end.
async fn read_part(response: &mut Response, body: &mut Vec<u8>) -> Result<bool, UpstreamError> {
    let Some(part) = response.chunk().await.map_err(cut)? else {
        return Ok(false);
    };
    if body.len() + part.len() > MAX_ANSWER_BYTES {
        return Err(TOO_LARGE);
    }
    body.extend_from_slice(&part);
    Ok(true)
}

/// Returns the connection that the provider has agreed to upgrade.
async fn upgraded(response: Response, nonce: &str) -> Result<Upgraded, UpstreamError> {
    let accepted = response.headers().get(SEC_WEBSOCKET_ACCEPT);
    if accepted.is_none_or(|accepted| *accepted != derive_accept_key(nonce.as_bytes())) {
        return Err(UpstreamError::Invalid("it does not open a WebSocket"));
    }
    response.upgrade().await.map_err(transport)
}

/// The statuses by which the provider says that there is no call to join. 409 may mean that another side channel is joined.
const UNKNOWN_TO_JOINS: &[u16] = &[404];
/// The statuses by which the provider says that there is no call to hang up.
const UNKNOWN_TO_HANG_UPS: &[u16] = &[404, 409];

/// Returns the id of the created call.
fn call_id(response: &Response) -> Option<UpstreamCallId> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    wire::call_id(location)
}

/// Returns the meaning of a failed connection: unless the offer certainly was not sent, a call may have been created.
pub(super) fn cut(error: reqwest::Error) -> UpstreamError {
    let is_sent = !error.is_connect();
    match transport(error) {
        UpstreamError::Unreachable(source) if is_sent => UpstreamError::Cut(source),
        other => other,
    }
}
