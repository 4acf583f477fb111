//! An object's bytes being made. The stream's own thread says which records come next, and the worker threads encode and
//! compress them; what they have made is put together in the order in which the records came.

use super::filling_columns::ColumnFilling;
use crate::compress::CompressEncoder;
use crate::deliver::{Body, Spool, body::Scratch};
use crate::format::column_file::ExpectedBytes;
use crate::format::{FormatEncoder, Rows};
use crate::record::Records;
use crate::record::index::Index;
use crate::stream::pipeline::workers::{Job, Workers};
use std::collections::VecDeque;
use std::sync::Arc;

/// An object's bytes being made.
pub(super) enum Filling {
    /// Of records that stay as they are.
    Bytes(Box<ByteFilling>),
    /// Of rows.
    Columns(Box<ColumnFilling>),
}

/// Records one after the other, compressed in pieces by whoever has the time.
pub(super) struct ByteFilling {
    encoder: FormatEncoder,
    compress: CompressEncoder,
    pieces: VecDeque<(usize, Job<Vec<u8>>)>,
    spool: Spool,
    /// Bytes whose compressed form is in the spool.
    compressed: u64,
    workers: Arc<Workers>,
}

/// Pieces of one object that are compressed at once; enough to keep the threads of a small machine busy.
const PIECES_MAX: usize = 4;
/// Of a plan for an endpoint in memory before it goes to scratch: most requests are smaller.
const ELEMENTS_BYTES: usize = 8 << 20;
/// What is worth a write to scratch when memory is scarce.
pub(super) const YIELDED_BYTES_MIN: usize = 64 << 10;

impl Filling {
    /// An empty object of records that stay as they are.
    pub(super) fn of_bytes(
        encoder: FormatEncoder,
        compress: CompressEncoder,
        scratch: &Arc<Scratch>,
        workers: &Arc<Workers>,
    ) -> Self {
        let spool = match encoder {
            // There is one buffer of them, and each is sent soon.
            FormatEncoder::Elements(_) => Spool::holding(scratch, ELEMENTS_BYTES),
            FormatEncoder::Lines(_) => Spool::new(scratch),
        };
        let (pieces, workers) = (VecDeque::new(), workers.clone());
        Filling::Bytes(Box::new(ByteFilling { encoder, compress, pieces, spool, compressed: 0, workers }))
    }

    /// Appends the picked records' rows, which arrived at `arrivals`.
    pub(super) fn push(&mut self, records: &Records, rows: &Rows, picked: &[u32], arrivals: &[u64]) {
        match (self, rows) {
            (Filling::Bytes(filling), _) => filling.push(records, picked, arrivals),
            (Filling::Columns(filling), Rows::Columns(rows)) => filling.push(rows, picked),
            (Filling::Columns(_), Rows::Bytes) => unreachable!("rows and object are of the same format"),
        }
    }

    /// Lets `write` append to an object of records that stay as they are.
    pub(super) fn write(&mut self, write: impl FnOnce(&mut FormatEncoder, &mut Vec<u8>)) {
        match self {
            Filling::Bytes(filling) => filling.write(write),
            Filling::Columns(_) => unreachable!("errors and backups are no rows"),
        }
    }

    /// Hands over what waits for a thread that is free now.
    pub(super) fn go_on(&mut self) {
        if let Filling::Columns(filling) = self {
            filling.go_on();
        }
    }

    /// Bytes that the object would have if it ended now, as far as that can be told.
    pub(super) fn expected_bytes(&self) -> Option<ExpectedBytes> {
        match self {
            Filling::Bytes(filling) => filling.expected_bytes(),
            Filling::Columns(filling) => filling.expected_bytes(),
        }
    }

    /// Waits until all that was given is encoded, as far as it is encoded before the end.
    pub(super) fn catch_up(&mut self) {
        match self {
            Filling::Bytes(filling) => filling.collect(0),
            Filling::Columns(filling) => filling.catch_up(),
        }
    }

    /// Settles what was given, if the format can do that before the object's end, and waits for it.
    pub(super) fn settle(&mut self) {
        match self {
            Filling::Bytes(filling) => filling.collect(0),
            Filling::Columns(filling) => filling.settle(),
        }
    }

    /// Has the end of the object made; nothing is appended behind it.
    pub(super) fn end(&mut self) {
        if let Filling::Columns(filling) = self {
            filling.end();
        }
    }

    /// The object. `to_scratch`: it should not stay in memory.
    pub(super) fn finish(self, to_scratch: bool) -> Body {
        match self {
            Filling::Bytes(filling) => filling.finish(to_scratch),
            Filling::Columns(filling) => filling.finish(to_scratch),
        }
    }

    /// Gives back what memory can be had without ending the object, if it is worth a write.
    pub(super) fn yield_memory(&mut self) {
        match self {
            Filling::Bytes(filling) => filling.yield_memory(),
            Filling::Columns(filling) => filling.yield_memory(),
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            Filling::Bytes(filling) => filling.memory_bytes(),
            Filling::Columns(filling) => filling.memory_bytes(),
        }
    }
}

impl ByteFilling {
    fn push(&mut self, records: &Records, picked: &[u32], arrivals: &[u64]) {
        let (mut from, mut bytes) = (0, 0);
        for (i, &record) in (1..).zip(picked) {
            bytes += records.get(record as usize).len();
            if bytes >= self.compress.room() || i == picked.len() {
                self.write(|encoder, out| encoder.push(records, &picked[from..i], &arrivals[from..i], out));
                (from, bytes) = (i, 0);
            }
        }
    }

    fn write(&mut self, write: impl FnOnce(&mut FormatEncoder, &mut Vec<u8>)) {
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
            let Some((bytes, job)) = self.pieces.pop_front() else { return };
            self.compressed += bytes as u64;
            self.spool.tail().append(&mut job.finish());
        }
    }

    fn expected_bytes(&self) -> Option<ExpectedBytes> {
        let settled = self.spool.len() as f64;
        let CompressEncoder::Gzip(gzip) = &self.compress else {
            return Some(ExpectedBytes { fixed: 0.0, settled, open: 0.0 });
        };
        let pieces: usize = self.pieces.iter().map(|(bytes, _)| bytes).sum();
        let waiting = (pieces + gzip.staged_bytes()) as f64;
        (self.compressed > 0).then(|| ExpectedBytes {
            fixed: 0.0,
            settled,
            open: waiting * settled / self.compressed as f64,
        })
    }

    fn finish(mut self, to_scratch: bool) -> Body {
        self.collect(0);
        let ByteFilling { encoder, mut compress, mut spool, .. } = self;
        let gzip = matches!(compress, CompressEncoder::Gzip(_));
        if let Some(last) = compress.rest() {
            spool.tail().append(&mut last.compress());
        }
        compress.end(spool.tail());
        let _ = spool.settle();
        let body = spool.finish(to_scratch);
        match encoder.index() {
            Some(index) => body.of_records(Index { gzip, ..index }),
            None => body,
        }
    }

    fn yield_memory(&mut self) {
        if self.spool.memory_bytes() >= YIELDED_BYTES_MIN {
            // Without room on the scratch disk it stays where it is.
            let _ = self.spool.yield_memory();
        }
    }

    fn memory_bytes(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(|(bytes, _)| bytes).sum();
        self.encoder.memory_bytes() + self.compress.memory_bytes() + pieces + self.spool.memory_bytes()
    }
}
