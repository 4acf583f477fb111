//! What is known of a journal's end beside the journal: so that records that were acknowledged and are there no more are
//! missed, and a damaged last commit is not taken for one that was never finished.
//!
//! The file `journal.frontier` stands beside the directory `journal`, so that it is there when that is not; earlier versions kept
//! a `frontier` in the directory. It is written after each commit is synced, and is not synced itself: it never says more than what is
//! durable, survives the process, and after a power cut may say less, as if this file were not there.
//!
//! Two slots of 64 bytes take turns, at 0 and at 512 (sectors of their own), version 1, little endian: `"HYDRFRNT"`,
//! version u32, CRC32C of the rest u32 (seeded by the incarnation), sequence u64, durable offset u64, records accepted
//! u64. The slot with the higher sequence that is true holds.

use crate::error::{Error, Result};
use crate::fs::{File, Fs, read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is put behind the directory's name.
const EXTENSION: &str = "frontier";
/// The file's name in the directory, where earlier versions kept it.
const BEFORE: &str = "frontier";
const MAGIC: [u8; 8] = *b"HYDRFRNT";
const VERSION: u32 = 1;
const SLOT_BYTES: usize = 40;
const SLOTS_AT: [usize; 2] = [0, 512];
const FILE_BYTES: usize = 1024;

/// What a journal held when it was last noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// One above the last durable offset.
    pub durable: u64,
    /// Records accepted in this incarnation.
    pub accepted: u64,
}

/// The file, open for notes.
pub struct Frontier {
    file: Arc<dyn File>,
    seed: u32,
    sequence: u64,
}

impl Frontier {
    /// What the file of the journal in `dir` says; nothing if there is none.
    pub fn read(fs: &dyn Fs, dir: &Path, incarnation: &[u8; 16]) -> Result<Known> {
        Ok(look(fs, dir, incarnation)?.1)
    }

    /// Opens the file for notes, or makes it.
    pub fn open(fs: &dyn Fs, dir: &Path, incarnation: &[u8; 16]) -> Result<Frontier> {
        let io = |e| Error::io(format!("open `{}`", path(dir).display()), e);
        let sequence = look(fs, dir, incarnation)?.0;
        let file = match fs.open(&path(dir)) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => fs.create_new(&path(dir)),
            other => other,
        };
        let file = file.map_err(io)?;
        if file.size().map_err(io)? < FILE_BYTES as u64 {
            file.write_all_at(&[0; FILE_BYTES], 0).map_err(io)?;
        }
        Ok(Frontier { file, seed: crc32c::crc32c(incarnation), sequence })
    }

    /// Notes what is durable.
    pub fn note(&mut self, known: Known) -> Result<()> {
        self.sequence += 1;
        let mut bytes = Vec::with_capacity(SLOT_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        for word in [self.sequence, known.durable, known.accepted] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        let crc = crc32c::crc32c_append(self.seed, &bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        let at = SLOTS_AT[self.sequence as usize % SLOTS_AT.len()] as u64;
        self.file.write_all_at(&bytes, at).map_err(|e| Error::io("note what is durable", e))
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.with_extension(EXTENSION)
}

/// The highest true sequence, and what its slot says: of the file where it is, or of the one where it was.
fn look(fs: &dyn Fs, dir: &Path, incarnation: &[u8; 16]) -> Result<(u64, Known)> {
    let [here, before] = [look_at(fs, &path(dir), incarnation)?, look_at(fs, &dir.join(BEFORE), incarnation)?];
    Ok(if here.0 >= before.0 { here } else { before })
}

fn look_at(fs: &dyn Fs, path: &Path, incarnation: &[u8; 16]) -> Result<(u64, Known)> {
    let bytes = match read(fs, path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((0, Known::default())),
        bytes => bytes.map_err(|e| Error::io(format!("read `{}`", path.display()), e))?,
    };
    let mut best = (0, Known::default());
    for slot in SLOTS_AT.iter().filter_map(|at| bytes.get(*at..at + SLOT_BYTES)) {
        let word = |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().expect("eight bytes"));
        let half = |at: usize| u32::from_le_bytes(slot[at..at + 4].try_into().expect("four bytes"));
        let is_true = slot[..8] == MAGIC
            && half(8) == VERSION
            && half(12) == crc32c::crc32c_append(crc32c::crc32c(incarnation), &slot[16..]);
        if is_true && word(16) > best.0 {
            best = (word(16), Known { durable: word(24), accepted: word(32) });
        }
    }
    Ok(best)
}
