//! The real client in front of the simulated upstream.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use token_broker::clock::{Clock, ManualClock, SystemClock, Timestamp};
use token_broker::config::{Config, Mode, Upstream};
use token_broker::domain::{ClientSecret, Listener, Network, Party, Persona};
use token_broker::simulator::{Settings, Simulator};
use token_broker::upstream::guarded::Guarded;
use token_broker::upstream::openai::OpenAi;
use token_broker::upstream::{MintOrder, Minter, UpstreamError};

/// What the simulated upstream wants to see.
pub const KEY: &str = "sk-canary-key";

pub struct Door {
    pub simulator: Simulator,
    pub minter: Guarded<OpenAi>,
    pub clock: Arc<ManualClock>,
    pub order: MintOrder,
}

impl Door {
    pub async fn open() -> Self {
        Self::with(&[]).await
    }

    /// With these settings. The breaker's clock is turned by hand.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let simulator = simulate(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await;
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_640_995_200)));
        let (upstream, persona) = settings_for(&simulator.base_url(), settings);
        let minter = guarded(&upstream, Arc::<ManualClock>::clone(&clock));
        let order = order(persona);
        Self {
            simulator,
            minter,
            clock,
            order,
        }
    }

    pub async fn mint(&self) -> Result<ClientSecret, UpstreamError> {
        let turn = self.minter.turn().await?;
        self.minter.mint(&self.order, turn).await
    }

    pub fn advance(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }
}

pub async fn simulate(listen: SocketAddr) -> Simulator {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    Simulator::start(Settings {
        listen,
        api_key: KEY.into(),
        clock,
        faults: Vec::new(),
    })
    .await
    .unwrap()
}

pub fn settings_for(base_url: &str, settings: &[(&str, &str)]) -> (Upstream, Arc<Persona>) {
    let usual = [
        ("upstream.base_url", base_url),
        ("upstream.api_key", KEY),
        ("upstream.timeout", "2s"),
        ("upstream.connect_timeout", "100ms"),
    ];
    let all: Vec<_> = usual.iter().chain(settings).copied().collect();
    let config = Config::from_pairs(Mode::Dev, &all).unwrap();
    let persona = Arc::clone(config.personas.default_persona());
    (config.upstream, persona)
}

pub fn guarded(upstream: &Upstream, clock: Arc<dyn Clock>) -> Guarded<OpenAi> {
    let openai = OpenAi::new(upstream, Arc::clone(&clock)).unwrap();
    Guarded::new(openai, upstream, clock)
}

pub fn order(persona: Arc<Persona>) -> MintOrder {
    MintOrder {
        session: persona.session_for(&Listener::default()),
        persona,
        lifetime: Duration::from_mins(1),
        behalf: Party::Network(Network::of([203, 0, 113, 7].into())),
    }
}
