//! The plan log of a lane: every commit is one checksummed frame, synced before anything is done because of it.
//!
//! Three files of already written blocks (the reserve) take turns. A file holds a header, a snapshot frame and the
//! commits since; when one is full, the next file gets a snapshot. Recovery takes the highest generation whose snapshot
//! is whole and, before anything is sent or skipped because of it, writes what it found into another file and syncs
//! that: what was found may sit in the page cache only. It never overwrites what it read nor the generation before,
//! which may be the only one that is durable.
//!
//! ```text
//! file   0  8  magic "HYDRPLAN"      frame  0  4  payload length
//!        8  4  version                      4  4  CRC32C, seeded by (incarnation, generation)
//!        12 4  CRC32C of 16..40             8     number of entries (varint), entries (see `plan::Entry`)
//!        16 16 incarnation                        padded to 8
//!        32 8  generation
//!        64    snapshot frame, then commits
//! ```

use super::codec::{Reader, put_varint};
use super::plan::{Entry, State};
use crate::error::{Error, Kind, Result};
use crate::fs::{File, Fs, read_file};
use crate::journal::frame::seed;
use crate::journal::segment::fill;
use crate::sabotage;
use std::path::Path;
use std::sync::Arc;

pub const MAGIC: [u8; 8] = *b"HYDRPLAN";
pub const VERSION: u32 = 1;
const FIRST_FRAME: u64 = 64;
const FRAME_HEADER: usize = 8;
const FILES: usize = 3;

/// See the module.
pub struct PlanLog {
    incarnation: [u8; 16],
    files: [Slot; FILES],
    current: usize,
    generation: u64,
    at: u64,
    state: State,
    ledger_mark: u64,
    /// The reserve could not grow as far as it should: nothing new may be begun, what was begun is still planned.
    starved: bool,
    poison: Option<Error>,
}

struct Slot {
    file: Arc<dyn File>,
    /// Bytes already written, so that overwriting them needs no room.
    written: u64,
    /// The generation whose snapshot stands whole in the file.
    generation: Option<u64>,
}

/// One file as recovery finds it.
struct Found {
    generation: u64,
    state: State,
}

