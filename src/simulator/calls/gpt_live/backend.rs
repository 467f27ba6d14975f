//! Works in the background of a session: delegations, and the responses of another model with a bill of its own.

use serde_json::{Value, json};

use super::talk;
use crate::clock::Timestamp;
use crate::simulator::calls::Switches;
use crate::simulator::calls::client_event::Wrong;
use crate::simulator::calls::conversation::{text_tokens, twisted};
use crate::simulator::calls::live::{Live, token};

/// Responses of a backend that must call a tool each time.
const LOOP: usize = 7;
/// What the model says when the backend is done.
const DONE: &str = "It is done.";

/// Work that waits for the result of a tool: the id of its delegation.
pub(super) struct Task(String);

/// The backend calls the tool `name`, and waits for its result. The application does, where it is the backend.
pub(super) fn call_tool(live: &mut Live, name: &str, at: (Timestamp, &Switches)) {
    let Some(task) = delegate(live, at) else {
        return;
    };
    let must_call = live.session["delegation"]["responses"]["tool_choice"] == "required";
    let times = if must_call { LOOP } else { 1 };
    for _ in 0..times {
        let item = json!({"id": format!("fc_{}", token::<12>()), "type": "function_call", "status": "completed",
            "name": name, "call_id": format!("call_{}", token::<12>()), "arguments": "{}"});
        respond(live, &task, ("completed", Some(&item)), at);
    }
    if let Some(own) = &mut live.gpt {
        own.waiting = Some(task);
    }
}

/// Goes on with the result of a tool.
pub(super) fn go_on(live: &mut Live, at: (Timestamp, &Switches)) -> Result<(), Wrong> {
    let own = live.gpt.as_mut();
    let Some(task) = own.and_then(|own| own.waiting.take()) else {
        let message = "There is no response to continue.";
        return Err(Wrong::new("invalid_value", message));
    };
    respond(live, &task, ("completed", None), at);
    talk::say(live, DONE, true, at);
    Ok(())
}

/// The backend fails after work that is billed. The error names neither the delegation nor a code.
pub(super) fn fail(live: &mut Live, at: (Timestamp, &Switches)) {
    if let Some(task) = delegate(live, at) {
        respond(live, &task, ("failed", None), at);
    }
    let error = json!({"type": "server_error", "code": null, "message": "Responses handoff incomplete", "param": null});
    live.emit(json!({"type": "error", "error": error}), at.1);
}

/// Begins a delegation. Returns its work, where the provider does it.
fn delegate(live: &mut Live, (now, switches): (Timestamp, &Switches)) -> Option<Task> {
    let is_ours = live.session["delegation"]["type"] == "responses";
    let kind = if is_ours { "responses" } else { "client" };
    let id = format!("delegation_{}", token::<12>());
    let delegation = json!({"id": id, "type": kind, "target": null});
    let offset = talk::millis(live, now);
    live.emit(
        json!({"type": "session.delegation.created", "offset_ms": offset, "delegation": delegation}),
        switches,
    );
    is_ours.then_some(Task(id))
}

/// Streams one response: its beginning, what it calls, and its end with the usage.
fn respond(
    live: &mut Live,
    Task(delegation): &Task,
    (status, call): (&str, Option<&Value>),
    (now, switches): (Timestamp, &Switches),
) {
    let mut response = snapshot(&live.session["delegation"]["responses"], now);
    let mut events = vec![json!({"type": "response.created", "response": response})];
    let item = |call: &Value| json!({"type": "response.output_item.done", "output_index": 0, "item": call});
    events.extend(call.map(item));
    response["status"] = status.into();
    if status == "failed" {
        response["error"] = json!({"code": null, "message": "The simulated backend failed."});
    }
    let asked = &live.session["delegation"]["responses"];
    let mut tools = asked["tools"].as_array().into_iter().flatten();
    if tools.any(|tool| tool["type"] == "web_search") {
        response["tool_usage"] = json!({"web_search": {"num_requests": 1}});
    }
    response["usage"] = usage(asked);
    live.used.push(response.clone());
    response["usage"] = twisted(response["usage"].take(), switches.usage);
    let end = json!({"type": format!("response.{status}"), "response": response});
    events.extend(vec![end; if switches.twice_done { 2 } else { 1 }]);
    for event in events {
        let event = json!({"type": "response.event", "delegation_id": delegation, "event": event});
        live.emit(event, switches);
    }
}

/// Returns a response that has just begun. It shows what a page should not see.
fn snapshot(asked: &Value, now: Timestamp) -> Value {
    let tier = asked["service_tier"].as_str();
    let tier = tier.filter(|tier| *tier != "auto").unwrap_or("default");
    json!({
        "id": format!("resp_{}", token::<16>()),
        "object": "response",
        "created_at": now.as_seconds(),
        "status": "in_progress",
        "model": asked["model"],
        "service_tier": tier,
        "instructions": null,
        "output": [],
        "tools": [],
        "error": null,
        "store": true,
        "user": "user-simulated",
        "prompt_cache_key": "simulated",
        "access_programs": [],
        "usage": null,
    })
}

fn usage(asked: &Value) -> Value {
    let input = 64 + text_tokens(&asked.to_string());
    json!({
        "input_tokens": input,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": 8},
        "total_tokens": input + 40,
    })
}
