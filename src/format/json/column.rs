//! Columns being filled, value by value. What a record has added can be taken back, so that one that is refused leaves nothing.

use super::bits::{Bits, Validity};
use super::keys::{KeyNames, KeyTable};
use super::unchecked::{offsets, strings};
use crate::format::schema::{ColumnType, NamedType, TimestampUnit};
use arrow_array::new_null_array;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, ListArray, MapArray, PrimitiveArray, StructArray};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, FieldRef, Fields};
use std::borrow::Cow;
use std::sync::Arc;

/// A column of the rows so far.
pub(super) struct Column {
    /// Values, nulls included.
    pub(super) len: usize,
    validity: Validity,
    pub(super) values: Values,
}

/// What a column's values are. With a tag of its own: looking at it is a good part of reading a value.
#[repr(u8)]
pub(super) enum Values {
    Boolean(Bits),
    TinyInt(Vec<i8>),
    SmallInt(Vec<i16>),
    Int(Vec<i32>),
    BigInt(Vec<i64>),
    Float(Vec<f32>),
    Double(Vec<f64>),
    Decimal { values: Vec<i128>, precision: u8, scale: u8 },
    Date(Vec<i32>),
    Timestamp { values: Vec<i64>, unit: TimestampUnit },
    Text { data: Bytes, chars_max: Option<u32> },
    Binary(Bytes),
    Struct(Members),
    Array(Elements),
    Map { keys: Elements, values: Box<Column> },
}

/// Byte strings, one after the other.
pub(super) struct Bytes {
    pub(super) bytes: Vec<u8>,
    ends: Vec<i32>,
}

/// Lists of values, one after the other.
pub(super) struct Elements {
    pub(super) column: Box<Column>,
    ends: Vec<i32>,
}

/// The members of a `struct`, or the columns of a table. A member without a value in a row is null there, but that is added only
/// when it has a value again, or in the end: of many columns a record may have few.
pub(super) struct Members {
    pub(super) names: Arc<KeyNames>,
    pub(super) keys: KeyTable,
    pub(super) columns: Vec<Column>,
    pub(super) rows: usize,
    /// Columns of a row, with those inside others: as many values a row has at least, nulls included.
    pub(super) width: usize,
}

impl Column {
    /// An empty one. `timestamp` is the unit of a `timestamp` without digits.
    pub(super) fn new(
        of: &ColumnType,
        names: &mut impl Iterator<Item = Arc<KeyNames>>,
        timestamp: TimestampUnit,
    ) -> Self {
        let values = match of {
            ColumnType::TinyInt => Values::TinyInt(Vec::new()),
            ColumnType::SmallInt => Values::SmallInt(Vec::new()),
            ColumnType::Int => Values::Int(Vec::new()),
            ColumnType::BigInt => Values::BigInt(Vec::new()),
            ColumnType::Float => Values::Float(Vec::new()),
            ColumnType::Double => Values::Double(Vec::new()),
            ColumnType::Boolean => Values::Boolean(Bits::default()),
            ColumnType::String => Values::Text { data: Bytes::default(), chars_max: None },
            ColumnType::Char(length) | ColumnType::Varchar(length) => {
                Values::Text { data: Bytes::default(), chars_max: Some(*length) }
            }
            ColumnType::Binary => Values::Binary(Bytes::default()),
            ColumnType::Date => Values::Date(Vec::new()),
            ColumnType::Timestamp(unit) => Values::Timestamp { values: Vec::new(), unit: unit.unwrap_or(timestamp) },
            ColumnType::Decimal { precision, scale } => {
                Values::Decimal { values: Vec::new(), precision: *precision, scale: *scale }
            }
            ColumnType::Array(element) => Values::Array(Elements::new(element, names, timestamp)),
            ColumnType::Map(key, value) => Values::Map {
                keys: Elements::new(key, names, timestamp),
                values: Box::new(Column::new(value, names, timestamp)),
            },
            ColumnType::Struct(members) => Values::Struct(Members::new(members, names, timestamp)),
        };
        Column { len: 0, validity: Validity::default(), values }
    }

