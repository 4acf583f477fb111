//! Columnar files: rows of one schema to one object, whatever kind of file it is.

use super::metadata::{MetadataColumns, RecordFacts};
use super::orc::{OrcEncoder, OrcFormat};
use super::parquet::{ParquetEncoder, ParquetFormat};
use super::rows::{ColumnRows, RecordTable};
use super::{Converted, Rows};
use crate::record::Records;
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// A format whose objects are columnar files.
pub struct ColumnFormat {
    table: RecordTable,
    file: ColumnFile,
    metadata: Option<MetadataColumns>,
}

/// The kind of file.
pub enum ColumnFile {
    Parquet(ParquetFormat),
    Orc(OrcFormat),
}

/// One object being written.
pub enum ColumnEncoder {
    Parquet(Box<ParquetEncoder>),
    Orc(Box<OrcEncoder>),
}

/// Bytes that an object is expected to have if it ended now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpectedBytes {
    /// Those of `settled` that every object has, however few rows are in it.
    pub fixed: f64,
    /// They will not change any more.
    pub settled: f64,
    /// A guess at what becomes of the rest.
    pub open: f64,
}

/// Where an object's bytes go as soon as they are known. It keeps what it is given and never fails.
pub type ByteSink = Box<dyn Write + Send>;

impl ColumnFormat {
    pub fn new(table: RecordTable, file: ColumnFile) -> Self {
        ColumnFormat { table, file, metadata: None }
    }

    /// The same with further columns, which the file has to know.
    pub fn with_metadata(self, metadata: MetadataColumns) -> Self {
        ColumnFormat { metadata: Some(metadata).filter(|metadata| !metadata.columns().is_empty()), ..self }
    }

    /// Whether it matters what is known of records besides their bytes.
    pub fn has_metadata(&self) -> bool {
        self.metadata.is_some()
    }

    /// Converts records, of which so much is known.
    pub fn convert(&self, records: &Records, facts: &RecordFacts) -> Converted {
        let converted = self.table.convert(records);
        match (&self.metadata, &converted.rows) {
            (Some(metadata), Rows::Columns(rows)) => {
                Converted { rows: Rows::Columns(metadata.add(rows, facts)), ..converted }
            }
            _ => converted,
        }
    }

    /// A new object, whose bytes go to `sink`.
    pub fn encoder(&self, sink: ByteSink) -> ColumnEncoder {
        let schema = self.metadata.as_ref().map_or_else(|| self.table.arrow(), MetadataColumns::schema).clone();
        match &self.file {
            ColumnFile::Parquet(parquet) => ColumnEncoder::Parquet(Box::new(parquet.encoder(schema, sink))),
            ColumnFile::Orc(orc) => ColumnEncoder::Orc(Box::new(orc.encoder(schema, sink))),
        }
    }

    /// Firehose's extension of the file (docs/firehose.md: "Extensions").
    pub fn extension(&self) -> &'static str {
        match &self.file {
            ColumnFile::Parquet(_) => ".parquet",
            ColumnFile::Orc(_) => ".orc",
        }
    }
}

impl ColumnFormat {
    /// Firehose's `Content-Encoding` of the file, as far as it is known.
    pub fn content_encoding(&self) -> Option<&'static str> {
        match &self.file {
            ColumnFile::Parquet(_) => Some("hadoop-snappy"),
            ColumnFile::Orc(_) => None,
        }
    }
}

impl ColumnEncoder {
    /// Appends the rows of records of a chunk; `None`: of all of them.
    pub fn push(&mut self, rows: &ColumnRows, picked: Option<&[u32]>) {
        match self {
            ColumnEncoder::Parquet(parquet) => parquet.push(rows, picked),
            ColumnEncoder::Orc(orc) => orc.push(rows, picked),
        }
    }

    /// Writes the object's end.
    pub fn finish(self) {
        match self {
            ColumnEncoder::Parquet(parquet) => parquet.finish(),
            ColumnEncoder::Orc(orc) => orc.finish(),
        }
    }

    /// Bytes that the object would have if it ended now, roughly; `None`: nothing is encoded yet.
    pub fn expected_bytes(&self) -> Option<ExpectedBytes> {
        match self {
            ColumnEncoder::Parquet(parquet) => parquet.expected_bytes(),
            ColumnEncoder::Orc(orc) => orc.expected_bytes(),
        }
    }

    /// Ends what can be ended before the object's end: a row group, or a stripe.
    pub fn settle(&mut self) {
        match self {
            ColumnEncoder::Parquet(parquet) => parquet.settle(),
            ColumnEncoder::Orc(orc) => orc.settle(),
        }
    }

