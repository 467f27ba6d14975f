//! The data channel of a session over a real connection.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use str0m::channel::ChannelId;
use str0m::media::{Direction, MediaKind};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, Input, Output, Rtc, RtcConfig};
use tokio::net::UdpSocket;

use super::*;
use crate::kit::provider::simulator;

/// Longest wait for a packet, so that what a test wants to send goes out.
const STEP: Duration = Duration::from_millis(20);

/// A page in a session.
struct Page {
    rtc: Rtc,
    socket: UdpSocket,
    here: SocketAddr,
    channel: ChannelId,
    outgoing: VecDeque<String>,
    events: Vec<Value>,
    /// The answer to its offer.
    answer: String,
}

impl Page {
    /// Opens a session over a connection of its own.
    async fn dial(bench: &Bench, session: &Value) -> Self {
        let socket = UdpSocket::bind((outward().await, 0)).await.unwrap();
        let here = socket.local_addr().unwrap();
        let mut rtc = RtcConfig::new().build(Instant::now());
        rtc.add_local_candidate(Candidate::host(here, "udp").unwrap());
        let mut change = rtc.sdp_api();
        change.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        let channel = change.add_channel("oai-events".to_owned());
        let (offer, pending) = change.apply().unwrap();
        let mut body = asking(session);
        body["transport"]["sdp"] = offer.to_sdp_string().into();
        let (status, created) = read(bench.posting(&body).send().await.unwrap()).await;
        assert_eq!(status, 201, "{created}");
        let answer = created["transport"]["sdp"].as_str().unwrap().to_owned();
        let parsed = str0m::change::SdpAnswer::from_sdp_string(&answer).unwrap();
        rtc.sdp_api().accept_answer(pending, parsed).unwrap();
        Self {
            rtc,
            socket,
            here,
            channel,
            outgoing: VecDeque::new(),
            events: Vec::new(),
            answer,
        }
    }

    /// Goes on until the last event is of this type. Returns it.
    async fn hear(&mut self, kind: &str) -> Value {
        let began = Instant::now();
        loop {
            let last = self.events.last();
            if let Some(last) = last.filter(|last| last["type"] == kind) {
                return last.clone();
            }
            assert!(began.elapsed() < LONG, "no {kind}: {:?}", self.events);
            let due = self.drain().await;
            let wait = due.saturating_duration_since(Instant::now()).min(STEP);
            let mut buffer = [0; 2000];
            let input = match timeout(wait, self.socket.recv_from(&mut buffer)).await {
                Ok(received) => {
                    let (length, from) = received.unwrap();
                    let packet = &buffer[..length];
                    let packet = Receive::new(Protocol::Udp, from, self.here, packet).unwrap();
                    Input::Receive(Instant::now(), packet)
                }
                Err(_) => Input::Timeout(Instant::now()),
            };
            self.rtc.handle_input(input).unwrap();
        }
    }

    /// Sends and notes all that follows. Returns when more is due.
    async fn drain(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output().unwrap() {
                Output::Timeout(due) => {
                    if !self.write() {
                        return due;
                    }
                }
                Output::Transmit(packet) => {
                    let sent = self.socket.send_to(&packet.contents, packet.destination);
                    sent.await.unwrap();
                }
                Output::Event(Event::ChannelData(data)) => {
                    self.events
                        .push(serde_json::from_slice(&data.data).unwrap());
                }
                Output::Event(_) => {}
            }
        }
    }

    /// Writes one event to the channel. Returns false when there is none, or no channel yet.
    fn write(&mut self) -> bool {
        let Some(mut channel) = self.rtc.channel(self.channel) else {
            return false;
        };
        let event = self.outgoing.pop_front();
        event.is_some_and(|event| channel.write(false, event.as_bytes()).unwrap())
    }

    fn say(&mut self, event: &Value) {
        self.outgoing.push_back(event.to_string());
    }
}

/// Returns the address that this machine uses towards others.
async fn outward() -> IpAddr {
    let probe = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    match probe.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).await {
        Ok(()) => probe.local_addr().unwrap().ip(),
        Err(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
    }
}

#[tokio::test]
async fn a_real_data_channel_keeps_to_the_lists_and_its_page_begins_the_handshake() {
    let bench = Bench {
        simulator: simulator(&[]).await,
        clock: Arc::new(ManualClock::at(Timestamp::from_seconds(NOW))),
        client: keeping_client(),
    };
    let calls = bench.simulator.calls();
    calls.switch(|now| now.real_peers = true);
    let received =
        json!([{"type": "session.output_transcript.delta"}, {"type": "session.input_audio.muted"}]);
    let session = restricted(&json!(["session.input_audio.mute"]), &received);
    let mut page = Page::dial(&bench, &session).await;
    assert!(page.answer.contains("a=setup:passive") && page.answer.contains("a=ice-lite"));
    let info = page.hear("info").await;
    assert_eq!(info["code"], "data_channel_permissions");
    page.say(&json!({"type": "session.update", "event_id": "e_1", "session": {"triggers": []}}));
    let denied = page.hear("error").await;
    assert_eq!(
        (
            &denied["error"]["code"],
            &denied["error"]["client_event_id"]
        ),
        (&json!("event_not_allowed"), &json!("e_1"))
    );
    calls.play(&bench.seen().id, &"say:Hello.".parse().unwrap());
    page.hear("session.output_transcript.delta").await;
    page.say(&json!({"type": "session.input_audio.mute"}));
    page.hear("session.input_audio.muted").await;
    assert_eq!(
        types(&page.events),
        [
            "info",
            "error",
            "session.output_transcript.delta",
            "session.input_audio.muted"
        ]
    );
}
