//! Opening a journal after whatever happened.
//!
//! Nothing is appended to what was found: the next put begins a segment. The last segment's tail is cut where true frames
//! stop; what follows the last recorded durable offset (it may have been acknowledged, and it may sit in the page cache
//! only) is written again and synced, in place, before any reader or put sees it. So recovery takes no room, can be cut
//! anywhere and be run again, and a stream on a full disk opens, delivers, and makes room.

use super::frame;
use super::frontier::{Frontier, KnownEnd};
use super::segment::{self, HEADER_BLOCK, Segment};
use super::{Budget, Journal, JournalLimits, JournalState, SPARES_MAX, Spare, Writer};
use crate::error::{Error, Result};
use crate::fs::{Fs, read_full_at};
use crate::sabotage;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Records after the last recorded durable offset, now durable.
    pub records_rewritten: u64,
    /// Records that plans, or what is noted beside the journal, prove to have been durable and that are not there.
    pub records_lost: u64,
    /// Segments whose header was not true and was made again from their frames.
    pub headers_rebuilt: Vec<String>,
    /// Files that could not be read as segments and were set aside.
    pub set_aside: Vec<String>,
    /// Whether there was a note of what is durable.
    pub is_noted: bool,
    /// What of that note is damaged: a sentence each.
    pub note_damage: Vec<String>,
}

impl Recovered {
    /// What the medium did not keep of the journal in `dir`, a sentence each.
    pub fn damage(&self, dir: &Path) -> Vec<String> {
        let path = |name: &String| dir.join(name).display().to_string();
        let rebuilt = |name| format!("`{}` has a damaged header, and was read by its frames", path(name));
        let set_aside =
            |name| format!("`{}` holds no frame that can be read, and was set aside as `.damaged`", path(name));
        let lost = (self.records_lost > 0)
            .then(|| format!("`{}` ends {} records before what was acknowledged", dir.display(), self.records_lost));
        let files = self.headers_rebuilt.iter().map(rebuilt).chain(self.set_aside.iter().map(set_aside));
        files.chain(lost).chain(self.note_damage.iter().cloned()).collect()
    }
}

impl Journal {
    /// Opens or creates the journal in `dir` (which exists). `floor` is the lowest offset a new record may get: every
    /// `low` of the lane and one above the highest offset in the plan log.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        incarnation: [u8; 16],
        limits: JournalLimits,
        budget: Arc<Budget>,
        floor: u64,
    ) -> Result<(Arc<Journal>, Writer, Recovered)> {
        let mut recovered = Recovered::default();
        let segments = find_segments(&*fs, dir, &incarnation, Some(&mut recovered))?;
        let spares = find_spares(&*fs, dir)?;
        let budget = Budget::new("journal", u64::MAX, Some(budget));
        budget.found(segments.iter().map(|s| s.size).sum::<u64>() + spares.iter().map(|s| s.1).sum::<u64>());
        let (next_size, tail_bytes_max) = (limits.segment_bytes_min, limits.tail_bytes_max);
        let journal = Arc::new(Journal {
            fs,
            dir: dir.to_path_buf(),
            incarnation,
            limits,
            budget,
            frontier: Mutex::default(),
            shared: Mutex::new(JournalState {
                spare_number: spares.iter().filter_map(|s| segment::spare_number(&s.0)).max().unwrap_or(0),
                spares,
                next_size,
                tail_bytes_max,
                ..JournalState::of(segments)
            }),
        });
        let writer = journal.clone().start_writer(floor, &mut recovered)?;
        Ok((journal, writer, recovered))
    }

    fn start_writer(self: Arc<Self>, floor: u64, recovered: &mut Recovered) -> Result<Writer> {
        let (known, noted) = Frontier::read(&*self.fs, &self.dir, &self.incarnation)?;
        (recovered.is_noted, recovered.note_damage) = (noted.exists, noted.damage);
        let last = self.shared().segments.back().cloned();
        let (mut number, mut accepted, mut end) = (0, 0, 0);
        if let Some(last) = &last {
            let tail = read_tail(last, &self.incarnation)?;
            recovered.records_rewritten = tail.end - tail.durable;
            make_durable(last, &tail).map_err(|e| self.poisoned("write the tail again", e))?;
            (number, accepted, end) = (last.number + 1, last.records_before + (tail.end - last.first), tail.end);
        }
        // Plans list only what was durable, and so does what is noted beside the journal: where either is above the end,
        // records are gone. They stay between the segments, where readers find them lost.
        let next = end.max(floor).max(known.durable);
        recovered.records_lost = next - end;
        accepted += next - end;
        let mut shared = self.shared();
        (shared.durable, shared.accepted) = (next, accepted);
        drop(shared);
        // From here on there is a note, be it of a journal that holds nothing: one that is missed was lost.
        self.note(KnownEnd { durable: next, accepted });
        self.let_go_of_note();
        Ok(Writer { journal: self, active: None, number, next, accepted, buffer: Vec::new(), start: 0, poison: None })
    }
}