    /// Bytes held in memory beyond what went to the sink.
    pub fn memory_bytes(&self) -> usize {
        match self {
            ColumnEncoder::Parquet(parquet) => parquet.memory_bytes(),
            ColumnEncoder::Orc(orc) => orc.memory_bytes(),
        }
    }
}

/// Rows that wait, as they came, until there are enough of them to begin a row group or a stripe: one that is open costs up to a
/// mebibyte.
pub(super) struct StagedRows {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    bytes: usize,
    bytes_max: usize,
    batches_max: usize,
    /// Of rows that do not wait any more, or did not have to, as they were in memory.
    taken_bytes: usize,
}

const STAGED_BYTES: usize = 64 << 10;
const STAGED_BATCHES: usize = 32;

impl StagedRows {
    pub(super) fn new(schema: SchemaRef) -> StagedRows {
        StagedRows::of(schema, STAGED_BYTES, STAGED_BATCHES)
    }

    /// The same of up to `bytes_max` bytes of memory, in at most `batches_max` pieces.
    pub(super) fn of(schema: SchemaRef, bytes_max: usize, batches_max: usize) -> StagedRows {
        StagedRows { schema, batches: Vec::new(), bytes: 0, bytes_max, batches_max, taken_bytes: 0 }
    }

    /// Adds rows. Whether there are enough.
    pub(super) fn push(&mut self, batch: RecordBatch) -> bool {
        self.bytes += batch.get_array_memory_size();
        self.batches.push(batch);
        if self.batches.len() > self.batches_max {
            self.batches = self.whole().into_iter().collect();
        }
        self.bytes > self.bytes_max
    }

    /// Takes note of rows that do not have to wait.
    pub(super) fn pass(&mut self, batch: &RecordBatch) {
        self.taken_bytes += batch.get_array_memory_size();
    }

    fn whole(&self) -> Option<RecordBatch> {
        let whole = || concat_batches(&self.schema, &self.batches).expect("batches of one schema");
        (!self.batches.is_empty()).then(whole)
    }

    /// All rows; none are left.
    pub(super) fn take(&mut self) -> Vec<RecordBatch> {
        self.taken_bytes += std::mem::take(&mut self.bytes);
        std::mem::take(&mut self.batches)
    }

    /// The same as one batch; `None`: there are none.
    pub(super) fn take_whole(&mut self) -> Option<RecordBatch> {
        let whole = self.whole();
        self.take();
        whole
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes
    }

    /// What is expected of all rows so far: those that wait become what the others became, of which `settled` bytes will not change
    /// and `open` may. `(one, all)` is what stands at the file's end if there is one row group, and if there are all.
    pub(super) fn expected(&self, (one, all): (usize, usize), settled: usize, open: usize) -> ExpectedBytes {
        let waiting = (settled + open) as f64 * self.bytes as f64 / self.taken_bytes.max(1) as f64;
        ExpectedBytes { fixed: one as f64, settled: (settled + all) as f64, open: open as f64 + waiting }
    }
}

/// What stands at a file's end: of small files it is a good part. Shared by all objects of a format.
#[derive(Clone, Default)]
pub(super) struct FooterBytes(Arc<FooterParts>);

#[derive(Default)]
struct FooterParts {
    /// Of a file without rows.
    empty: OnceLock<usize>,
    /// More for each row group or stripe, as the last file had it.
    of_group: AtomicUsize,
}

impl FooterBytes {
    /// Takes note of a file without rows, which `write` writes, if none was written before.
    pub(super) fn of_empty(&self, write: impl FnOnce() -> usize) {
        self.0.empty.get_or_init(write);
    }

    /// Takes note of a file's end.
    pub(super) fn learn(&self, bytes: usize, groups: usize) {
        let of_groups = bytes.saturating_sub(self.empty());
        self.0.of_group.store(of_groups / groups.max(1), Ordering::Relaxed);
    }

    fn empty(&self) -> usize {
        self.0.empty.get().copied().unwrap_or_default()
    }

    /// What is expected at the end of a file of one row group, and of so many.
    pub(super) fn expected(&self, groups: usize) -> (usize, usize) {
        let (empty, of_group) = (self.empty(), self.0.of_group.load(Ordering::Relaxed));
        (empty + of_group, empty + of_group * groups)
    }
}

/// A sink in memory, to be emptied now and then.
#[derive(Clone, Default)]
pub struct EncodedBytes(Arc<Mutex<Vec<u8>>>);

impl EncodedBytes {
    /// What has come since the last time.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().expect("nobody panics holding it"))
    }
}

impl Write for EncodedBytes {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panics holding it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
