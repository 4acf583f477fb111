//! What became of each plan: one JSON line per mark, in the order of marks, from which conservation is proved without
//! the service.
//!
//! A file begins with a header line (format, the totals of everything before it) and holds a line per settled plan. A
//! closed file is sent to the destination's store (see `archive`) and leaves a stub here.
//! Files are written over blocks that already hold newlines, so that a line needs no room on a full disk, and a line
//! that was torn does not parse. At start what was found in the newest file is written again, in place, before anything
//! relies on its lines being durable. Each file has a copy, as files of the plan log have, and each line a checksum: see
//! [`contents`].

pub mod contents;
mod lines;
pub mod names;
#[cfg(test)]
mod tests;

pub use contents::Contents;
pub use lines::{Digest, Footer, LedgerHeader, LedgerSums, Line, OutletSums, Stub};

use super::sealed;
use crate::error::{Error, Kind, Result};
use crate::fs::{COPY, File, Fs, copy_of, write_atomically, write_copy};
use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Blocks that a new file is made of, and by which one grows, in bytes.
const FILE_RESERVE_BYTES: u64 = 16 << 10;
const GROWTH_BYTES: u64 = 64 << 10;

/// The ledger of one stream, open for appending.
pub struct Ledger {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    number: u64,
    /// A file is closed when it holds this much.
    file_bytes: u64,
    /// Files that are closed and still here, oldest first.
    closed: VecDeque<u64>,
    /// Where the next line goes in the newest file, and its length; `None`: there is no file yet.
    end: Option<End>,
    /// The newest file and its copy, while they are in use. Without room for a copy, or after it failed, there is none.
    open: Option<OpenLedger>,
    sums: LedgerSums,
    damage: Vec<String>,
}

struct OpenLedger {
    file: Arc<dyn File>,
    copy: Option<Arc<dyn File>>,
}

#[derive(Clone, Copy)]
struct End {
    at: u64,
    written: u64,
}

impl Ledger {
    /// Opens or creates the ledger in `dir`, with files of about `file_bytes`. Needs no room if the newest file is whole. `kept`:
    /// the lines of this mark and of all behind it can be written again.
    pub fn open(fs: Arc<dyn Fs>, dir: PathBuf, file_bytes: u64, kept: u64) -> Result<Ledger> {
        let act = format!("open ledger `{}`", dir.display());
        fs.create_dir_all(&dir).map_err(|e| Error::io(&act, e))?;
        let mut closed: VecDeque<u64> = files(&*fs, &dir)?.into();
        let number = closed.pop_back().unwrap_or(0);
        let (mut sums, mut damage, mut end) = (LedgerSums::default(), Vec::new(), None);
        if let Some(mut contents) = Contents::read(&*fs, &dir, number).map_err(|e| e.during(&act))? {
            contents.leave_out_torn(kept);
            sums = contents.totals();
            end = Some(go_on(&*fs, &dir, number, &contents).map_err(|e| e.during(&act))?);
            damage = contents.damage;
        }
        Ok(Ledger { fs, dir, number, file_bytes, closed, end, open: None, sums, damage })
    }

    /// Lets go of its files until the next line.
    pub fn rest(&mut self) {
        self.open = None;
    }

    /// What was damaged when it was opened. A sentence each.
    pub fn damage(&self) -> &[String] {
        &self.damage
    }

    /// The last mark with a durable line.
    pub fn mark(&self) -> u64 {
        self.sums.mark
    }

    pub fn sums(&self) -> &LedgerSums {
        &self.sums
    }

    /// Goes on behind `mark`, where lines of earlier marks are in the ledgers of other nodes: in a file of its own.
    pub fn pass_to(&mut self, mark: u64) -> Result<()> {
        if self.sums.mark >= mark {
            return Ok(());
        }
        self.sums.mark = mark;
        self.begin_file()
    }

    fn begin_file(&mut self) -> Result<()> {
        let number = if self.end.is_some() { self.number + 1 } else { self.number };
        let end = start_file(&*self.fs, &self.dir, number, Vec::new(), &self.sums)?;
        self.closed.extend((number > self.number).then_some(self.number));
        (self.number, self.end, self.open) = (number, Some(end), None);
        Ok(())
    }

    /// The newest file, begun or opened if need be, and where its next line goes.
    fn file(&mut self) -> Result<(Arc<dyn File>, End)> {
        if self.end.is_none_or(|end| end.at > self.file_bytes) {
            self.begin_file()?;
        }
        let path = self.dir.join(file_name(self.number));
        if self.open.is_none() {
            let file = self.fs.open(&path).map_err(|e| Error::io(format!("open `{}`", path.display()), e))?;
            self.open = Some(OpenLedger { file, copy: self.fs.open(&copy_of(&path)).ok() });
        }
        match (&self.open, self.end) {
            (Some(open), Some(end)) => Ok((open.file.clone(), end)),
            _ => unreachable!("it has just been begun and opened"),
        }
    }

    /// The oldest file that is closed and not archived.
    pub fn oldest_closed(&self) -> Option<u64> {
        self.closed.front().copied()
    }

    /// A file that is still here; an error if it is not.
    pub fn read_file(&self, number: u64) -> Result<Contents> {
        let path = || self.dir.join(file_name(number));
        let absent = || Error::io(format!("read `{}`", path().display()), std::io::ErrorKind::NotFound.into());
        Contents::read(&*self.fs, &self.dir, number)?.ok_or_else(absent)
    }

