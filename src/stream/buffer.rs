//! Records on their way into one object: the list that a plan will hold, and the object's bytes as far as they are
//! made. The bytes may be dropped and made again; the list decides.

use super::backed_up::Lengths;
use super::list::ListBuilder;
use super::plan::Reason;
use super::route::Chunk;
use super::span::Span;
use super::workers::{Job, Workers};
use crate::compress;
use crate::deliver::{Body, Spool, body::Scratch};
use crate::format::Encoder;
use crate::record::Origin;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub struct Buffer {
    pub list: ListBuilder,
    pub reasons: Vec<Reason>,
    /// Of a backup.
    pub lengths: Lengths,
    /// Bytes of the records as they came, before format and compression: what `buffer.size` counts.
    pub bytes: u64,
    pub oldest_arrival_ms: u64,
    /// Where the first and the last record stand, if that is somebody else's log.
    pub span: Option<Span>,
    /// Steady time at which the first record entered.
    pub opened: Duration,
    pub filling: Filling,
}

/// An object's bytes being made: encoded here, compressed in pieces by whoever has the time, put together in order.
pub struct Filling {
    encoder: Encoder,
    compress: compress::Encoder,
    pieces: VecDeque<(usize, Job<Vec<u8>>)>,
    spool: Spool,
    workers: Arc<Workers>,
}

/// Pieces of one object that are compressed at once; enough to keep the threads of a small machine busy.
const PIECES_MAX: usize = 4;

impl Filling {
    pub fn new(encoder: Encoder, compress: compress::Encoder, scratch: &Arc<Scratch>, workers: &Arc<Workers>) -> Self {
        // Where records are taken one by one there is one buffer for all of them.
        let spool = match encoder {
            Encoder::Packed => Spool::one_of_few(scratch),
            _ => Spool::new(scratch),
        };
        let (pieces, workers) = (VecDeque::new(), workers.clone());
        Filling { encoder, compress, pieces, spool, workers }
    }

    /// Lets `write` append rows through the encoder.
    pub fn write(&mut self, write: impl FnOnce(&mut Encoder, &mut Vec<u8>)) {
        write(&mut self.encoder, self.compress.raw(self.spool.tail()));
        if let Some(piece) = self.compress.piece() {
            self.pieces.push_back((piece.len(), self.workers.start(move || piece.compress())));
        }
        self.collect(PIECES_MAX);
        // A full scratch disk keeps the bytes in memory, where the stream's cap on them stops reading.
        let _ = self.spool.settle();
    }

    /// Appends pieces that are done, and the oldest others until at most `keep` are left.
    fn collect(&mut self, keep: usize) {
        while self.pieces.len() > keep || self.pieces.front().is_some_and(|(_, job)| job.is_done()) {
            let Some((_, job)) = self.pieces.pop_front() else { return };
            self.spool.tail().append(&mut job.finish());
        }
    }

    /// The object. `to_scratch`: it should not stay in memory.
    pub fn finish(mut self, to_scratch: bool) -> Body {
        self.collect(0);
        let Filling { encoder, mut compress, mut spool, .. } = self;
        encoder.finish(compress.raw(spool.tail()));
        if let Some(last) = compress.rest() {
            spool.tail().append(&mut last.compress());
        }
        compress.end(spool.tail());
        let _ = spool.settle();
        spool.finish(to_scratch)
    }

    pub fn memory_bytes(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(|(bytes, _)| bytes).sum();
        self.encoder.memory_bytes() + self.compress.memory_bytes() + pieces + self.spool.memory_bytes()
    }
}

impl Buffer {
    pub fn new(filling: Filling, opened: Duration) -> Self {
        Buffer {
            list: ListBuilder::default(),
            reasons: Vec::new(),
            lengths: Lengths::default(),
            bytes: 0,
            oldest_arrival_ms: u64::MAX,
            span: None,
            opened,
            filling,
        }
    }

    /// Lists an output of record `i` of a chunk, which took `bytes` bytes.
    pub fn push(&mut self, chunk: &Chunk, i: usize, (output, of): (u32, u32), bytes: usize) {
        self.list.push(chunk.offsets[i], output, of);
        self.bytes += bytes as u64;
        if let Some(Origin { position, .. }) = chunk.origins.get(i) {
            let at = || Span { first: position.clone(), last: position.clone() };
            self.span.get_or_insert_with(at).last = position.clone();
        }
    }
}
