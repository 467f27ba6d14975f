//! Runs one peer: packets in and out, events of the data channel, sound both ways.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use str0m::channel::ChannelId;
use str0m::format::PayloadParams;
use str0m::media::{Frequency, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Event, IceConnectionState, Input, Output, Rtc, RtcError};
use tokio::net::UdpSocket;
use tokio::sync::mpsc::UnboundedReceiver;

use super::Told;
use super::ear::{Ear, Heard};
use super::voice::{MS_PER_PACKET, Voice};
use crate::clock::Tick;
use crate::simulator::calls::live::Peer as Side;
use crate::simulator::calls::{Registry, Turn, client_event, gpt_live, hang_up, heard, turn};

/// Largest packet, in bytes.
const MAX_PACKET: usize = 2000;
/// Samples of one packet.
const SAMPLES_PER_PACKET: u64 = 48 * MS_PER_PACKET;
/// Silence that ends speech where the session does not say, in milliseconds.
const SILENCE_MS: u64 = 500;
/// The same in GPT-Live, whose sessions never say.
const GAP_MS: u64 = 200;

/// The provider's end of one call. Str0m does no work of its own: after each change everything that it has to say is taken.
pub(super) struct Peer {
    calls: Arc<Registry>,
    id: String,
    rtc: Rtc,
    socket: UdpSocket,
    here: SocketAddr,
    told: UnboundedReceiver<Told>,
    /// A moment of the clock, and the same moment as str0m counts.
    began: (Tick, Instant),
    channel: Option<ChannelId>,
    /// Events that the data channel has no room for yet.
    waiting: VecDeque<String>,
    audio: Option<Mid>,
    voice: Voice,
    /// When the next packet of sound is due, and how many there were.
    next: Option<(Tick, u64)>,
    ear: Ear,
    /// The item that somebody is speaking, and when it began.
    spoken: Option<(String, u64)>,
}

impl Peer {
    pub(super) fn new(
        (calls, id): (Arc<Registry>, String),
        rtc: Rtc,
        (socket, here): (UdpSocket, SocketAddr),
        (told, began): (UnboundedReceiver<Told>, (Tick, Instant)),
    ) -> Self {
        Self {
            calls,
            id,
            rtc,
            socket,
            here,
            told,
            began,
            channel: None,
            waiting: VecDeque::new(),
            audio: None,
            voice: Voice::default(),
            next: None,
            ear: Ear::default(),
            spoken: None,
        }
    }

    /// Runs until either side hangs up.
    pub(super) async fn run(mut self) {
        let stop = self.calls.stop.clone();
        // A browser that breaks the protocol has left, too.
        let _ = stop.run_until_cancelled(self.converse()).await;
        hang_up::end(&self.calls, &self.id, "remote_hangup");
    }

    async fn converse(&mut self) -> Result<(), RtcError> {
        let clock = Arc::clone(&self.calls.clock);
        let mut buffer = vec![0; MAX_PACKET];
        loop {
            let Some(due) = self.drain().await? else {
                return Ok(());
            };
            if self.flush()? {
                continue;
            }
            let due = self.next.map_or(due, |(sound, _)| sound.min(due));
            tokio::select! {
                received = self.socket.recv_from(&mut buffer) => {
                    let Ok((length, from)) = received else { return Ok(()) };
                    self.receive(&buffer[..length], from)?;
                }
                told = self.told.recv() => match told {
                    Some(told) => self.obey(told)?,
                    // Hung up without a word.
                    None => return Ok(()),
                },
                () = clock.until(due) => self.go_on()?,
            }
        }
    }

