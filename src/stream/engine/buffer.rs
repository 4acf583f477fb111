//! Records on their way into one object: the list that a plan will hold, and the object's bytes as far as they are
//! made. The bytes may be dropped and made again; the list decides.

use crate::compress;
use crate::deliver::{Body, Spool, body::Scratch};
use crate::format::{FormatEncoder, Rows};
use crate::partition::key::Key;
use crate::record::index::Index;
use crate::record::{Origin, Records};
use crate::stream::pipeline::route::Chunk;
use crate::stream::pipeline::workers::{Job, Workers};
use crate::stream::plan::lengths::Lengths;
use crate::stream::plan::list::ListBuilder;
use crate::stream::plan::span::Span;
use crate::stream::plan::{Outlet, Reason};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// Where a buffer belongs. Failures have one key an outlet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BufferSlot {
    pub(super) outlet: Outlet,
    pub(super) key: Key,
    /// 0: it is filled. Others are as large as their sink allows and about to be cut.
    pub(super) closed: u32,
}

impl BufferSlot {
    pub(super) fn open(outlet: Outlet, key: Key) -> BufferSlot {
        BufferSlot { outlet, key, closed: 0 }
    }
}

/// Records on their way into one object.
pub(super) struct KeyBuffer {
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
pub(super) struct Filling {
    encoder: FormatEncoder,
    compress: compress::CompressEncoder,
    pieces: VecDeque<(usize, Job<Vec<u8>>)>,
    spool: Spool,
    workers: Arc<Workers>,
}

/// Pieces of one object that are compressed at once; enough to keep the threads of a small machine busy.
const PIECES_MAX: usize = 4;
/// Of a plan for an endpoint in memory before it goes to scratch: most requests are smaller.
const ELEMENTS_BYTES: usize = 8 << 20;
/// What is worth a write to scratch when memory is scarce.
const YIELDED_BYTES_MIN: usize = 64 << 10;

impl Filling {
    pub(super) fn new(
        encoder: FormatEncoder,
        compress: compress::CompressEncoder,
        scratch: &Arc<Scratch>,
        workers: &Arc<Workers>,
    ) -> Self {
        let spool = match encoder {
            // There is one buffer of them, and each is sent soon.
            FormatEncoder::Elements(_) => Spool::holding(scratch, ELEMENTS_BYTES),
            _ => Spool::new(scratch),
        };
        let (pieces, workers) = (VecDeque::new(), workers.clone());
        Filling { encoder, compress, pieces, spool, workers }
    }

    /// Appends the picked records' rows, which arrived at `arrivals`.
    pub(super) fn push(&mut self, records: &Records, rows: &Rows, picked: &[u32], arrivals: &[u64]) {
        if !matches!(rows, Rows::Bytes) {
            return self.write(|encoder, out| encoder.push(records, rows, picked, arrivals, out));
        }
        let (mut from, mut bytes) = (0, 0);
        for (i, &record) in (1..).zip(picked) {
            bytes += records.get(record as usize).len();
            if bytes >= self.compress.room() || i == picked.len() {
                self.write(|encoder, out| encoder.push(records, rows, &picked[from..i], &arrivals[from..i], out));
                (from, bytes) = (i, 0);
            }
        }
    }

    /// Lets `write` append rows through the encoder.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut FormatEncoder, &mut Vec<u8>)) {
        write(&mut self.encoder, self.compress.raw(self.spool.tail()));
        while let Some(piece) = self.compress.piece() {
            self.pieces.push_back((piece.len(), self.workers.start(move || piece.compress())));
            self.collect(PIECES_MAX);
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
    pub(super) fn finish(mut self, to_scratch: bool) -> Body {
        self.collect(0);
        let Filling { encoder, mut compress, mut spool, .. } = self;
        let gzip = matches!(compress, compress::CompressEncoder::Gzip(_));
        let index = encoder.finish(compress.raw(spool.tail()));
        if let Some(last) = compress.rest() {
            spool.tail().append(&mut last.compress());
        }
        compress.end(spool.tail());
        let _ = spool.settle();
        let body = spool.finish(to_scratch);
        match index {
            Some(index) => body.of_records(Index { gzip, ..index }),
            None => body,
        }
    }

    /// Gives back what memory can be had without ending the object, if it is worth a write.
    pub(super) fn yield_memory(&mut self) {
        if self.spool.memory_bytes() >= YIELDED_BYTES_MIN {
            // Without room on the scratch disk it stays where it is.
            let _ = self.spool.yield_memory();
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(|(bytes, _)| bytes).sum();
        self.encoder.memory_bytes() + self.compress.memory_bytes() + pieces + self.spool.memory_bytes()
    }
}

impl KeyBuffer {
    pub(super) fn new(filling: Filling, opened: Duration) -> Self {
        KeyBuffer {
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
    pub(super) fn push(&mut self, chunk: &Chunk, i: usize, (output, of): (u32, u32), bytes: usize) {
        self.list.push(chunk.offsets[i], output, of);
        self.bytes += bytes as u64;
        if let Some(Origin { position, .. }) = chunk.origins.get(i) {
            let at = || Span { first: position.clone(), last: position.clone() };
            self.span.get_or_insert_with(at).last = position.clone();
        }
    }
}