/// The readable part of the last segment.
pub(super) struct Tail {
    /// The highest offset that a frame says was durable when it was written.
    durable: u64,
    /// One above the last record.
    pub(super) end: u64,
    /// Where the frames from `durable` on stand, in bytes.
    undurable: Vec<(u64, u64)>,
}

/// Writes what follows the last recorded durable offset where it stands, and syncs it: it may have been acknowledged, and
/// may sit in the page cache only, looking clean after a sync that failed. Takes no room. Cut short, it leaves what was
/// there: the bytes are the same.
fn make_durable(segment: &Segment, tail: &Tail) -> std::io::Result<()> {
    for (from, to) in &tail.undurable {
        let mut bytes = vec![0; (to - from) as usize];
        read_full_at(&*segment.file, &mut bytes, *from)?;
        segment.file.write_all_at(&bytes, *from)?;
    }
    if !tail.undurable.is_empty() && !sabotage::on("tail_unsynced") {
        segment.file.sync()?;
    }
    sabotage::point("recover.rewritten");
    Ok(())
}

/// Reads the last segment to where true frames stop. Damage before the last recorded durable offset does not stop
/// it: readers will report it with its offsets.
pub(super) fn read_tail(segment: &Segment, incarnation: &[u8; 16]) -> Result<Tail> {
    let seed = frame::seed(incarnation, segment.number);
    let io = |e| Error::io(format!("read the tail of segment {}", segment.number), e);
    let (mut durable, mut frames) = (segment.first, Vec::new());
    let (mut at, mut expected) = (HEADER_BLOCK, segment.first);
    loop {
        while let Some((f, noted, behind)) = segment.frame_at(seed, at).map_err(io)? {
            if f.first != expected {
                break;
            }
            durable = durable.max(noted);
            frames.push((f.first, at, behind));
            (at, expected) = (behind, f.end());
        }
        // A later frame that was written when more was durable than what is readable here proves damage below it. So
        // does the expected one that stands further on, as in a segment that was rebuilt without its first frame.
        match segment.find_frame(seed, at, expected).map_err(io)? {
            Some((f, noted, byte)) if noted > expected || f.first == expected => {
                (at, expected) = (byte, f.first);
                durable = durable.max(noted);
            }
            _ => break,
        }
    }
    let undurable =
        frames.into_iter().filter(|(first, ..)| *first >= durable).map(|(_, from, to)| (from, to)).collect();
    Ok(Tail { durable, end: expected.max(durable), undurable })
}

/// Spares of an earlier life. One that was being made when the process died may have no blocks yet: it is synced.
fn find_spares(fs: &dyn Fs, dir: &Path) -> Result<Vec<Spare>> {
    let mut spares = Vec::new();
    for name in fs.list(dir).map_err(|e| Error::io(format!("list `{}`", dir.display()), e))? {
        let path = dir.join(name);
        let io = |e| Error::io(format!("open spare segment `{}`", path.display()), e);
        if segment::spare_number(&path).is_none() {
            continue;
        }
        let file = fs.open(&path).map_err(io)?;
        let size = file.size().map_err(io)? / HEADER_BLOCK * HEADER_BLOCK;
        match spares.len() < SPARES_MAX && size > HEADER_BLOCK && file.sync().is_ok() {
            true => spares.push((path, size, file)),
            false => fs.remove(&path).map_err(io)?,
        }
    }
    Ok(spares)
}

/// All named segments, oldest first. With `recovered`, files that are not segments are set aside; without, nothing is
/// touched.
pub(super) fn find_segments(
    fs: &dyn Fs,
    dir: &Path,
    incarnation: &[u8; 16],
    mut recovered: Option<&mut Recovered>,
) -> Result<Vec<Segment>> {
    let act = || format!("open journal `{}`", dir.display());
    let (mut segments, mut damaged): (Vec<Segment>, _) = (Vec::new(), Vec::new());
    let names = match fs.list(dir) {
        // What it held is known beside it.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        names => names.map_err(|e| Error::io(act(), e))?,
    };
    for name in names {
        let path: PathBuf = dir.join(&name);
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
