//! Room for requests: bytes of bodies and decoded records that are in memory at once.
//!
//! A request takes room for all of it, its body and its records once more, when its headers have passed and its first
//! bytes have come, so that a client which only announces a body holds nothing. Who waits is served in order. While
//! somebody waits, a body that comes slowly gives its room up; and the requests of one access key never hold more than
//! their share, so that one key's clients, however many, leave room for those of others.

use super::error::ApiError;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Room is counted in these, in bytes.
const UNIT: usize = 1024;
/// How long a request waits for room before it is refused.
const WAIT: Duration = Duration::from_millis(500);
/// The least rate of a body, in bytes a second, behind a time of grace: always, and while others wait for room.
const RATE_MIN: f64 = 16e3;
const GRACE: Duration = Duration::from_secs(5);
const RATE_MIN_WAITED_FOR: f64 = 256e3;
const GRACE_WAITED_FOR: Duration = Duration::from_millis(300);

/// The memory that requests may take.
pub(super) struct IntakeRoom {
    all: Arc<Semaphore>,
    units: usize,
    /// The share of each access key; there are as many as the configuration had.
    keys: Mutex<BTreeMap<String, Arc<Semaphore>>>,
    waiting: AtomicUsize,
}

/// What a request holds until it is answered.
pub(super) struct Held {
    _of_key: Option<OwnedSemaphorePermit>,
    _of_all: OwnedSemaphorePermit,
    since: Instant,
}

impl IntakeRoom {
    pub(super) fn new(bytes: usize) -> IntakeRoom {
        let units = (bytes / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        IntakeRoom { all: Arc::new(Semaphore::new(units)), units, keys: Mutex::default(), waiting: AtomicUsize::new(0) }
    }

    /// Room for a body of so many bytes, signed with this key; `None` if there is none in time.
    pub(super) async fn take(&self, key: Option<&str>, body_bytes: usize) -> Option<Held> {
        let of_key = key.map(|key| self.of_key(key));
        // The largest requests take all there is, and count for no more.
        let units_max = of_key.as_ref().map_or(self.units, |(_, units_max)| *units_max);
        let units = (2 * body_bytes).div_ceil(UNIT).min(units_max) as u32;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let taken = tokio::time::timeout(WAIT, async {
            let _of_key = match of_key {
                Some((of_key, _)) => Some(of_key.acquire_many_owned(units).await.ok()?),
                None => None,
            };
            let _of_all = self.all.clone().acquire_many_owned(units).await.ok()?;
            Some(Held { _of_key, _of_all, since: Instant::now() })
        });
        let taken = taken.await.ok().flatten();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        taken
    }

    /// A key's share: three quarters. The rest is for clients with other keys.
    fn of_key(&self, key: &str) -> (Arc<Semaphore>, usize) {
        let units = (self.units * 3 / 4).max(1);
        let mut keys = self.keys.lock().expect("nobody panics holding it");
        let share = keys.entry(key.to_owned()).or_insert_with(|| Arc::new(Semaphore::new(units)));
        (share.clone(), units)
    }

    /// What a body is refused with that comes too slowly to keep its room, if it does: so many bytes have come since that was
    /// taken. While others wait it may come again, as every client does after this answer.
    pub(super) fn too_slow(&self, held: &Held, bytes: usize) -> Option<ApiError> {
        let is_waited_for = self.waiting.load(Ordering::Relaxed) > 0;
        let (rate, grace) = match is_waited_for {
            true => (RATE_MIN_WAITED_FOR, GRACE_WAITED_FOR),
            false => (RATE_MIN, GRACE),
        };
        let took = held.since.elapsed();
        let is_too_slow = took > grace && (bytes as f64) < rate * (took - grace).as_secs_f64().max(0.05);
        is_too_slow.then(|| match is_waited_for {
            true => ApiError::unavailable("Slow down: the body came slowly, and others waited for its room."),
            false => too_slow(),
        })
    }
}

/// What a body that came too slowly is answered with.
pub(super) fn too_slow() -> ApiError {
    ApiError::new(408, "RequestTimeoutException", "The body came too slowly.")
}
