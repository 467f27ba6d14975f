//! The agreement: what callers may choose, use and spend. Operators can change it while the broker runs.

use std::sync::Arc;

use super::{Broker, Inner};
use crate::config::{self, MoneySettings};
use crate::domain::{Personas, Quotas, WebhookKeys};
use crate::upstream::openai::SetupError;

/// What callers may choose, use and spend.
#[derive(Clone, Debug)]
pub struct Agreement {
    /// The presets that callers may choose from.
    pub personas: Arc<Personas>,
    /// The quotas of identities.
    pub quotas: Quotas,
    /// What calls may cost everybody together, and the prices of the provider's models.
    pub money: MoneySettings,
    /// The secrets of the provider's webhooks; `None` when there is no path for webhooks.
    pub webhook_keys: Option<WebhookKeys>,
}

impl Broker {
    /// Applies another agreement to everything that begins from now on. Running calls keep their persona and their limits;
    /// what they use from now on has the new prices.
    pub fn adopt(&self, agreement: Agreement) {
        let inner = &self.0;
        *inner.agreement.write() = Arc::new(agreement);
        // A quota that was found used up may be larger now, and a budget may be gone.
        inner.spent.clear();
        inner.watches.full.clear();
        let series = &inner.parts.vitals.series;
        series.budget_spent.clear();
        series.budget_limit.clear();
    }

    /// Applies the API keys of changed settings.
    pub fn load_keys(&self, settings: &config::Upstream) -> Result<(), SetupError> {
        self.0.parts.upstream.load(settings)
    }

    /// Applies the secrets of the provider's webhooks. The rest of the agreement stays.
    pub fn adopt_webhook_keys(&self, keys: Option<WebhookKeys>) {
        let mut agreement = self.0.agreement.write();
        *agreement = Arc::new(Agreement {
            webhook_keys: keys,
            ..(**agreement).clone()
        });
    }

    /// Returns the secrets of the provider's webhooks; `None` when there is no path for webhooks.
    pub fn webhook_keys(&self) -> Option<WebhookKeys> {
        self.0.agreement().webhook_keys.clone()
    }

    /// Returns what calls of everybody may cost, and the prices.
    pub fn money(&self) -> MoneySettings {
        self.0.agreement().money.clone()
    }
}

impl Inner {
    /// Returns the agreement in force.
    pub(super) fn agreement(&self) -> Arc<Agreement> {
        Arc::clone(&self.agreement.read())
    }
}
