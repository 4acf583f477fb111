//! The memory of all streams of a node: counted, and shared out only when it becomes scarce. A stream may use its cap as
//! long as all together stay below the node's limit, and above it a fair part, but never less than it needs to go on.

use crate::source::room::ReadRoom;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What every stream may use however many there are: the records that it stages, and an answer of its source is read all
/// the same. What it has encoded is on scratch then.
const STREAM_BYTES_MIN: usize = 256 << 10;
/// The part of the limit that may be taken by what is read from a stream's source: a quarter.
const READING: usize = 4;

/// The part of the limit that one stream's buffers may take: a third.
const STREAM: usize = 3;

/// The memory of all streams of a node.
pub struct NodeMemory {
    limit: AtomicUsize,
    used: AtomicUsize,
    streams: AtomicUsize,
    /// By what was read for streams and not yet passed on, or is on its way.
    reading: Arc<AtomicUsize>,
}

/// One stream's part.
pub struct StreamMemory {
    node: Arc<NodeMemory>,
    used: usize,
}

impl NodeMemory {
    pub fn new(limit: usize) -> Arc<NodeMemory> {
        Arc::new(NodeMemory { limit: limit.into(), used: 0.into(), streams: 0.into(), reading: Arc::default() })
    }

    pub fn set_limit(&self, bytes: usize) {
        self.limit.store(bytes, Ordering::Relaxed);
    }

    /// What one stream's buffers may take of a large limit, in bytes.
    pub fn stream_bytes(&self) -> usize {
        self.limit.load(Ordering::Relaxed) / STREAM
    }

    /// Room for what is on its way from a stream's source: none waits for another's that does not answer. A limit that
    /// changes later does not change it.
    pub fn room(&self) -> Arc<ReadRoom> {
        Arc::new(ReadRoom::new(self.limit.load(Ordering::Relaxed) / READING, self.reading.clone()))
    }

    fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed) + self.reading.load(Ordering::Relaxed)
    }

    pub fn stream(self: &Arc<Self>) -> StreamMemory {
        self.streams.fetch_add(1, Ordering::Relaxed);
        StreamMemory { node: self.clone(), used: 0 }
    }
}

impl StreamMemory {
    /// Takes note of what the stream uses now, in bytes.
    pub fn note(&mut self, used: usize) {
        // Wraps where it shrinks: the sum is right again.
        self.node.used.fetch_add(used.wrapping_sub(self.used), Ordering::Relaxed);
        self.used = used;
    }

    /// The most it may use at this moment, in bytes; `cap` if nothing is scarce.
    pub fn allowed(&self, cap: usize) -> usize {
        let limit = self.node.limit.load(Ordering::Relaxed);
        if self.node.used() <= limit {
            return cap;
        }
        let streams = self.node.streams.load(Ordering::Relaxed).max(1);
        (limit / streams).max(STREAM_BYTES_MIN).min(cap)
    }
}

impl Drop for StreamMemory {
    fn drop(&mut self) {
        self.note(0);
        self.node.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_scarce_is_shared_out_and_what_is_not_is_not() {
        let node = NodeMemory::new(100 << 20);
        let (mut one, mut other) = (node.stream(), node.stream());
        one.note(70 << 20);
        other.note(20 << 20);
        assert_eq!(one.allowed(80 << 20), 80 << 20);
        other.note(40 << 20);
        assert_eq!((one.allowed(80 << 20), other.allowed(45 << 20)), (50 << 20, 45 << 20));
        drop(other);
        assert_eq!(one.allowed(80 << 20), 80 << 20);
        let crowd: Vec<_> = (0..999).map(|_| node.stream()).collect();
        one.note(200 << 20);
        assert_eq!(one.allowed(80 << 20), STREAM_BYTES_MIN);
        drop(crowd);
    }
}
