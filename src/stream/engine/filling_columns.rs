//! A columnar file that is being made. One worker thread at a time has its encoder, so that rows are encoded in the order in
//! which they came, and what it has encoded goes straight to the object's spool.

use super::filling::YIELDED_BYTES_MIN;
use crate::deliver::{Body, Spool, body::Scratch};
use crate::format::column_file::{ColumnEncoder, ColumnFormat, ExpectedBytes};
use crate::format::rows::ColumnRows;
use crate::stream::pipeline::workers::{Job, Workers};
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard};

/// Rows that are worth a turn of a thread, in bytes of memory. Fewer wait for more, unless they keep a chunk in memory of
/// which they are only a part.
const TURN_BYTES_MIN: usize = 64 << 10;
/// What an encoder must hold in memory to be worth a row group of its own when memory is scarce: smaller ones compress badly, but
/// better than objects that are cut for it.
const SETTLED_BYTES_MIN: usize = 128 << 10;
/// Rows that wait, in bytes of memory, at which the stream waits for the thread that has the encoder.
const WAITING_BYTES_MAX: usize = 2 << 20;

/// A columnar file that is being made.
pub(super) struct ColumnFilling {
    turn: Turn,
    waiting: Vec<GivenRows>,
    waiting_bytes: usize,
    /// Bytes of memory of all rows that were given.
    given_bytes: usize,
    /// What the encoder last expected of the object's size, and of how many of those bytes.
    expected: Option<(ExpectedBytes, usize)>,
    spool: Arc<Mutex<Spool>>,
    workers: Arc<Workers>,
}

/// Who has the encoder.
enum Turn {
    Free(ColumnEncoder),
    /// A thread that appends rows, and what they and the encoder took in memory when it began.
    Appends(Job<ColumnEncoder>, usize),
    /// A thread that makes the end, and the same.
    Ends(Job<()>, usize),
    Gone,
}

/// Rows of a chunk; all of them if none are picked.
struct GivenRows {
    rows: Arc<ColumnRows>,
    picked: Option<Vec<u32>>,
}

impl ColumnFilling {
    /// An empty object.
    pub(super) fn new(format: &ColumnFormat, scratch: &Arc<Scratch>, workers: &Arc<Workers>) -> ColumnFilling {
        let spool = Arc::new(Mutex::new(Spool::new(scratch)));
        let encoder = format.encoder(Box::new(SpoolSink(spool.clone())));
        ColumnFilling {
            turn: Turn::Free(encoder),
            waiting: Vec::new(),
            waiting_bytes: 0,
            given_bytes: 0,
            expected: None,
            spool,
            workers: workers.clone(),
        }
    }

    /// Appends the rows of the picked records of a chunk.
    pub(super) fn push(&mut self, rows: &Arc<ColumnRows>, picked: &[u32]) {
        let is_all = picked.len() == rows.records();
        let picked = (!is_all).then(|| picked.to_vec());
        let part = picked.as_ref().map_or(1.0, |picked| picked.len() as f64 / rows.records() as f64);
        let bytes = (rows.memory_bytes() as f64 * part) as usize;
        self.waiting_bytes += bytes;
        self.given_bytes += bytes;
        self.waiting.push(GivenRows { rows: rows.clone(), picked });
        self.go_on();
        while self.waiting_bytes > WAITING_BYTES_MAX {
            self.take_back();
            self.start();
        }
    }

    /// Hands over what waits, if that is worth it and no thread has the encoder.
    pub(super) fn go_on(&mut self) {
        if matches!(&self.turn, Turn::Appends(job, _) if job.is_done()) {
            self.take_back();
        }
        let is_worth_it =
            || self.waiting_bytes >= TURN_BYTES_MIN || self.waiting.iter().any(|given| given.picked.is_some());
        if matches!(self.turn, Turn::Free(_)) && is_worth_it() {
            self.start();
        }
    }

    fn start(&mut self) {
        self.run(|_| {});
    }

    /// Has what waits appended, and `then` done.
    fn run(&mut self, then: impl FnOnce(&mut ColumnEncoder) + Send + 'static) {
        let Turn::Free(mut encoder) = std::mem::replace(&mut self.turn, Turn::Gone) else { return };
        let waiting = std::mem::take(&mut self.waiting);
        let bytes = encoder.memory_bytes() + std::mem::take(&mut self.waiting_bytes);
        let job = self.workers.start(move || {
            waiting.into_iter().for_each(|given| given.append(&mut encoder));
            then(&mut encoder);
            encoder
        });
        self.turn = Turn::Appends(job, bytes);
    }

