//! Columns of a Parquet file.

use super::{ColumnType, NamedMembers, NamedType, TimestampUnit, TypeError};
use arrow_schema::{DataType, Field, Fields, TimeUnit};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;

/// A file's columns.
pub(super) fn columns(file: Vec<u8>) -> Result<Vec<NamedType>, TypeError> {
    let error = |e: &dyn std::fmt::Display| TypeError { found: e.to_string(), expected: "a Parquet file".into() };
    let metadata = ArrowReaderMetadata::load(&Bytes::from(file), Default::default()).map_err(|e| error(&e))?;
    members(metadata.schema().fields())
}

fn members(fields: &Fields) -> Result<Vec<NamedType>, TypeError> {
    let mut found = NamedMembers::default();
    for field in fields {
        found.add(field.name(), of(field)?)?;
    }
    Ok(found.members)
}

fn of(field: &Field) -> Result<ColumnType, TypeError> {
    Ok(match field.data_type() {
        DataType::Int8 => ColumnType::TinyInt,
        DataType::Int16 | DataType::UInt8 => ColumnType::SmallInt,
        DataType::Int32 | DataType::UInt16 => ColumnType::Int,
        DataType::Int64 | DataType::UInt32 => ColumnType::BigInt,
        DataType::UInt64 => ColumnType::Decimal { precision: 20, scale: 0 },
        DataType::Float16 | DataType::Float32 => ColumnType::Float,
        DataType::Float64 => ColumnType::Double,
        DataType::Boolean => ColumnType::Boolean,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => ColumnType::String,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            ColumnType::Binary
        }
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Timestamp(unit, _) => ColumnType::Timestamp(match unit {
            TimeUnit::Second | TimeUnit::Millisecond => Some(TimestampUnit::Millis),
            TimeUnit::Microsecond => None,
            TimeUnit::Nanosecond => Some(TimestampUnit::Nanos),
        }),
        DataType::Decimal128(precision, scale @ 0..) | DataType::Decimal256(precision @ ..=38, scale @ 0..) => {
            ColumnType::Decimal { precision: *precision, scale: *scale as u8 }
        }
        DataType::List(element) | DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
            ColumnType::Array(Box::new(of(element)?))
        }
        DataType::Struct(fields) => ColumnType::Struct(members(fields)?),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(pair) if pair.len() == 2 => {
                ColumnType::Map(Box::new(of(&pair[0])?), Box::new(of(&pair[1])?))
            }
            other => return Err(unknown(field, other)),
        },
        DataType::Dictionary(_, value) => of(&Field::new(field.name(), (**value).clone(), true))?,
        other => return Err(unknown(field, other)),
    })
}

fn unknown(field: &Field, of: &DataType) -> TypeError {
    let found = format!("{of} in the column {}", field.name());
    TypeError { found, expected: "a type that Hive has".into() }
}
