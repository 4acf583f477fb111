//! The on-disk log of records put directly: one directory per stream, append-only, replayable by offset.
//!
//! Promised: an offset returned by [`Writer::commit`] is durable; readers never see an offset that is not; what a
//! reader has seen is found again after any crash; offsets are never reused. Not promised: order between clients.
//!
//! A commit is one write and one sync, whatever number of batches it takes. Segments are files of already written
//! blocks, made when there is something to write and recycled when the lane is trimmed. Recovery never appends to what it
//! found, and needs no room: see [`recover`]. What was durable is known beside the segments too: see [`frontier`].

mod budget;
mod committer;
pub mod frame;
mod frontier;
mod reader;
mod recover;
pub mod segment;
mod survey;
mod writer;

pub use budget::Budget;
pub use committer::Committer;
pub use frontier::missing_note;
pub use recover::Recovered;
pub use survey::{Survey, survey};
pub use writer::{Put, Writer};

use crate::error::{Error, Kind, Result};
use crate::fs::{File, Fs};
use crate::lane::{Cursor, Lane, Read};
use crate::record::Frame;
use frontier::Frontier;
use segment::Segment;
use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

/// Sizes of a journal's parts, in bytes.
#[derive(Clone, Debug)]
pub struct JournalLimits {
    /// Size of the first segment of a life; each next one is twice as large.
    pub segment_bytes_min: u64,
    pub segment_bytes_max: u64,
    /// Durable frames kept in memory for readers that are behind, until [`Journal::trim_tail`] says otherwise.
    pub tail_bytes_max: usize,
}

impl Default for JournalLimits {
    fn default() -> Self {
        JournalLimits { segment_bytes_min: 64 << 10, segment_bytes_max: 64 << 20, tail_bytes_max: 32 << 20 }
    }
}

/// Spare segments that are kept: enough for a burst of recycling between two rolls.
const SPARES_MAX: usize = 3;

/// Where a segment stands in the lane; see [`Segment`].
#[derive(Clone, Copy)]
struct SegmentPlace {
    number: u64,
    first: u64,
    previous_end: u64,
    records_before: u64,
}

/// A written file without a name among the segments, and its size.
type Spare = (PathBuf, u64, Arc<dyn File>);

/// The shared half of a journal: what readers, trimming and metrics need. The [`Writer`] is the other half.
pub struct Journal {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    incarnation: [u8; 16],
    limits: JournalLimits,
    /// Its own, below the stream's: what it took goes back with it, however it ends.
    budget: Arc<Budget>,
    shared: Mutex<JournalState>,
    /// Where what is durable is noted, while that is in use.
    frontier: Mutex<Option<Frontier>>,
}

/// A durable frame kept in memory.
struct Recent {
    frame: Arc<Frame>,
    /// Segment number and byte where the next frame starts.
    behind: (u64, u64),
}

impl Recent {
    fn memory_bytes(&self) -> usize {
        self.frame.batch.bytes().len() + size_of::<u32>() * self.frame.batch.len()
    }
}

struct JournalState {
    /// Oldest first. The writer writes to the last one, if it has written in this life.
    segments: VecDeque<Segment>,
    /// The newest durable frames, contiguous, oldest first.
    tail: VecDeque<Recent>,
    tail_bytes: usize,
    tail_bytes_max: usize,
    durable: u64,
    /// Records ever accepted in this incarnation.
    accepted: u64,
    /// The segment that is written to is half full: another one will be needed soon.
    needs_spare: bool,
    spares: Vec<Spare>,
    spare_number: u64,
    next_size: u64,
    /// Segments in which a reader found damage: kept aside, never reused.
    damaged: BTreeSet<u64>,
}

impl JournalState {
    /// That of a journal with these segments, of which nothing else is known yet.
    fn of(segments: Vec<Segment>) -> JournalState {
        JournalState {
            segments: segments.into(),
            tail: VecDeque::new(),
            tail_bytes: 0,
            tail_bytes_max: 0,
            durable: 0,
            accepted: 0,
            needs_spare: false,
            spares: Vec::new(),
            spare_number: 0,
            next_size: 0,
            damaged: BTreeSet::new(),
        }
    }
}