impl PlanLog {
    /// Opens or creates the log in `dir` with a reserve of at least `reserve` bytes per file.
    pub fn open(fs: &dyn Fs, dir: &Path, incarnation: [u8; 16], reserve: u64) -> Result<PlanLog> {
        let act = || format!("open plan log in `{}`", dir.display());
        let mut files = Vec::new();
        let mut best: Option<(usize, Found)> = None;
        let mut highest = 0;
        for i in 0..FILES {
            let (slot, found) = open_file(fs, dir, i, &incarnation, reserve).map_err(|e| e.during(act()))?;
            if let Some((generation, _)) = &found {
                highest = highest.max(*generation);
            }
            let whole = found.and_then(|(generation, state)| Some(Found { generation, state: state? }));
            if let Some(found) = whole
                && best.as_ref().is_none_or(|(_, b)| found.generation > b.generation)
            {
                best = Some((i, found));
            }
            files.push(slot);
        }
        fs.sync_dir(dir).map_err(|e| Error::io(act(), e))?;
        let (current, state) = best.map_or((0, State::default()), |(i, found)| (i, found.state));
        let mut log = PlanLog {
            incarnation,
            files: files.try_into().unwrap_or_else(|_| unreachable!("there are exactly {FILES}")),
            current,
            generation: highest,
            at: 0,
            state,
            ledger_mark: 0,
            starved: false,
            poison: None,
        };
        if sabotage::on("plan_log_used_as_found") && log.files[current].generation.is_some() {
            log.at = u64::MAX / 2;
            return Ok(log);
        }
        log.rewrite(&[]).map_err(|e| e.during(act()))?;
        Ok(log)
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// Makes all of `entries` durable together, then applies them; or none of them. Blocks for a write and a sync.
    ///
    /// Errors: `NoSpace` (nothing was changed; a later call may succeed), `Poisoned` (what is on disk is unknown).
    pub fn commit(&mut self, entries: Vec<Entry>) -> Result<()> {
        if let Some(poison) = &self.poison {
            return Err(poison.clone());
        }
        if entries.is_empty() {
            return Ok(());
        }
        let bytes = encode_frame(&entries, seed(&self.incarnation, self.generation));
        let slot = &self.files[self.current];
        if self.at + bytes.len() as u64 > slot.written {
            return self.rewrite(&entries);
        }
        let mut done = slot.file.write_all_at(&bytes, self.at);
        if done.is_ok() && !sabotage::on("plan_not_synced") {
            done = slot.file.sync();
        }
        done.map_err(|e| self.poisoned("write and sync a commit", e))?;
        self.at += bytes.len() as u64;
        entries.into_iter().for_each(|e| self.state.apply(e));
        Ok(())
    }

    /// A wrong build's way of changing the state: durable with the next snapshot, if ever.
    pub fn apply_in_memory(&mut self, entries: Vec<Entry>) {
        entries.into_iter().for_each(|e| self.state.apply(e));
    }

    /// Lines up to this mark are durable in the ledger: their plans may go.
    pub fn ledger_is_durable_to(&mut self, mark: u64) {
        self.ledger_mark = mark;
        self.state.forget_settled(mark);
    }

    /// The last mark whose ledger line is durable.
    pub fn ledger_mark(&self) -> u64 {
        self.ledger_mark
    }

    /// Whether the reserve is at its low mark.
    pub fn is_starved(&self) -> bool {
        self.starved
    }

    fn poisoned(&mut self, act: &str, e: std::io::Error) -> Error {
        let error = Error::new(Kind::Poisoned, format!("plan log: {act}: {e}"));
        self.poison = Some(error.clone());
        error
    }

    /// Writes the state and `entries` as a snapshot into the file that can best be spared.
    fn rewrite(&mut self, entries: &[Entry]) -> Result<()> {
        let mut state = self.state.clone();
        entries.iter().cloned().for_each(|e| state.apply(e));
        state.forget_settled(self.ledger_mark);
        let generation = self.generation + 1;
        let target = self.spare_file();
        let snapshot = encode_frame(&state.snapshot(), seed(&self.incarnation, generation));
        let needed = FIRST_FRAME + snapshot.len() as u64;
        self.make_room(target, needed)?;
        let mut bytes = header(&self.incarnation, generation);
        bytes.extend_from_slice(&snapshot);
        self.files[target].generation = None;
        let file = &self.files[target].file;
        let done = file.write_all_at(&bytes, 0).and_then(|()| file.sync());
        done.map_err(|e| self.poisoned("write and sync a snapshot", e))?;
        self.files[target].generation = Some(generation);
        (self.current, self.generation, self.at) = (target, generation, needed);
        self.state = state;
        Ok(())
    }

    /// The file to overwrite: one without a whole snapshot, else the oldest; never the current one.
    fn spare_file(&self) -> usize {
        let others = (0..FILES).filter(|&i| i != self.current || self.files[i].generation.is_none());
        others.min_by_key(|&i| (self.files[i].generation, i == self.current)).expect("there are others")
    }

    /// Grows the reserve to twice what the snapshot needs, in the file it goes to and then in the others, which are next.
    /// If that cannot be had but the snapshot fits, the log goes on, starved.
    fn make_room(&mut self, target: usize, needed: u64) -> Result<()> {
        self.starved = false;
        for i in (0..FILES).map(|i| (target + i) % FILES) {
            let slot = &mut self.files[i];
            let wanted = (2 * needed).next_multiple_of(64 * 1024);
            if slot.written >= 2 * needed {
                continue;
            }
            match fill(&*slot.file, slot.written, wanted).and_then(|()| slot.file.sync()) {
                Ok(()) => slot.written = wanted,
                Err(e) => {
                    let error = Error::io("grow the plan log's reserve", e);
                    if error.kind != Kind::NoSpace || i == target && slot.written < needed {
                        return Err(error);
                    }
                    self.starved = true;
                }
            }
        }
        Ok(())
    }

    /// Asks again for the room that could not be had.
    pub fn retry_room(&mut self) -> Result<()> {
        let needed = FIRST_FRAME + encode_frame(&self.state.snapshot(), 0).len() as u64;
        if self.starved { self.make_room(self.current, needed) } else { Ok(()) }
    }
}

/// The state that the log in `dir` tells, read without changing anything: for audits.
pub fn read_state(fs: &dyn Fs, dir: &Path, incarnation: &[u8; 16]) -> Result<State> {
    let mut best: Option<(u64, State)> = None;
    for i in 0..FILES {
        let path = dir.join(format!("plans.{i}"));
        let name = || format!("file `{}`", path.display());
        let bytes = crate::fs::read(fs, &path).map_err(|e| Error::io(name(), e))?;
        if let Some((generation, Some(state))) = parse(&bytes, incarnation).map_err(|e| e.during(name()))?
            && best.as_ref().is_none_or(|(g, _)| generation > *g)
        {
            best = Some((generation, state));
        }
    }
    Ok(best.map(|(_, state)| state).unwrap_or_default())
}

fn header(incarnation: &[u8; 16], generation: u64) -> Vec<u8> {
    let mut rest = incarnation.to_vec();
    rest.extend_from_slice(&generation.to_le_bytes());
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&rest).to_le_bytes());
    bytes.extend_from_slice(&rest);
    bytes.resize(FIRST_FRAME as usize, 0);
    bytes
}

