//! Calls as pages and operators meet them: rows of the acceptance matrix by their names (CA, SD).

mod announced;
mod bad_input;
mod clocks;
mod leash;
mod limits;
mod live;
mod live_money;
mod live_unseen;
mod minutes;
mod money;
mod offers;
mod orphans;
mod spending;
mod tickets;
mod unseen;
mod watched;
mod webhooks;

pub use leash::{done, named};
use std::time::Duration;

use serde_json::{Value, json};

use crate::kit::answer::Answer;
use crate::kit::calls::Channel;
use crate::kit::in_process::{Call, TestApp};
use crate::kit::waiting::{SOON, eventually};

/// An offer as Chromium writes it: audio, and a data channel.
pub const OFFER: &str = "v=0\r\no=- 4611731400430051336 2 IN IP4 192.168.1.7\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=candidate:1 1 udp 2122260223 192.168.1.7 50000 typ host\r\n\
    a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n\
    a=fingerprint:sha-256 AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99\r\n\
    a=setup:actpass\r\na=mid:0\r\na=sendrecv\r\na=rtpmap:111 opus/48000/2\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\n\
    a=ice-pwd:abcdefghijklmnopqrstuvwx\r\n\
    a=fingerprint:sha-256 AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99\r\n\
    a=setup:actpass\r\na=mid:1\r\na=sctp-port:5000\r\n";

/// Personas whose answers are bounded.
const PERSONAS: &str = "tests/api/calls/personas.toml";

/// A call that a caller without identity has opened.
struct Opened {
    path: String,
    ticket: String,
}

impl Opened {
    async fn by(app: &TestApp) -> Self {
        let answer = offer(app).send().await;
        assert_eq!(answer.status, 201, "{answer:?}");
        Self::of(&answer)
    }

    fn of(answer: &Answer) -> Self {
        let header = |name| answer.header(name).unwrap().to_owned();
        Self {
            path: header("location"),
            ticket: header("x-call-token"),
        }
    }

    async fn look(&self, app: &TestApp) -> Value {
        let answer = app.get(&self.path).bearer(&self.ticket).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json
    }

    /// Waits until the call is over, and returns the reason.
    async fn reason(&self, app: &TestApp) -> String {
        eventually("the end of the call", SOON, async || {
            self.look(app).await["state"] == "ended"
        })
        .await;
        self.look(app).await["reason"].as_str().unwrap().to_owned()
    }
}

pub fn offer(app: &TestApp) -> Call {
    app.post("/calls").body("application/sdp", OFFER)
}

/// The side channel of the last call.
fn channel(app: &TestApp) -> Channel {
    app.calls.channels().pop().unwrap()
}

/// What the audit log says of the end of the first call, once all its use is counted.
async fn ended(app: &TestApp) -> Value {
    eventually("the audit log", SOON, async || {
        pass(app, 1).await;
        !app.events("call_ended").is_empty()
    })
    .await;
    app.events("call_ended")[0]["details"].clone()
}

/// Turns the clock in steps of a second, so that everything that is due happens at its time.
async fn pass(app: &TestApp, seconds: u64) {
    for _ in 0..seconds {
        app.clock.advance(Duration::from_secs(1));
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }
}

fn says(kind: &str) -> Value {
    json!({ "type": kind, "event_id": "event_x" })
}

/// Hangs up a call of whoever shows this credential.
async fn hang_up(app: &TestApp, call: &Answer, bearer: &str) {
    let path = format!("{}/hangup", call.header("location").unwrap());
    let hung_up = app.post(&path).bearer(bearer).send().await;
    assert_eq!(hung_up.status, 200);
}
