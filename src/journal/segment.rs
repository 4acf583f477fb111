//! A segment: a file of already written blocks, a header block, then commits. A commit begins at a multiple of the block
//! (so that it can bypass the page cache) and is one or more frames, then zeros to the end of its last block.
//!
//! Header, version 1, little endian: `"HYDRJSEG"`, version u32, CRC32C of the rest u32, incarnation (16), number u64,
//! first offset u64, end of the segment before u64, records accepted before u64. The rest of the block is zero.
//!
//! A segment gets its name only after its header is durable, so a named segment always has a true header. Offsets
//! between `previous_end` and `first` were never given to a record.

use super::frame::{self, FrameHeader, HEADER_BYTES};
use crate::error::{Error, Kind, Result};
use crate::fs::{DIRECT_ALIGN, File, Fs, read_full_at};
use crate::record::Frame;
use std::path::Path;
use std::sync::Arc;

pub const MAGIC: [u8; 8] = *b"HYDRJSEG";
pub const VERSION: u32 = 1;
/// Where commits start, and what they are aligned to.
pub const HEADER_BLOCK: u64 = DIRECT_ALIGN as u64;
const ZEROS: usize = 256 * 1024;
/// What a search reads of frames that turn out not to be true before it becomes coarse.
const SEARCH_BYTES_MAX: u64 = 4 << 30;

/// A segment that readers and recycling know.
#[derive(Clone)]
pub struct Segment {
    pub number: u64,
    pub first: u64,
    pub previous_end: u64,
    pub records_before: u64,
    pub size: u64,
    pub file: Arc<dyn File>,
}

/// File name of a segment: numbers sort as text.
pub fn file_name(number: u64) -> String {
    format!("{number:012}.seg")
}

/// The number of a file that is to become a segment; `None` if it is none.
pub fn spare_number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".spare")?.parse().ok()
}

/// The number in a segment's file name.
pub fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(".seg")?.parse().ok()
}

impl Segment {
    /// Writes the header and makes it durable.
    pub fn write_header(&self, incarnation: &[u8; 16]) -> std::io::Result<()> {
        let mut rest = Vec::new();
        rest.extend_from_slice(incarnation);
        for word in [self.number, self.first, self.previous_end, self.records_before] {
            rest.extend_from_slice(&word.to_le_bytes());
        }
        let mut block = Vec::with_capacity(HEADER_BLOCK as usize);
        block.extend_from_slice(&MAGIC);
        block.extend_from_slice(&VERSION.to_le_bytes());
        block.extend_from_slice(&crc32c::crc32c(&rest).to_le_bytes());
        block.extend_from_slice(&rest);
        block.resize(HEADER_BLOCK as usize, 0);
        self.file.write_all_at(&block, 0)?;
        self.file.sync()
    }

    /// Opens a segment by its file. `Ok(None)` if the header is not true; an unknown version or another journal's
    /// segment is an error, because guessing there would lose data.
    pub fn open(fs: &dyn Fs, path: &Path, incarnation: &[u8; 16]) -> Result<Option<Segment>> {
        let act = || format!("open segment `{}`", path.display());
        let file = fs.open(path).map_err(|e| Error::io(act(), e))?;
        let mut block = vec![0; HEADER_BLOCK as usize];
        let n = read_full_at(&*file, &mut block, 0).map_err(|e| Error::io(act(), e))?;
        if n < block.len() || block[..8] != MAGIC {
            return Ok(None);
        }
        let version = u32::from_le_bytes(block[8..12].try_into().expect("four bytes"));
        if version != VERSION {
            return Err(Error::new(Kind::Invalid, format!("{}: format version {version}, expected {VERSION}", act())));
        }
        let rest = &block[16..64];
        if crc32c::crc32c(rest) != u32::from_le_bytes(block[12..16].try_into().expect("four bytes")) {
            return Ok(None);
        }
        if rest[..16] != incarnation[..] {
            let message = format!("{}: it belongs to another journal (incarnation differs)", act());
            return Err(Error::new(Kind::Invalid, message));
        }
        let word = |i: usize| u64::from_le_bytes(rest[16 + 8 * i..24 + 8 * i].try_into().expect("eight bytes"));
        let size = file.size().map_err(|e| Error::io(act(), e))?;
        let (number, first, previous_end, records_before) = (word(0), word(1), word(2), word(3));
        Ok(Some(Segment { number, first, previous_end, records_before, size, file }))
    }

