//! Calls of the real executable at the simulated provider: rows of the acceptance matrix by their names (CA, SD, OB).

mod dial;
mod events;
mod heavy;
mod heavy_live;
mod kills;
mod least;
mod operators;
mod orphans;
mod replicas;
mod restarts;
mod rotation;
mod scraped;
mod secrecy;

use std::time::Duration;

use reqwest::RequestBuilder;
use serde_json::Value;
use token_broker::simulator::{SeenCall, Simulator, Turn};

use super::ledger_file::Books;
use crate::kit::answer::Answer;
use crate::kit::executable::{Broker, Launch};
use crate::kit::waiting::{PATIENCE, amid_the_work, eventually, until};

/// An offer as Chromium writes it: audio, and a data channel.
pub const OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 192.168.77.7\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n\
    a=candidate:1 1 udp 2122260223 192.168.77.7 50000 typ host\r\na=ice-ufrag:caNA\r\n\
    a=ice-pwd:canaryOfTheOfferIcePwd0001\r\n\
    a=fingerprint:sha-256 CA:4A:51:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99\r\n\
    a=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:caNA\r\n\
    a=ice-pwd:canaryOfTheOfferIcePwd0001\r\n\
    a=fingerprint:sha-256 CA:4A:51:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99\r\n\
    a=setup:actpass\r\na=mid:1\r\na=sctp-port:5000\r\n";

/// A persona of GPT-Live with a backend.
const LIVE: &str = r#"
[default]
public = true
[default.session]
model = "gpt-live-1"
instructions = "canary-instructions-of-live"
delegation = { type = "responses", responses = { model = "m-small", max_output_tokens = 1000 } }
"#;

/// The body of a request for a ticket.
const CALL: &str = r#"{"connect":"call"}"#;

/// How late something may be.
const NEAR: Duration = Duration::from_secs(4);

/// A call that is up, and what its owner shows.
#[derive(Clone)]
struct Up {
    id: String,
    path: String,
    bearer: String,
    /// In milliseconds since the Unix epoch.
    ends_at: u64,
}

fn offer(broker: &Broker) -> RequestBuilder {
    offer_to(broker.post("/calls"))
}

fn offer_to(request: RequestBuilder) -> RequestBuilder {
    request
        .header("content-type", "application/sdp")
        .body(OFFER)
}

impl Up {
    /// A call of somebody who shows this credential.
    async fn of(broker: &Broker, bearer: &str) -> Self {
        let answer = Answer::to(offer(broker).bearer_auth(bearer)).await;
        Self::by(&answer, bearer)
    }

    /// A call of somebody without identity, who gets a ticket.
    async fn of_nobody(request: RequestBuilder) -> Self {
        let answer = Answer::to(offer_to(request)).await;
        let ticket = answer.header("x-call-token").map(str::to_owned);
        Self::by(&answer, &ticket.unwrap_or_default())
    }

    #[track_caller]
    fn by(answer: &Answer, bearer: &str) -> Self {
        assert_eq!(answer.status, 201, "{answer:?}");
        assert!(answer.text.starts_with("v=0\r\n"), "{answer:?}");
        let path = answer.header("location").unwrap().to_owned();
        Self {
            id: path.rsplit('/').next().unwrap().to_owned(),
            ends_at: answer.header("x-call-ends-at").unwrap().parse().unwrap(),
            path,
            bearer: bearer.to_owned(),
        }
    }

    /// Where the call stands, as its owner sees it.
    async fn look(&self, broker: &Broker) -> Value {
        let answer = Answer::to(broker.get(&self.path).bearer_auth(&self.bearer)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json
    }

    async fn hang_up(&self, broker: &Broker) -> Value {
        let hang_up = broker.post(&format!("{}/hangup", self.path));
        let answer = Answer::to(hang_up.bearer_auth(&self.bearer)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json
    }

    /// Waits until the broker says that the call is over, and returns the reason.
    async fn reason(&self, broker: &Broker) -> String {
        let is_over = async || self.look(broker).await["state"] == "ended";
        eventually("the end of the call", PATIENCE, is_over).await;
        self.look(broker).await["reason"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// The call as the provider sees it.
    fn seen(&self, simulator: &Simulator) -> SeenCall {
        simulator.calls().get(&self.id).unwrap()
    }

    /// Somebody speaks, and the model answers.
    fn speak(&self, simulator: &Simulator) {
        simulator
            .calls()
            .play(&self.id, &Turn::Say("Good morning.".to_owned()));
    }

    /// Waits until the provider has ended the call, which must be at its deadline and by one hang-up.
    async fn ends_in_time(&self, simulator: &Simulator) {
        until("the end of the call", || !self.seen(simulator).is_open).await;
        let ended_at = self.seen(simulator).ended_at.unwrap().as_millis();
        let earliest = self.ends_at - 1_000;
        let latest = self.ends_at + 4_000;
        assert!(
            (earliest..=latest).contains(&ended_at),
            "{ended_at}, not {}",
            self.ends_at
        );
        assert_eq!(self.hang_ups(simulator), 1);
    }

    /// How often the provider was asked to end it.
    fn hang_ups(&self, simulator: &Simulator) -> usize {
        let asked = simulator.calls().hang_ups();
        let of_this = asked.iter().filter(|asked| asked.path.contains(&self.id));
        of_this.count()
    }
}

/// Lets less than a twentieth of a second pass, another time in each round, so that a kill meets the work at another place.
async fn a_moment(round: u64) {
    amid_the_work(round * 7 % 53).await;
}

/// A broker that records in `books`, whose callers show who they are, and whose calls are short.
fn serve(books: &Books, simulator: &Simulator) -> Launch {
    books
        .launch(simulator)
        .set("call.max_duration", "15s")
        .set("call.warn_before", "5s")
        .set("call.max_live", "1000")
        .set("call.max_live_total", "1000")
}

/// The same, whose calls are of GPT-Live.
pub fn of_live(launch: Launch) -> Launch {
    launch
        .file("personas.toml", LIVE)
        .set("personas.file", "personas.toml")
        .set("live.max_sessions", "0")
}
