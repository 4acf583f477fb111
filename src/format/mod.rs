//! What an object's bytes look like: records as they are, lines, or a columnar file made from JSON.
//!
//! A format judges records (does this one convert?) in chunks, before any of them enters a buffer, and encodes the
//! rows it made into one object per buffer. It knows nothing of plans, keys or clocks.

pub mod column_file;
pub mod coverage;
mod dictionary;
pub mod earlier;
pub mod elements;
pub mod json;
pub mod lines;
pub mod metadata;
pub mod orc;
pub mod parquet;
pub mod parquet_settings;
pub mod rows;
pub mod schema;

use crate::record::Records;
use crate::record::index::Index;
use metadata::RecordFacts;
use std::sync::Arc;

/// A stream's format.
pub enum RecordFormat {
    Lines(lines::LinesFormat),
    Columns(Box<column_file::ColumnFormat>),
}

/// A chunk of records, converted.
pub struct Converted {
    pub rows: Rows,
    /// Records that did not convert, in order.
    pub failed: Vec<(usize, NotConverted)>,
    /// What the rows show of the columns, if there are any.
    pub coverage: Option<coverage::ColumnCoverage>,
}

/// Rows of a chunk, in the form its format encodes.
pub enum Rows {
    /// The records' own bytes.
    Bytes,
    Columns(Arc<rows::ColumnRows>),
}

/// Why a record did not convert; code and message as Firehose has them (docs/firehose.md: "Codes of failures").
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotConverted {
    pub code: &'static str,
    pub message: String,
}

/// One object's encoding, of records that stay as they are.
pub enum FormatEncoder {
    Elements(elements::ElementsEncoder),
    Lines(lines::LinesEncoder),
}

impl RecordFormat {
    /// Whether it matters what is known of records besides their bytes.
    pub fn has_metadata(&self) -> bool {
        matches!(self, RecordFormat::Columns(columns) if columns.has_metadata())
    }

    /// Converts records, of which so much is known.
    pub fn convert(&self, records: &Records, facts: &RecordFacts) -> Converted {
        match self {
            RecordFormat::Lines(_) => Converted { rows: Rows::Bytes, failed: Vec::new(), coverage: None },
            RecordFormat::Columns(columns) => columns.convert(records, facts),
        }
    }

    /// Firehose's extension of a format that has one of its own (docs/firehose.md: "Extensions").
    pub fn extension(&self) -> Option<&'static str> {
        match self {
            RecordFormat::Lines(_) => None,
            RecordFormat::Columns(columns) => Some(columns.extension()),
        }
    }

    /// Firehose's `Content-Encoding` of a format that has one of its own. On a Parquet object it says `hadoop-snappy`
    /// although the file is an ordinary one: measured on the service (docs/firehose.md: "Extensions"), and readers of Parquet
    /// ignore it.
    pub fn content_encoding(&self) -> Option<&'static str> {
        match self {
            RecordFormat::Lines(_) => None,
            RecordFormat::Columns(columns) => columns.content_encoding(),
        }
    }
}

impl FormatEncoder {
    /// Appends the picked records, which arrived at `arrivals`, to `out`.
    pub fn push(&mut self, records: &Records, picked: &[u32], arrivals: &[u64], out: &mut Vec<u8>) {
        match self {
            FormatEncoder::Elements(elements) => elements.push(records, picked, arrivals, out),
            FormatEncoder::Lines(lines) => lines.push(records, picked, arrivals, out),
        }
    }

    /// Where the records stand in what was appended, if that was noted.
    pub fn index(self) -> Option<Index> {
        match self {
            FormatEncoder::Elements(elements) => Some(elements.index()),
            FormatEncoder::Lines(lines) => lines.index(),
        }
    }

    /// Bytes held in memory beyond what went to `out`.
    pub fn memory_bytes(&self) -> usize {
        match self {
            FormatEncoder::Elements(elements) => elements.memory_bytes(),
            FormatEncoder::Lines(lines) => lines.memory_bytes(),
        }
    }
}
