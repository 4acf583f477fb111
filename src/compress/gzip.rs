//! One gzip stream from pieces that are compressed on their own: each piece is deflated from a fresh state and ends on
//! a byte boundary (a sync flush), so that one deflate state serves all open objects of a thread, and an open object
//! costs no more than its staged piece. Readers see a single member.

use crc32fast::Hasher;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use std::cell::RefCell;

/// A piece: large enough that a fresh state costs little (measured 3-5 % of size), small enough to keep for each key.
pub(super) const PIECE_BYTES: usize = 128 << 10;
/// RFC 1952: deflate, no flags, no time, no extra flags, unknown operating system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// RFC 1951: a final block with fixed codes that holds nothing.
const LAST_BLOCK: [u8; 2] = [3, 0];

thread_local! {
    static DEFLATE: RefCell<Option<(u32, Compress)>> = const { RefCell::new(None) };
}

/// A gzip stream being written: what was staged leaves it in pieces, to be compressed by whoever has the time, and to be
/// put together in the order in which they left.
pub struct GzipEncoder {
    level: u32,
    crc: Crc,
    staged: Vec<u8>,
    begun: bool,
}

/// A part of the stream, not yet compressed.
pub struct GzipPiece {
    level: u32,
    first: bool,
    raw: Vec<u8>,
}

impl GzipEncoder {
    pub fn new(level: u32) -> Self {
        GzipEncoder { level, crc: Crc::new(), staged: Vec::new(), begun: false }
    }

    pub fn staged(&mut self) -> &mut Vec<u8> {
        &mut self.staged
    }

    /// How many bytes are staged.
    pub fn staged_bytes(&self) -> usize {
        self.staged.len()
    }

    /// Bytes that the next piece still lacks.
    pub fn room(&self) -> usize {
        PIECE_BYTES.saturating_sub(self.staged.len())
    }

    pub fn memory_bytes(&self) -> usize {
        self.staged.capacity()
    }

    /// The next piece of what is staged, if that makes one. Each is as long as the others, so that the stream is the same
    /// bytes however its text comes: a request that is made again has the body of the one before.
    pub fn piece(&mut self) -> Option<GzipPiece> {
        (self.staged.len() >= PIECE_BYTES).then(|| self.take(PIECE_BYTES))
    }

    /// What is still staged: the last piece, if all others were taken. [`GzipEncoder::end`] goes behind it.
    pub fn rest(&mut self) -> GzipPiece {
        self.take(self.staged.len())
    }

    fn take(&mut self, bytes: usize) -> GzipPiece {
        let first = !std::mem::replace(&mut self.begun, true);
        // Whoever has filled a piece fills another one, and a record may go beyond it; the next buffer need not grow.
        let behind = &self.staged[bytes..];
        let mut next = Vec::with_capacity(self.staged.capacity().min(2 * PIECE_BYTES).max(behind.len()));
        next.extend_from_slice(behind);
        self.staged.truncate(bytes);
        self.crc.update(&self.staged);
        GzipPiece { level: self.level, first, raw: std::mem::replace(&mut self.staged, next) }
    }

    /// Ends the stream.
    pub fn end(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&LAST_BLOCK);
        out.extend_from_slice(&self.crc.sum().to_le_bytes());
        out.extend_from_slice(&self.crc.amount().to_le_bytes());
    }
}

/// What makes `before`, the text of a stream of [`GzipEncoder`], and `behind` one stream: it stands around the pieces, which are
/// all of that stream but its ends.
pub struct Around {
    pub front: Vec<u8>,
    pub back: Vec<u8>,
}

impl Around {
    /// Bytes before the pieces of a stream.
    pub const FRONT_BYTES: usize = HEADER.len();
    /// Bytes behind them.
    pub const BACK_BYTES: usize = LAST_BLOCK.len() + 8;

    /// `back`: the last [`Around::BACK_BYTES`] of the stream. Both texts are short: they are stored as they are.
    pub fn new(before: &[u8], back: &[u8; Around::BACK_BYTES], behind: &[u8]) -> Around {
        let [.., c0, c1, c2, c3, a0, a1, a2, a3] = *back;
        let (crc, amount) = (u32::from_le_bytes([c0, c1, c2, c3]), u32::from_le_bytes([a0, a1, a2, a3]));
        let mut all = Hasher::new();
        all.update(before);
        all.combine(&Hasher::new_with_initial_len(crc, amount as u64));
        all.update(behind);
        let mut front = HEADER.to_vec();
        push_stored(&mut front, before, false);
        let mut back = Vec::new();
        push_stored(&mut back, behind, true);
        back.extend_from_slice(&all.finalize().to_le_bytes());
        back.extend_from_slice(&amount.wrapping_add((before.len() + behind.len()) as u32).to_le_bytes());
        Around { front, back }
    }
}