impl Lane for Journal {
    fn read(&self, cursor: &mut Cursor) -> Result<Read> {
        self.read_frame(cursor)
    }

    /// Gives up the memory of frames below `offset`, which every reader has passed, and of the oldest others above
    /// `bytes_max`, from now on. The bytes that are left.
    fn trim_tail(&self, offset: u64, bytes_max: usize) -> usize {
        let mut shared = self.shared();
        shared.tail_bytes_max = bytes_max;
        while shared.tail_bytes > bytes_max || shared.tail.front().is_some_and(|r| r.frame.end() <= offset) {
            shared.forget_oldest();
        }
        shared.tail_bytes
    }

    /// One above the last durable record's offset.
    fn durable(&self) -> u64 {
        self.shared().durable
    }

    /// Records ever accepted in this incarnation.
    fn accepted(&self) -> u64 {
        self.shared().accepted
    }

    /// Records with offsets in `from..durable`: their number is not the difference where offsets were skipped.
    fn records_from(&self, from: u64) -> u64 {
        let shared = self.shared();
        let from = from.max(shared.segments.front().map_or(0, |oldest| oldest.first));
        let skipped: u64 = shared
            .segments
            .iter()
            .skip(1)
            .map(|s| s.first.max(from) - s.previous_end.clamp(from, s.first.max(from)))
            .sum();
        shared.durable.saturating_sub(from) - skipped.min(shared.durable.saturating_sub(from))
    }

    /// Bytes this journal occupies on disk.
    fn rest(&self) {
        self.let_go_of_note();
    }

    fn disk_bytes(&self) -> u64 {
        let shared = self.shared();
        shared.segments.iter().map(|s| s.size).sum::<u64>() + shared.spares.iter().map(|s| s.1).sum::<u64>()
    }

    /// Gives back every segment whose records all lie below `low`. Call only when `low` is durable: nothing below it
    /// can be read again.
    fn recycle(&self, low: u64) -> Result<u64> {
        let mut recycled = 0;
        loop {
            let (segment, keep, number) = {
                let mut shared = self.shared();
                match shared.segments.get(1) {
                    Some(next) if next.first <= low || next.previous_end <= low => {}
                    _ => return Ok(recycled),
                }
                let segment = shared.segments.pop_front().expect("there are two");
                shared.spare_number += 1;
                // Smaller ones than the next segment should be would fill the pool for ever. One is better than none: a
                // disk that others fill leaves no room for a larger one.
                let is_large = |size: u64| size >= shared.next_size;
                let large = shared.spares.iter().filter(|s| is_large(s.1)).count();
                let keep = if is_large(segment.size) { large < SPARES_MAX } else { shared.spares.is_empty() };
                (segment, keep, shared.spare_number)
            };
            recycled += 1;
            self.retire(segment, keep, number)?;
        }
    }

    fn give_back(&self) -> Result<bool> {
        self.remove_spares_below(u64::MAX)
    }

    /// Writes a spare segment ahead of need, so that a commit does not wait for it. Called off the commit path.
    fn prepare_spare(&self) -> Result<()> {
        let (size, number, has_one) = {
            let mut shared = self.shared();
            if !shared.needs_spare {
                return Ok(());
            }
            shared.spare_number += 1;
            let size = shared.next_size;
            (size, shared.spare_number, shared.spares.iter().any(|s| s.1 >= size))
        };
        if !has_one {
            let spare = self.write_spare(size, number)?;
            self.shared().spares.push(spare);
        }
        // Only now: without room for a larger one the smaller ones are what there is.
        self.remove_spares_below(size)?;
        Ok(())
    }
}

