//! The one writer of a journal: lays queued batches side by side, writes once, syncs once, then publishes them.

use super::frame;
use super::segment::{HEADER_BLOCK, Segment};
use super::{Journal, Place, Recent, Room, Shared};
use crate::error::{Error, Kind, Result};
use crate::fs::{DIRECT_ALIGN, File};
use crate::record::{Batch, Entry, Frame};
use crate::sabotage;
use std::sync::Arc;

/// A batch on its way into the journal.
#[derive(Debug)]
pub struct Put {
    pub arrival_ms: u64,
    pub entry: Entry,
    pub batch: Batch,
}

/// See the module. Not shared: whoever holds it is the committer.
pub struct Writer {
    pub(super) journal: Arc<Journal>,
    pub(super) segment: Segment,
    /// The segment's file, opened for direct writes where the file system has them.
    pub(super) direct: Option<Arc<dyn File>>,
    pub(super) seed: u32,
    /// Where the next frame goes in the segment.
    pub(super) at: u64,
    pub(super) next: u64,
    pub(super) buffer: Vec<u8>,
    /// Where the commit begins in the buffer, so that its address is aligned.
    pub(super) start: usize,
    pub(super) poison: Option<Error>,
}

impl Writer {
    /// Makes all of `puts` durable in one sync and returns the offset of each one's first record; or none of them.
    ///
    /// Blocks for the write and the sync. Errors: `NoSpace` (budget or disk; nothing was written, a later call may
    /// succeed) and `Poisoned` (what is on disk is unknown; every later call fails the same way).
    pub fn commit(&mut self, puts: Vec<Put>) -> Result<Vec<u64>> {
        if let Some(poison) = &self.poison {
            return Err(poison.clone());
        }
        let bytes = |p: &Put| frame::frame_bytes(p.batch.len() as u64, p.batch.bytes().len() as u64);
        let bytes = puts.iter().map(bytes).sum::<u64>().next_multiple_of(HEADER_BLOCK);
        if self.at + bytes > self.segment.size {
            self.roll(HEADER_BLOCK + bytes)?;
        }
        let durable = self.next;
        let mut next = self.next;
        let mut frames = Vec::with_capacity(puts.len());
        self.begin(bytes as usize);
        for put in puts {
            let Put { arrival_ms, entry, batch } = put;
            let frame = Frame { first: next, arrival_ms, entry, batch: Arc::new(batch), origins: Vec::new() };
            frame::encode(&mut self.buffer, self.seed, &frame, durable);
            next = frame.end();
            let behind = self.at + (self.buffer.len() - self.start) as u64;
            frames.push(Recent { frame: Arc::new(frame), behind: (self.segment.number, behind) });
        }
        self.buffer.resize(self.start + bytes as usize, 0);
        self.write()?;
        let firsts = frames.iter().map(|r| r.frame.first).collect();
        self.at += bytes;
        self.next = next;
        self.journal.shared().publish(frames, next);
        Ok(firsts)
    }

    /// Empties the buffer for a commit of `bytes`, which begins at an aligned address.
    fn begin(&mut self, bytes: usize) {
        self.buffer.clear();
        self.buffer.reserve(bytes + DIRECT_ALIGN);
        self.start = self.buffer.as_ptr().align_offset(DIRECT_ALIGN);
        self.buffer.resize(self.start, 0);
    }

    fn write(&mut self) -> Result<()> {
        let file = self.direct.as_ref().unwrap_or(&self.segment.file);
        let bytes = &self.buffer[self.start..];
        sabotage::point("journal.filled");
        let mut done = match sabotage::on("no_sync") || sabotage::on("read_past_durable") {
            true => file.write_all_at(bytes, self.at),
            false => file.write_synced_at(bytes, self.at),
        };
        sabotage::point("journal.synced");
        if sabotage::fails("journal.poison", &self.journal.dir) {
            done = Err(rustix::io::Errno::IO.into());
        }
        done.map_err(|e| {
            let poison = self.journal.poisoned("write and sync frames", e);
            self.poison = Some(poison.clone());
            poison
        })
    }

    /// Goes on in a new segment of at least `needed` bytes; a smaller one than is usual where there is no room for that.
    fn roll(&mut self, needed: u64) -> Result<()> {
        let mut size = needed.max(self.journal.shared().next_size);
        let records_before = self.segment.records_before + (self.next - self.segment.first);
        let number = self.segment.number + 1;
        let place = Place { number, first: self.next, previous_end: self.next, records_before };
        let opened = loop {
            match self.journal.new_segment(place, size, Room::Asked) {
                Err(e) if e.kind == Kind::NoSpace && size > needed => {
                    size = (size / 2).next_multiple_of(HEADER_BLOCK).max(needed);
                    self.journal.shared().next_size = size;
                }
                // Spares too small for this commit are room for a segment that is not.
                Err(e) if e.kind == Kind::NoSpace && matches!(self.journal.remove_spares_below(needed), Ok(true)) => {}
                opened => break opened,
            }
        };
        match opened.and_then(|segment| Ok((self.journal.open_direct(segment.number)?, segment))) {
            Ok((direct, segment)) => self.enter(segment, direct),
            Err(e) => {
                if e.kind == Kind::Poisoned {
                    self.poison = Some(e.clone());
                }
                return Err(e);
            }
        }
        Ok(())
    }

    fn enter(&mut self, segment: Segment, direct: Option<Arc<dyn File>>) {
        let mut shared = self.journal.shared();
        shared.segments.push_back(segment.clone());
        shared.next_size = (shared.next_size * 2).min(self.journal.limits.segment_bytes_max);
        self.seed = frame::seed(&self.journal.incarnation, segment.number);
        self.segment = segment;
        self.direct = direct;
        self.at = HEADER_BLOCK;
    }
}

impl Shared {
    /// Shows durable frames to readers and forgets the oldest beyond the memory limit.
    fn publish(&mut self, frames: Vec<Recent>, durable: u64) {
        for recent in frames {
            self.tail_bytes += recent.memory_bytes();
            self.tail.push_back(recent);
        }
        self.durable = durable;
        while self.tail_bytes > self.tail_bytes_max {
            self.forget_oldest();
        }
    }

    pub(super) fn forget_oldest(&mut self) {
        if let Some(oldest) = self.tail.pop_front() {
            self.tail_bytes -= oldest.memory_bytes();
        }
    }
}
