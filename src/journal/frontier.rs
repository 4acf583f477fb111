//! What is known of a journal's end beside the journal: see [`crate::fs::frontier`].
//!
//! The file `journal.frontier` stands beside the directory `journal`, so that it is there when that is not; earlier versions kept
//! a `frontier` in the directory. Its numbers are the durable offset and the records accepted.

use super::Journal;
use crate::error::Result;
use crate::fs::frontier::{FrontierFile, Identity, Noted};
use crate::fs::{Fs, count_missing_copy};
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;

/// What is put behind the directory's name.
const EXTENSION: &str = "frontier";
/// The file's name in the directory, where earlier versions kept it.
const BEFORE: &str = "frontier";
const MAGIC: [u8; 8] = *b"HYDRFRNT";

/// What a journal held when it was last noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KnownEnd {
    /// One above the last durable offset.
    pub durable: u64,
    /// Records accepted in this incarnation.
    pub accepted: u64,
}

/// The file, open for notes.
pub(super) struct Frontier(FrontierFile);

impl Frontier {
    /// What the file of the journal in `dir` says; nothing if there is none.
    pub(super) fn read(fs: &dyn Fs, dir: &Path, incarnation: &[u8; 16]) -> Result<(KnownEnd, Noted)> {
        let noted = look(fs, dir, incarnation)?;
        let [durable, accepted] = noted.words;
        Ok((KnownEnd { durable, accepted }, noted))
    }

    /// Opens the file for notes, or makes it.
    pub(super) fn open(fs: &dyn Fs, dir: &Path, incarnation: &[u8; 16]) -> Result<Frontier> {
        let sequence = look(fs, dir, incarnation)?.sequence;
        Ok(Frontier(FrontierFile::open(fs, &path(dir), identity(incarnation), sequence)))
    }

    /// Notes what is durable.
    pub(super) fn note(&mut self, known: KnownEnd) {
        self.0.note([known.durable, known.accepted]);
    }

    /// Whether both file and copy are written.
    pub(super) fn is_whole(&self) -> bool {
        self.0.is_whole()
    }
}

impl Journal {
    /// Notes what is durable, as far as the note can be had.
    pub(super) fn note(&self, known: KnownEnd) {
        let mut frontier = self.frontier();
        if frontier.is_none() {
            let opened = Frontier::open(&*self.fs, &self.dir, &self.incarnation);
            *frontier = opened.inspect_err(|_| count_missing_copy()).ok();
        }
        frontier.iter_mut().for_each(|frontier| frontier.note(known));
    }

    /// Has a note of which file or copy could not be had opened again.
    pub(super) fn complete_note(&self) {
        self.frontier().take_if(|frontier| !frontier.is_whole());
    }

    /// Lets go of the note until there is more to note.
    pub(super) fn let_go_of_note(&self) {
        *self.frontier() = None;
    }

    fn frontier(&self) -> MutexGuard<'_, Option<Frontier>> {
        self.frontier.lock().expect("nobody panics holding it")
    }
}

/// What is said of the journal in `dir` whose note is not there, though there was one.
pub fn missing_note(dir: &Path) -> String {
    format!(
        "`{}` is not there, nor its copy: if records that were acknowledged last are gone too, nothing tells",
        path(dir).display()
    )
}

fn path(dir: &Path) -> PathBuf {
    dir.with_extension(EXTENSION)
}

fn identity(incarnation: &[u8; 16]) -> Identity {
    Identity { magic: MAGIC, incarnation: *incarnation }
}

/// The last note: of the file where it is, or of the one where it was.
fn look(fs: &dyn Fs, dir: &Path, incarnation: &[u8; 16]) -> Result<Noted> {
    let identity = identity(incarnation);
    let [here, before] = [identity.read(fs, &path(dir))?, identity.read(fs, &dir.join(BEFORE))?];
    Ok(if here.exists || !before.exists { here } else { before })
}
