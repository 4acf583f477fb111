//! Opening a journal after whatever happened.
//!
//! Nothing is appended to what was found. The last segment's tail is cut where true frames stop; what follows the
//! last recorded durable offset (it may have been acknowledged, and it may sit in the page cache only) is written and
//! synced into a new segment before any reader or put sees it. That segment gets its name last, so that recovery can
//! itself be cut anywhere and be run again.

use super::frame;
use super::segment::{self, HEADER_BLOCK, Segment};
use super::{Budget, Journal, Limits, Place, Room, Shared, Writer};
use crate::error::{Error, Result};
use crate::fs::Fs;
use crate::record::Frame;
use crate::sabotage;
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What opening found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Records after the last recorded durable offset, now durable.
    pub records_rewritten: u64,
    /// Records that plans prove to have been durable and that are not there.
    pub records_lost: u64,
    /// Segments whose header was not true and was made again from their frames.
    pub headers_rebuilt: Vec<String>,
    /// Files that could not be read as segments and were set aside.
    pub set_aside: Vec<String>,
}

impl Recovered {
    /// Whether the medium did not keep what was written.
    pub fn is_damaged(&self) -> bool {
        self.records_lost > 0 || !self.headers_rebuilt.is_empty() || !self.set_aside.is_empty()
    }
}

/// The readable part of the last segment.
#[derive(Default)]
struct Tail {
    /// Frames that start at or above `durable`, contiguous.
    frames: Vec<Frame>,
    /// The highest offset known to have been durable.
    durable: u64,
}

