//! Talks in a session: what somebody says, and what the model says. Both may speak at once.

use serde_json::json;

use super::backend;
use crate::clock::Timestamp;
use crate::simulator::calls::conversation::spoken_ms;
use crate::simulator::calls::live::{Live, token};
use crate::simulator::calls::{Switches, Turn};

/// What somebody says, as far as the simulator understands it.
const WORDS: &str = "Simulated words.";

/// Plays a turn: somebody speaks for so many milliseconds, and the model does what the turn says.
pub(in crate::simulator::calls) fn play(
    live: &mut Live,
    (turn, millis): (&Turn, u64),
    at: (Timestamp, &Switches),
) {
    interrupt(live);
    if !hear(live, millis, at) {
        return;
    }
    match turn {
        Turn::Say(text) => say(live, text, true, at),
        Turn::Long(text) => say(live, text, false, at),
        Turn::Tool(name) => backend::call_tool(live, name, at),
        Turn::Fail => backend::fail(live, at),
        Turn::Silent => {}
    }
}

/// Lets the model be quiet, because somebody speaks.
pub(in crate::simulator::calls) fn interrupt(live: &Live) {
    let own = live.gpt.as_ref();
    if own.is_some_and(|own| own.is_muted) {
        return;
    }
    if let Some(media) = &live.media {
        media.hush();
    }
}

/// Somebody has spoken for so long. Returns false for a session that is muted.
fn hear(live: &mut Live, millis: u64, (now, switches): (Timestamp, &Switches)) -> bool {
    if live.gpt.as_ref().is_none_or(|own| own.is_muted) {
        return false;
    }
    wake(live, (now, switches));
    let end = self::millis(live, now);
    let begin = end.saturating_sub(millis);
    let words = WORDS.split_inclusive(' ');
    transcribe(
        live,
        "input",
        words.map(|word| (word, millis / 2)),
        (begin, switches),
    );
    true
}

/// The model says `text`. It goes on until somebody speaks unless the text `is_complete`.
pub(super) fn say(
    live: &mut Live,
    text: &str,
    is_complete: bool,
    (now, switches): (Timestamp, &Switches),
) {
    wake(live, (now, switches));
    let begin = millis(live, now);
    let words = text.split_inclusive(' ');
    transcribe(
        live,
        "output",
        words.map(|word| (word, spoken_ms(word))),
        (begin, switches),
    );
    if let Some(media) = &live.media {
        let id = token::<12>();
        media.speak(&id, text);
        if is_complete {
            media.finish(&id);
        }
    }
}

/// Returns the age of the session in milliseconds.
pub(super) fn millis(live: &Live, now: Timestamp) -> u64 {
    let own = live.gpt.as_ref();
    let elapsed = own.map_or(0, |own| own.meter.elapsed(now).as_millis());
    u64::try_from(elapsed).unwrap_or(u64::MAX)
}

/// Sends a transcript word by word, each with the milliseconds that it takes.
fn transcribe<'a>(
    live: &mut Live,
    side: &str,
    words: impl Iterator<Item = (&'a str, u64)>,
    (mut at, switches): (u64, &Switches),
) {
    for (word, millis) in words {
        let kind = format!("session.{side}_transcript.delta");
        let event = json!({"type": kind, "delta": word, "start_ms": at, "end_ms": at + millis});
        live.emit(event, switches);
        at += millis;
    }
}

/// Notes that somebody speaks, which ends standby.
fn wake(live: &mut Live, (now, switches): (Timestamp, &Switches)) {
    let own = live.gpt.as_mut();
    if own.is_some_and(|own| own.meter.speak(now)) {
        live.emit(json!({"type": "session.resumed"}), switches);
    }
}
