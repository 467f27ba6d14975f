//! Does what time does to a session: reflected audio, reports of usage, standby, expiry.

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::meter::Change;
use super::{close, close_for};
use crate::clock::Timestamp;
use crate::simulator::calls::live::{Live, Out};
use crate::simulator::calls::{Registry, Switches};

/// How much audio a frame on a side channel has.
const BEAT: Duration = Duration::from_millis(200);
/// Silence of one frame: mono samples of 16 bit at 24 kHz.
static SILENCE: LazyLock<String> = LazyLock::new(|| STANDARD.encode([0; 9600]));

/// Lets time pass for a session until it is over.
pub(in crate::simulator::calls) fn pulse(calls: &Registry, id: &str) {
    let (clock, stop, id) = (calls.clock.clone(), calls.stop.clone(), id.to_owned());
    let desk = calls.shared_desk();
    calls.tasks.spawn(async move {
        let beats = async {
            loop {
                clock.sleep(BEAT).await;
                let now = clock.now();
                let mut desk = desk.lock();
                let Some((live, switches)) = desk.open_call(&id) else {
                    return;
                };
                reflect(live);
                settle(live, now, switches);
            }
        };
        stop.run_until_cancelled(beats).await;
    });
}

/// Lets so much time of a session pass at once.
pub(in crate::simulator::calls) fn pass(calls: &Registry, id: &str, time: Duration) {
    let now = calls.clock.now();
    if let Some((live, switches)) = calls.desk().open_call(id) {
        if let Some(own) = &mut live.gpt {
            own.meter.skip(time);
        }
        settle(live, now, switches);
    }
}

/// Sends what was heard and what was said to the side channels. These frames have no id, and their type comes first.
fn reflect(live: &Live) {
    if live.side_channels.is_empty() {
        return;
    }
    for (kind, field) in [
        ("session.input_audio.append", "audio"),
        ("session.output_audio.delta", "delta"),
    ] {
        let frame = format!(r#"{{"type":"{kind}","{field}":"{}"}}"#, *SILENCE);
        live.tell_side_channels(&Out::Text(frame));
    }
}

/// Does what is due at `now`.
fn settle(live: &mut Live, now: Timestamp, switches: &Switches) {
    let Some(own) = &mut live.gpt else {
        return;
    };
    let moment = own.meter.moment(now);
    let changes = own.meter.changes(now, &switches.live);
    let closing = own.closing.take_if(|(end, _)| *end <= moment);
    for change in changes {
        let event = match change {
            Change::Paused => json!({"type": "session.paused"}),
            Change::Report(report) => report,
        };
        live.emit(event, switches);
    }
    let end = live.session["expires_at"].as_u64();
    if end.is_some_and(|end| end <= moment.as_seconds()) {
        close(live, "expired", (now, switches));
    } else if let Some((_, wish)) = closing {
        close_for(live, "close_requested", &wish, (now, switches));
    }
}