    /// Waits for the thread that has the encoder.
    fn take_back(&mut self) {
        self.turn = match std::mem::replace(&mut self.turn, Turn::Gone) {
            Turn::Appends(job, _) => {
                let encoder = job.finish();
                let encoded = self.given_bytes - self.waiting_bytes;
                self.expected = encoder.expected_bytes().map(|expected| (expected, encoded));
                Turn::Free(encoder)
            }
            other => other,
        };
    }

    /// Waits until all that was given is encoded, as far as it is encoded before the end.
    pub(super) fn catch_up(&mut self) {
        self.take_back();
        if !self.waiting.is_empty() {
            self.start();
            self.take_back();
        }
    }

    /// Bytes that the object would have if it ended now; `None`: that was last told when it was less than half of what it is.
    pub(super) fn expected_bytes(&self) -> Option<ExpectedBytes> {
        let (ExpectedBytes { fixed, settled, open }, of) =
            self.expected.filter(|(_, of)| of * 2 >= self.given_bytes)?;
        // What waits becomes what all before it became.
        let waiting = (settled - fixed + open) * (self.given_bytes as f64 / of as f64 - 1.0);
        Some(ExpectedBytes { fixed, settled, open: open + waiting })
    }

    /// Ends what can be ended before the object's end, and waits for it.
    pub(super) fn settle(&mut self) {
        self.catch_up();
        self.run(ColumnEncoder::settle);
        self.take_back();
    }

    /// Has the end of the object made.
    pub(super) fn end(&mut self) {
        self.take_back();
        let Turn::Free(mut encoder) = std::mem::replace(&mut self.turn, Turn::Gone) else { return };
        let waiting = std::mem::take(&mut self.waiting);
        let bytes = encoder.memory_bytes() + std::mem::take(&mut self.waiting_bytes);
        let job = self.workers.start(move || {
            waiting.into_iter().for_each(|given| given.append(&mut encoder));
            encoder.finish();
        });
        self.turn = Turn::Ends(job, bytes);
    }

    /// The object. `to_scratch`: it should not stay in memory.
    pub(super) fn finish(mut self, to_scratch: bool) -> Body {
        if !matches!(self.turn, Turn::Ends(..)) {
            self.end();
        }
        if let Turn::Ends(job, _) = self.turn {
            job.finish();
        }
        let spool = Arc::into_inner(self.spool).expect("the encoder has gone, and its sink with it");
        spool.into_inner().expect(NOBODY_PANICS).finish(to_scratch)
    }

    /// Gives back what memory can be had without ending the object, if it is worth a write.
    pub(super) fn yield_memory(&mut self) {
        if self.unsettled_bytes() >= SETTLED_BYTES_MIN {
            self.settle();
        }
        let mut spool = lock(&self.spool);
        if spool.memory_bytes() >= YIELDED_BYTES_MIN {
            // Without room on the scratch disk it stays where it is.
            let _ = spool.yield_memory();
        }
    }

    /// What the encoder takes in memory, and what waits for it.
    fn unsettled_bytes(&self) -> usize {
        let encoder = match &self.turn {
            Turn::Free(encoder) => encoder.memory_bytes(),
            Turn::Appends(_, bytes) | Turn::Ends(_, bytes) => *bytes,
            Turn::Gone => 0,
        };
        encoder + self.waiting_bytes
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.unsettled_bytes() + lock(&self.spool).memory_bytes()
    }
}

impl GivenRows {
    fn append(self, encoder: &mut ColumnEncoder) {
        encoder.push(&self.rows, self.picked.as_deref());
    }
}

const NOBODY_PANICS: &str = "nobody panics holding it";

fn lock(spool: &Mutex<Spool>) -> MutexGuard<'_, Spool> {
    spool.lock().expect(NOBODY_PANICS)
}

/// Where an encoder's bytes go.
struct SpoolSink(Arc<Mutex<Spool>>);

impl Write for SpoolSink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut spool = lock(&self.0);
        spool.tail().extend_from_slice(bytes);
        // A full scratch disk keeps the bytes in memory, where the stream's cap on them stops reading.
        let _ = spool.settle();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
