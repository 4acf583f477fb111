//! The plan log of a lane: every commit is one checksummed frame, synced before anything is done because of it.
//!
//! Three files of already written blocks (the reserve) take turns. A file holds a header, a snapshot frame and the
//! commits since; when one is full, the next file gets a snapshot. Recovery takes the highest generation and, before
//! anything is sent or skipped because of it, writes what it found into another file and syncs that: what was found may
//! sit in the page cache only. It never overwrites what it read nor the generation before, which may be the only one
//! that is durable.
//!
//! Each file has a copy, which gets the same bytes at the same places after they are synced, and is not synced itself:
//! what the medium takes from one of them stands in the other, and what stands in the copy was whole in its file. So a
//! damaged file costs nothing, and what stands in neither is never taken for something that was not written: see
//! [`recover`]. How far the log is durable is noted beside it, in `plans.frontier`: the generation, and where its last commit
//! ends in the file (see [`crate::fs::frontier`]). The files' format is in [`frame`].

mod frame;
pub mod recover;
mod reserve;
#[cfg(test)]
mod tests;

pub use frame::MAGIC;
pub(in crate::stream) use frame::entries_of;
pub(super) use frame::push_entries;

use crate::error::{Error, Kind, Result};
use crate::fs::frontier::{FrontierFile, Identity};
use crate::fs::{File, Fs};
use crate::journal::frame::seed;
use crate::sabotage;
use crate::stream::plan::Entry;
use crate::stream::plan::state::State;
use frame::{FIRST_FRAME, encode_frame, header};
use reserve::reserve_file;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const FILES: usize = 3;
/// A file that commits fill becomes twice as large the next time, up to this: fewer snapshots for who commits much.
const FILE_BYTES_GROWN: u64 = 1 << 20;

/// The plan log of one lane.
pub struct PlanLog {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    incarnation: [u8; 16],
    /// The least length of a file, in bytes.
    reserve: u64,
    /// All files have the length that they should: asked for with the first commit of a life.
    is_reserved: bool,
    slots: [FileSlot; FILES],
    current: usize,
    /// The current slot's file and its copy, while they are in use.
    open: Option<OpenFiles>,
    generation: u64,
    at: u64,
    state: State,
    ledger_mark: u64,
    /// The reserve could not grow as far as it should: nothing new may be begun, what was begun is still planned.
    starved: bool,
    poison: Option<Error>,
    damage: Vec<String>,
    /// Whether an earlier life has noted how far the log was durable.
    was_noted: bool,
    /// The number of the last note.
    noted: u64,
    /// The names of files that earlier lives made are durable: a kill may have come before they were.
    are_named: bool,
}

/// A file and its copy, if there is one.
struct OpenFiles {
    file: Arc<dyn File>,
    copy: Option<Arc<dyn File>>,
}

/// What is known of a file that is not open.
#[derive(Clone, Copy, Default)]
struct FileSlot {
    /// Bytes already written in the file and in its copy, so that overwriting them needs no room.
    written: u64,
    copied: u64,
    /// The generation whose snapshot stands whole in the file.
    generation: Option<u64>,
}

/// The note beside the files.
const FRONTIER: &str = "plans.frontier";
const FRONTIER_MAGIC: [u8; 8] = *b"HYDRPLFR";

/// Between the name of a file and the generation at which a repair kept it.
pub const ASIDE: &str = ".before-repair-";

/// Whether a name is that of a file of a plan log or of its copy.
pub fn is_file(name: &str) -> bool {
    (0..FILES).flat_map(names).any(|own| own == name)
}

/// The names of slot `i`: the file, and its copy.
fn names(i: usize) -> [String; 2] {
    [format!("plans.{i}"), format!("plans.{i}.copy")]
}

/// Whether a life before has noted how far the plan log in `dir` was durable: then this version has run there.
pub fn has_note(fs: &dyn Fs, dir: &Path) -> bool {
    let path = dir.join(FRONTIER);
    fs.open(&path).is_ok() || fs.open(&crate::fs::copy_of(&path)).is_ok()
}

