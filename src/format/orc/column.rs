//! A column of an ORC file, with those inside it: its values' streams, where its row groups begin in them, and what is said
//! of its values.

use super::proto::{ColumnEncoding, RowIndex, RowIndexEntry, StreamKind};
use super::runs::BitRuns;
use super::statistics::{Statistics, ValueStatistics};
use super::stream::{OrcCodec, OrcStream};
use super::stripe::StripeParts;
use super::values::{ColumnValues, RowRanges};
use crate::format::schema::{ColumnType, NamedType};
use arrow_array::{Array, RecordBatch};
use prost::Message;
use std::borrow::Cow;
use std::ops::Range;

/// A column being written.
pub(super) struct ColumnWriter {
    present: BitRuns,
    values: ColumnValues,
    /// Where each row group of the stripe begins in `present` and in the streams of the values.
    present_positions: Vec<Vec<u64>>,
    positions: Vec<Vec<u64>>,
    /// Of the row groups of the stripe that have ended, of the one that has not, of the stripe and of the file.
    groups: Vec<Statistics>,
    group: Statistics,
    stripe: Statistics,
    file: Statistics,
}

impl ColumnWriter {
    pub(super) fn new(of: &ColumnType, compression: OrcCodec) -> ColumnWriter {
        let (values, statistics) = ColumnValues::new(of, compression);
        ColumnWriter::of_values(values, statistics, compression)
    }

    /// The columns of a table: the members of its rows.
    pub(super) fn of_table(columns: &[NamedType], compression: OrcCodec) -> ColumnWriter {
        let values = ColumnValues::of_members(columns, compression);
        ColumnWriter::of_values(values, ValueStatistics::Counted, compression)
    }

    fn of_values(values: ColumnValues, of: ValueStatistics, compression: OrcCodec) -> ColumnWriter {
        let statistics = Statistics::new(of);
        ColumnWriter {
            present: BitRuns::new(OrcStream::new(compression)),
            values,
            present_positions: Vec::new(),
            positions: Vec::new(),
            groups: Vec::new(),
            group: statistics.clone(),
            stripe: statistics.clone(),
            file: statistics,
        }
    }

    /// Appends rows of a table.
    pub(super) fn write_table(&mut self, table: &RecordBatch, rows: Range<usize>) {
        self.present.push_ones(rows.len());
        self.group.count += rows.len() as u64;
        let ColumnValues::Struct(columns) = &mut self.values else { unreachable!("a table has columns") };
        let rows = [rows];
        columns.iter_mut().zip(table.columns()).for_each(|(column, values)| column.write(values, &rows));
    }

    pub(super) fn write(&mut self, array: &dyn Array, rows: &RowRanges) {
        let valid = self.note_nulls(array, rows);
        self.group.count += valid.iter().map(|range| range.len() as u64).sum::<u64>();
        self.values.write(array, &valid, &mut self.group.of);
    }

    /// Takes note of which rows are null; those that are not.
    fn note_nulls<'r>(&mut self, array: &dyn Array, rows: &'r RowRanges) -> Cow<'r, RowRanges> {
        let Some(nulls) = array.nulls().filter(|nulls| nulls.null_count() > 0) else {
            self.present.push_ones(rows.iter().map(|range| range.len()).sum());
            return Cow::Borrowed(rows);
        };
        let mut valid = Vec::new();
        for range in rows {
            let mut from = 0;
            for (start, end) in nulls.slice(range.start, range.len()).valid_slices() {
                (from..start).for_each(|_| self.present.push(false));
                self.present.push_ones(end - start);
                valid.push(range.start + start..range.start + end);
                from = end;
            }
            (from..range.len()).for_each(|_| self.present.push(false));
        }
        let count: usize = valid.iter().map(|range| range.len()).sum();
        self.group.has_null |= count < rows.iter().map(|range| range.len()).sum();
        Cow::Owned(valid)
    }

    /// Begins a row group.
    pub(super) fn begin_group(&mut self) {
        let mut positions = Vec::new();
        self.present.position(&mut positions);
        self.present_positions.push(positions);
        match &mut self.values {
            ColumnValues::Strings(strings) | ColumnValues::Padded(strings, _) | ColumnValues::Binaries(strings) => {
                strings.begin_group()
            }
            values => self.positions.push(values.position()),
        }
        self.values.inside().into_iter().for_each(ColumnWriter::begin_group);
    }

    /// Ends a row group.
    pub(super) fn end_group(&mut self) {
        let group = self.group.take();
        self.stripe.merge(&group);
        self.groups.push(group);
        self.values.inside().into_iter().for_each(ColumnWriter::end_group);
    }

    /// Ends the stripe, all of whose row groups have ended.
    pub(super) fn end_stripe(&mut self, compression: OrcCodec, parts: &mut StripeParts) {
        let number = parts.encodings.len() as u32;
        let encoded = self.values.end_stripe(std::mem::take(&mut self.positions));
        let present = self.present.take();
        let (present_positions, groups) =
            (std::mem::take(&mut self.present_positions), std::mem::take(&mut self.groups));
        let has_null = self.stripe.has_null;
        let entries =
            present_positions.into_iter().zip(encoded.positions).zip(groups).map(|((present, own), group)| {
                // A column without nulls has no stream that says so.
                let positions = if has_null { [present, own].concat() } else { own };
                RowIndexEntry { positions, statistics: Some(group.message()) }
            });
        let mut index = Vec::new();
        compression.write(&RowIndex { entry: entries.collect() }.encode_to_vec(), &mut index);
        parts.indexes.push(index);
        if has_null {
            parts.streams.push((StreamKind::Present, number, present));
        }
        parts.streams.extend(encoded.streams.into_iter().map(|(kind, bytes)| (kind, number, bytes)));
        let (kind, dictionary_size) = (Some(encoded.encoding as i32), encoded.dictionary_size);
        parts.encodings.push(ColumnEncoding { kind, dictionary_size });
        let stripe = self.stripe.take();
        self.file.merge(&stripe);
        parts.statistics.push(stripe);
        self.values.inside().into_iter().for_each(|column| column.end_stripe(compression, parts));
    }

    /// Of the file, of each column in the order of their numbers.
    pub(super) fn push_statistics(&mut self, all: &mut Vec<Statistics>) {
        all.push(self.file.clone());
        self.values.inside().into_iter().for_each(|column| column.push_statistics(all));
    }

    /// Bytes of the stripe that are compressed, those that are not yet, and what all take in memory.
    pub(super) fn sizes(&mut self) -> [usize; 3] {
        let add = |a: [usize; 3], b: [usize; 3]| [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
        let of_stream = |stream: &OrcStream| {
            let (written, open) = stream.sizes();
            [written, open, stream.memory_bytes()]
        };
        let mut sizes = of_stream(self.present.stream());
        match &self.values {
            ColumnValues::Strings(strings) | ColumnValues::Padded(strings, _) | ColumnValues::Binaries(strings) => {
                let (written, open) = strings.sizes();
                sizes = add(sizes, [written, open, strings.memory_bytes()]);
            }
            values => sizes = values.streams().into_iter().map(of_stream).fold(sizes, add),
        }
        self.values.inside().into_iter().map(ColumnWriter::sizes).fold(sizes, add)
    }
}