    /// A value has been added to `values`.
    #[inline(always)]
    pub(super) fn added(&mut self) {
        self.len += 1;
    }

    pub(super) fn push_null(&mut self) {
        self.push_nulls(1);
    }

    /// Adds nulls until there are so many values.
    #[inline(never)]
    pub(super) fn push_nulls_to(&mut self, len: usize) {
        self.push_nulls(len - self.len);
    }

    fn push_nulls(&mut self, count: usize) {
        self.validity.push_nulls(self.len, count);
        self.len += count;
        let len = self.len;
        match &mut self.values {
            Values::Boolean(values) => values.zeros(count),
            Values::TinyInt(values) => values.resize(len, 0),
            Values::SmallInt(values) => values.resize(len, 0),
            Values::Int(values) | Values::Date(values) => values.resize(len, 0),
            Values::BigInt(values) | Values::Timestamp { values, .. } => values.resize(len, 0),
            Values::Float(values) => values.resize(len, 0.0),
            Values::Double(values) => values.resize(len, 0.0),
            Values::Decimal { values, .. } => values.resize(len, 0),
            Values::Text { data, .. } | Values::Binary(data) => repeat_last(&mut data.ends, len + 1),
            // Its members are behind until one of them has a value, or all are finished.
            Values::Struct(members) => members.rows = len,
            Values::Array(elements) => repeat_last(&mut elements.ends, len + 1),
            Values::Map { keys, .. } => repeat_last(&mut keys.ends, len + 1),
        }
    }

    /// Columns that a null of it adds to.
    fn width(&self) -> usize {
        match &self.values {
            Values::Struct(members) => 1 + members.width,
            _ => 1,
        }
    }

