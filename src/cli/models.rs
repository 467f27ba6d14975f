//! Says which models of the settings the provider shuts down, and when.

use std::collections::BTreeMap;

use serde_json::Value;
use time::OffsetDateTime;

use super::check::Finding;
use super::check::Verdict::Warning;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::domain::Listener;
use crate::provider::announced_shutdown;

/// Where a session names a model.
const PLACES: [&str; 4] = [
    "/model",
    "/audio/input/transcription/model",
    "/delegation/responses/model",
    "/delegation/decisions/model",
];

/// Returns a warning for each model in use that has an announced end: as the provider `told`, else as this version knows it.
pub(super) fn findings(config: &Config, now: Timestamp, told: &[(String, String)]) -> Vec<Finding> {
    let today = i64::try_from(now.as_seconds()).ok();
    let today = today.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let today = today.map(|moment| moment.date().to_string());
    let warning = |(model, users): (String, Vec<String>)| {
        let known = announced_shutdown(&model);
        let told = told.iter().find(|(name, _)| *name == model);
        let day = told.map(|(_, day)| day.as_str());
        let day = day.or(known.map(|shutdown| shutdown.day))?;
        // Days of this form are in the order of time.
        let verb = if today.as_deref().is_some_and(|today| today >= day) {
            "was shut down"
        } else {
            "shuts down"
        };
        let instead = known.map_or("another model", |shutdown| shutdown.instead);
        let users = users.join(", ");
        let text = format!("{model} {verb} on {day}; use {instead} in {users}");
        Some(Warning(text).of("models"))
    };
    used(config).into_iter().filter_map(warning).collect()
}

/// Returns the models that the settings name, each with where it is named.
fn used(config: &Config) -> BTreeMap<String, Vec<String>> {
    let mut used = BTreeMap::<String, Vec<String>>::new();
    for persona in config.personas.iter() {
        let session = persona.session_for(&Listener::default());
        let session: Value = serde_json::from_str(session.as_json().get()).unwrap_or_default();
        for name in PLACES
            .iter()
            .filter_map(|place| session.pointer(place)?.as_str())
        {
            let users = used.entry(name.to_owned()).or_default();
            users.push(format!("persona {}", persona.name.as_str()));
        }
    }
    for name in &config.transcription.models {
        let users = used.entry(name.to_string()).or_default();
        users.push("transcription.models".to_owned());
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    #[test]
    fn the_provider_knows_better_than_the_table_and_a_day_that_has_come_is_past() {
        let settings = [("transcription.models", "gpt-transcribe,whisper-1")];
        let config = Config::from_pairs(Mode::Dev, &settings).unwrap();
        let told = [
            ("gpt-transcribe", "2028-01-01"),
            ("whisper-1", "2027-03-01"),
        ];
        let told = told.map(|(model, day)| (model.to_owned(), day.to_owned()));
        // The last second of 2027-02-28, and the first one after it.
        let end = Timestamp::from_seconds(1_803_859_199);
        let after = Timestamp::from_seconds(1_803_859_200);
        for (now, is_told, expected) in [
            (
                end,
                true,
                "whisper-1 shuts down on 2027-03-01; use gpt-transcribe or",
            ),
            (
                after,
                true,
                "whisper-1 was shut down on 2027-03-01; use gpt-transcribe or",
            ),
            (
                end,
                false,
                "whisper-1 was shut down on 2027-02-26; use gpt-transcribe or",
            ),
            (
                end,
                true,
                "gpt-transcribe shuts down on 2028-01-01; use another model in",
            ),
        ] {
            let told = if is_told { &told[..] } else { &[] };
            let found = findings(&config, now, told);
            let mut doubts = found.iter().filter_map(Finding::doubt);
            assert!(
                doubts.any(|doubt| doubt.starts_with(expected)),
                "{expected}"
            );
        }
    }
}