    /// The frame at byte `at`, or behind the zeros that fill a commit's last block from there on, if a true one stands
    /// there. Also its durable offset and the byte behind it.
    pub fn frame_at(&self, seed: u32, at: u64) -> std::io::Result<Option<(Frame, u64, u64)>> {
        let at = match self.is_zero(at)? {
            true => at.next_multiple_of(HEADER_BLOCK),
            false => at,
        };
        let mut head = [0; HEADER_BYTES];
        if read_full_at(&*self.file, &mut head, at)? < HEADER_BYTES {
            return Ok(None);
        }
        let Some(header) = FrameHeader::read(&head) else { return Ok(None) };
        let length = header.frame_bytes();
        if at + length > self.size {
            return Ok(None);
        }
        let mut bytes = vec![0; length as usize];
        if read_full_at(&*self.file, &mut bytes, at)? < bytes.len() {
            return Ok(None);
        }
        Ok(frame::decode(seed, &header, &bytes).map(|f| (f, header.durable, at + length)))
    }

    fn is_zero(&self, at: u64) -> std::io::Result<bool> {
        let mut word = [1; 8];
        read_full_at(&*self.file, &mut word, at)?;
        Ok(word == [0; 8])
    }

    /// The first true frame at or after byte `from` that starts at offset `at_least` or above, and where it stands.
    ///
    /// Records may hold what looks like frames, each of which costs a reading of what it claims to be: when that has
    /// become too much, only the beginnings of commits are looked at.
    pub fn find_frame(&self, seed: u32, from: u64, at_least: u64) -> std::io::Result<Option<(Frame, u64, u64)>> {
        let mut rest = vec![0; self.size.saturating_sub(from) as usize];
        let n = read_full_at(&*self.file, &mut rest, from)?;
        let mut patience = SEARCH_BYTES_MAX;
        for at in memchr::memmem::find_iter(&rest[..n], &frame::MAGIC).filter(|at| at % frame::ALIGN == 0) {
            let Some(header) = FrameHeader::read(&rest[at..n]) else { continue };
            let plausible = header.first >= at_least && header.frame_bytes() <= (n - at) as u64;
            if !plausible || patience == 0 && !(from + at as u64).is_multiple_of(HEADER_BLOCK) {
                continue;
            }
            patience = patience.saturating_sub(header.frame_bytes());
            if let Some((f, durable, _)) = self.frame_at(seed, from + at as u64)?
                && f.first >= at_least
            {
                return Ok(Some((f, durable, from + at as u64)));
            }
        }
        Ok(None)
    }
}

/// Creates a file of `size` zero bytes that are really on the disk: overwriting them needs no allocation, which halves
/// the time of a sync and cannot fail for want of space.
pub fn write_spare(fs: &dyn Fs, path: &Path, size: u64) -> Result<Arc<dyn File>> {
    let act = || format!("write spare segment `{}` of {size} bytes", path.display());
    let file = fs.create_new(path).map_err(|e| Error::io(act(), e))?;
    let filled = fill(&*file, 0, size).and_then(|()| file.sync());
    match filled {
        Ok(()) => Ok(file),
        Err(e) => {
            // What was allocated goes back at once: a full disk must not stay full because of a half spare.
            let _ = fs.remove(path);
            Err(Error::io(act(), e))
        }
    }
}

/// Writes zeros over `from..to`.
pub fn fill(file: &dyn File, from: u64, to: u64) -> std::io::Result<()> {
    let zeros = vec![0; ZEROS.min((to - from) as usize)];
    let mut at = from;
    while at < to {
        let n = zeros.len().min((to - at) as usize);
        file.write_all_at(&zeros[..n], at)?;
        at += n as u64;
    }
    Ok(())
}
