//! Room for requests: bytes of bodies and decoded records that are in memory at once.
//!
//! A request takes room for what it is about to hold, its body and its records once more: for a part when its headers have
//! passed and its first bytes have come, and for all of it when that part has come, so that a client which only announces a
//! body, or sends the beginning of one, holds next to nothing. Who waits is served in order. While somebody waits, a body
//! that comes slowly gives its room up.
//!
//! The requests of one access key, and those of one connection, never hold more than their share, so that one key's clients,
//! however many, leave room for those of others, and so does a connection with many requests at once. Who waits for a share
//! has only bodies give up their room that come slowly under the same share.

use super::error::ApiError;
use super::wire::BODY_BYTES_MAX;
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
    all: Arc<RoomShare>,
    /// The share of each access key; there are as many as the configuration had.
    keys: Mutex<BTreeMap<String, Arc<RoomShare>>>,
}

/// What some requests may hold at once: all of them, those of one access key, or those of one connection.
pub(super) struct RoomShare {
    free: Arc<Semaphore>,
    units: usize,
    waiting: AtomicUsize,
}

/// Somebody waits for a share for as long as this lives.
struct WaitsFor<'a>(&'a RoomShare);

/// What a request holds until it is answered.
pub(super) struct Held {
    of: [Option<(Arc<RoomShare>, OwnedSemaphorePermit)>; 3],
    since: Instant,
}

impl RoomShare {
    fn new(units: usize) -> Arc<RoomShare> {
        let units = units.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(RoomShare { free: Arc::new(Semaphore::new(units)), units, waiting: AtomicUsize::new(0) })
    }

    /// So many units, when they are free. Who has them at once is not waited for.
    async fn take(self: &Arc<Self>, units: u32) -> Option<(Arc<RoomShare>, OwnedSemaphorePermit)> {
        if let Ok(taken) = self.free.clone().try_acquire_many_owned(units) {
            return Some((self.clone(), taken));
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = WaitsFor(self);
        Some((self.clone(), self.free.clone().acquire_many_owned(units).await.ok()?))
    }
}

impl Drop for WaitsFor<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl IntakeRoom {
    pub(super) fn new(bytes: usize) -> IntakeRoom {
        IntakeRoom { all: RoomShare::new(bytes / UNIT), keys: Mutex::default() }
    }

    /// A connection's share: three quarters, or what a request of the largest size takes. Only HTTP/2 has more than one
    /// request at once.
    pub(super) fn connection(&self) -> Arc<RoomShare> {
        let largest = (2 * BODY_BYTES_MAX).div_ceil(UNIT);
        RoomShare::new((self.all.units * 3 / 4).max(largest).min(self.all.units))
    }

    /// A key's share: three quarters. The rest is for clients with other keys.
    fn of_key(&self, key: &str) -> Arc<RoomShare> {
        let mut keys = self.keys.lock().expect("nobody panics holding it");
        keys.entry(key.to_owned()).or_insert_with(|| RoomShare::new(self.all.units * 3 / 4)).clone()
    }

    /// Room for a body of so many bytes that comes over a connection with this share, signed with this key; `None` if there
    /// is none in time.
    pub(super) async fn take(&self, connection: &Arc<RoomShare>, key: Option<&str>, body_bytes: usize) -> Option<Held> {
        let key = key.map(|key| self.of_key(key));
        let shares = [Some(connection), key.as_ref(), Some(&self.all)];
        // The largest requests take all there is, and count for no more.
        let units_max = shares.iter().flatten().map(|share| share.units).min().unwrap_or(1);
        let units = (2 * body_bytes).div_ceil(UNIT).min(units_max) as u32;
        let taken = tokio::time::timeout(WAIT, async {
            let mut of = [const { None }; 3];
            for (of, share) in of.iter_mut().zip(shares) {
                if let Some(share) = share {
                    *of = Some(share.take(units).await?);
                }
            }
            Some(Held { of, since: Instant::now() })
        });
        taken.await.ok().flatten()
    }
}

impl Held {
    /// What a body is refused with that comes too slowly to keep its room, if it does: so many bytes have come since that was
    /// taken. While others wait it may come again, as every client does after this answer.
    pub(super) fn too_slow(&self, bytes: usize) -> Option<ApiError> {
        let is_waited_for = self.of.iter().flatten().any(|(share, _)| share.waiting.load(Ordering::Relaxed) > 0);
        let (rate, grace) = match is_waited_for {
            true => (RATE_MIN_WAITED_FOR, GRACE_WAITED_FOR),
            false => (RATE_MIN, GRACE),
        };
        let took = self.since.elapsed();
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
