//! Prepares the calls of the demo page in dev mode: a persona with short limits, and tricks with the simulated OpenAI.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, Cutting, DemoCalls};
use crate::domain::{
    CallLimits, ConnectMode, Listener, Persona, PersonaCalls, PersonaName, SessionObject,
};
use crate::provider::Dialect;
use crate::simulator::Calls;

/// The name of the persona. A persona of that name in the operator's file comes first.
const PERSONA: &str = "demo";
/// Time to look around, and to see the limit at work.
const MAX_DURATION: Duration = Duration::from_mins(1);
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

/// Adds the persona to those of `config`, and lets the page cut the side channels of `simulated` calls.
pub(super) fn try_calls(config: &mut Config, simulated: Calls) -> anyhow::Result<()> {
    config.personas = Arc::new(config.personas.with(persona(config)?));
    let cut = move |id: String| -> Cutting {
        let simulated = simulated.clone();
        Box::pin(async move { simulated.cut(&id).await })
    };
    config.demo.calls = Some(DemoCalls {
        persona: PERSONA,
        cut: Arc::new(cut),
    });
    Ok(())
}

/// Returns a persona that says what the default one says to a stranger.
fn persona(config: &Config) -> anyhow::Result<Persona> {
    let nobody = Listener::default();
    let usual = config.personas.default_persona();
    let session = serde_json::from_str(usual.session_for(&nobody).as_json().get())?;
    let is_live = usual.session.dialect() == Dialect::Live;
    Ok(Persona {
        name: PersonaName::parse(PERSONA)?,
        public: false,
        role: None,
        roles: Vec::new(),
        language: usual.language.clone(),
        calls: PersonaCalls {
            limits: CallLimits {
                max_duration: Some(MAX_DURATION),
                idle_timeout: Some(IDLE_TIMEOUT),
                ..CallLimits::default()
            },
            greets: !is_live,
            ..PersonaCalls::default()
        },
        connect: if is_live {
            vec![ConnectMode::Call]
        } else {
            vec![ConnectMode::Call, ConnectMode::Relay]
        },
        session: SessionObject::new(&session, &nobody)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    #[test]
    fn the_page_offers_a_relay_unless_the_default_persona_is_one_of_gpt_live() {
        for (usual, modes, greets) in [
            ("default", &[ConnectMode::Call][..], false),
            ("realtime", &[ConnectMode::Call, ConnectMode::Relay], true),
        ] {
            let settings = [
                ("personas.file", "tests/api/calls/live.toml"),
                ("personas.default", usual),
            ];
            let config = Config::from_pairs(Mode::Dev, &settings).unwrap();
            let persona = persona(&config).unwrap();
            assert_eq!(persona.connect, modes);
            assert_eq!(persona.calls.greets, greets);
        }
    }
}
