//! A minter that does as a test tells it, instead of a provider.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use token_broker::clock::{Clock, ManualClock};
use token_broker::config::ApiKey;
use token_broker::domain::{ClientSecret, KeyFingerprint, UpstreamSession};
use token_broker::upstream::openai::SetupError;
use token_broker::upstream::{MintOrder, Minter, Probe, UpstreamError};
use tokio::sync::{Semaphore, watch};

/// A minter that does as it is told.
pub struct ScriptedMinter {
    clock: Arc<ManualClock>,
    script: Mutex<VecDeque<UpstreamError>>,
    orders: Mutex<Vec<MintOrder>>,
    /// How many mints were asked for.
    news: watch::Sender<usize>,
    probes: Mutex<u32>,
    gate: Semaphore,
    panics: AtomicBool,
}

impl ScriptedMinter {
    pub fn new(clock: Arc<ManualClock>) -> Self {
        let (script, orders, probes) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self {
            clock,
            script,
            orders,
            news: watch::Sender::new(0),
            probes,
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            panics: AtomicBool::new(false),
        }
    }

    /// The next request fails so: its mint, and whatever is tried after it.
    pub fn fail(&self, error: UpstreamError) {
        let again = match &error {
            UpstreamError::Unreachable(source) => {
                Some(UpstreamError::Unreachable(source.to_string().into()))
            }
            UpstreamError::Broken(complaint) if error.facts().retry.is_some() => {
                Some(UpstreamError::Broken(complaint.clone()))
            }
            // The free look that follows finds the key rejected, too.
            UpstreamError::KeyRejected(complaint) => {
                Some(UpstreamError::KeyRejected(complaint.clone()))
            }
            _ => None,
        };
        self.script
            .lock()
            .unwrap()
            .extend([error].into_iter().chain(again));
    }

    /// The next mint or look fails so, and no more.
    pub fn fail_once(&self, error: UpstreamError) {
        self.script.lock().unwrap().push_back(error);
    }

    /// The next mint panics.
    pub fn panic_next(&self) {
        self.panics.store(true, Ordering::SeqCst);
    }

    /// Mints wait from now on.
    pub fn hold(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// As many mints as `count` go on.
    pub fn let_through(&self, count: usize) {
        self.gate.add_permits(count);
    }

    pub fn orders(&self) -> Vec<MintOrder> {
        self.orders.lock().unwrap().clone()
    }

    /// Waits until `count` mints were asked for.
    pub async fn asked_for(&self, count: usize) {
        let mut orders = self.news.subscribe();
        orders.wait_for(|asked| *asked >= count).await.unwrap();
    }

    /// How many mints were asked for.
    /// The session of the last order, as text.
    pub fn last_session(&self) -> String {
        let orders = self.orders();
        orders.last().unwrap().session.as_json().to_string()
    }

    pub fn asked(&self) -> usize {
        self.orders.lock().unwrap().len()
    }

    pub fn probes(&self) -> u32 {
        *self.probes.lock().unwrap()
    }
}

#[async_trait]
impl Minter for ScriptedMinter {
    async fn mint(
        &self,
        order: &MintOrder,
        _: &KeyFingerprint,
    ) -> Result<ClientSecret, UpstreamError> {
        let number = {
            let mut orders = self.orders.lock().unwrap();
            orders.push(order.clone());
            self.news.send_replace(orders.len());
            orders.len()
        };
        self.gate.acquire().await.unwrap().forget();
        assert!(!self.panics.swap(false, Ordering::SeqCst), "told to");
        if let Some(error) = self.script.lock().unwrap().pop_front() {
            return Err(error);
        }
        let summary = UpstreamSession {
            id: Some(format!("sess_{number}")),
            is_transcription: false,
            model: Some("gpt-realtime-2.1".into()),
            voice: Some("marin".into()),
        };
        let (now, tick) = (
            self.clock.now().plus(order.lifetime),
            self.clock.tick().plus(order.lifetime),
        );
        Ok(ClientSecret::new(
            format!("ek_test_{number}").into(),
            now,
            tick,
            summary,
        ))
    }

    fn load(&self, _: &[ApiKey]) -> Result<(), SetupError> {
        Ok(())
    }

    async fn probe(&self, _: &KeyFingerprint) -> Result<Probe, UpstreamError> {
        *self.probes.lock().unwrap() += 1;
        match self.script.lock().unwrap().pop_front() {
            Some(error) => Err(error),
            None => Ok(Probe {
                latency: Duration::from_millis(120),
                upstream_time: None,
                refusal: None,
            }),
        }
    }
}