    /// Removes a closed file that is archived. The stub is durable before the file goes.
    pub fn replace_by_stub(&mut self, number: u64, stub: &Stub) -> Result<()> {
        let io = |e| Error::io(format!("archive ledger file {number}"), e);
        let path = self.dir.join(file_name(number));
        let write = || sealed::write(&*self.fs, &self.dir.join(stub_name(number)), stub);
        match write() {
            // On a full disk the copy makes room: the file itself is still here, and in the store.
            Err(e) if e.kind == Kind::NoSpace && self.fs.remove(&copy_of(&path)).is_ok() => write()?,
            done => done?,
        }
        for path in [copy_of(&path), path] {
            match self.fs.remove(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io(e)),
                _ => {}
            }
        }
        self.closed.retain(|n| *n != number);
        Ok(())
    }

    /// Appends lines, whose marks follow the last one without a gap, and makes them durable.
    pub fn append(&mut self, lines: &[Line]) -> Result<()> {
        let Some(last) = lines.last() else { return Ok(()) };
        let (file, End { at, mut written }) = self.file()?;
        let mut text = Vec::new();
        for line in lines {
            sealed::push(&mut text, line);
        }
        let bytes = text.len() as u64;
        if at + bytes > written {
            written = (at + bytes).next_multiple_of(GROWTH_BYTES);
            text.resize((written - at) as usize, b'\n');
        }
        let done = file.write_all_at(&text, at).and_then(|()| file.sync());
        done.map_err(|e| Error::io(format!("append ledger line {}", last.mark), e))?;
        if let Some(open) = &mut self.open {
            // What stands in the copy is durable in the file.
            open.copy = open.copy.take().filter(|copy| copy.write_all_at(&text, at).is_ok());
        }
        self.end = Some(End { at: at + bytes, written });
        lines.iter().for_each(|l| self.sums.add(l));
        Ok(())
    }
}

/// Goes on in file `number`: what was found is written again where it stands and synced, with newlines behind it. A file
/// that is not what was found, because a part of it was read from its copy, is made anew.
fn go_on(fs: &dyn Fs, dir: &Path, number: u64, contents: &Contents) -> Result<End> {
    let path = dir.join(file_name(number));
    let io = |e| Error::io(format!("write `{}`", path.display()), e);
    let text = contents.text();
    if !contents.stands_in_file {
        return start_file(fs, dir, number, text.to_vec(), &LedgerSums::default());
    }
    let file = fs.open(&path).map_err(io)?;
    let written = file.size().map_err(io)?;
    let mut bytes = text.to_vec();
    bytes.resize(written as usize, b'\n');
    file.write_all_at(&bytes, 0).and_then(|()| file.sync()).map_err(io)?;
    let copied = match contents.stands_in_copy {
        true => fs.open(&copy_of(&path)).and_then(|copy| copy.write_all_at(&bytes, 0)),
        false => write_copy(fs, &path, &bytes),
    };
    // A copy is worth having, and no reason to fail.
    drop(copied);
    Ok(End { at: text.len() as u64, written })
}

/// Writes file `number` with its first contents: `text`, or a header.
fn start_file(fs: &dyn Fs, dir: &Path, number: u64, mut text: Vec<u8>, sums: &LedgerSums) -> Result<End> {
    if text.is_empty() {
        sealed::push(&mut text, &LedgerHeader { format: contents::FORMAT, before: sums.clone() });
    }
    let at = text.len() as u64;
    let written = (at + FILE_RESERVE_BYTES / 2).next_multiple_of(FILE_RESERVE_BYTES);
    text.resize(written as usize, b'\n');
    let path = dir.join(file_name(number));
    write_atomically(fs, &path, &text).map_err(|e| Error::io("write a ledger file", e))?;
    let _ = write_copy(fs, &path, &text);
    Ok(End { at, written })
}

/// What stands in the header of file `number`, as what is kept of the file before it tells; `None` if that tells nothing.
fn sums_before(fs: &dyn Fs, dir: &Path, number: u64) -> Result<Option<LedgerSums>> {
    let Some(before) = number.checked_sub(1) else { return Ok(Some(LedgerSums::default())) };
    if let Some(contents) = Contents::read(fs, dir, before)? {
        return Ok(Some(contents.totals()));
    }
    Ok(sealed::read::<Stub>(fs, &dir.join(stub_name(before)))?.and_then(|(stub, _)| stub.totals))
}

fn file_name(number: u64) -> String {
    format!("{number:08}.jsonl")
}

fn stub_name(number: u64) -> String {
    format!("{number:08}.archived")
}

/// Where the archived files of the ledger in `dir` are, oldest first, and what of them is damaged.
pub fn stubs(fs: &dyn Fs, dir: &Path) -> Result<(Vec<Stub>, Vec<String>)> {
    let (mut stubs, mut damage) = (Vec::new(), Vec::new());
    for (_, path) in numbered(fs, dir, ".archived")? {
        if let Some((stub, damaged)) = sealed::read(fs, &path)? {
            stubs.push(stub);
            damage.extend(damaged);
        }
    }
    Ok((stubs, damage))
}

/// The numbers of the ledger files in `dir`, oldest first.
pub fn files(fs: &dyn Fs, dir: &Path) -> Result<Vec<u64>> {
    Ok(numbered(fs, dir, ".jsonl")?.into_iter().map(|(number, _)| number).collect())
}

/// Files of a kind by number, also those of which only the copy is left.
fn numbered(fs: &dyn Fs, dir: &Path, extension: &str) -> Result<Vec<(u64, PathBuf)>> {
    let names = fs.list(dir).map_err(|e| Error::io(format!("list ledger `{}`", dir.display()), e))?;
    let number = |n: &String| n.strip_suffix(COPY).unwrap_or(n).strip_suffix(extension)?.parse().ok();
    let numbers: BTreeSet<u64> = names.iter().filter_map(number).collect();
    Ok(numbers.into_iter().map(|n| (n, dir.join(format!("{n:08}{extension}")))).collect())
}
