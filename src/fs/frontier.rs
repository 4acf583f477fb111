//! How far a log is durable, noted beside it: so that what was durable and is there no more is missed, and a damaged last
//! commit is not taken for one that was never finished.
//!
//! The note is written after each commit is synced, and is not synced itself: it never says more than what is durable,
//! survives the process, and after a power cut may say less, as if this file were not there.
//!
//! Two slots take turns, at 0 and at 512 (sectors of their own), little endian: the magic of 8 bytes, version 1 u32, CRC32C
//! of the rest u32 (seeded by the log's incarnation), sequence u64, and two numbers u64 that mean what their log says. The
//! slot with the higher sequence that is true holds.

use super::{File, Fs, read};
use crate::error::{Error, Result};
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// Counts notes; 0 if there is none.
    pub sequence: u64,
    pub words: Words,
}

/// The file, open for notes.
pub struct FrontierFile {
    file: Arc<dyn File>,
    identity: Identity,
    sequence: u64,
}

impl FrontierFile {
    /// Opens the file for notes behind `sequence`, or makes it.
    pub fn open(fs: &dyn Fs, path: &Path, identity: Identity, sequence: u64) -> Result<FrontierFile> {
        let io = |e| Error::io(format!("open `{}`", path.display()), e);
        let file = match fs.open(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => fs.create_new(path),
            other => other,
        };
        let file = file.map_err(io)?;
        if file.size().map_err(io)? < FILE_BYTES as u64 {
            file.write_all_at(&[0; FILE_BYTES], 0).map_err(io)?;
        }
        Ok(FrontierFile { file, identity, sequence })
    }

    /// Notes what is durable.
    pub fn note(&mut self, words: Words) -> Result<()> {
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
        let done = self.file.write_all_at(&bytes, at);
        done.inspect_err(|_| super::count_missing_copy()).map_err(|e| Error::io("note what is durable", e))
    }
}

impl Identity {
    /// What the file at `path` says; nothing if there is none.
    pub fn read(&self, fs: &dyn Fs, path: &Path) -> Result<Noted> {
        let bytes = match read(fs, path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Noted::default()),
            bytes => bytes.map_err(|e| Error::io(format!("read `{}`", path.display()), e))?,
        };
        let slots = SLOTS_AT.iter().filter_map(|at| self.decode(bytes.get(*at..at + SLOT_BYTES)?));
        Ok(slots.max_by_key(|noted| noted.sequence).unwrap_or_default())
    }

    fn decode(&self, slot: &[u8]) -> Option<Noted> {
        let word = |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().expect("eight bytes"));
        let half = |at: usize| u32::from_le_bytes(slot[at..at + 4].try_into().expect("four bytes"));
        let is_true = slot[..8] == self.magic && half(8) == VERSION && half(12) == self.checksum(slot);
        is_true.then(|| Noted { sequence: word(16), words: [word(24), word(32)] })
    }

    fn checksum(&self, slot: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.incarnation), &slot[16..])
    }
}
