//! Memory for what is read from a stream's source and not yet passed on: however many shards are read, only so many answers
//! are under way or held at once that all of them may be as large as they are expected to be, or a few.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What is counted, in bytes.
const UNIT: usize = 1 << 10;
/// Answers for which there is room however large they are: one that does not come must not keep others from being asked for.
const AT_ONCE_MIN: usize = 4;

/// The memory that what is read from a source may take.
#[derive(Debug)]
pub struct ReadRoom {
    free: Arc<Semaphore>,
    /// All of it.
    units: usize,
    taken: Arc<AtomicUsize>,
}

/// A part of a room, given back when this goes.
#[derive(Debug)]
pub struct RoomPart {
    permits: OwnedSemaphorePermit,
    taken: Arc<AtomicUsize>,
}

impl ReadRoom {
    /// `taken`: where the bytes that are taken are added up, with those of other rooms.
    pub fn new(bytes: usize, taken: Arc<AtomicUsize>) -> ReadRoom {
        let units = (bytes / UNIT).min(u32::MAX as usize);
        ReadRoom { free: Arc::new(Semaphore::new(units)), units, taken }
    }

    /// The most that one answer takes, and that a lane which is stalled should hold.
    pub fn part_bytes_max(&self) -> usize {
        self.units / AT_ONCE_MIN * UNIT
    }

    /// Waits until there are so many bytes, and takes them; who wants more than a small room's part takes that.
    pub async fn take(&self, bytes: usize) -> RoomPart {
        let wanted = bytes.div_ceil(UNIT).min(self.units / AT_ONCE_MIN);
        let wanted = u32::try_from(wanted).expect("no more than there are");
        let permits = self.free.clone().acquire_many_owned(wanted).await.expect("it is never closed");
        self.taken.fetch_add(permits.num_permits() * UNIT, Ordering::Relaxed);
        RoomPart { permits, taken: self.taken.clone() }
    }
}

impl RoomPart {
    /// How much it is.
    pub fn bytes(&self) -> usize {
        self.permits.num_permits() * UNIT
    }

    /// Keeps no more than so many bytes of it.
    pub fn shrink_to(&mut self, bytes: usize) {
        let spare = self.permits.num_permits().saturating_sub(bytes.div_ceil(UNIT));
        self.taken.fetch_sub(spare * UNIT, Ordering::Relaxed);
        drop(self.permits.split(spare));
    }
}

impl Drop for RoomPart {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn who_finds_no_room_waits_and_nobody_for_ever() {
        let taken = Arc::new(AtomicUsize::new(0));
        let room = ReadRoom::new(24 << 20, taken.clone());
        let taken = || taken.load(Ordering::Relaxed);
        let mut some = Vec::new();
        for bytes in [6 << 20, 6 << 20, 6 << 20, 5 << 20, 1 << 20] {
            some.push(room.take(bytes).await);
        }
        assert_eq!(taken(), 24 << 20);
        let waiting = async { tokio::time::timeout(Duration::from_millis(20), room.take(1)).await };
        assert!(waiting.await.is_err());
        some[0].shrink_to(5 << 20);
        assert_eq!(taken(), 23 << 20);
        drop(room.take(1 << 20).await);
        some[0].shrink_to(6 << 20);
        assert_eq!(taken(), 23 << 20, "it never grows");
        some.clear();
        assert_eq!(taken(), 0);
        let _part = room.take(1 << 40).await;
        assert_eq!(taken(), 6 << 20);
    }
}