    /// A value of a map's key, for comparison with others of the column.
    pub(super) fn key(&self, at: usize) -> Cow<'_, [u8]> {
        match &self.values {
            Values::Text { data, .. } | Values::Binary(data) => Cow::Borrowed(data.get(at)),
            Values::Boolean(values) => vec![values.get(at) as u8].into(),
            Values::TinyInt(values) => values[at].to_le_bytes().to_vec().into(),
            Values::SmallInt(values) => values[at].to_le_bytes().to_vec().into(),
            Values::Int(values) | Values::Date(values) => values[at].to_le_bytes().to_vec().into(),
            Values::BigInt(values) | Values::Timestamp { values, .. } => values[at].to_le_bytes().to_vec().into(),
            // Two noughts are equal.
            Values::Float(values) => (values[at] + 0.0).to_le_bytes().to_vec().into(),
            Values::Double(values) => (values[at] + 0.0).to_le_bytes().to_vec().into(),
            Values::Decimal { values, .. } => values[at].to_le_bytes().to_vec().into(),
            Values::Struct(_) | Values::Array(_) | Values::Map { .. } => unreachable!("a key has no members"),
        }
    }

    /// Takes back what was added behind the first `len` values, also half a value.
    pub(super) fn truncate(&mut self, len: usize) {
        // A column of a row may be behind.
        let len = len.min(self.len);
        self.validity.truncate(len);
        self.len = len;
        match &mut self.values {
            Values::Boolean(values) => values.truncate(len),
            Values::TinyInt(values) => values.truncate(len),
            Values::SmallInt(values) => values.truncate(len),
            Values::Int(values) | Values::Date(values) => values.truncate(len),
            Values::BigInt(values) | Values::Timestamp { values, .. } => values.truncate(len),
            Values::Float(values) => values.truncate(len),
            Values::Double(values) => values.truncate(len),
            Values::Decimal { values, .. } => values.truncate(len),
            Values::Text { data, .. } | Values::Binary(data) => data.truncate(len),
            Values::Struct(members) => members.truncate(len),
            Values::Array(elements) => elements.truncate(len),
            Values::Map { keys, values } => {
                keys.truncate(len);
                values.truncate(keys.column.len);
            }
        }
    }

    /// Whether it has a value that is not null, and the same of those inside it.
    pub(super) fn note_filled(&self, filled: &mut impl FnMut(bool)) {
        filled(self.validity.has_value(self.len));
        self.members().into_iter().flat_map(|members| &members.columns).for_each(|column| column.note_filled(filled));
    }

    /// The members of a `struct`, also of one in an array or in a map.
    pub(super) fn members(&self) -> Option<&Members> {
        match &self.values {
            Values::Struct(members) => Some(members),
            Values::Array(elements) => elements.column.members(),
            Values::Map { values, .. } => values.members(),
            _ => None,
        }
    }

    /// The values so far, as an array of that type; the column is empty again.
    pub(super) fn finish(&mut self, of: &DataType) -> ArrayRef {
        let len = std::mem::take(&mut self.len);
        let nulls = self.validity.take(len);
        match (&mut self.values, of) {
            (Values::Boolean(values), _) => Arc::new(BooleanArray::new(values.take(), nulls)),
            (Values::TinyInt(values), _) => primitive::<Int8Type>(values, nulls, of),
            (Values::SmallInt(values), _) => primitive::<Int16Type>(values, nulls, of),
            (Values::Int(values), _) => primitive::<Int32Type>(values, nulls, of),
            (Values::BigInt(values), _) => primitive::<Int64Type>(values, nulls, of),
            (Values::Float(values), _) => primitive::<Float32Type>(values, nulls, of),
            (Values::Double(values), _) => primitive::<Float64Type>(values, nulls, of),
            (Values::Decimal { values, .. }, _) => primitive::<Decimal128Type>(values, nulls, of),
            (Values::Date(values), _) => primitive::<Date32Type>(values, nulls, of),
            (Values::Timestamp { values, unit }, _) => match unit {
                TimestampUnit::Millis => primitive::<TimestampMillisecondType>(values, nulls, of),
                TimestampUnit::Micros => primitive::<TimestampMicrosecondType>(values, nulls, of),
                TimestampUnit::Nanos => primitive::<TimestampNanosecondType>(values, nulls, of),
            },
            (Values::Text { data, .. }, _) => {
                let (ends, bytes) = data.take();
                Arc::new(strings(ends, bytes, nulls))
            }
            (Values::Binary(data), _) => {
                let (ends, bytes) = data.take();
                Arc::new(BinaryArray::new(ends, bytes, nulls))
            }
            (Values::Struct(members), DataType::Struct(fields)) => {
                let columns = members.finish(fields);
                Arc::new(
                    StructArray::try_new_with_length(fields.clone(), columns, nulls, len).expect("columns of a schema"),
                )
            }
            (Values::Array(elements), DataType::List(element)) => {
                let (ends, values) = (take_ends(&mut elements.ends), elements.column.finish(element.data_type()));
                Arc::new(ListArray::new(element.clone(), ends, values, nulls))
            }
            (Values::Map { keys, values }, DataType::Map(entries, sorted)) => {
                let DataType::Struct(fields) = entries.data_type() else { unreachable!("entries are structs") };
                let ends = take_ends(&mut keys.ends);
                let columns = vec![keys.column.finish(fields[0].data_type()), values.finish(fields[1].data_type())];
                let pairs = StructArray::new(fields.clone(), columns, None);
                Arc::new(MapArray::new(entries.clone(), ends, pairs, nulls, *sorted))
            }
            (_, other) => unreachable!("a column that was made for its type, and not for {other}"),
        }
    }
}

impl Elements {
    fn new(of: &ColumnType, names: &mut impl Iterator<Item = Arc<KeyNames>>, timestamp: TimestampUnit) -> Self {
        Elements { column: Box::new(Column::new(of, names, timestamp)), ends: vec![0] }
    }