fn encode_frame(entries: &[Entry], seed: u32) -> Vec<u8> {
    let mut bytes = vec![0; FRAME_HEADER];
    push_entries(&mut bytes, entries);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let length = (bytes.len() - FRAME_HEADER) as u32;
    let crc = crc32c::crc32c_append(seed, &bytes[FRAME_HEADER..]);
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// Appends entries as [`entries_of`] reads them.
pub(super) fn push_entries(bytes: &mut Vec<u8>, entries: &[Entry]) {
    put_varint(bytes, entries.len() as u64);
    entries.iter().for_each(|e| e.encode(bytes));
}

/// The payload of the frame at the front of `bytes`, if a true one stands there.
fn frame_at(bytes: &[u8], seed: u32) -> Option<&[u8]> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().expect("four bytes")) as usize;
    let crc = u32::from_le_bytes(bytes.get(4..8)?.try_into().expect("four bytes"));
    let payload = bytes.get(FRAME_HEADER..FRAME_HEADER + length)?;
    (length > 0 && crc32c::crc32c_append(seed, payload) == crc).then_some(payload)
}

pub(super) fn entries_of(payload: &[u8]) -> Result<Vec<Entry>> {
    let mut reader = Reader(payload);
    let n = reader.varint()?;
    (0..n).map(|_| Entry::decode(&mut reader)).collect()
}

/// Opens or creates one of the files. Found: its generation, and its state if the snapshot is whole.
#[allow(clippy::type_complexity)]
fn open_file(
    fs: &dyn Fs,
    dir: &Path,
    i: usize,
    incarnation: &[u8; 16],
    reserve: u64,
) -> Result<(Slot, Option<(u64, Option<State>)>)> {
    let path = dir.join(format!("plans.{i}"));
    let name = || format!("file `{}`", path.display());
    let file = match fs.open(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => fs.create_new(&path),
        other => other,
    };
    let file = file.map_err(|e| Error::io(name(), e))?;
    let bytes = read_file(&*file).map_err(|e| Error::io(name(), e))?;
    let found = parse(&bytes, incarnation).map_err(|e| e.during(name()))?;
    let mut written = bytes.len() as u64;
    if written < reserve {
        fill(&*file, written, reserve).and_then(|()| file.sync()).map_err(|e| Error::io(name(), e))?;
        written = reserve;
    }
    let generation = found.as_ref().and_then(|(generation, state)| state.is_some().then_some(*generation));
    Ok((Slot { file, written, generation }, found))
}

/// Reads a file's bytes. `None`: no header, so the file was never used or is being made. An error: damage that recovery
/// must not guess about.
fn parse(bytes: &[u8], incarnation: &[u8; 16]) -> Result<Option<(u64, Option<State>)>> {
    if bytes.len() < FIRST_FRAME as usize || bytes[..8] != MAGIC {
        return Ok(None);
    }
    let version = u32::from_le_bytes(bytes[8..12].try_into().expect("four bytes"));
    let crc = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes"));
    if crc != crc32c::crc32c(&bytes[16..40]) {
        return Ok(None);
    }
    if version != VERSION {
        return Err(Error::new(Kind::Invalid, format!("format version {version}, expected {VERSION}")));
    }
    if bytes[16..32] != incarnation[..] {
        return Err(Error::new(Kind::Invalid, "it belongs to another journal (incarnation differs)"));
    }
    let generation = u64::from_le_bytes(bytes[32..40].try_into().expect("eight bytes"));
    let seed = seed(incarnation, generation);
    let mut at = FIRST_FRAME as usize;
    let Some(snapshot) = frame_at(&bytes[at..], seed) else { return Ok(Some((generation, None))) };
    let mut state = State::from_snapshot(entries_of(snapshot)?);
    at += FRAME_HEADER + snapshot.len();
    while let Some(payload) = frame_at(&bytes[at..], seed) {
        entries_of(payload)?.into_iter().for_each(|e| state.apply(e));
        at += FRAME_HEADER + payload.len();
    }
    // A commit is begun only after the one before it is synced, so a true frame behind a broken one proves damage.
    let mut later = (at + 8..bytes.len().saturating_sub(FRAME_HEADER)).step_by(8);
    match later.find(|&at| frame_at(&bytes[at..], seed).is_some()) {
        Some(later) => {
            let message = format!("the commit at {at} cannot be read, but a later one at {later} can");
            Err(Error::new(Kind::Corrupt, message))
        }
        None => Ok(Some((generation, Some(state)))),
    }
}
