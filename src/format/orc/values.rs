//! The values of a column, which are none of them null, in its streams.

use super::column::ColumnWriter;
use super::proto::{EncodingKind, StreamKind};
use super::runs::{BitRuns, ByteRuns, IntRuns, push_varint};
use super::statistics::ValueStatistics;
use super::stream::{OrcCodec, OrcStream};
use super::strings::StringWriter;
use super::stripe::EncodedColumn;
use crate::format::schema::{ColumnType, NamedType};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow_array::{Array, ArrowPrimitiveType};
use arrow_schema::{DataType, TimeUnit};
use std::ops::Range;

/// Seconds from 1970 to 2015, from which timestamps are counted.
const EPOCH_2015: i64 = 1_420_070_400;
const NANOS_PER_SECOND: i64 = 1_000_000_000;

/// Rows of an array, in order.
pub(super) type RowRanges = [Range<usize>];

/// The values of a column, by their type.
pub(super) enum ColumnValues {
    Booleans(BitRuns),
    Bytes(ByteRuns),
    Integers(IntRuns),
    Floats(OrcStream),
    Doubles(OrcStream),
    Strings(StringWriter),
    /// Padded with blanks to so many characters.
    Padded(StringWriter, usize),
    Binaries(StringWriter),
    Dates(IntRuns),
    Timestamps {
        seconds: IntRuns,
        nanos: IntRuns,
    },
    Decimals {
        digits: OrcStream,
        scales: IntRuns,
        scale: i64,
    },
    List {
        lengths: IntRuns,
        element: Box<ColumnWriter>,
    },
    Map {
        lengths: IntRuns,
        key: Box<ColumnWriter>,
        value: Box<ColumnWriter>,
    },
    Struct(Vec<ColumnWriter>),
}

impl ColumnValues {
    pub(super) fn new(of: &ColumnType, compression: OrcCodec) -> (ColumnValues, ValueStatistics) {
        let stream = || OrcStream::new(compression);
        let ints = |signed| IntRuns::new(signed, stream());
        let collections = || ValueStatistics::Collections { range: None, total: 0 };
        let doubles = || ValueStatistics::Doubles { range: None, sum: 0.0 };
        let inside = |of| Box::new(ColumnWriter::new(of, compression));
        match of {
            ColumnType::Boolean => (ColumnValues::Booleans(BitRuns::new(stream())), ValueStatistics::Trues(0)),
            ColumnType::TinyInt => (ColumnValues::Bytes(ByteRuns::new(stream())), ValueStatistics::of_integers()),
            ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt => {
                (ColumnValues::Integers(ints(true)), ValueStatistics::of_integers())
            }
            ColumnType::Float => (ColumnValues::Floats(stream()), doubles()),
            ColumnType::Double => (ColumnValues::Doubles(stream()), doubles()),
            ColumnType::String | ColumnType::Varchar(_) => (
                ColumnValues::Strings(StringWriter::new(compression, true)),
                ValueStatistics::Strings { range: None, bytes: 0 },
            ),
            ColumnType::Char(length) => (
                ColumnValues::Padded(StringWriter::new(compression, true), *length as usize),
                ValueStatistics::Strings { range: None, bytes: 0 },
            ),
            ColumnType::Binary => {
                (ColumnValues::Binaries(StringWriter::new(compression, false)), ValueStatistics::Binaries { bytes: 0 })
            }
            ColumnType::Date => (ColumnValues::Dates(ints(true)), ValueStatistics::Dates(None)),
            ColumnType::Timestamp(_) => (
                ColumnValues::Timestamps { seconds: ints(true), nanos: ints(false) },
                ValueStatistics::Timestamps(None),
            ),
            ColumnType::Decimal { scale, .. } => (
                ColumnValues::Decimals { digits: stream(), scales: ints(true), scale: (*scale).into() },
                ValueStatistics::Decimals { range: None, sum: Some(0), scale: *scale },
            ),
            ColumnType::Array(element) => {
                (ColumnValues::List { lengths: ints(false), element: inside(element) }, collections())
            }
            ColumnType::Map(key, value) => {
                (ColumnValues::Map { lengths: ints(false), key: inside(key), value: inside(value) }, collections())
            }
            ColumnType::Struct(members) => (ColumnValues::of_members(members, compression), ValueStatistics::Counted),
        }
    }

    pub(super) fn of_members(members: &[NamedType], compression: OrcCodec) -> ColumnValues {
        ColumnValues::Struct(members.iter().map(|member| ColumnWriter::new(&member.of, compression)).collect())
    }

