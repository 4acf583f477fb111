//! Memory for what is on its way from sources: however many shards are read, only so many answers are under way at once that
//! all of them may be as large as they are expected to be.

use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{Semaphore, SemaphorePermit};

/// What is counted, in bytes.
const UNIT: usize = 1 << 10;

/// See the module.
#[derive(Debug)]
pub struct Room {
    free: Semaphore,
    /// Units, of which `free` has those that are not taken.
    units: AtomicUsize,
}

impl Room {
    pub fn new(bytes: usize) -> Room {
        let units = units(bytes);
        Room { free: Semaphore::new(units), units: units.into() }
    }

    pub fn set_size(&self, bytes: usize) {
        let units = units(bytes);
        let before = self.units.swap(units, Ordering::Relaxed);
        match units.checked_sub(before) {
            Some(more) => self.free.add_permits(more),
            // What is taken at the moment comes back as more than there is: a little, until the next start.
            None => drop(self.free.forget_permits(before - units)),
        }
    }

    /// Waits until there are so many bytes, and takes them; who wants more than there ever are waits for all of them.
    pub async fn take(&self, bytes: usize) -> SemaphorePermit<'_> {
        let wanted = bytes.div_ceil(UNIT).min(self.units.load(Ordering::Relaxed));
        self.free.acquire_many(u32::try_from(wanted).unwrap_or(u32::MAX)).await.expect("it is never closed")
    }

    /// Bytes that are taken.
    pub fn taken(&self) -> usize {
        self.units.load(Ordering::Relaxed).saturating_sub(self.free.available_permits()) * UNIT
    }
}

fn units(bytes: usize) -> usize {
    (bytes / UNIT).min(u32::MAX as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn who_finds_no_room_waits_and_nobody_for_ever() {
        let room = Room::new(25 << 20);
        let some = room.take(12 << 20).await;
        let rest = room.take(13 << 20).await;
        assert_eq!(room.taken(), 25 << 20);
        let waiting = async { tokio::time::timeout(Duration::from_millis(20), room.take(1)).await };
        assert!(waiting.await.is_err());
        drop(some);
        drop(room.take(1).await);
        drop(rest);
        assert_eq!(room.taken(), 0);
        drop(room.take(1 << 40).await);
        room.set_size(1 << 20);
        drop(room.take(2 << 20).await);
        room.set_size(4 << 20);
        assert_eq!(room.take(4 << 20).await.num_permits(), 4 << 10);
    }
}
