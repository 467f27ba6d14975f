//! The published rules, field by field.
//!
//! Source: `RealtimeCreateClientSecretRequest` and all it refers to in github.com/openai/openai-openapi at f85dbe2,
//! with the limits that its prose adds. Null is admitted where the prose says so.

use super::rule::Rule::{
    Anything, Bool, ByType, Either, Integer, List, Map, Null, Number, Object, Shaped, Text, Word,
};
use super::rule::{Field, Rule, may, must};

/// The whole body of a request for a client secret.
pub(super) const REQUEST: Rule = Object(&[may("expires_after", EXPIRY), may("session", SESSION)]);

/// A session object of either kind.
pub(super) const SESSION: Rule =
    ByType(&[("realtime", REALTIME), ("transcription", TRANSCRIPTION)]);

const EXPIRY: Rule = Object(&[
    may("anchor", Word(&["created_at"])),
    may("seconds", Integer(10, 7200)),
]);

const REALTIME: &[Field] = &[
    TYPE,
    may("model", FILLED),
    may("instructions", Text),
    may("output_modalities", List(&Word(&["text", "audio"]), 1, 1)),
    may(
        "audio",
        Object(&[may("input", INPUT), may("output", OUTPUT)]),
    ),
    may("tools", LIST_OF_TOOLS),
    may("tool_choice", TOOL_CHOICE),
    may("parallel_tool_calls", Bool),
    may("reasoning", Object(&[may("effort", Word(EFFORTS))])),
    may(
        "max_output_tokens",
        Either(&[Integer(1, 4096), Word(&["inf"])]),
    ),
    may("truncation", TRUNCATION),
    may("tracing", TRACING),
    may("include", INCLUDE),
    may("prompt", PROMPT),
];

const TRANSCRIPTION: &[Field] = &[
    TYPE,
    may("audio", Object(&[may("input", INPUT)])),
    may("include", INCLUDE),
];

/// Already checked by [`ByType`].
const TYPE: Field = must("type", Text);

const FILLED: Rule = Shaped(|text| !text.is_empty(), "^.+$");

const INCLUDE: Rule = List(
    &Word(&["item.input_audio_transcription.logprobs"]),
    0,
    usize::MAX,
);

// --- audio

const INPUT: Rule = Object(&[
    may("format", FORMAT),
    may("transcription", Either(&[Object(TRANSCRIBER), Null])),
    may(
        "noise_reduction",
        Either(&[
            Object(&[may("type", Word(&["near_field", "far_field"]))]),
            Null,
        ]),
    ),
    may("turn_detection", Either(&[TURN_DETECTION, Null])),
]);

const OUTPUT: Rule = Object(&[
    may("format", FORMAT),
    may(
        "voice",
        Either(&[Word(VOICES), Object(&[must("id", CUSTOM_VOICE)])]),
    ),
    may("speed", Number(0.25, 1.5)),
]);

const FORMAT: Rule = ByType(&[
    ("audio/pcm", &[TYPE, may("rate", Integer(24_000, 24_000))]),
    ("audio/pcmu", &[TYPE]),
    ("audio/pcma", &[TYPE]),
]);

/// Voices of sessions. The provider has others for speech synthesis only.
const VOICES: &[&str] = &[
    "alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar",
];

const CUSTOM_VOICE: Rule = Shaped(
    |id| {
        id.strip_prefix("voice_")
            .is_some_and(|rest| !rest.is_empty())
    },
    "^voice_.+$",
);

const TRANSCRIBER: &[Field] = &[
    may("model", FILLED),
    may("language", FILLED),
    may("languages", List(&FILLED, 1, usize::MAX)),
    may("keywords", List(&Text, 0, usize::MAX)),
    may("prompt", Text),
    may("delay", Word(EFFORTS)),
];

/// Levels of reasoning effort and of transcription delay.
const EFFORTS: &[&str] = &["minimal", "low", "medium", "high", "xhigh"];

const TURN_DETECTION: Rule = ByType(&[
    (
        "server_vad",
        &[
            TYPE,
            may("threshold", Number(0.0, 1.0)),
            may("prefix_padding_ms", COUNT),
            may("silence_duration_ms", COUNT),
            may("create_response", Bool),
            may("interrupt_response", Bool),
            may("idle_timeout_ms", Either(&[Integer(5000, 30_000), Null])),
        ],
    ),
    (
        "semantic_vad",
        &[
            TYPE,
            may("eagerness", Word(&["low", "medium", "high", "auto"])),
            may("create_response", Bool),
            may("interrupt_response", Bool),
        ],
    ),
]);

