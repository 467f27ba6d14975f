//! Real WebRTC peers: the provider's end of a call that a browser can hear and talk to.

mod ear;
mod run;
mod voice;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use str0m::change::SdpOffer;
use str0m::error::SdpError;
use str0m::{Candidate, Rtc, RtcConfig, RtcError};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use self::run::Peer;
use super::live::{Live, Media};
use super::{Dialect, Registry};
use crate::simulator::refusal::Refusal;

/// Bytes of events that may wait for the browser. An event may hold instructions of 64 KiB, twice escaped.
const MAX_BUFFERED: usize = 1024 * 1024;
/// An address of nobody (RFC 5737), to learn which of its own addresses the machine would use.
const NOBODY: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// What a peer is told.
enum Told {
    /// Send this event.
    Event(String),
    /// Begin to say this text, which belongs to a response.
    Speak(String, String),
    /// The text of this response is complete.
    Finish(String),
    /// Be quiet.
    Hush,
    /// Close the connection.
    HangUp,
}

impl Media for UnboundedSender<Told> {
    fn event(&self, event: &str) {
        let _ = self.send(Told::Event(event.to_owned()));
    }

    fn speak(&self, response: &str, text: &str) {
        let _ = self.send(Told::Speak(response.to_owned(), text.to_owned()));
    }

    fn finish(&self, response: &str) {
        let _ = self.send(Told::Finish(response.to_owned()));
    }

    fn hush(&self) {
        let _ = self.send(Told::Hush);
    }

    fn hang_up(&self) {
        let _ = self.send(Told::HangUp);
    }
}

/// Answers the offer of a new call with a peer of its own. Returns the answer; `None` while the provider has no real peers.
pub(super) async fn meet(
    calls: &Arc<Registry>,
    live: &mut Live,
) -> Result<Option<String>, Refusal> {
    if !calls.desk().switches.real_peers {
        return Ok(None);
    }
    let failed = |error| Refusal::new(500, None, format!("No socket for a call: {error}"));
    let socket = bind().await.map_err(failed)?;
    let here = socket.local_addr().map_err(failed)?;
    let began = (calls.clock.tick(), first_instant());
    // The provider begins the handshake of a Realtime call itself, whatever it is offered.
    let offer = match live.dialect() {
        Dialect::Realtime => live.offer.replace("a=setup:actpass", "a=setup:passive"),
        Dialect::Live => live.offer.clone(),
    };
    let (rtc, answer) = negotiate(&offer, here, began.1).map_err(|error| {
        let message = format!("The SDP offer could not be used: {error}");
        Refusal::new(400, "invalid_offer", message)
    })?;
    let (media, told) = unbounded_channel();
    live.media = Some(Box::new(media));
    let peer = Peer::new(
        (Arc::clone(calls), live.id.clone()),
        rtc,
        (socket, here),
        (told, began),
    );
    calls.tasks.spawn(peer.run());
    Ok(Some(answer))
}

/// Binds a socket to the address that this machine uses towards others: some browsers connect to no loopback address.
async fn bind() -> io::Result<UdpSocket> {
    let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    // Nothing is sent. Without a route there is no such address.
    let here = match probe.connect(NOBODY).await {
        Ok(()) => probe.local_addr()?.ip(),
        Err(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    UdpSocket::bind((here, 0)).await
}

#[expect(
    clippy::disallowed_methods,
    reason = "str0m counts from an instant, which the clock then moves on"
)]
fn first_instant() -> Instant {
    Instant::now()
}

/// Why an offer cannot be answered.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum NotNegotiated {
    Sdp(#[from] SdpError),
    Rtc(#[from] RtcError),
    Ice(#[from] str0m::error::IceError),
}

/// Returns a peer that waits for the browser at `here`, and its answer.
fn negotiate(offer: &str, here: SocketAddr, now: Instant) -> Result<(Rtc, String), NotNegotiated> {
    let offer = SdpOffer::from_sdp_string(offer)?;
    let mut rtc = RtcConfig::new()
        .set_ice_lite(true)
        .clear_codecs()
        .enable_opus(true, false)
        .set_sctp_max_buffered_amount(MAX_BUFFERED)
        .build(now);
    rtc.add_local_candidate(Candidate::host(here, "udp")?);
    let answer = rtc.sdp_api().accept_offer(offer)?;
    Ok((rtc, answer.to_sdp_string()))
}
