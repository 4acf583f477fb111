//! Connections at once. At the bound the one that has waited the longest for a request gives its place to who comes, one that
//! never had any first: clients that connect and ask for nothing shut nobody out. Where all of them are being answered, who comes
//! is closed at once, and readiness says so.

use super::pace::ConnectionPace;
use rustix::process::{Resource, getrlimit};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a place that was given up may take to be free.
const FREED_WITHIN: Duration = Duration::from_secs(1);
/// For how long readiness tells that somebody was turned away.
const REFUSAL_SHOWN: Duration = Duration::from_secs(10);

/// The connections of a server.
pub struct Connections {
    places: Arc<Semaphore>,
    most: u32,
    open: Mutex<OpenConnections>,
}

#[derive(Default)]
struct OpenConnections {
    next: u64,
    watched: BTreeMap<u64, Arc<ConnectionPace>>,
    refused: Option<Instant>,
}

/// A connection's place: free when this is dropped.
pub struct ConnectionPlace {
    connections: Arc<Connections>,
    number: u64,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    /// At most so many at once.
    pub fn new(most: u32) -> Arc<Connections> {
        Arc::new(Connections { places: Arc::new(Semaphore::new(most as usize)), most, open: Mutex::default() })
    }

    /// A place for a connection that is watched by `pace`; `None`: all others are being answered.
    pub async fn take(self: &Arc<Self>, pace: &Arc<ConnectionPace>) -> Option<ConnectionPlace> {
        let mut permit = self.places.clone().try_acquire_owned().ok();
        if permit.is_none() && self.evict() {
            metrics::counter!("hydrant_connections_evicted").increment(1);
            let freed = tokio::time::timeout(FREED_WITHIN, self.places.clone().acquire_owned()).await;
            permit = freed.ok().and_then(Result::ok);
        }
        let Some(permit) = permit else {
            metrics::counter!("hydrant_connections_refused").increment(1);
            self.open().refused = Some(Instant::now());
            return None;
        };
        let mut open = self.open();
        open.next += 1;
        let number = open.next;
        open.watched.insert(number, pace.clone());
        Some(ConnectionPlace { connections: self.clone(), number, _permit: permit })
    }

    /// Ends the connection that has waited the longest for a request, among those without any first. Whether there was one.
    fn evict(&self) -> bool {
        let open = self.open();
        let waiting = open.watched.values().filter_map(|pace| Some((pace.waits()?, pace)));
        waiting.min_by_key(|(waits, _)| *waits).is_some_and(|(_, pace)| pace.evict())
    }

    /// Waits until all connections have ended.
    pub async fn ended(&self) {
        let _ = self.places.acquire_many(self.most).await;
    }

    /// Why clients are turned away, if one was not long ago.
    pub fn refusal(&self) -> Option<String> {
        let refused = self.open().refused.is_some_and(|at| at.elapsed() < REFUSAL_SHOWN);
        refused.then(|| format!("clients are turned away: all of {} connections are being answered", self.most))
    }

    fn open(&self) -> MutexGuard<'_, OpenConnections> {
        self.open.lock().expect("nobody panics holding it")
    }
}

/// Connections at once: as many as are configured, and never so many that streams would have no descriptors for files. What
/// the process has open before either comes is neither's.
pub(super) fn connections_max(configured: u32) -> u32 {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, |open| open.count() as u64);
    let allowed = u32::try_from(limit.saturating_sub(open) / 2).unwrap_or(u32::MAX).max(1);
    if allowed < configured {
        tracing::warn!(
            limit,
            max_connections = configured,
            allowed,
            "half of the descriptors that this process may yet open are kept for files: fewer connections than configured"
        );
    }
    configured.min(allowed)
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.connections.open().watched.remove(&self.number);
    }
}
