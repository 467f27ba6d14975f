//! Spreads requests over as many connections to the provider as they need.
//!
//! An HTTP client keeps one HTTP/2 connection to a host. The provider allows about a hundred requests on it at a time.
//! Further requests would wait inside the client, where no bound counts them. So another client is opened before that.

use std::iter::once;
use std::sync::Arc;

use parking_lot::Mutex;
use reqwest::Client;

use crate::http_client::{ClientBuilder, ClientError};

/// The most requests on one connection. Servers usually allow a hundred (RFC 9113 §6.5.2 recommends no fewer).
const STREAMS: usize = 90;
/// The most connections; further requests share them.
const MOST: usize = 16;

/// The connections to one host, opened on demand. A request holds its connection until its answer is read.
pub(super) struct Connections {
    builder: ClientBuilder,
    first: Arc<Client>,
    others: Mutex<Vec<Arc<Client>>>,
}

/// Returns the number of requests that hold `connection`.
fn in_flight(connection: &Arc<Client>) -> usize {
    // One reference is the list's own.
    Arc::strong_count(connection) - 1
}

impl Connections {
    pub(super) fn new(builder: ClientBuilder) -> Result<Self, ClientError> {
        Ok(Self {
            first: Arc::new(builder.build()?),
            others: Mutex::default(),
            builder,
        })
    }

    /// Returns the first connection that has room, and opens another one when none has. At the bound, or when that fails,
    /// returns the least busy one.
    pub(super) fn take(&self) -> Arc<Client> {
        let mut others = self.others.lock();
        let mut all = once(&self.first).chain(&*others);
        if let Some(free) = all.find(|one| in_flight(one) < STREAMS) {
            return Arc::clone(free);
        }
        if others.len() + 1 < MOST
            && let Ok(opened) = self.builder.build()
        {
            let opened = Arc::new(opened);
            others.push(Arc::clone(&opened));
            return opened;
        }
        let all = once(&self.first).chain(&*others);
        let least_busy = all.min_by_key(|one| in_flight(one));
        Arc::clone(least_busy.unwrap_or(&self.first))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::HeaderMap;

    use super::*;
    use crate::http_client::Way;

    fn connections() -> Connections {
        let builder = ClientBuilder::new(&Way::default(), Duration::from_secs(1), HeaderMap::new());
        Connections::new(builder.unwrap()).unwrap()
    }

    #[test]
    fn a_connection_is_opened_only_when_all_are_full_and_the_first_with_room_is_taken() {
        let connections = connections();
        let mut held: Vec<_> = (0..STREAMS).map(|_| connections.take()).collect();
        assert!(connections.others.lock().is_empty());
        held.push(connections.take());
        assert_eq!(connections.others.lock().len(), 1);
        held.remove(0);
        let again = connections.take();
        assert!(Arc::ptr_eq(&again, &connections.first));
    }

    #[test]
    fn at_the_bound_requests_share_the_least_busy_connection() {
        let connections = connections();
        let mut held: Vec<_> = (0..STREAMS * MOST).map(|_| connections.take()).collect();
        held.remove(STREAMS);
        held.extend((0..3).map(|_| connections.take()));
        let others = connections.others.lock();
        assert_eq!(others.len(), MOST - 1);
        let mut loads: Vec<_> = others.iter().map(in_flight).collect();
        loads.push(in_flight(&connections.first));
        loads.sort_unstable();
        assert_eq!(loads[..MOST - 2], [STREAMS; MOST - 2]);
        assert_eq!(loads[MOST - 2..], [STREAMS + 1; 2]);
    }
}
