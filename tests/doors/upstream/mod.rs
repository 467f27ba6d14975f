//! The real client in front of the simulated provider.

mod exchange;
mod faults;
mod hang_up;
mod key;
mod keys;
mod live;
mod openai;
mod outage;
mod side_channel;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use token_broker::clock::{Clock, ManualClock, Timestamp};
use token_broker::config::{self, Config, Mode};
use token_broker::domain::{
    ClientSecret, Listener, Network, Party, Persona, SafetyKey, UpstreamCall,
};
use token_broker::metrics::Vitals;
use token_broker::simulator::Simulator;
use token_broker::upstream::openai::OpenAi;
use token_broker::upstream::{
    Begun, CallOrder, MintOrder, NotBegun, Payer, Probe, SideChannel, Upstream, UpstreamError,
};

use crate::kit::provider::{KEY, simulator};
use crate::kit::waiting::until;

/// Every request's deadline, unless a test sets another.
pub const DEADLINE: Duration = Duration::from_mins(1);
/// The longest pause before a second attempt. No deadline is this short.
const PAUSE: Duration = Duration::from_secs(1);

/// An offer as a browser writes it: audio, and a data channel.
pub const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.7\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0 1\r\n\
    m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\n\
    m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=sctp-port:5000\r\n";

pub struct Door {
    pub simulator: Simulator,
    pub upstream: Arc<Upstream>,
    pub clock: Arc<ManualClock>,
    pub order: MintOrder,
}

impl Door {
    pub async fn open() -> Self {
        Self::with(&[]).await
    }

    /// With these settings, and a clock that is turned by hand.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let simulator = simulator(&[]).await;
        let clock = Arc::new(ManualClock::at(Timestamp::from_seconds(1_640_995_200)));
        let (settings, persona) = settings_for(&simulator.base_url(), settings);
        let upstream = Arc::new(upstream(&settings, Arc::<ManualClock>::clone(&clock)));
        let order = order(&persona);
        Self {
            simulator,
            upstream,
            clock,
            order,
        }
    }

    /// Mints, and turns the clock through the pause before a second attempt.
    pub async fn mint(&self) -> Result<ClientSecret, UpstreamError> {
        tokio::select! {
            minted = self.mint_in_still_time() => minted,
            never = self.turn_through_pauses() => never,
        }
    }

    /// What the usual call is created from.
    pub fn call_order(&self) -> CallOrder {
        CallOrder {
            offer: OFFER.into(),
            session: self.order.session.clone(),
            behalf: self.order.behalf,
        }
    }

    /// Exchanges the usual offer.
    pub async fn exchange(&self) -> Result<Begun, NotBegun> {
        let turn = self
            .upstream
            .turn(self.order.behalf, Payer::default())
            .await?;
        self.upstream.exchange(self.call_order(), turn).await
    }

    /// Exchanges the usual offer, and joins the side channel of the call.
    pub async fn joined(&self) -> (UpstreamCall, Box<dyn SideChannel>) {
        let call = self.exchange().await.unwrap().call;
        let channel = self.upstream.join(&call).await.unwrap();
        (call, channel)
    }

    /// Looks at the upstream with the only key.
    pub async fn look(&self) -> Result<Probe, UpstreamError> {
        let mut looks = self.upstream.look(Duration::ZERO).await;
        looks.pop().unwrap()
    }

    /// Mints while somebody else turns the clock.
    pub async fn mint_in_still_time(&self) -> Result<ClientSecret, UpstreamError> {
        let turn = self
            .upstream
            .turn(self.order.behalf, Payer::default())
            .await?;
        self.upstream.mint(&self.order, turn).await
    }

    async fn turn_through_pauses<T>(&self) -> T {
        loop {
            self.clock.awaited(PAUSE).await;
            self.clock.advance(PAUSE);
        }
    }

    /// Mints, and lets the deadline pass once the upstream has seen the request.
    pub async fn mint_past_the_deadline(&self) -> Result<ClientSecret, UpstreamError> {
        let seen = self.simulator.seen();
        let turn = async {
            until("the provider sees the mint", || {
                self.simulator.seen() > seen
            })
            .await;
            self.clock.awaited(DEADLINE).await;
            self.clock.advance(DEADLINE);
        };
        tokio::join!(self.mint_in_still_time(), turn).0
    }

    pub fn advance(&self, millis: u64) {
        self.clock.advance(Duration::from_millis(millis));
    }
}

/// The next event of a side channel.
pub async fn next(channel: &mut Box<dyn SideChannel>) -> Value {
    serde_json::from_str(&channel.next().await.unwrap()).unwrap()
}

pub fn settings_for(base_url: &str, settings: &[(&str, &str)]) -> (config::Upstream, Arc<Persona>) {
    let usual = [
        ("upstream.base_url", base_url),
        ("upstream.api_key", KEY),
        ("upstream.timeout", "60s"),
        ("upstream.connect_timeout", "100ms"),
    ];
    let all: Vec<_> = usual.iter().chain(settings).copied().collect();
    let config = Config::from_pairs(Mode::Dev, &all).unwrap();
    let persona = Arc::clone(config.personas.default_persona());
    (config.upstream, persona)
}

pub fn upstream(settings: &config::Upstream, clock: Arc<dyn Clock>) -> Upstream {
    let openai = OpenAi::new(settings, &SafetyKey::random(), Arc::clone(&clock)).unwrap();
    let openai = Arc::new(openai);
    let vitals = Arc::new(Vitals::new(clock));
    Upstream::new(Arc::<OpenAi>::clone(&openai), openai, settings, vitals)
}

pub fn order(persona: &Persona) -> MintOrder {
    MintOrder {
        session: persona.session_for(&Listener::default()),
        lifetime: Duration::from_mins(1),
        behalf: Party::Network(Network::of([203, 0, 113, 7].into())),
    }
}