    /// Columns inside this one, in the order of their numbers.
    pub(super) fn inside(&mut self) -> Vec<&mut ColumnWriter> {
        match self {
            ColumnValues::List { element, .. } => vec![element],
            ColumnValues::Map { key, value, .. } => vec![key, value],
            ColumnValues::Struct(members) => members.iter_mut().collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn position(&mut self) -> Vec<u64> {
        let mut positions = Vec::new();
        match self {
            ColumnValues::Booleans(bits) => bits.position(&mut positions),
            ColumnValues::Bytes(bytes) => bytes.position(&mut positions),
            ColumnValues::Integers(ints) | ColumnValues::Dates(ints) => ints.position(&mut positions),
            ColumnValues::Floats(stream) | ColumnValues::Doubles(stream) => stream.position(&mut positions),
            ColumnValues::Timestamps { seconds, nanos } => {
                seconds.position(&mut positions);
                nanos.position(&mut positions);
            }
            ColumnValues::Decimals { digits, scales, .. } => {
                digits.position(&mut positions);
                scales.position(&mut positions);
            }
            ColumnValues::List { lengths, .. } | ColumnValues::Map { lengths, .. } => lengths.position(&mut positions),
            ColumnValues::Strings(_)
            | ColumnValues::Padded(..)
            | ColumnValues::Binaries(_)
            | ColumnValues::Struct(_) => {}
        }
        positions
    }

    pub(super) fn streams(&self) -> Vec<&OrcStream> {
        match self {
            ColumnValues::Booleans(bits) => vec![bits.stream()],
            ColumnValues::Bytes(bytes) => vec![bytes.stream()],
            ColumnValues::Integers(ints) | ColumnValues::Dates(ints) => vec![ints.stream()],
            ColumnValues::Floats(stream) | ColumnValues::Doubles(stream) => vec![stream],
            ColumnValues::Timestamps { seconds, nanos } => vec![seconds.stream(), nanos.stream()],
            ColumnValues::Decimals { digits, scales, .. } => vec![digits, scales.stream()],
            ColumnValues::List { lengths, .. } | ColumnValues::Map { lengths, .. } => vec![lengths.stream()],
            ColumnValues::Strings(_)
            | ColumnValues::Padded(..)
            | ColumnValues::Binaries(_)
            | ColumnValues::Struct(_) => Vec::new(),
        }
    }

    /// Ends the stripe.
    pub(super) fn end_stripe(&mut self, positions: Vec<Vec<u64>>) -> EncodedColumn {
        let (encoding, streams) = match self {
            ColumnValues::Strings(strings) | ColumnValues::Padded(strings, _) | ColumnValues::Binaries(strings) => {
                return strings.end_stripe();
            }
            ColumnValues::Booleans(bits) => (EncodingKind::Direct, vec![(StreamKind::Data, bits.take())]),
            ColumnValues::Bytes(bytes) => (EncodingKind::Direct, vec![(StreamKind::Data, bytes.take())]),
            ColumnValues::Floats(stream) | ColumnValues::Doubles(stream) => {
                (EncodingKind::Direct, vec![(StreamKind::Data, stream.take())])
            }
            ColumnValues::Struct(_) => (EncodingKind::Direct, Vec::new()),
            ColumnValues::Integers(ints) | ColumnValues::Dates(ints) => {
                (EncodingKind::DirectV2, vec![(StreamKind::Data, ints.take())])
            }
            ColumnValues::Timestamps { seconds, nanos } => {
                let streams = vec![(StreamKind::Data, seconds.take()), (StreamKind::Secondary, nanos.take())];
                (EncodingKind::DirectV2, streams)
            }
            ColumnValues::Decimals { digits, scales, .. } => {
                let streams = vec![(StreamKind::Data, digits.take()), (StreamKind::Secondary, scales.take())];
                (EncodingKind::DirectV2, streams)
            }
            ColumnValues::List { lengths, .. } | ColumnValues::Map { lengths, .. } => {
                (EncodingKind::DirectV2, vec![(StreamKind::Length, lengths.take())])
            }
        };
        EncodedColumn { encoding, dictionary_size: None, streams, positions }
    }

    /// Appends the values of rows, none of which is null.
    pub(super) fn write(&mut self, array: &dyn Array, rows: &RowRanges, statistics: &mut ValueStatistics) {
        match self {
            ColumnValues::Booleans(bits) => {
                let array = array.as_boolean();
                let mut trues = 0;
                for row in rows.iter().cloned().flatten() {
                    let value = array.value(row);
                    bits.push(value);
                    trues += value as u64;
                }
                statistics.merge(&ValueStatistics::Trues(trues));
            }
            ColumnValues::Bytes(bytes) => each::<Int8Type>(array, rows, |value| {
                bytes.push(value as u8);
                statistics.integer(value.into());
            }),
            ColumnValues::Integers(ints) => {
                let mut push = |value| {
                    ints.push(value);
                    statistics.integer(value);
                };
                match array.data_type() {
                    DataType::Int16 => each::<Int16Type>(array, rows, |value| push(value.into())),
                    DataType::Int32 => each::<Int32Type>(array, rows, |value| push(value.into())),
                    _ => each::<Int64Type>(array, rows, push),
                }
            }
            ColumnValues::Floats(stream) => each::<Float32Type>(array, rows, |value| {
                stream.push(&value.to_le_bytes());
                statistics.double(value.into());
            }),
            ColumnValues::Doubles(stream) => each::<Float64Type>(array, rows, |value| {
                stream.push(&value.to_le_bytes());
                statistics.double(value);
            }),
            ColumnValues::Strings(strings) => {
                let array = array.as_string::<i32>();
                for row in rows.iter().cloned().flatten() {
                    let value = array.value(row);
                    strings.push(value.as_bytes());
                    statistics.string(value);
                }
            }
            ColumnValues::Padded(strings, length) => {
                let array = array.as_string::<i32>();
                for row in rows.iter().cloned().flatten() {
                    // As Hive compares them, also with the statistics.
                    let value = format!("{:length$}", array.value(row), length = *length);
                    strings.push(value.as_bytes());
                    statistics.string(&value);
                }
            }
            ColumnValues::Binaries(strings) => {
                let array = array.as_binary::<i32>();
                for row in rows.iter().cloned().flatten() {
                    let value = array.value(row);
                    strings.push(value);
                    statistics.merge(&ValueStatistics::Binaries { bytes: value.len() as i64 });
                }
            }
            ColumnValues::Dates(ints) => each::<Date32Type>(array, rows, |value| {
                ints.push(value.into());
                statistics.merge(&ValueStatistics::Dates(Some((value, value))));
            }),
            ColumnValues::Timestamps { seconds, nanos } => write_timestamps(array, rows, [seconds, nanos], statistics),
            ColumnValues::Decimals { digits, scales, scale } => {
                let of = match statistics {
                    ValueStatistics::Decimals { scale, .. } => *scale,
                    _ => 0,
                };
                each::<Decimal128Type>(array, rows, |value| {
                    push_varint((value << 1 ^ value >> 127) as u128, digits.tail());
                    digits.settle();
                    scales.push(*scale);
                    let (range, sum) = (Some((value, value)), Some(value));
                    statistics.merge(&ValueStatistics::Decimals { range, sum, scale: of });
                });
            }
            ColumnValues::List { lengths, element } => {
                let array = array.as_list::<i32>();
                let inside = members(array.offsets(), rows, lengths, statistics);
                element.write(array.values(), &inside);
            }
            ColumnValues::Map { lengths, key, value } => {
                let array = array.as_map();
                let inside = members(array.offsets(), rows, lengths, statistics);
                key.write(array.keys(), &inside);
                value.write(array.values(), &inside);
            }
            ColumnValues::Struct(columns) => {
                let array = array.as_struct();
                columns.iter_mut().zip(array.columns()).for_each(|(column, values)| column.write(values, rows));
            }
        }
    }
}

fn each<T: ArrowPrimitiveType>(array: &dyn Array, rows: &RowRanges, each: impl FnMut(T::Native)) {
    let values = array.as_primitive::<T>().values();
    rows.iter().flat_map(|range| &values[range.clone()]).copied().for_each(each);
}

fn write_timestamps(
    array: &dyn Array,
    rows: &RowRanges,
    [seconds, nanos]: [&mut IntRuns; 2],
    of: &mut ValueStatistics,
) {
    let mut push = |value: i64, per_second: i64| {
        let (mut whole, part) = (value.div_euclid(per_second), value.rem_euclid(per_second));
        let part_nanos = part * (NANOS_PER_SECOND / per_second);
        let millis = |rounds_up: bool| {
            let rounded = part_nanos / 1_000_000 + (rounds_up && part_nanos % 1_000_000 > 0) as i64;
            whole.saturating_mul(1000).saturating_add(rounded)
        };
        of.merge(&ValueStatistics::Timestamps(Some((millis(false), millis(true)))));
        // Readers take one from the seconds of what is before 1970 and has a millisecond or more.
        if whole < 0 && part_nanos > 999_999 {
            whole += 1;
        }
        seconds.push(whole - EPOCH_2015);
        nanos.push(packed_nanos(part_nanos));
    };
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            each::<TimestampMillisecondType>(array, rows, |value| push(value, 1000));
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            each::<TimestampMicrosecondType>(array, rows, |value| push(value, 1_000_000));
        }
        _ => each::<TimestampNanosecondType>(array, rows, |value| push(value, NANOS_PER_SECOND)),
    }
}

/// Nanoseconds without the zeros behind them, if there are two or more, and how many those are, less one.
fn packed_nanos(mut nanos: i64) -> i64 {
    if nanos == 0 || nanos % 100 != 0 {
        return nanos << 3;
    }
    nanos /= 100;
    let mut zeros = 1;
    while nanos % 10 == 0 && zeros < 7 {
        nanos /= 10;
        zeros += 1;
    }
    nanos << 3 | zeros
}

/// The values inside those of rows; their numbers go to `lengths`.
fn members(offsets: &[i32], rows: &RowRanges, lengths: &mut IntRuns, of: &mut ValueStatistics) -> Vec<Range<usize>> {
    let mut inside = Vec::with_capacity(rows.len());
    for range in rows {
        for ends in offsets[range.start..=range.end].windows(2) {
            let count = (ends[1] - ends[0]) as u64;
            lengths.push(count as i64);
            of.merge(&ValueStatistics::Collections { range: Some((count, count)), total: count });
        }
        inside.push(offsets[range.start] as usize..offsets[range.end] as usize);
    }
    inside
}