fn frontier_identity(incarnation: &[u8; 16]) -> Identity {
    Identity { magic: FRONTIER_MAGIC, incarnation: *incarnation }
}

impl PlanLog {
    /// Opens or creates the log in `dir` with a reserve of at least `reserve` bytes per file. Needs room for one file that is
    /// smaller or not there, and for nothing else; the others get theirs with the first commit.
    ///
    /// Errors: `Corrupt` (what both copies of a commit held is gone; nothing was changed), and those of the disk.
    pub fn open(fs: Arc<dyn Fs>, dir: &Path, incarnation: [u8; 16], reserve: u64) -> Result<PlanLog> {
        let found = recover::find(&*fs, dir, &incarnation);
        let found = found.map_err(|e| {
            let what = match e.kind {
                Kind::Corrupt => "; put `plans.*` back as they were, or see `hydrant repair`",
                _ => "",
            };
            Error::new(e.kind, format!("open plan log in `{}`: {e}{what}", dir.display()))
        })?;
        PlanLog::go_on(fs, dir, incarnation, reserve, found)
    }

    /// Goes on with a state that was salvaged, as a further generation in the oldest of the files: until that is durable the
    /// log is what it was. Copies of all files are kept before, with [`ASIDE`] and the generation behind their names.
    pub fn replace(
        fs: Arc<dyn Fs>,
        dir: &Path,
        incarnation: [u8; 16],
        reserve: u64,
        salvaged: recover::FoundLog,
    ) -> Result<PlanLog> {
        for name in (0..FILES).flat_map(names) {
            let (from, to) = (dir.join(&name), dir.join(format!("{name}{ASIDE}{}", salvaged.highest)));
            let kept = match crate::fs::read(&*fs, &from) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                bytes => bytes.and_then(|bytes| crate::fs::write_atomically(&*fs, &to, &bytes)),
            };
            kept.map_err(|e| Error::io(format!("keep `{}`", from.display()), e))?;
        }
        PlanLog::go_on(fs, dir, incarnation, reserve, salvaged)
    }

    /// Writes what was found into a file of its own.
    fn go_on(
        fs: Arc<dyn Fs>,
        dir: &Path,
        incarnation: [u8; 16],
        reserve: u64,
        found: recover::FoundLog,
    ) -> Result<PlanLog> {
        let act = || format!("open plan log in `{}`", dir.display());
        let mut slots = [FileSlot::default(); FILES];
        for (i, slot) in slots.iter_mut().enumerate() {
            ([slot.written, slot.copied], slot.generation) = (found.lengths[i], found.whole[i]);
        }
        let mut log = PlanLog {
            fs,
            dir: dir.to_path_buf(),
            incarnation,
            reserve,
            is_reserved: false,
            slots,
            current: found.slot,
            open: None,
            generation: found.highest,
            at: 0,
            state: found.state,
            ledger_mark: 0,
            starved: false,
            poison: None,
            damage: found.damage,
            was_noted: found.is_noted,
            noted: found.noted,
            are_named: false,
        };
        if sabotage::on("plan_log_used_as_found") && log.slots[log.current].generation.is_some() {
            log.at = u64::MAX / 2;
            return Ok(log);
        }
        if sabotage::on("reserve_not_kept") {
            let name = log.dir.join(format!("reserve.{}", log.generation));
            reserve_file(&*log.fs, &name, 0, reserve).map_err(|e| e.during(act()))?;
        }
        log.rewrite(&[]).map_err(|e| e.during(act()))?;
        Ok(log)
    }

    /// Lets go of its files until the next commit.
    pub fn rest(&mut self) {
        self.open = None;
    }

    fn files(&mut self) -> Result<&mut OpenFiles> {
        if self.open.is_none() {
            let [file, copy] = names(self.current).map(|name| self.fs.open(&self.dir.join(name)));
            let file = file.map_err(|e| Error::io("open a file of the plan log", e))?;
            let is_copied = self.slots[self.current].copied > 0;
            self.open = Some(OpenFiles { file, copy: copy.ok().filter(|_| is_copied) });
        }
        Ok(self.open.as_mut().expect("just opened"))
    }

    /// Notes that the log is durable up to where it goes on. The note is opened for that alone: beside a sync it costs
    /// nothing, and a lane keeps fewer files open.
    fn note_frontier(&mut self) {
        let (path, identity) = (self.dir.join(FRONTIER), frontier_identity(&self.incarnation));
        FrontierFile::open(&*self.fs, &path, identity, self.noted).note([self.generation, self.at]);
        self.noted += 1;
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// What was damaged when it was opened, and read from a copy. A sentence each.
    pub fn damage(&self) -> &[String] {
        &self.damage
    }

    /// Whether an earlier life has noted how far the log was durable.
    pub fn was_noted(&self) -> bool {
        self.was_noted
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
        if !self.is_reserved {
            self.make_room(None, self.reserve / 2)?;
        }
        let bytes = encode_frame(&entries, seed(&self.incarnation, self.generation));
        if self.at + bytes.len() as u64 > self.slots[self.current].written {
            return self.rewrite(&entries);
        }
        let (at, file) = (self.at, self.files()?.file.clone());
        let mut done = file.write_all_at(&bytes, at);
        if done.is_ok() && !sabotage::on("plan_not_synced") {
            done = file.sync();
        }
        done.map_err(|e| self.poisoned("write and sync a commit", e))?;
        self.copy_out(&bytes, self.at);
        self.at += bytes.len() as u64;
        self.note_frontier();
        entries.into_iter().for_each(|e| self.state.apply(e));
        Ok(())
    }

    /// Writes to the copy what is durable in the file. A copy that fails is one that is missing, which costs nothing but
    /// that: the next snapshot tries again.
    fn copy_out(&mut self, bytes: &[u8], at: u64) {
        let copied = &mut self.slots[self.current].copied;
        let fits = at + bytes.len() as u64 <= *copied;
        let Some(OpenFiles { copy, .. }) = &mut self.open else { return };
        let had_one = copy.is_some();
        *copy = copy.take().filter(|copy| {
            let is_begun = at > 0 || copy.write_all_at(&bytes[..FIRST_FRAME as usize], 0).is_ok();
            is_begun && fits && copy.write_all_at(bytes, at).is_ok()
        });
        if copy.is_none() {
            // It lacks something, and is not gone on with: the next snapshot in this file makes it anew.
            *copied = 0;
            if had_one {
                crate::fs::count_missing_copy();
            }
        }
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

    fn poisoned(&mut self, act: &str, e: io::Error) -> Error {
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
        self.make_room(Some(target), needed)?;
        let [file, copy] = names(target).map(|name| self.fs.open(&self.dir.join(name)));
        let file = file.map_err(|e| Error::io("open a file of the plan log", e))?;
        let mut bytes = header(&self.incarnation, generation);
        bytes.extend_from_slice(&snapshot);
        self.slots[target].generation = None;
        let done = file.write_all_at(&bytes, 0).and_then(|()| file.sync());
        done.map_err(|e| self.poisoned("write and sync a snapshot", e))?;
        self.slots[target].generation = Some(generation);
        (self.current, self.generation, self.at) = (target, generation, needed);
        self.open = Some(OpenFiles { file, copy: copy.ok() });
        self.copy_out(&bytes, 0);
        self.note_frontier();
        self.state = state;
        Ok(())
    }

    /// The file to overwrite: one without a whole snapshot, else the oldest; never the current one.
    fn spare_file(&self) -> usize {
        let others = (0..FILES).filter(|&i| i != self.current || self.slots[i].generation.is_none());
        others.min_by_key(|&i| (self.slots[i].generation, i == self.current)).expect("there are others")
    }
}