    /// Sends and does all that follows from the last change. Returns when str0m wants to be called again; `None` at its end.
    async fn drain(&mut self) -> Result<Option<Tick>, RtcError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    let later = at.saturating_duration_since(self.began.1);
                    let at = self.began.0.plus(later);
                    return Ok(self.rtc.is_alive().then_some(at));
                }
                Output::Transmit(packet) => {
                    // Packets get lost, which str0m knows.
                    let sent = self.socket.send_to(&packet.contents, packet.destination);
                    let _ = sent.await;
                }
                Output::Event(event) => self.notice(event),
            }
        }
    }

    fn now(&self) -> (Tick, Instant) {
        let now = self.calls.clock.tick();
        (now, self.began.1 + now.since(self.began.0))
    }

    fn receive(&mut self, packet: &[u8], source: SocketAddr) -> Result<(), RtcError> {
        let (_, now) = self.now();
        let Ok(packet) = Receive::new(Protocol::Udp, source, self.here, packet) else {
            return Ok(());
        };
        let input = Input::Receive(now, packet);
        if self.rtc.accepts(&input) {
            self.rtc.handle_input(input)?;
        }
        Ok(())
    }

    /// Does what is due: one packet of sound, or whatever str0m waits for.
    fn go_on(&mut self) -> Result<(), RtcError> {
        let (tick, now) = self.now();
        match self.next {
            Some((due, count)) if due <= tick => {
                let after = due.plus(Duration::from_millis(MS_PER_PACKET));
                self.next = Some((after, count + 1));
                self.sound(count, now)
            }
            _ => self.rtc.handle_input(Input::Timeout(now)),
        }
    }

    fn sound(&mut self, count: u64, now: Instant) -> Result<(), RtcError> {
        let (packet, ended) = self.voice.next();
        if let Some(response) = ended
            && let Some((live, switches)) = self.calls.desk().open_call(&self.id)
        {
            turn::played(live, &response, switches);
        }
        let Some(mid) = self.audio else { return Ok(()) };
        let media = self.rtc.media(mid);
        if !media.is_some_and(|media| media.direction().is_sending()) {
            return Ok(());
        }
        let Some(writer) = self.rtc.writer(mid) else {
            return Ok(());
        };
        let kind = writer.payload_params().next().map(PayloadParams::pt);
        let time = MediaTime::new(count * SAMPLES_PER_PACKET, Frequency::FORTY_EIGHT_KHZ);
        kind.map_or(Ok(()), |kind| writer.write(kind, now, time, packet))
    }

    fn obey(&mut self, told: Told) -> Result<(), RtcError> {
        match told {
            // The browser learns nothing of what was before its channel.
            Told::Event(_) if self.channel.is_none() => {}
            Told::Event(event) => self.waiting.push_back(event),
            Told::Speak(response, text) => self.voice.speak(response, &text),
            Told::Finish(response) => self.voice.finish(&response),
            Told::Hush => self.voice.hush(),
            Told::HangUp => self.rtc.close()?,
        }
        Ok(())
    }

    /// Writes one event to the data channel. Returns false when there is none, or no room.
    fn flush(&mut self) -> Result<bool, RtcError> {
        let (Some(event), Some(id)) = (self.waiting.front(), self.channel) else {
            return Ok(false);
        };
        let Some(mut channel) = self.rtc.channel(id) else {
            return Ok(false);
        };
        let is_written = channel.write(false, event.as_bytes())?;
        if is_written {
            self.waiting.pop_front();
        }
        Ok(is_written)
    }

    fn notice(&mut self, event: Event) {
        match event {
            Event::Connected => self.next = Some((self.calls.clock.tick(), 0)),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                self.rtc.disconnect();
            }
            Event::MediaAdded(media) if media.kind == MediaKind::Audio => {
                self.audio = Some(media.mid);
            }
            Event::MediaData(data) => {
                if let Some(level) = data.ext_vals.audio_level {
                    self.listen(level);
                }
            }
            Event::ChannelOpen(id, _) if self.channel.is_none() => {
                self.channel = Some(id);
                self.greet();
            }
            Event::ChannelData(data) => {
                let text = String::from_utf8_lossy(&data.data);
                client_event::obey(&self.calls, &self.id, Side::Browser, &text);
            }
            Event::ChannelClose(id) if self.channel == Some(id) => self.channel = None,
            _ => {}
        }
    }

    fn greet(&self) {
        if let Some((live, switches)) = self.calls.desk().open_call(&self.id) {
            if live.gpt.is_some() {
                return gpt_live::greet(live, switches);
            }
            let created = json!({"type": "session.created", "session": live.session});
            live.emit_to(Side::Browser, created, switches);
        }
    }

    /// Listens to one packet, and lets the model answer what was said.
    fn listen(&mut self, level: i8) {
        let now = self.calls.clock.now();
        let mut desk = self.calls.desk();
        let Some((live, switches)) = desk.open_call(&self.id) else {
            return;
        };
        if live.gpt.is_some() {
            match self.ear.listen(level, GAP_MS) {
                Some(Heard::Started(at)) => {
                    self.spoken = Some((String::new(), at));
                    gpt_live::interrupt(live);
                }
                Some(Heard::Stopped(at)) => {
                    let began = self.spoken.take().map_or(at, |(_, began)| began);
                    let turn = spoken(at - began);
                    gpt_live::play(live, (&turn, at - began), (now, switches));
                }
                None => {}
            }
            return;
        }
        let detection = live.session.pointer("/audio/input/turn_detection");
        let Some(detection) = detection.filter(|detection| !detection.is_null()) else {
            return;
        };
        let silence = detection["silence_duration_ms"].as_u64();
        let answers = detection["create_response"] != false;
        match self.ear.listen(level, silence.unwrap_or(SILENCE_MS)) {
            Some(Heard::Started(at)) => {
                self.spoken = Some((heard::begin(live, at, switches), at));
            }
            Some(Heard::Stopped(at)) => {
                let Some((item, began)) = self.spoken.take() else {
                    return;
                };
                heard::end(live, &item, (began, at), switches);
                let is_free = live.active.iter().all(|active| !active.is_of_conversation);
                let turn = if answers && is_free {
                    spoken(at - began)
                } else {
                    Turn::Silent
                };
                turn::reply(live, (&item, at - began), &turn, switches);
            }
            None => {}
        }
    }
}

/// Returns how the model answers somebody who spoke for so long.
fn spoken(millis: u64) -> Turn {
    Turn::Say(format!("You spoke for {millis} milliseconds."))
}
