//! The bytes of one frame, version 1, little endian:
//!
//! ```text
//! 0   4  magic "HJF1"
//! 4   4  CRC32C of bytes 8.., seeded by (incarnation, segment number), so that a recycled segment's old frames and a
//!        copied journal's frames never look valid
//! 8   4  length of the records' bytes
//! 12  4  number of records, at least 1
//! 16  8  offset of the first record
//! 24  8  arrival, milliseconds since the Unix epoch
//! 32  8  durable offset of the lane when the frame was written
//! 40  1  entry (see `record::Entry`), then 7 zero bytes
//! 48     the records' bytes, then the end of each record (u32), padded to 8
//! ```

use crate::record::{EntryPoint, Frame, Records};
use std::sync::Arc;

pub const MAGIC: [u8; 4] = *b"HJF1";
pub const HEADER_BYTES: usize = 48;
/// Frames start at multiples of this, which bounds the search for the next one after damage.
pub const ALIGN: usize = 8;

/// A frame's header, not yet known to be true.
#[derive(Clone, Copy, Debug)]
pub struct FrameHeader {
    pub crc: u32,
    pub data_bytes: u32,
    pub count: u32,
    pub first: u64,
    pub arrival_ms: u64,
    pub durable: u64,
    pub entry: u8,
}

impl FrameHeader {
    /// `None` if the bytes cannot be a header.
    pub fn read(bytes: &[u8]) -> Option<FrameHeader> {
        let at = |i: usize| u32::from_le_bytes(bytes[i..i + 4].try_into().expect("four bytes"));
        let long = |i: usize| u64::from_le_bytes(bytes[i..i + 8].try_into().expect("eight bytes"));
        if bytes.len() < HEADER_BYTES || bytes[..4] != MAGIC || at(12) == 0 {
            return None;
        }
        Some(FrameHeader {
            crc: at(4),
            data_bytes: at(8),
            count: at(12),
            first: long(16),
            arrival_ms: long(24),
            durable: long(32),
            entry: bytes[40],
        })
    }

    /// Length of the whole frame.
    pub fn frame_bytes(&self) -> u64 {
        frame_bytes(self.count as u64, self.data_bytes as u64)
    }
}

/// Length of a frame of so many records and bytes.
pub fn frame_bytes(records: u64, data_bytes: u64) -> u64 {
    (HEADER_BYTES as u64 + data_bytes + 4 * records).next_multiple_of(ALIGN as u64)
}

/// What every checksum of a segment starts from.
pub fn seed(incarnation: &[u8; 16], segment: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(incarnation), &segment.to_le_bytes())
}

/// Appends the frame to `out`.
pub fn encode(out: &mut Vec<u8>, seed: u32, frame: &Frame, durable: u64) {
    let start = out.len();
    let batch = &frame.batch;
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(batch.bytes().len() as u32).to_le_bytes());
    out.extend_from_slice(&(batch.len() as u32).to_le_bytes());
    for word in [frame.first, frame.arrival_ms, durable, frame.entry as u64] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(batch.bytes());
    for end in batch.ends() {
        out.extend_from_slice(&end.to_le_bytes());
    }
    out.resize(start + (out.len() - start).next_multiple_of(ALIGN), 0);
    let crc = crc32c::crc32c_append(seed, &out[start + 8..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// The frame in `bytes`, which are exactly `header.frame_bytes()` long. `None` if it is not what was written.
pub fn decode(seed: u32, header: &FrameHeader, bytes: &[u8]) -> Option<Frame> {
    if crc32c::crc32c_append(seed, &bytes[8..]) != header.crc {
        return None;
    }
    let (data, ends) = bytes[HEADER_BYTES..].split_at(header.data_bytes as usize);
    let ends = ends[..4 * header.count as usize].chunks_exact(4);
    let ends = ends.map(|e| u32::from_le_bytes(e.try_into().expect("four bytes"))).collect();
    Some(Frame {
        first: header.first,
        arrival_ms: header.arrival_ms,
        entry: EntryPoint::from_u8(header.entry)?,
        batch: Arc::new(Records::from_parts(data.to_vec(), ends)?),
        origins: Vec::new(),
    })
}
