//! Stands in for real peers in builds without them.

use std::sync::Arc;

use super::Registry;
use super::live::Live;
use crate::simulator::refusal::Refusal;

/// Returns no answer: every call gets a canned one.
#[expect(clippy::unused_async, reason = "the real one binds a socket")]
pub(super) async fn meet(_: &Arc<Registry>, _: &mut Live) -> Result<Option<String>, Refusal> {
    Ok(None)
}
