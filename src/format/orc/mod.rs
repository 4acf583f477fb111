//! Rows to ORC objects: version 0.12 of the format, as the ORC v1 specification has it.
//!
//! A stripe is held in memory, compressed, until it is as large as stripes are to be; it goes to the object's sink then. Columns
//! are encoded as rows come, and each row group has its place in every stream written down, so that readers may go straight to
//! it.

mod column;
mod proto;
mod runs;
mod statistics;
mod stream;
mod strings;
mod stripe;
#[cfg(test)]
mod tests;
mod types;
mod values;

use super::column_file::{ByteSink, ExpectedBytes, FooterBytes, StagedRows};
use super::rows::ColumnRows;
use super::schema::{ColumnType, NamedType};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use column::ColumnWriter;
use prost::Message;
use proto::{
    FileFooter, Metadata, PostScript, StreamKind, StripeFooter, StripeInformation, StripeStatistics, StripeStream, Type,
};
use std::sync::Arc;
pub use stream::OrcCodec;
use stripe::StripeParts;
use types::push_types;

const MAGIC: &[u8] = b"ORC";
/// The version of the format.
const VERSION: [u32; 2] = [0, 12];
/// What readers have to know of writers of that version: `ORC-135`, the statistics of timestamps are in UTC.
const WRITER_VERSION: u32 = 6;

/// The calendar of days and times: readers take a file that does not say so for one of Java's old calendar, in which 1582 lacks
/// ten days.
const PROLEPTIC_GREGORIAN: i32 = 2;

/// How a file is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrcSettings {
    pub codec: OrcCodec,
    /// Bytes of a stripe, encoded, which is held in memory until then.
    pub stripe_bytes: usize,
    /// Rows of a row group.
    pub row_index_stride: u32,
}

impl Default for OrcSettings {
    fn default() -> Self {
        OrcSettings { codec: OrcCodec::default(), stripe_bytes: 24 << 20, row_index_stride: 10_000 }
    }
}

/// Settings of the format.
pub struct OrcFormat {
    table: Arc<OrcTable>,
}

struct OrcTable {
    settings: OrcSettings,
    columns: Vec<NamedType>,
    types: Vec<Type>,
    footer: FooterBytes,
}

impl OrcFormat {
    /// Of a table with these columns.
    pub fn new(columns: Vec<NamedType>, settings: OrcSettings) -> OrcFormat {
        let mut types = Vec::new();
        push_types(&ColumnType::Struct(columns.clone()), &mut types);
        OrcFormat { table: Arc::new(OrcTable { settings, columns, types, footer: FooterBytes::default() }) }
    }

    /// A new object of rows of that schema, whose bytes go to `sink`.
    pub(super) fn encoder(&self, schema: SchemaRef, sink: ByteSink) -> OrcEncoder {
        let table = self.table.clone();
        table.footer.of_empty(|| {
            let mut sink = FileSink { sink: Box::new(std::io::sink()), bytes: MAGIC.len() as u64 };
            OrcFile::new(&table).write_end(&table, &mut sink);
            sink.bytes as usize
        });
        OrcEncoder { table, staged: StagedRows::new(schema), sink: FileSink { sink, bytes: 0 }, file: None }
    }
}

/// One ORC object being written.
pub struct OrcEncoder {
    table: Arc<OrcTable>,
    staged: StagedRows,
    sink: FileSink,
    file: Option<OrcFile>,
}

/// Where the file goes, and how much of it is there.
struct FileSink {
    sink: ByteSink,
    bytes: u64,
}

/// A file, once it is opened.
struct OrcFile {
    columns: ColumnWriter,
    rows: u64,
    stripe_rows: u64,
    group_rows: u32,
    stripes: Vec<StripeInformation>,
    statistics: Vec<StripeStatistics>,
    /// Of the columns, when they were last looked at.
    sizes: [usize; 3],
}

impl FileSink {
    fn write(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.sink.write_all(bytes).expect("a sink takes what it is given");
    }
}

impl OrcEncoder {
    pub(super) fn push(&mut self, rows: &ColumnRows, picked: Option<&[u32]>) {
        rows.pick(picked, |batch| self.push_rows(batch));
    }

    fn push_rows(&mut self, batch: RecordBatch) {
        match &self.file {
            Some(file) if file.stripe_rows > 0 => {
                self.staged.pass(&batch);
                self.write(&batch);
            }
            _ if self.staged.push(batch) => self.write_staged(),
            _ => {}
        }
    }

    /// Opens the file, if it is not open, and writes what is staged.
    fn write_staged(&mut self) {
        if self.file.is_none() {
            self.sink.write(MAGIC);
            self.file = Some(OrcFile::new(&self.table));
        }
        for batch in self.staged.take() {
            self.write(&batch);
        }
    }

    fn write(&mut self, batch: &RecordBatch) {
        let Some(file) = &mut self.file else { return };
        file.write(batch, &self.table.settings);
        if file.sizes[0] + file.sizes[1] >= self.table.settings.stripe_bytes {
            file.end_stripe(&self.table.settings, &mut self.sink);
        }
    }

    /// Ends the stripe.
    pub(super) fn settle(&mut self) {
        self.write_staged();
        if let Some(file) = &mut self.file {
            file.end_stripe(&self.table.settings, &mut self.sink);
        }
    }