const COUNT: Rule = Integer(0, i64::MAX);

// --- tools

const LIST_OF_TOOLS: Rule = List(
    &ByType(&[("function", FUNCTION), ("mcp", MCP)]),
    0,
    usize::MAX,
);

const FUNCTION: &[Field] = &[
    TYPE,
    must("name", Shaped(is_function_name, "^[a-zA-Z0-9_-]{1,64}$")),
    may("description", Text),
    may("parameters", Map(&Anything)),
];

const MCP: &[Field] = &[
    TYPE,
    must("server_label", FILLED),
    may("server_url", Shaped(is_url, "^https?://.+$")),
    may("connector_id", Word(CONNECTORS)),
    may("tunnel_id", Shaped(is_tunnel, "^tunnel_[a-z0-9]{32}$")),
    may("authorization", Text),
    may("server_description", Text),
    may("headers", Either(&[Map(&Text), Null])),
    may("allowed_tools", Either(&[LIST_OF_NAMES, TOOL_FILTER, Null])),
    may(
        "allowed_callers",
        Either(&[
            List(&Word(&["direct", "programmatic"]), 1, usize::MAX),
            Null,
        ]),
    ),
    may("require_approval", APPROVAL),
    may("defer_loading", Bool),
];

const CONNECTORS: &[&str] = &[
    "connector_dropbox",
    "connector_gmail",
    "connector_googlecalendar",
    "connector_googledrive",
    "connector_microsoftteams",
    "connector_outlookcalendar",
    "connector_outlookemail",
    "connector_sharepoint",
];

const APPROVAL: Rule = Either(&[
    Word(&["always", "never"]),
    Object(&[may("always", TOOL_FILTER), may("never", TOOL_FILTER)]),
    Null,
]);

const TOOL_FILTER: Rule = Object(&[may("tool_names", LIST_OF_NAMES), may("read_only", Bool)]);
const LIST_OF_NAMES: Rule = List(&Text, 0, usize::MAX);

const TOOL_CHOICE: Rule = Either(&[
    Word(&["none", "auto", "required"]),
    ByType(&[
        ("function", &[TYPE, must("name", FILLED)]),
        (
            "mcp",
            &[
                TYPE,
                must("server_label", FILLED),
                may("name", Either(&[Text, Null])),
            ],
        ),
    ]),
]);

fn is_function_name(name: &str) -> bool {
    let clean = name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    clean && (1..=64).contains(&name.len())
}

fn is_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty())
}

fn is_tunnel(id: &str) -> bool {
    id.strip_prefix("tunnel_").is_some_and(|rest| {
        rest.len() == 32
            && rest
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    })
}

// --- the rest

const TRUNCATION: Rule = Either(&[
    Word(&["auto", "disabled"]),
    ByType(&[(
        "retention_ratio",
        &[
            TYPE,
            must("retention_ratio", Number(0.0, 1.0)),
            may("token_limits", Object(&[may("post_instructions", COUNT)])),
        ],
    )]),
]);

const TRACING: Rule = Either(&[
    Word(&["auto"]),
    Object(&[
        may("workflow_name", Text),
        may("group_id", Text),
        may("metadata", Map(&Anything)),
    ]),
    Null,
]);

const PROMPT: Rule = Either(&[
    Object(&[
        must("id", FILLED),
        may("version", Either(&[Text, Null])),
        may("variables", Either(&[Map(&Either(&[Text, CONTENT])), Null])),
    ]),
    Null,
]);

/// What a prompt's variable may hold besides text.
const CONTENT: Rule = ByType(&[
    ("input_text", &[TYPE, must("text", Text), BREAKPOINT]),
    (
        "input_image",
        &[
            TYPE,
            must("detail", Word(&["low", "high", "auto", "original"])),
            may("image_url", Either(&[Text, Null])),
            may("file_id", Either(&[Text, Null])),
            BREAKPOINT,
        ],
    ),
    (
        "input_file",
        &[
            TYPE,
            may("file_id", Either(&[Text, Null])),
            may("filename", Text),
            may("file_data", Text),
            may("file_url", Text),
            may("detail", Word(&["auto", "low", "high"])),
            BREAKPOINT,
        ],
    ),
]);

const BREAKPOINT: Field = may(
    "prompt_cache_breakpoint",
    Object(&[must("mode", Word(&["explicit"]))]),
);