/// RFC 1951 §3.2.4: a block that is not compressed, where a byte begins.
fn push_stored(out: &mut Vec<u8>, text: &[u8], is_last: bool) {
    let bytes = u16::try_from(text.len()).expect("a stored block is short");
    out.push(is_last as u8);
    out.extend_from_slice(&bytes.to_le_bytes());
    out.extend_from_slice(&(!bytes).to_le_bytes());
    out.extend_from_slice(text);
}

impl GzipPiece {
    /// Bytes before compression.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    pub fn compress(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.raw.len() / 4 + 64);
        if self.first {
            out.extend_from_slice(&HEADER);
        }
        if self.raw.is_empty() {
            return out;
        }
        DEFLATE.with_borrow_mut(|slot| {
            if slot.as_ref().is_none_or(|(level, _)| *level != self.level) {
                *slot = Some((self.level, Compress::new(Compression::new(self.level), false)));
            }
            let (_, deflate) = slot.as_mut().expect("filled above");
            deflate.reset();
            deflate_piece(deflate, &self.raw, &mut out);
        });
        out
    }
}

fn deflate_piece(deflate: &mut Compress, piece: &[u8], out: &mut Vec<u8>) {
    loop {
        out.reserve(piece.len() / 4 + 64);
        let consumed = deflate.total_in() as usize;
        let status = deflate
            .compress_vec(&piece[consumed..], out, FlushCompress::Sync)
            .expect("deflate into memory fails only when it is used wrongly");
        let done = deflate.total_in() as usize == piece.len() && out.len() < out.capacity();
        if done || status == Status::BufError && deflate.total_in() as usize == piece.len() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Read;

    fn gunzip_one_member(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut decoder = flate2::bufread::GzDecoder::new(bytes);
        decoder.read_to_end(&mut out).unwrap();
        assert!(decoder.into_inner().is_empty(), "more than one member");
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn the_same_text_is_the_same_bytes_in_whatever_parts_it_comes(
            text in proptest::collection::vec(0u8..20, 0..700_000),
            parts in proptest::collection::vec(1usize..300_000, 1..8),
        ) {
            let compress = |parts: &[usize]| {
                let (mut gzip, mut out, mut rest) = (GzipEncoder::new(1), Vec::new(), text.as_slice());
                for part in parts.iter().cycle() {
                    let (part, behind) = rest.split_at((*part).min(rest.len()));
                    gzip.staged().extend_from_slice(part);
                    while let Some(piece) = gzip.piece() {
                        out.append(&mut piece.compress());
                    }
                    rest = behind;
                    if rest.is_empty() {
                        break;
                    }
                }
                out.append(&mut gzip.rest().compress());
                gzip.end(&mut out);
                out
            };
            let all = compress(&[text.len().max(1)]);
            prop_assert_eq!(gunzip_one_member(&all), text.clone());
            prop_assert_eq!(compress(&parts), all);
        }

        #[test]
        fn what_went_in_comes_out_as_a_single_member(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300_000), 0..4),
            level in 1u32..=9,
        ) {
            let mut gzip = GzipEncoder::new(level);
            let (mut raw, mut out) = (Vec::new(), Vec::new());
            for piece in &pieces {
                raw.extend_from_slice(piece);
                gzip.staged().extend_from_slice(piece);
                out.extend(gzip.piece().map(GzipPiece::compress).unwrap_or_default());
            }
            out.extend(gzip.rest().compress());
            gzip.end(&mut out);
            prop_assert_eq!(&gunzip_one_member(&out), &raw);
            let (pieces, back) = out.split_last_chunk().unwrap();
            let around = Around::new(b"before", back, b"and behind");
            let larger = [&around.front, &pieces[Around::FRONT_BYTES..], &around.back].concat();
            prop_assert_eq!(gunzip_one_member(&larger), [b"before", raw.as_slice(), b"and behind"].concat());
        }
    }
}