impl Journal {
    /// Opens or creates the journal in `dir` (which exists). `floor` is the lowest offset a new record may get: every
    /// `low` of the lane and one above the highest offset in the plan log.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        incarnation: [u8; 16],
        limits: Limits,
        budget: Arc<Budget>,
        floor: u64,
    ) -> Result<(Arc<Journal>, Writer, Recovered)> {
        let mut recovered = Recovered::default();
        let segments = find_segments(&*fs, dir, &incarnation, Some(&mut recovered))?;
        let budget = Budget::new("journal", u64::MAX, Some(budget));
        budget.found(segments.iter().map(|s| s.size).sum());
        let (next_size, tail_bytes_max) = (limits.segment_bytes_min, limits.tail_bytes_max);
        let journal = Arc::new(Journal {
            fs,
            dir: dir.to_path_buf(),
            incarnation,
            limits,
            budget,
            shared: Mutex::new(Shared {
                segments: segments.into(),
                tail: VecDeque::new(),
                tail_bytes: 0,
                tail_bytes_max,
                durable: 0,
                spares: Vec::new(),
                spare_number: 0,
                next_size,
                damaged: BTreeSet::new(),
            }),
        });
        let writer = journal.clone().start_writer(floor, &mut recovered)?;
        Ok((journal, writer, recovered))
    }

    fn start_writer(self: Arc<Self>, floor: u64, recovered: &mut Recovered) -> Result<Writer> {
        let last = self.shared().segments.back().cloned();
        let (number, mut records, mut end, frames) = match &last {
            None => (0, 0, 0, Vec::new()),
            Some(last) => {
                let tail = read_tail(last, &self.incarnation)?;
                (last.number + 1, last.records_before + (tail.durable - last.first), tail.durable, tail.frames)
            }
        };
        let mut segment = None;
        let mut number = number;
        if let Some(newest) = frames.last() {
            recovered.records_rewritten = newest.end() - end;
            segment = Some(self.rewrite(number, end, records, &frames)?);
            records += newest.end() - end;
            end = newest.end();
            number += 1;
        }
        // Plans list only what was durable, so that a floor above the end proves records that are gone. They stay
        // between the segments, where readers find them lost.
        let lost = floor.saturating_sub(end);
        recovered.records_lost = lost;
        records += lost;
        // An empty tail needs a segment of its own, and so does a jump over offsets that must not be given again.
        let segment = match segment {
            Some(segment) if floor <= end => segment,
            earlier => {
                self.shared().segments.extend(earlier);
                let size = self.limits.segment_bytes_min;
                let place = Place { number, first: end + lost, previous_end: end + lost, records_before: records };
                self.new_segment(place, size, Room::Counted)?
            }
        };
        let (seed, first) = (frame::seed(&self.incarnation, segment.number), segment.first);
        let at = HEADER_BLOCK + if first == end { 0 } else { self.frames_bytes(&frames, &segment) };
        let next = end + lost;
        let mut shared = self.shared();
        shared.segments.push_back(segment.clone());
        shared.durable = next;
        shared.next_size = (shared.next_size * 2).min(self.limits.segment_bytes_max);
        drop(shared);
        let direct = self.open_direct(segment.number)?;
        Ok(Writer { journal: self, segment, direct, seed, at, next, buffer: Vec::new(), start: 0, poison: None })
    }

    /// Bytes the rewritten frames take in `segment`; 0 if they went into another one.
    fn frames_bytes(&self, frames: &[Frame], segment: &Segment) -> u64 {
        let ours = frames.first().is_some_and(|f| f.first == segment.first);
        let bytes = |f: &Frame| frame::frame_bytes(f.batch.len() as u64, f.batch.bytes().len() as u64);
        if ours { frames.iter().map(bytes).sum::<u64>().next_multiple_of(HEADER_BLOCK) } else { 0 }
    }

    fn rewrite(&self, number: u64, first: u64, records: u64, frames: &[Frame]) -> Result<Segment> {
        let seed = frame::seed(&self.incarnation, number);
        let mut bytes = Vec::new();
        for f in frames {
            frame::encode(&mut bytes, seed, f, first);
        }
        bytes.resize(bytes.len().next_multiple_of(HEADER_BLOCK as usize), 0);
        let size = (HEADER_BLOCK + bytes.len() as u64).max(self.limits.segment_bytes_min);
        let place = Place { number, first, previous_end: first, records_before: records };
        let (path, segment) = self.unnamed_segment(place, size, Room::Counted)?;
        let mut written = segment.file.write_all_at(&bytes, HEADER_BLOCK);
        if written.is_ok() && !sabotage::on("tail_unsynced") {
            written = segment.file.sync();
        }
        written.map_err(|e| self.poisoned("rewrite the tail", e))?;
        sabotage::point("recover.rewritten");
        self.name_segment(&path, &segment)?;
        Ok(segment)
    }
}

/// Reads the last segment to where true frames stop. Damage before the last recorded durable offset does not stop
/// it: readers will report it with its offsets.
fn read_tail(segment: &Segment, incarnation: &[u8; 16]) -> Result<Tail> {
    let seed = frame::seed(incarnation, segment.number);
    let io = |e| Error::io(format!("read the tail of segment {}", segment.number), e);
    let mut tail = Tail { frames: Vec::new(), durable: segment.first };
    let (mut at, mut expected) = (HEADER_BLOCK, segment.first);
    loop {
        while let Some((f, durable, behind)) = segment.frame_at(seed, at).map_err(io)? {
            if f.first != expected {
                break;
            }
            tail.durable = tail.durable.max(durable);
            (at, expected) = (behind, f.end());
            tail.frames.push(f);
        }
        // A later frame that was written when more was durable than what is readable here proves damage below it. So
        // does the expected one that stands further on, as in a segment that was rebuilt without its first frame.
        match segment.find_frame(seed, at, expected).map_err(io)? {
            Some((f, durable, byte)) if durable > expected || f.first == expected => {
                (at, expected) = (byte, f.first);
                tail.durable = tail.durable.max(durable);
            }
            _ => break,
        }
    }
    let durable = tail.durable;
    tail.frames.retain(|f| f.first >= durable);
    Ok(tail)
}

