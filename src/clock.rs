//! Time as the rest of the service sees it: injected, so that tests own it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Two clocks: the wall clock stamps records and names, the steady one runs timers.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch; may jump.
    fn wall_ms(&self) -> u64;
    /// Time since some fixed moment; never jumps.
    fn steady(&self) -> Duration;
}

/// The machine's wall clock, for what is only shown.
#[expect(clippy::disallowed_methods, reason = "this is where the wall clock comes from")]
pub fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

/// The machine's clocks.
pub struct System(Instant);

impl Default for System {
    fn default() -> Self {
        System(Instant::now())
    }
}

impl Clock for System {
    fn wall_ms(&self) -> u64 {
        wall_ms()
    }

    fn steady(&self) -> Duration {
        self.0.elapsed()
    }
}

/// A clock that stands still until it is told to move.
pub struct Manual(AtomicU64);

impl Manual {
    pub fn at_ms(ms: u64) -> Self {
        Manual(AtomicU64::new(ms))
    }

    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_millis() as u64, Ordering::SeqCst);
    }
}

impl Clock for Manual {
    fn wall_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}
