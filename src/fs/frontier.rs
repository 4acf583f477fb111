//! How far a log is durable, noted beside it: so that what was durable and is there no more is missed, and a damaged last
//! commit is not taken for one that was never finished.
//!
//! The note is written after each commit is synced, and is not synced itself: it never says more than what is durable,
//! survives the process, and after a power cut may say less, as if this file were not there. It has a copy, so that damage to
//! the log's end and to one of them together is still missed.
//!
//! Two slots take turns, at 0 and at 512 (sectors of their own), little endian: the magic of 8 bytes, version 1 u32, CRC32C
//! of the rest u32 (seeded by the log's incarnation), sequence u64, and two numbers u64 that mean what their log says. The
//! slot with the highest sequence that is true, in file or copy, holds.

use super::{File, FileLook, Fs, copy_of, count_missing_copy, look, open_or_create};
use crate::error::{Error, Result};
use std::io;
use std::path::Path;
use std::sync::Arc;

const VERSION: u32 = 1;
const SLOT_BYTES: usize = 40;
const SLOTS_AT: [usize; 2] = [0, 512];
const FILE_BYTES: usize = 1024;

/// The two numbers of a note.
pub type Words = [u64; 2];

/// What tells one log's notes from those of another.
#[derive(Clone, Copy)]
pub struct Identity {
    pub magic: [u8; 8],
    pub incarnation: [u8; 16],
}

/// The last note that can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Counts notes; 0 if there is none.
    pub sequence: u64,
    pub words: Words,
    /// Whether there is a file or a copy, readable or not.
    pub exists: bool,
    /// What of them is damaged: a sentence each.
    pub damage: Vec<String>,
}

/// File and copy, open for notes, as far as they can be had.
pub struct FrontierFile {
    files: [Option<Arc<dyn File>>; 2],
    identity: Identity,
    sequence: u64,
}

impl FrontierFile {
    /// Opens the file for notes behind `sequence`, or makes it. One that cannot be had is counted and done without.
    pub fn open(fs: &dyn Fs, path: &Path, identity: Identity, sequence: u64) -> FrontierFile {
        let open = |path: &Path| {
            let file = open_or_create(fs, path)?;
            if file.size()? < FILE_BYTES as u64 {
                file.write_all_at(&[0; FILE_BYTES], 0)?;
            }
            Ok(file)
        };
        let open = |path: &Path| open(path).inspect_err(|_: &io::Error| count_missing_copy()).ok();
        FrontierFile { files: [open(path), open(&copy_of(path))], identity, sequence }
    }

    /// Notes what is durable. One of the two that cannot be written is counted and done without.
    pub fn note(&mut self, words: Words) {
        self.sequence += 1;
        let mut bytes = Vec::with_capacity(SLOT_BYTES);
        bytes.extend_from_slice(&self.identity.magic);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for word in std::iter::once(self.sequence).chain(words) {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let crc = self.identity.checksum(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        let at = SLOTS_AT[self.sequence as usize % SLOTS_AT.len()] as u64;
        for file in &mut self.files {
            let written = file.as_ref().map_or(Ok(()), |file| file.write_all_at(&bytes, at));
            if written.is_err() {
                count_missing_copy();
                *file = None;
            }
        }
    }

    /// Whether both file and copy are written.
    pub fn is_whole(&self) -> bool {
        self.files.iter().all(Option::is_some)
    }
}

impl Identity {
    /// What the file at `path` and its copy say; nothing if there is neither.
    pub fn read(&self, fs: &dyn Fs, path: &Path) -> Result<Noted> {
        let noted = self.read_once(fs, path)?;
        // A note that is just being written may be met half.
        if noted.damage.is_empty() { Ok(noted) } else { self.read_once(fs, path) }
    }

    fn read_once(&self, fs: &dyn Fs, path: &Path) -> Result<Noted> {
        let mut noted = Noted::default();
        let mut is_there = [false; 2];
        for (path, is_there) in [path.to_owned(), copy_of(path)].iter().zip(&mut is_there) {
            let found = look(fs, path).map_err(|e| Error::io(format!("read `{}`", path.display()), e))?;
            *is_there = !matches!(found, FileLook::Absent);
            let bytes = match found {
                FileLook::Absent => continue,
                FileLook::Unreadable(e) => {
                    noted.damage.push(format!("`{}` cannot be read: {e}", path.display()));
                    continue;
                }
                FileLook::Bytes(bytes) => bytes,
            };
            let mut is_damaged = bytes.len() < FILE_BYTES;
            for slot in SLOTS_AT.iter().filter_map(|at| bytes.get(*at..at + SLOT_BYTES)) {
                match self.decode(slot) {
                    Some((sequence, words)) if sequence > noted.sequence => {
                        (noted.sequence, noted.words) = (sequence, words);
                    }
                    Some(_) => {}
                    None => is_damaged |= slot.iter().any(|byte| *byte != 0),
                }
            }
            if is_damaged {
                noted.damage.push(format!("`{}` is damaged: a note in it cannot be read", path.display()));
            }
        }
        noted.exists = is_there.contains(&true);
        if is_there == [false, true] {
            noted.damage.push(format!("`{}` is not there, and was read from its copy", path.display()));
        }
        Ok(noted)
    }

    fn decode(&self, slot: &[u8]) -> Option<(u64, Words)> {
        let word = |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().expect("eight bytes"));
        let half = |at: usize| u32::from_le_bytes(slot[at..at + 4].try_into().expect("four bytes"));
        let is_true = slot[..8] == self.magic && half(8) == VERSION && half(12) == self.checksum(slot);
        is_true.then(|| (word(16), [word(24), word(32)]))
    }

    fn checksum(&self, slot: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.incarnation), &slot[16..])
    }
}
