//! The one writer of a journal: lays queued batches side by side, writes once, syncs once, then publishes them.

use super::frame;
use super::frontier::KnownEnd;
use super::segment::{HEADER_BLOCK, Segment};
use super::{Journal, JournalState, Recent, SegmentPlace};
use crate::error::{Error, Kind, Result};
use crate::fs::{DIRECT_ALIGN, File};
use crate::record::{EntryPoint, Frame, Records};
use crate::sabotage;
use std::sync::Arc;

/// A batch on its way into the journal.
#[derive(Debug)]
pub struct Put {
    pub arrival_ms: u64,
    pub entry: EntryPoint,
    pub batch: Records,
}

/// The one writer of a journal. Not shared: whoever holds it is the committer.
pub struct Writer {
    pub(super) journal: Arc<Journal>,
    /// Made when there is something to write.
    pub(super) active: Option<Active>,
    /// The next segment's number.
    pub(super) number: u64,
    pub(super) next: u64,
    /// Records accepted so far.
    pub(super) accepted: u64,
    pub(super) buffer: Vec<u8>,
    /// Where the commit begins in the buffer, so that its address is aligned.
    pub(super) start: usize,
    pub(super) poison: Option<Error>,
}

/// The segment that is written to.
pub(super) struct Active {
    number: u64,
    size: u64,
    file: Arc<dyn File>,
    seed: u32,
    /// Where the next frame goes.
    at: u64,
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
        if self.active.as_ref().is_none_or(|active| active.at + bytes > active.size) {
            self.roll(HEADER_BLOCK + bytes)?;
        }
        let Some(Active { number, seed, at, .. }) = self.active else { unreachable!("just rolled") };
        let durable = self.next;
        let mut next = self.next;
        let mut frames = Vec::with_capacity(puts.len());
        self.begin(bytes as usize);
        for put in puts {
            let Put { arrival_ms, entry, batch } = put;
            let frame = Frame { first: next, arrival_ms, entry, batch: Arc::new(batch), origins: Vec::new() };
            frame::encode(&mut self.buffer, seed, &frame, durable);
            next = frame.end();
            let behind = at + (self.buffer.len() - self.start) as u64;
            frames.push(Recent { frame: Arc::new(frame), behind: (number, behind) });
        }
        self.buffer.resize(self.start + bytes as usize, 0);
        self.write()?;
        let firsts = frames.iter().map(|r| r.frame.first).collect();
        self.accepted += next - self.next;
        self.next = next;
        let known = KnownEnd { durable: next, accepted: self.accepted };
        self.journal.note(known);
        let needs_spare = self.active.as_mut().is_some_and(|active| {
            active.at += bytes;
            2 * active.at > active.size
        });
        self.journal.shared().publish(frames, known, needs_spare);
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
        let Some(Active { file, at, .. }) = &self.active else { unreachable!("it has been rolled to") };
        let bytes = &self.buffer[self.start..];
        sabotage::point("journal.filled");
        let mut done = match sabotage::on("no_sync") || sabotage::on("read_past_durable") {
            true => file.write_all_at(bytes, *at),
            false => file.write_synced_at(bytes, *at),
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
        let (first, previous_end) = (self.next, self.next);
        let place = SegmentPlace { number: self.number, first, previous_end, records_before: self.accepted };
        let opened = loop {
            match self.journal.new_segment(place, size) {
                Err(e) if e.kind == Kind::NoSpace && size > needed => {
                    size = (size / 2).next_multiple_of(HEADER_BLOCK).max(needed);
                    self.journal.shared().next_size = size;
                }
                // Spares too small for this commit are room for a segment that is not.
                Err(e) if e.kind == Kind::NoSpace && matches!(self.journal.remove_spares_below(needed), Ok(true)) => {}
                opened => break opened,
            }
        };
        let segment = opened.inspect_err(|e| {
            if e.kind == Kind::Poisoned {
                self.poison = Some(e.clone());
            }
        })?;
        let direct = self.journal.open_direct(segment.number);
        self.enter(segment, size, direct);
        Ok(())
    }

    /// `size`: what was asked for; a spare may be larger. `direct`: the segment's file, opened for direct writes where the file
    /// system has them.
    fn enter(&mut self, segment: Segment, size: u64, direct: Option<Arc<dyn File>>) {
        let seed = frame::seed(&self.journal.incarnation, segment.number);
        let file = direct.unwrap_or_else(|| segment.file.clone());
        self.active = Some(Active { number: segment.number, size: segment.size, file, seed, at: HEADER_BLOCK });
        self.number = segment.number + 1;
        self.journal.complete_note();
        let mut shared = self.journal.shared();
        // A commit may have needed a larger segment than was due: those that follow are likely to need it, too.
        shared.next_size = size.max(2 * shared.next_size).min(self.journal.limits.segment_bytes_max);
        shared.segments.push_back(segment);
        shared.needs_spare = false;
    }
}

impl JournalState {
    /// Shows durable frames to readers and forgets the oldest beyond the memory limit.
    fn publish(&mut self, frames: Vec<Recent>, known: KnownEnd, needs_spare: bool) {
        for recent in frames {
            self.tail_bytes += recent.memory_bytes();
            self.tail.push_back(recent);
        }
        (self.durable, self.accepted) = (known.durable, known.accepted);
        self.needs_spare |= needs_spare;
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
