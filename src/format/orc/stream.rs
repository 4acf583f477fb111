//! The bytes of one stream: cut into chunks, each compressed on its own, as everything of an ORC file but its last bytes is.

use super::proto::CompressionKind;
use flate2::{Compress, Compression, FlushCompress};
use std::cell::RefCell;

/// What a chunk's bytes go through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrcCodec {
    #[default]
    Snappy,
    Zlib,
    Zstd,
    None,
}

/// A chunk before it is compressed. A reader has to hold one of each stream that it reads.
pub(super) const CHUNK_BYTES: usize = 256 << 10;
/// Of a chunk: its length, twice, and one more if it is not compressed.
const HEADER_BYTES: usize = 3;
/// Faster than the default, and hardly larger.
const ZLIB_LEVEL: u32 = 4;
const ZSTD_LEVEL: i32 = 3;

thread_local! {
    static CODECS: RefCell<Codecs> = RefCell::new(Codecs::default());
}

/// States that are worth to be kept, of a thread.
#[derive(Default)]
struct Codecs {
    snappy: Option<snap::raw::Encoder>,
    zlib: Option<Compress>,
    zstd: Option<zstd::bulk::Compressor<'static>>,
}

impl OrcCodec {
    pub(super) fn kind(self) -> CompressionKind {
        match self {
            OrcCodec::Snappy => CompressionKind::Snappy,
            OrcCodec::Zlib => CompressionKind::Zlib,
            OrcCodec::Zstd => CompressionKind::Zstd,
            OrcCodec::None => CompressionKind::None,
        }
    }

    /// Appends `raw` to `out`, in chunks.
    pub(super) fn write(self, raw: &[u8], out: &mut Vec<u8>) {
        match self {
            OrcCodec::None => out.extend_from_slice(raw),
            _ => raw.chunks(CHUNK_BYTES).for_each(|chunk| self.write_chunk(chunk, out)),
        }
    }

    fn write_chunk(self, raw: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_BYTES]);
        let body = out.len();
        let fits = CODECS.with_borrow_mut(|codecs| codecs.compress(self, raw, out));
        let is_raw = !fits || out.len() - body >= raw.len();
        if is_raw {
            out.truncate(body);
            out.extend_from_slice(raw);
        }
        let header = ((out.len() - body) as u32) << 1 | is_raw as u32;
        out[start..body].copy_from_slice(&header.to_le_bytes()[..HEADER_BYTES]);
    }
}

impl Codecs {
    /// Appends `raw`, compressed. `false`: it would be no smaller.
    fn compress(&mut self, compression: OrcCodec, raw: &[u8], out: &mut Vec<u8>) -> bool {
        let body = out.len();
        match compression {
            OrcCodec::None => false,
            OrcCodec::Snappy => {
                out.resize(body + snap::raw::max_compress_len(raw.len()), 0);
                let snappy = self.snappy.get_or_insert_with(snap::raw::Encoder::new);
                let done = snappy.compress(raw, &mut out[body..]);
                out.truncate(body + done.as_ref().copied().unwrap_or(0));
                done.is_ok()
            }
            OrcCodec::Zlib => {
                let zlib = self.zlib.get_or_insert_with(|| Compress::new(Compression::new(ZLIB_LEVEL), false));
                zlib.reset();
                out.resize(body + raw.len(), 0);
                let done = zlib.compress(raw, &mut out[body..], FlushCompress::Finish);
                out.truncate(body + zlib.total_out() as usize);
                // Not at its end: there was no room for what is no smaller.
                matches!(done, Ok(flate2::Status::StreamEnd))
            }
            OrcCodec::Zstd => {
                let Some(zstd) = self.zstd.as_mut() else {
                    self.zstd = zstd::bulk::Compressor::new(ZSTD_LEVEL).ok();
                    return self.zstd.is_some() && self.compress(compression, raw, out);
                };
                out.resize(body + zstd::zstd_safe::compress_bound(raw.len()), 0);
                let done = zstd.compress_to_buffer(raw, &mut out[body..]);
                out.truncate(body + done.as_ref().copied().unwrap_or(0));
                done.is_ok()
            }
        }
    }
}

/// A stream being written.
pub(super) struct OrcStream {
    compression: OrcCodec,
    /// Not a whole chunk yet.
    open: Vec<u8>,
    written: Vec<u8>,
}

impl OrcStream {
    pub(super) fn new(compression: OrcCodec) -> OrcStream {
        OrcStream { compression, open: Vec::new(), written: Vec::new() }
    }

    /// The buffer to append to; [`OrcStream::settle`] follows.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.open
    }

    /// Compresses the chunks that are whole.
    pub(super) fn settle(&mut self) {
        let whole = self.open.len() / CHUNK_BYTES * CHUNK_BYTES;
        if whole > 0 {
            self.compression.write(&self.open[..whole], &mut self.written);
            self.open.drain(..whole);
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
        self.settle();
    }

    /// Where the next byte will stand, as a row index has it: where its chunk begins and how far behind that it is.
    pub(super) fn position(&self, positions: &mut Vec<u64>) {
        match self.compression {
            OrcCodec::None => positions.push((self.written.len() + self.open.len()) as u64),
            _ => positions.extend([self.written.len() as u64, self.open.len() as u64]),
        }
    }

    /// All of it, which leaves an empty stream behind.
    pub(super) fn take(&mut self) -> Vec<u8> {
        self.compression.write(&self.open, &mut self.written);
        self.open.clear();
        std::mem::take(&mut self.written)
    }

    /// Bytes that are compressed, and those that are not yet.
    pub(super) fn sizes(&self) -> (usize, usize) {
        (self.written.len(), self.open.len())
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.open.capacity() + self.written.capacity()
    }
}
