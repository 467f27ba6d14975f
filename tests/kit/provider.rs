//! The simulated provider, in the process of the test.

use std::sync::Arc;

use token_broker::clock::{Clock, SystemClock};
use token_broker::simulator::{Planned, Settings, Simulator};

/// The API key that the provider accepts and that the broker under test has.
pub const KEY: &str = "sk-canary-4f1d2c";

/// Starts a provider on a free port, which fails as planned.
pub async fn simulator(faults: &[&str]) -> Simulator {
    let settings = provider("127.0.0.1:0", Arc::new(SystemClock::new()), faults);
    Simulator::start(settings).await.unwrap()
}

/// Returns the settings of a provider at this address, with this clock.
pub fn provider(listen: &str, clock: Arc<dyn Clock>, faults: &[&str]) -> Settings {
    let planned = |text: &&str| text.parse::<Planned>().unwrap();
    Settings {
        listen: listen.parse().unwrap(),
        api_key: KEY.into(),
        clock,
        faults: faults.iter().map(planned).collect(),
    }
}
