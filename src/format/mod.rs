//! What an object's bytes look like: records as they are, lines, or a columnar file made from JSON.
//!
//! A format judges records (does this one convert?) in chunks, before any of them enters a buffer, and encodes the
//! rows it made into one object per buffer. It knows nothing of plans, keys or clocks.

mod dictionary;
pub mod elements;
pub mod lines;
pub mod parquet;
pub mod schema;

use crate::record::Batch;
use crate::record::index::Index;

/// A stream's format.
pub enum Format {
    Lines(lines::Lines),
    Parquet(Box<parquet::Parquet>),
}

/// A chunk of records, converted.
pub struct Converted {
    pub rows: Rows,
    /// Records that did not convert, in order.
    pub failed: Vec<(usize, NotConverted)>,
}

/// Rows of a chunk, in the form its format encodes.
pub enum Rows {
    /// The records' own bytes.
    Bytes,
    Columns(parquet::Columns),
}

/// Why a record did not convert; code and message as Firehose has them (contract §6.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotConverted {
    pub code: &'static str,
    pub message: String,
}

/// One object's encoding.
pub enum Encoder {
    Elements(elements::Encoder),
    Lines(lines::Encoder),
    Parquet(Box<parquet::Encoder>),
}

impl Format {
    pub fn convert(&self, records: &Batch) -> Converted {
        match self {
            Format::Lines(_) => Converted { rows: Rows::Bytes, failed: Vec::new() },
            Format::Parquet(parquet) => parquet.convert(records),
        }
    }

    /// A new object.
    pub fn encoder(&self) -> Encoder {
        match self {
            Format::Lines(lines) => Encoder::Lines(lines.encoder()),
            Format::Parquet(parquet) => Encoder::Parquet(Box::new(parquet.encoder())),
        }
    }

    /// The same, and it notes where the records stand, if they are in the object as they were given.
    pub fn indexing_encoder(&self) -> Encoder {
        match self {
            Format::Lines(lines) => Encoder::Lines(lines.indexing_encoder()),
            Format::Parquet(_) => self.encoder(),
        }
    }

    /// Firehose's extension of a format that has one of its own (contract §3.6).
    pub fn extension(&self) -> Option<&'static str> {
        match self {
            Format::Lines(_) => None,
            Format::Parquet(_) => Some(".parquet"),
        }
    }

    /// Firehose's `Content-Encoding` of a format that has one of its own. On a Parquet object it says `hadoop-snappy`
    /// although the file is an ordinary one: measured on the service (contract §6.2), and readers of Parquet ignore it.
    pub fn content_encoding(&self) -> Option<&'static str> {
        match self {
            Format::Lines(_) => None,
            Format::Parquet(_) => Some("hadoop-snappy"),
        }
    }
}

impl Encoder {
    /// Appends the picked records' rows, which arrived at `arrivals`; bytes of the object that are done go to `out`.
    pub fn push(&mut self, records: &Batch, rows: &Rows, picked: &[u32], arrivals: &[u64], out: &mut Vec<u8>) {
        match (self, rows) {
            (Encoder::Elements(elements), _) => elements.push(records, picked, arrivals, out),
            (Encoder::Lines(lines), Rows::Bytes) => lines.push(records, picked, arrivals, out),
            (Encoder::Parquet(parquet), Rows::Columns(columns)) => parquet.push(columns, picked, out),
            _ => unreachable!("rows and encoder come from the same format"),
        }
    }

    /// Appends the object's end. Where the records stand in what
    /// was appended, if that was noted.
    pub fn finish(self, out: &mut Vec<u8>) -> Option<Index> {
        match self {
            Encoder::Elements(elements) => return Some(elements.index()),
            Encoder::Lines(lines) => return lines.index(),
            Encoder::Parquet(parquet) => parquet.finish(out),
        }
        None
    }

    /// Bytes held in memory beyond what went to `out`.
    pub fn memory_bytes(&self) -> usize {
        match self {
            Encoder::Elements(elements) => elements.memory_bytes(),
            Encoder::Lines(lines) => lines.memory_bytes(),
            Encoder::Parquet(parquet) => parquet.memory_bytes(),
        }
    }
}
