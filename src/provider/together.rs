//! Checks the published rules that bind one field to another.

use serde_json::Value;

use super::models::{known_transcription_model, undated};
use super::rule::Path;
use super::{Fault, say};

/// Checks the rules between fields of a session that passed the rules of each field.
pub(super) fn check(session: &Value) -> Result<(), Fault> {
    let root = Path::Root("session");
    tools(session, &root.field("tools"))?;
    transcription(session, &root)
}

/// Checks the rules between fields of a GPT-Live session that passed the rules of each field.
pub(super) fn check_live(session: &Value) -> Result<(), Fault> {
    const INNER: &str = "response_event";
    let root = Path::Root("session");
    let (client, input) = (root.field("client"), root.field("input"));
    let channel = client.field("data_channel");
    let list = channel.field("allowed_server_events");
    let allowed = &session["client"]["data_channel"]["allowed_server_events"];
    for (index, event) in allowed.as_array().into_iter().flatten().enumerate() {
        let item = Path::Item(&list, index);
        match (event["type"] == "response.event", event.get(INNER)) {
            (true, None) => return Err(say::missing(&item.field(INNER))),
            (false, Some(_)) => return Err(say::unknown(&item.field(INNER))),
            _ => {}
        }
    }
    for (index, message) in session["input"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let (item, part) = (Path::Item(&input, index), &message["content"][0]["type"]);
        let fitting = match message["role"].as_str() {
            Some("assistant") => "output_text",
            _ => "input_text",
        };
        if part != fitting {
            let content = item.field("content");
            let first = Path::Item(&content, 0);
            let found = part.as_str().unwrap_or_default();
            return Err(say::unsupported(&first.field("type"), found, &[fitting]));
        }
    }
    Ok(())
}

/// Requires an address of every MCP server.
fn tools(session: &Value, path: &Path<'_>) -> Result<(), Fault> {
    const PLACES: [&str; 3] = ["server_url", "connector_id", "tunnel_id"];
    let tools = session["tools"].as_array().into_iter().flatten();
    for (index, tool) in tools.enumerate() {
        let is_lost = tool["type"] == "mcp" && PLACES.iter().all(|place| tool[place].is_null());
        if is_lost {
            let item = Path::Item(path, index);
            return Err(say::missing(&item.field("server_url")));
        }
    }
    Ok(())
}

/// Refuses options that a known transcription model does not have.
fn transcription(session: &Value, root: &Path<'_>) -> Result<(), Fault> {
    let input = &session["audio"]["input"];
    let Some(model) = input["transcription"]["model"].as_str() else {
        return Ok(());
    };
    if !known_transcription_model(model) {
        return Ok(());
    }
    let (audio, base) = (root.field("audio"), undated(model));
    let at = audio.field("input");
    let place = at.field("transcription");
    for option in ["languages", "keywords", "prompt", "delay"] {
        if !input["transcription"][option].is_null() && !has_option(base, option) {
            return Err(say::unfit(&place.field(option), option, model));
        }
    }
    // This model commits turns only on request, and the provider's default is to detect them.
    let detects = input.get("turn_detection") != Some(&Value::Null);
    if base == "gpt-realtime-whisper" && session["type"] == "transcription" && detects {
        let place = at.field("turn_detection");
        return Err(say::unfit(&place, "turn_detection", model));
    }
    Ok(())
}

fn has_option(model: &str, option: &str) -> bool {
    match option {
        "languages" | "keywords" => ["gpt-transcribe", "gpt-live-transcribe"].contains(&model),
        "prompt" => !["gpt-realtime-whisper", "gpt-4o-transcribe-diarize"].contains(&model),
        "delay" => model == "gpt-realtime-whisper",
        _ => true,
    }
}
