//! One gzip stream from pieces that are compressed on their own: each piece is deflated from a fresh state and ends on
//! a byte boundary (a sync flush), so that one deflate state serves all open objects of a thread, and an open object
//! costs no more than its staged piece. Readers see a single member.

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use std::cell::RefCell;

/// A piece: large enough that a fresh state costs little (measured 3-5 % of size), small enough to keep for each key.
const PIECE_BYTES: usize = 128 << 10;
/// RFC 1952: deflate, no flags, no time, no extra flags, unknown operating system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
/// RFC 1951: a final block with fixed codes that holds nothing.
const LAST_BLOCK: [u8; 2] = [3, 0];

thread_local! {
    static DEFLATE: RefCell<Option<(u32, Compress)>> = const { RefCell::new(None) };
}

/// A gzip stream being written.
pub struct Gzip {
    level: u32,
    crc: Crc,
    staged: Vec<u8>,
    begun: bool,
}

impl Gzip {
    pub fn new(level: u32) -> Self {
        Gzip { level, crc: Crc::new(), staged: Vec::new(), begun: false }
    }

    pub fn staged(&mut self) -> &mut Vec<u8> {
        &mut self.staged
    }

    pub fn memory_bytes(&self) -> usize {
        self.staged.capacity()
    }

    /// Compresses the staged bytes if they make a piece.
    pub fn settle(&mut self, out: &mut Vec<u8>) {
        if self.staged.len() >= PIECE_BYTES {
            self.compress_staged(out);
        }
    }

    fn compress_staged(&mut self, out: &mut Vec<u8>) {
        if !self.begun {
            out.extend_from_slice(&HEADER);
            self.begun = true;
        }
        if self.staged.is_empty() {
            return;
        }
        self.crc.update(&self.staged);
        DEFLATE.with_borrow_mut(|slot| {
            if slot.as_ref().is_none_or(|(level, _)| *level != self.level) {
                *slot = Some((self.level, Compress::new(Compression::new(self.level), false)));
            }
            let (_, deflate) = slot.as_mut().expect("filled above");
            deflate.reset();
            deflate_piece(deflate, &self.staged, out);
        });
        self.staged.clear();
        // A burst must not keep a large buffer for ever.
        self.staged.shrink_to(2 * PIECE_BYTES);
    }

    pub fn finish(mut self, out: &mut Vec<u8>) {
        self.compress_staged(out);
        out.extend_from_slice(&LAST_BLOCK);
        out.extend_from_slice(&self.crc.sum().to_le_bytes());
        out.extend_from_slice(&self.crc.amount().to_le_bytes());
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
        fn what_went_in_comes_out_as_a_single_member(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300_000), 0..4),
            level in 1u32..=9,
        ) {
            let mut gzip = Gzip::new(level);
            let (mut raw, mut out) = (Vec::new(), Vec::new());
            for piece in &pieces {
                raw.extend_from_slice(piece);
                gzip.staged().extend_from_slice(piece);
                gzip.settle(&mut out);
            }
            gzip.finish(&mut out);
            prop_assert_eq!(gunzip_one_member(&out), raw);
        }
    }
}
