//! Spreads requests over as many connections to the provider as they need.
//!
//! An HTTP client keeps one HTTP/2 connection to a host. The provider allows about a hundred requests on it at a time; the
//! next ones wait in the client, unseen by every bound. So another client is opened before that.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::http_client::{ClientBuilder, ClientError};

/// The most requests on one connection. Servers usually allow a hundred (RFC 9113 §6.5.2 recommends no fewer).
const STREAMS: usize = 90;
/// The most connections; further requests share them.
const MOST: usize = 16;

/// The connections to one host, opened on demand.
pub(super) struct Connections {
    builder: ClientBuilder,
    first: Arc<Connection>,
    others: RwLock<Vec<Arc<Connection>>>,
}

struct Connection {
    client: reqwest::Client,
    in_flight: AtomicUsize,
}

impl Connection {
    fn open(builder: &ClientBuilder) -> Result<Arc<Self>, ClientError> {
        Ok(Arc::new(Self {
            client: builder.build()?,
            in_flight: AtomicUsize::new(0),
        }))
    }

    fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

/// A place for one request on a connection, held until its answer is read.
pub(super) struct Seat(Arc<Connection>);

impl Seat {
    fn on(connection: &Arc<Connection>) -> Self {
        connection.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(connection))
    }

    /// Returns the client whose connection this place is on.
    pub(super) fn client(&self) -> &reqwest::Client {
        &self.0.client
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connections {
    pub(super) fn new(builder: ClientBuilder) -> Result<Self, ClientError> {
        Ok(Self {
            first: Connection::open(&builder)?,
            others: RwLock::default(),
            builder,
        })
    }

    /// Takes a place on the first connection that has room, and opens another one when none has.
    pub(super) fn seat(&self) -> Seat {
        if self.first.in_flight() < STREAMS {
            return Seat::on(&self.first);
        }
        let with_room = |others: &[Arc<Connection>]| {
            let found = others.iter().find(|one| one.in_flight() < STREAMS);
            found.map(Seat::on)
        };
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        let found = with_room(&others);
        drop(others);
        found.unwrap_or_else(|| {
            let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
            with_room(&others).unwrap_or_else(|| self.add(&mut others))
        })
    }

    /// Opens another connection. At the bound, or when that fails, takes a place on the least busy one.
    fn add(&self, others: &mut Vec<Arc<Connection>>) -> Seat {
        if others.len() + 1 < MOST
            && let Ok(connection) = Connection::open(&self.builder)
        {
            let seat = Seat::on(&connection);
            others.push(connection);
            return seat;
        }
        let least_busy = others.iter().fold(&self.first, |least, one| {
            if one.in_flight() < least.in_flight() {
                one
            } else {
                least
            }
        });
        Seat::on(least_busy)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::HeaderMap;

    use super::*;

    fn connections() -> Connections {
        let builder = ClientBuilder::new(None, Duration::from_secs(1), HeaderMap::new());
        Connections::new(builder.unwrap()).unwrap()
    }

    #[test]
    fn a_connection_is_opened_only_when_all_are_full_and_the_first_with_room_is_taken() {
        let connections = connections();
        let mut seats: Vec<_> = (0..STREAMS).map(|_| connections.seat()).collect();
        assert!(connections.others.read().unwrap().is_empty());
        seats.push(connections.seat());
        assert_eq!(connections.others.read().unwrap().len(), 1);
        seats.remove(0);
        let again = connections.seat();
        assert!(Arc::ptr_eq(&again.0, &connections.first));
    }

    #[test]
    fn at_the_bound_requests_share_the_least_busy_connection() {
        let connections = connections();
        let mut seats: Vec<_> = (0..STREAMS * MOST).map(|_| connections.seat()).collect();
        seats.remove(STREAMS);
        seats.extend((0..3).map(|_| connections.seat()));
        let others = connections.others.read().unwrap();
        assert_eq!(others.len(), MOST - 1);
        let mut loads: Vec<_> = others.iter().map(|one| one.in_flight()).collect();
        loads.push(connections.first.in_flight());
        loads.sort_unstable();
        assert_eq!(loads[..MOST - 2], [STREAMS; MOST - 2]);
        assert_eq!(loads[MOST - 2..], [STREAMS + 1; 2]);
    }
}
