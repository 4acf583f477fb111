//! A batch as the rows that it stands for.

use crate::format::json::tests::oracle::OracleCell;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};

/// The rows of a batch.
pub(super) fn cells(batch: &RecordBatch) -> Vec<Vec<OracleCell>> {
    for column in batch.columns() {
        column.to_data().validate_full().expect("a column is what its type says");
    }
    (0..batch.num_rows()).map(|row| batch.columns().iter().map(|column| cell(column, row)).collect()).collect()
}

fn cell(array: &dyn Array, row: usize) -> OracleCell {
    if array.is_null(row) {
        return OracleCell::Null;
    }
    let list = |of: &dyn Array| (0..of.len()).map(|i| cell(of, i)).collect::<Vec<_>>();
    match array.data_type() {
        DataType::Boolean => OracleCell::Bool(array.as_boolean().value(row)),
        DataType::Int8 => OracleCell::Int(array.as_primitive::<Int8Type>().value(row).into()),
        DataType::Int16 => OracleCell::Int(array.as_primitive::<Int16Type>().value(row).into()),
        DataType::Int32 => OracleCell::Int(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => OracleCell::Int(array.as_primitive::<Int64Type>().value(row).into()),
        DataType::Float32 => OracleCell::Float(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => OracleCell::Double(array.as_primitive::<Float64Type>().value(row)),
        DataType::Decimal128(..) => OracleCell::Int(array.as_primitive::<Decimal128Type>().value(row)),
        DataType::Date32 => OracleCell::Int(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Timestamp(unit, _) => OracleCell::Int(i128::from(match unit {
            TimeUnit::Second => unreachable!("no column counts seconds"),
            TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row),
            TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
            TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row),
        })),
        DataType::Utf8 => OracleCell::Text(array.as_string::<i32>().value(row).to_owned()),
        DataType::Binary => OracleCell::Bytes(array.as_binary::<i32>().value(row).to_owned()),
        DataType::List(_) => OracleCell::List(list(&array.as_list::<i32>().value(row))),
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            OracleCell::Map(list(entries.column(0)).into_iter().zip(list(entries.column(1))).collect())
        }
        DataType::Struct(_) => {
            OracleCell::Struct(array.as_struct().columns().iter().map(|member| cell(member, row)).collect())
        }
        other => unreachable!("no column is {other}"),
    }
}