impl Journal {
    fn shared(&self) -> MutexGuard<'_, JournalState> {
        self.shared.lock().expect("no holder of the journal's state panics")
    }

    /// The lowest offset still held.
    pub fn start(&self) -> u64 {
        let shared = self.shared();
        shared.segments.front().map_or(shared.durable, |oldest| oldest.first)
    }

    fn retire(&self, segment: Segment, keep: bool, number: u64) -> Result<()> {
        let path = self.dir.join(segment::file_name(segment.number));
        let act = format!("recycle segment `{}`", path.display());
        let io = |e| Error::io(&act, e);
        if self.shared().damaged.contains(&segment.number) {
            self.fs.rename(&path, &path.with_extension("damaged")).map_err(io)?;
            return self.fs.sync_dir(&self.dir).map_err(io);
        }
        if !keep {
            self.fs.remove(&path).map_err(io)?;
            self.budget.give_back(segment.size);
            return Ok(());
        }
        let spare = self.dir.join(format!("{number:012}.spare"));
        self.fs.rename(&path, &spare).map_err(io)?;
        // The new name is durable before the file can be written again: a power cut never shows the old name over
        // new contents.
        if let Err(e) = self.fs.sync_dir(&self.dir) {
            self.fs.rename(&spare, &path).map_err(io)?;
            self.shared().segments.push_front(segment);
            return Err(io(e));
        }
        let size = segment.size;
        let next_size = {
            let mut shared = self.shared();
            shared.spares.push((spare, size, segment.file));
            shared.next_size
        };
        // The small one that was better than none is not any more.
        if size >= next_size {
            self.remove_spares_below(next_size)?;
        }
        Ok(())
    }

    /// Removes the spares that are smaller than `size` bytes. Whether there were any.
    fn remove_spares_below(&self, size: u64) -> Result<bool> {
        let outgrown: Vec<Spare> = self.shared().spares.extract_if(.., |s| s.1 < size).collect();
        for (path, size, _) in &outgrown {
            self.fs.remove(path).map_err(|e| Error::io(format!("remove spare `{}`", path.display()), e))?;
            self.budget.give_back(*size);
        }
        Ok(!outgrown.is_empty())
    }

    fn write_spare(&self, size: u64, number: u64) -> Result<Spare> {
        self.budget.take(size)?;
        let path = self.dir.join(format!("{number:012}.spare"));
        match segment::write_spare(&*self.fs, &path, size) {
            Ok(file) => Ok((path, size, file)),
            Err(e) => {
                self.budget.give_back(size);
                Err(e)
            }
        }
    }

    /// A spare of at least `size` bytes, from the pool or written now.
    fn take_spare(&self, size: u64) -> Result<Spare> {
        let number = {
            let mut shared = self.shared();
            if let Some(i) = shared.spares.iter().position(|s| s.1 >= size) {
                return Ok(shared.spares.swap_remove(i));
            }
            shared.spare_number += 1;
            shared.spare_number
        };
        self.write_spare(size, number)
    }

    /// Opens a new segment; its name is durable when this returns.
    fn new_segment(&self, place: SegmentPlace, size: u64) -> Result<Segment> {
        let (spare, size, file) = self.take_spare(size)?;
        let SegmentPlace { number, first, previous_end, records_before } = place;
        let segment = Segment { number, first, previous_end, records_before, size, file };
        segment.write_header(&self.incarnation).map_err(|e| self.poisoned("write a segment's header", e))?;
        let path = self.dir.join(segment::file_name(segment.number));
        self.fs.rename(&spare, &path).map_err(|e| self.poisoned("name a segment", e))?;
        if let Err(e) = self.fs.sync_dir(&self.dir) {
            let shortage = Error::io(format!("name a segment in `{}`", self.dir.display()), e);
            if shortage.kind != Kind::Retry {
                return Err(Error::new(Kind::Poisoned, shortage.to_string()));
            }
            // Nothing was synced for want of a descriptor: it is a spare again.
            self.fs.rename(&path, &spare).map_err(|e| self.poisoned("take a segment's name back", e))?;
            self.shared().spares.push((spare, size, segment.file));
            return Err(shortage);
        }
        Ok(segment)
    }

    /// The segment's file for writes past the page cache: what is written is read again soon only from the tail in
    /// memory, and copying it into cache pages costs as much as compressing it.
    fn open_direct(&self, number: u64) -> Option<Arc<dyn File>> {
        // Where it cannot be opened so, for want of a descriptor for instance, the one that it has does.
        self.fs.open_direct(&self.dir.join(segment::file_name(number))).ok().flatten()
    }

    fn poisoned(&self, act: &str, e: std::io::Error) -> Error {
        Error::new(Kind::Poisoned, format!("{act} in `{}`: {e}", self.dir.display()))
    }
}