    pub(super) fn finish(mut self) {
        self.settle();
        if let Some(file) = self.file {
            let (stripes, content_end) = (file.stripes.len(), self.sink.bytes);
            file.write_end(&self.table, &mut self.sink);
            self.table.footer.learn((self.sink.bytes - content_end) as usize, stripes);
        }
        self.sink.sink.flush().expect("a sink takes what it is given");
    }

    pub(super) fn expected_bytes(&self) -> Option<ExpectedBytes> {
        let file = self.file.as_ref()?;
        let [written, open, _] = file.sizes;
        let stripes = file.stripes.len() + usize::from(file.stripe_rows > 0);
        let end = self.table.footer.expected(stripes.max(1));
        Some(self.staged.expected(end, self.sink.bytes as usize, written + open))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.staged.memory_bytes() + self.file.as_ref().map_or(0, |file| file.sizes[2])
    }
}

impl OrcFile {
    fn new(table: &OrcTable) -> OrcFile {
        OrcFile {
            columns: ColumnWriter::of_table(&table.columns, table.settings.codec),
            rows: 0,
            stripe_rows: 0,
            group_rows: 0,
            stripes: Vec::new(),
            statistics: Vec::new(),
            sizes: [0; 3],
        }
    }

    fn write(&mut self, batch: &RecordBatch, settings: &OrcSettings) {
        let mut from = 0;
        while from < batch.num_rows() {
            if self.group_rows == 0 {
                self.columns.begin_group();
            }
            let room = (settings.row_index_stride - self.group_rows) as usize;
            let to = batch.num_rows().min(from + room);
            self.columns.write_table(batch, from..to);
            self.group_rows += (to - from) as u32;
            self.stripe_rows += (to - from) as u64;
            if self.group_rows == settings.row_index_stride {
                self.end_group();
            }
            from = to;
        }
        self.sizes = self.columns.sizes();
    }

    fn end_group(&mut self) {
        if self.group_rows > 0 {
            self.columns.end_group();
            self.group_rows = 0;
        }
    }

    fn end_stripe(&mut self, settings: &OrcSettings, sink: &mut FileSink) {
        self.end_group();
        if self.stripe_rows == 0 {
            return;
        }
        let mut parts = StripeParts::default();
        self.columns.end_stripe(settings.codec, &mut parts);
        let offset = sink.bytes;
        let mut streams = Vec::new();
        let mut describe = |kind: StreamKind, column: u32, bytes: &[u8]| {
            let (kind, length) = (Some(kind as i32), Some(bytes.len() as u64));
            streams.push(StripeStream { kind, column: Some(column), length });
        };
        for (column, index) in (0..).zip(&parts.indexes) {
            describe(StreamKind::RowIndex, column, index);
            sink.write(index);
        }
        let index_length = sink.bytes - offset;
        for (kind, column, bytes) in &parts.streams {
            describe(*kind, *column, bytes);
            sink.write(bytes);
        }
        let data_length = sink.bytes - offset - index_length;
        let footer = StripeFooter { streams, columns: parts.encodings, writer_timezone: Some("UTC".into()) };
        let footer_length = write_message(&footer, settings.codec, sink);
        self.stripes.push(StripeInformation {
            offset: Some(offset),
            index_length: Some(index_length),
            data_length: Some(data_length),
            footer_length: Some(footer_length),
            number_of_rows: Some(self.stripe_rows),
        });
        let columns = parts.statistics.iter().map(|statistics| statistics.message()).collect();
        self.statistics.push(StripeStatistics { columns });
        self.rows += std::mem::take(&mut self.stripe_rows);
        self.sizes = self.columns.sizes();
    }

    fn write_end(mut self, table: &OrcTable, sink: &mut FileSink) {
        let compression = table.settings.codec;
        let content_length = sink.bytes - MAGIC.len() as u64;
        let metadata_length = write_message(&Metadata { stripes: self.statistics }, compression, sink);
        let mut statistics = Vec::new();
        self.columns.push_statistics(&mut statistics);
        let footer = FileFooter {
            header_length: Some(MAGIC.len() as u64),
            content_length: Some(content_length),
            stripes: self.stripes,
            types: table.types.clone(),
            number_of_rows: Some(self.rows),
            statistics: statistics.iter().map(|statistics| statistics.message()).collect(),
            row_index_stride: Some(table.settings.row_index_stride),
            calendar: Some(PROLEPTIC_GREGORIAN),
            software_version: Some(concat!("hydrant ", env!("CARGO_PKG_VERSION")).to_owned()),
        };
        let footer_length = write_message(&footer, compression, sink);
        let script = PostScript {
            footer_length: Some(footer_length),
            compression: Some(compression.kind() as i32),
            compression_block_size: Some(stream::CHUNK_BYTES as u64),
            version: VERSION.to_vec(),
            metadata_length: Some(metadata_length),
            writer_version: Some(WRITER_VERSION),
            magic: Some("ORC".into()),
        };
        let script = script.encode_to_vec();
        sink.write(&script);
        sink.write(&[script.len() as u8]);
    }
}

/// Writes a message, compressed. How many bytes that are.
fn write_message(message: &impl Message, codec: OrcCodec, sink: &mut FileSink) -> u64 {
    let mut bytes = Vec::new();
    codec.write(&message.encode_to_vec(), &mut bytes);
    sink.write(&bytes);
    bytes.len() as u64
}
