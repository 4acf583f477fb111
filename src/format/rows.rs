//! From a chunk of records to rows in columns, whatever file is made of them.

use super::earlier::EarlierTable;
use super::json::JsonTable;
use super::{Converted, NotConverted, Rows};
use crate::record::Records;
use arrow_array::{RecordBatch, UInt32Array};
use arrow_schema::SchemaRef;
use arrow_select::take::take_record_batch;
use std::ops::Range;
use std::sync::Arc;

/// Rows of a batch: as many as stay in the second-level cache on their way.
pub(super) const BATCH_ROWS: usize = 1024;
/// Values of a batch, of wide tables.
const BATCH_VALUES: usize = 1 << 20;
/// Bytes of a batch's records.
const BATCH_BYTES: usize = 16 << 20;

/// What records are read into.
pub enum RecordTable {
    Json(JsonTable),
    /// As versions before there were SerDes read them; epochs of those are finished so.
    Earlier(EarlierTable),
}

/// The rows of a chunk.
#[derive(Default)]
pub struct ColumnRows {
    pub(super) batches: Vec<RecordBatch>,
    /// Of each record, its rows, counted over all batches; empty if it failed.
    pub(super) rows_of: Vec<Range<u32>>,
    memory_bytes: usize,
}

impl RecordTable {
    /// The rows' schema.
    pub fn arrow(&self) -> &SchemaRef {
        match self {
            RecordTable::Json(table) => table.arrow(),
            RecordTable::Earlier(table) => table.arrow(),
        }
    }

    /// Reads a chunk. A record that does not fit fails alone.
    pub fn convert(&self, records: &Records) -> Converted {
        match self {
            RecordTable::Json(table) => convert(table, records),
            RecordTable::Earlier(table) => table.convert(records),
        }
    }
}

fn convert(table: &JsonTable, records: &Records) -> Converted {
    let (mut reader, mut columns) = (table.reader(), ColumnRows::default());
    let mut failed: Vec<(usize, NotConverted)> = Vec::new();
    let (mut rows, mut bytes) = (0, 0);
    for i in 0..records.len() {
        let (begin, place) = (rows, records.place(i));
        bytes += place.len();
        match reader.read_among(records.bytes(), place) {
            Ok(read) => rows += read as u32,
            Err(why) => failed.push((i, why)),
        }
        columns.rows_of.push(begin..rows);
        if reader.rows() >= BATCH_ROWS || reader.values() >= BATCH_VALUES || bytes >= BATCH_BYTES {
            columns.batches.push(reader.flush());
            bytes = 0;
        }
    }
    if reader.rows() > 0 {
        columns.batches.push(reader.flush());
    }
    Converted {
        rows: Rows::Columns(ColumnRows::new(columns.batches, columns.rows_of)),
        failed,
        coverage: Some(reader.coverage()),
    }
}

impl ColumnRows {
    /// Without a row, of so many records.
    pub(super) fn of_records(records: usize) -> ColumnRows {
        ColumnRows { rows_of: vec![0..0; records], ..ColumnRows::default() }
    }

    /// Whole rows, for whoever encodes them.
    pub(super) fn new(batches: Vec<RecordBatch>, rows_of: Vec<Range<u32>>) -> Arc<ColumnRows> {
        let bytes: usize = batches.iter().map(RecordBatch::get_array_memory_size).sum();
        let memory_bytes = bytes + rows_of.len() * size_of::<Range<u32>>();
        Arc::new(ColumnRows { batches, rows_of, memory_bytes })
    }

    /// What they take in memory, in bytes.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// The records that they were made of.
    pub fn records(&self) -> usize {
        self.rows_of.len()
    }

    /// The rows of picked records, which are in order, batch by batch; `None`: of all records.
    pub(super) fn pick(&self, picked: Option<&[u32]>, mut each: impl FnMut(RecordBatch)) {
        let Some(picked) = picked else { return self.batches.iter().cloned().for_each(each) };
        let mut first_row = 0;
        let mut picked = picked.iter().map(|&i| self.rows_of[i as usize].clone()).filter(|r| !r.is_empty());
        let mut next = picked.next();
        for batch in &self.batches {
            let rows = first_row..first_row + batch.num_rows() as u32;
            let mut wanted: Vec<u32> = Vec::new();
            while let Some(range) = next.clone().filter(|r| r.start < rows.end) {
                wanted.extend(range.map(|row| row - rows.start));
                next = picked.next();
            }
            first_row = rows.end;
            match wanted.len() {
                0 => {}
                n if n == batch.num_rows() => each(batch.clone()),
                _ => {
                    let wanted = UInt32Array::from(wanted);
                    each(take_record_batch(batch, &wanted).expect("rows of this batch"));
                }
            }
        }
    }
}