/// All named segments, oldest first. With `recovered`, spares of an earlier life are removed and files that are not
/// segments are set aside; without, nothing is touched.
fn find_segments(
    fs: &dyn Fs,
    dir: &Path,
    incarnation: &[u8; 16],
    mut recovered: Option<&mut Recovered>,
) -> Result<Vec<Segment>> {
    let act = || format!("open journal `{}`", dir.display());
    let (mut segments, mut damaged): (Vec<Segment>, _) = (Vec::new(), Vec::new());
    for name in fs.list(dir).map_err(|e| Error::io(act(), e))? {
        let path: PathBuf = dir.join(&name);
        if name.ends_with(".spare") && recovered.is_some() {
            fs.remove(&path).map_err(|e| Error::io(act(), e))?;
        }
        let Some(number) = segment::number_of(&name) else { continue };
        match Segment::open(fs, &path, incarnation).map_err(|e| e.during(act()))? {
            Some(segment) if segment.number == number => segments.push(segment),
            _ => damaged.push((number, name, path)),
        }
    }
    for (number, name, path) in damaged {
        match rebuild(fs, &path, incarnation, number, &segments).map_err(|e| e.during(act()))? {
            Some(segment) => {
                segments.push(segment);
                segments.sort_by_key(|s| s.number);
                recovered.iter_mut().for_each(|r| r.headers_rebuilt.push(name.clone()));
            }
            None if recovered.is_none() => {}
            None => {
                fs.rename(&path, &path.with_extension("damaged")).map_err(|e| Error::io(act(), e))?;
                recovered.iter_mut().for_each(|r| r.set_aside.push(name.clone()));
            }
        }
    }
    Ok(segments)
}

/// A segment whose header is damaged, from its frames, which need nothing of it to be true. `None` if it has none.
fn rebuild(
    fs: &dyn Fs,
    path: &Path,
    incarnation: &[u8; 16],
    number: u64,
    others: &[Segment],
) -> Result<Option<Segment>> {
    let io = |e| Error::io(format!("read segment `{}`", path.display()), e);
    let file = fs.open(path).map_err(io)?;
    let size = file.size().map_err(io)?;
    let mut segment = Segment { number, first: 0, previous_end: 0, records_before: 0, size, file };
    let seed = frame::seed(incarnation, number);
    let Some((frame, ..)) = segment.find_frame(seed, HEADER_BLOCK, 0).map_err(io)? else { return Ok(None) };
    let first = frame.first;
    let before = others.iter().filter(|s| s.number < number).max_by_key(|s| s.number);
    let behind = others.iter().filter(|s| s.number > number).min_by_key(|s| s.number);
    segment.records_before = match (before, behind) {
        (Some(before), _) => before.records_before + (first - before.first),
        (_, Some(behind)) => behind.records_before - (behind.previous_end - first),
        _ => first,
    };
    (segment.first, segment.previous_end) = (first, first);
    Ok(Some(segment))
}

/// What a journal holds, read without changing anything: for audits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Records ever accepted in this incarnation.
    pub accepted: u64,
    /// One above the last durable record's offset.
    pub end: u64,
    /// Offsets at or above the oldest segment that were never given to a record.
    pub skipped: Vec<(u64, u64)>,
}

/// Surveys the journal in `dir`.
pub fn survey(fs: &dyn Fs, dir: &Path, incarnation: &[u8; 16]) -> Result<Survey> {
    let segments = find_segments(fs, dir, incarnation, None)?;
    let Some(last) = segments.last() else { return Ok(Survey::default()) };
    let tail = read_tail(last, incarnation)?;
    let end = tail.frames.last().map_or(tail.durable, Frame::end).max(tail.durable);
    let skipped = segments.iter().skip(1).filter(|s| s.first > s.previous_end).map(|s| (s.previous_end, s.first));
    Ok(Survey { accepted: last.records_before + (end - last.first), end, skipped: skipped.collect() })
}
