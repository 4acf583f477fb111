//! The bytes of a plan log's files.
//!
//! ```text
//! file   0  8  magic "HYDRPLAN"      frame  0  4  payload length
//!        8  4  version                      4  4  CRC32C, seeded by (incarnation, generation)
//!        12 4  CRC32C of 16..40             8     number of entries (varint), entries (see `plan::Entry`)
//!        16 16 incarnation                        padded to 8
//!        32 8  generation
//!        64    snapshot frame, then commits
//! ```

use crate::error::Result;
use crate::stream::plan::Entry;
use crate::stream::plan::codec::{EntryReader, put_varint};

pub const MAGIC: [u8; 8] = *b"HYDRPLAN";
pub(super) const VERSION: u32 = 1;
pub(super) const FIRST_FRAME: u64 = 64;
pub(super) const FRAME_HEADER: usize = 8;

/// The first [`FIRST_FRAME`] bytes of a file.
pub(super) fn header(incarnation: &[u8; 16], generation: u64) -> Vec<u8> {
    let mut rest = incarnation.to_vec();
    rest.extend_from_slice(&generation.to_le_bytes());
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&crc32c::crc32c(&rest).to_le_bytes());
    bytes.extend_from_slice(&rest);
    bytes.resize(FIRST_FRAME as usize, 0);
    bytes
}

/// A commit, or a snapshot.
pub(super) fn encode_frame(entries: &[Entry], seed: u32) -> Vec<u8> {
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
pub(crate) fn push_entries(bytes: &mut Vec<u8>, entries: &[Entry]) {
    put_varint(bytes, entries.len() as u64);
    entries.iter().for_each(|e| e.encode(bytes));
}

/// The payload of the frame at the front of `bytes`, if a true one stands there.
pub(super) fn frame_at(bytes: &[u8], seed: u32) -> Option<&[u8]> {
    let length = u32::from_le_bytes(bytes.get(..4)?.try_into().expect("four bytes")) as usize;
    let crc = u32::from_le_bytes(bytes.get(4..8)?.try_into().expect("four bytes"));
    let payload = bytes.get(FRAME_HEADER..FRAME_HEADER + length)?;
    (length > 0 && crc32c::crc32c_append(seed, payload) == crc).then_some(payload)
}

/// The entries of a payload. Errors: `Corrupt`.
pub(crate) fn entries_of(payload: &[u8]) -> Result<Vec<Entry>> {
    let mut reader = EntryReader(payload);
    let n = reader.varint()?;
    (0..n).map(|_| Entry::decode(&mut reader)).collect()
}