    /// Ends a list: what has been added to the column since the last one is in it.
    pub(super) fn end(&mut self) {
        self.ends.push(offset(self.column.len));
    }

    /// Where the list that has not been ended begins.
    pub(super) fn begin(&self) -> usize {
        *self.ends.last().expect("the first list begins at 0") as usize
    }

    fn truncate(&mut self, len: usize) {
        self.ends.truncate(len + 1);
        self.column.truncate(self.begin());
    }
}

impl Default for Bytes {
    fn default() -> Self {
        Bytes { bytes: Vec::new(), ends: vec![0] }
    }
}

impl Bytes {
    /// Ends a string: what has been added to the bytes since the last one is in it.
    #[inline(always)]
    pub(super) fn end(&mut self) {
        self.ends.push(offset(self.bytes.len()));
    }

    /// Where the string that has not been ended begins.
    pub(super) fn begin(&self) -> usize {
        *self.ends.last().expect("the first string begins at 0") as usize
    }

    fn get(&self, at: usize) -> &[u8] {
        &self.bytes[self.ends[at] as usize..self.ends[at + 1] as usize]
    }

    fn truncate(&mut self, len: usize) {
        self.ends.truncate(len + 1);
        self.bytes.truncate(self.begin());
    }

    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let room = self.bytes.len() + self.bytes.len() / 8;
        let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(room));
        (take_ends(&mut self.ends), Buffer::from_vec(bytes))
    }
}

impl Members {
    pub(super) fn new(
        members: &[NamedType],
        names: &mut impl Iterator<Item = Arc<KeyNames>>,
        timestamp: TimestampUnit,
    ) -> Self {
        let own = names.next().expect("names were made of the same schema");
        let columns: Vec<_> = members.iter().map(|member| Column::new(&member.of, names, timestamp)).collect();
        let width = columns.iter().map(Column::width).sum();
        Members { names: own, keys: KeyTable::default(), columns, rows: 0, width }
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.rows = rows;
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
    }

    pub(super) fn finish(&mut self, fields: &Fields) -> Vec<ArrayRef> {
        let rows = std::mem::take(&mut self.rows);
        // Columns that have no value at all share their nulls: of many columns, most may be such.
        let mut nulls: Vec<ArrayRef> = Vec::new();
        let mut finish = |(column, field): (&mut Column, &FieldRef)| {
            if column.len > 0 || rows == 0 {
                if column.len < rows {
                    column.push_nulls_to(rows);
                }
                return column.finish(field.data_type());
            }
            let known = nulls.iter().find(|array| array.data_type() == field.data_type());
            known.cloned().unwrap_or_else(|| {
                nulls.push(new_null_array(field.data_type(), rows));
                nulls[nulls.len() - 1].clone()
            })
        };
        self.columns.iter_mut().zip(fields).map(&mut finish).collect()
    }
}

/// Values of a batch are counted in 32 bits: what one may hold is bounded far below that.
#[inline(always)]
fn offset(len: usize) -> i32 {
    i32::try_from(len).expect("a batch is bounded far below 2 GiB")
}

/// Adds empty strings or lists until there are so many ends.
fn repeat_last(ends: &mut Vec<i32>, len: usize) {
    let last = *ends.last().expect("the first one begins at 0");
    ends.resize(len, last);
}

fn take_ends(ends: &mut Vec<i32>) -> OffsetBuffer<i32> {
    let mut next = Vec::with_capacity(ends.len());
    next.push(0);
    offsets(std::mem::replace(ends, next))
}

fn primitive<T: ArrowPrimitiveType>(values: &mut Vec<T::Native>, nulls: Option<NullBuffer>, of: &DataType) -> ArrayRef {
    let next = Vec::with_capacity(values.len());
    let values = ScalarBuffer::from(std::mem::replace(values, next));
    Arc::new(PrimitiveArray::<T>::new(values, nulls).with_data_type(of.clone()))
}
