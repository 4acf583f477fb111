//! Further columns of a table, with what is known of a record besides its bytes.

use super::rows::ColumnRows;
use super::schema::{ColumnType, NamedType, TableSchema, TimestampUnit};
use crate::record::Origin;
use arrow_array::builder::{StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::SchemaRef;
use std::sync::Arc;

/// What such a column has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordFact {
    /// When the record was taken.
    ArrivalTime,
    /// The name of the stream that took it.
    Stream,
    /// The partition key with which its source had it.
    PartitionKey,
    /// The sequence number that its source had given it.
    SequenceNumber,
}

/// Such columns, behind those of the schema.
pub struct MetadataColumns {
    columns: Vec<NamedType>,
    facts: Vec<RecordFact>,
    stream: String,
    schema: SchemaRef,
}

/// What is known of the records of a chunk.
pub struct RecordFacts<'c> {
    /// Of each record that is converted, which of the chunk it was made of; `None`: they are the chunk's.
    pub made_of: Option<Vec<u32>>,
    /// In milliseconds since the Unix epoch.
    pub arrivals: &'c [u64],
    /// Empty where the source gave none.
    pub origins: &'c [Origin],
}

impl RecordFacts<'_> {
    fn record(&self, i: usize) -> usize {
        self.made_of.as_ref().map_or(i, |made_of| made_of[i] as usize)
    }
}

impl RecordFact {
    fn column_type(self) -> ColumnType {
        match self {
            RecordFact::ArrivalTime => ColumnType::Timestamp(Some(TimestampUnit::Micros)),
            RecordFact::Stream | RecordFact::PartitionKey | RecordFact::SequenceNumber => ColumnType::String,
        }
    }
}

impl MetadataColumns {
    /// Columns of those names behind those of `schema`.
    ///
    /// # Errors
    /// There is such a column already.
    pub fn new(
        schema: &SchemaRef,
        named: impl IntoIterator<Item = (RecordFact, String)>,
        stream: &str,
    ) -> Result<MetadataColumns, String> {
        let (mut columns, mut facts) = (Vec::<NamedType>::new(), Vec::new());
        for (fact, name) in named {
            let own = columns.iter().map(|column| &column.name);
            let is_taken = schema.fields().iter().map(|field| field.name()).chain(own).any(|other| {
                // Readers of tables do not tell them apart.
                other.to_lowercase() == name.to_lowercase()
            });
            if name.is_empty() || is_taken {
                return Err(format!("found the metadata column `{name}`, expected a name that no other column has"));
            }
            facts.push(fact);
            columns.push(NamedType { name, of: fact.column_type(), key: None });
        }
        let own = TableSchema { columns: columns.clone() }.arrow(TimestampUnit::Micros);
        let fields: Vec<_> = schema.fields().iter().chain(own.fields()).cloned().collect();
        let schema = Arc::new(arrow_schema::Schema::new(fields));
        Ok(MetadataColumns { columns, facts, stream: stream.to_owned(), schema })
    }

    /// Their names and types.
    pub fn columns(&self) -> &[NamedType] {
        &self.columns
    }

    /// The schema of the whole table.
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The same rows with these columns.
    pub(super) fn add(&self, rows: &ColumnRows, of: &RecordFacts) -> Arc<ColumnRows> {
        let mut records = rows.rows_of.iter().enumerate().filter(|(_, range)| !range.is_empty()).peekable();
        let mut behind = 0;
        let batches = rows.batches.iter().map(|batch| {
            behind += batch.num_rows() as u32;
            // Of each row of the batch, its record: none stands in two.
            let mut record_of = Vec::with_capacity(batch.num_rows());
            while let Some((i, range)) = records.next_if(|(_, range)| range.end <= behind) {
                record_of.extend(range.clone().map(|_| of.record(i)));
            }
            let own = self.facts.iter().map(|fact| self.column(*fact, &record_of, of));
            let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
            let columns = batch.columns().iter().cloned().chain(own).collect();
            RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).expect("columns of this schema")
        });
        ColumnRows::new(batches.collect(), rows.rows_of.clone())
    }

    fn column(&self, fact: RecordFact, record_of: &[usize], of: &RecordFacts) -> ArrayRef {
        let texts = |text: &dyn Fn(usize) -> Option<String>| -> ArrayRef {
            let mut builder = StringBuilder::new();
            record_of.iter().for_each(|record| builder.append_option(text(*record)));
            Arc::new(builder.finish())
        };
        match fact {
            RecordFact::ArrivalTime => {
                let mut builder = TimestampMicrosecondBuilder::with_capacity(record_of.len());
                record_of.iter().for_each(|record| builder.append_value(of.arrivals[*record] as i64 * 1000));
                Arc::new(builder.finish().with_timezone("+00:00"))
            }
            RecordFact::Stream => texts(&|_| Some(self.stream.clone())),
            RecordFact::PartitionKey => texts(&|record| Some(of.origins.get(record)?.partition_key.to_string())),
            RecordFact::SequenceNumber => texts(&|record| Some(of.origins.get(record)?.position.sequence.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Rows;
    use crate::format::column_file::{ColumnFile, ColumnFormat};
    use crate::format::json::{JsonTable, SerdeRules};
    use crate::format::parquet::ParquetFormat;
    use crate::format::parquet_settings::ParquetSettings;
    use crate::format::rows::RecordTable;
    use crate::record::{Position, Records};
    use arrow_array::cast::AsArray;
    use arrow_array::types::TimestampMicrosecondType;

    fn table() -> JsonTable {
        JsonTable::new(TableSchema::parse([("id", "int")]).unwrap(), SerdeRules::Strict)
    }

    fn names(names: [(RecordFact, &str); 4]) -> impl IntoIterator<Item = (RecordFact, String)> {
        names.map(|(fact, name)| (fact, name.to_owned()))
    }

    #[test]
    fn rows_know_the_record_that_they_were_made_of() {
        use RecordFact::*;
        let named = names([(ArrivalTime, "at"), (Stream, "of"), (PartitionKey, "key"), (SequenceNumber, "sequence")]);
        let metadata = MetadataColumns::new(table().arrow(), named, "clicks").unwrap();
        let file = ColumnFile::Parquet(ParquetFormat::new(ParquetSettings::default()));
        let format = ColumnFormat::new(RecordTable::Json(table()), file).with_metadata(metadata);
        let mut outputs = Records::default();
        // More than a batch; two that fail, one of two rows.
        (0..3000).for_each(|i| match i {
            5 => outputs.push(b"{\"id\":\"x\"}"),
            6 => outputs.push(b"{\"id\":6}{\"id\":6}"),
            7 => outputs.push(b""),
            _ => outputs.push(format!("{{\"id\":{i}}}").as_bytes()),
        });
        let origin = |i: u64| Origin {
            shard: "shard".into(),
            position: Position { sequence: format!("{i}00").into(), sub_sequence: 0 },
            partition_key: format!("k{i}").into(),
        };
        // Each record of the chunk had two outputs.
        let origins: Vec<Origin> = (0..1500).map(origin).collect();
        let arrivals: Vec<u64> = (0..1500).map(|i| 1_790_000_000_000 + i).collect();
        let made_of = || Some((0..3000).map(|i| i / 2).collect());
        let converted =
            format.convert(&outputs, &RecordFacts { made_of: made_of(), arrivals: &arrivals, origins: &origins });
        assert_eq!(converted.failed.iter().map(|(i, _)| *i).collect::<Vec<_>>(), [5, 7]);
        let Rows::Columns(rows) = converted.rows else { panic!("columns expected") };
        let mut seen = 0;
        for batch in &rows.batches {
            let ids = batch.column(0).as_primitive::<arrow_array::types::Int32Type>();
            let times = batch.column(1).as_primitive::<TimestampMicrosecondType>();
            for row in 0..batch.num_rows() {
                let record = ids.value(row) as i64 / 2;
                assert_eq!(times.value(row), (1_790_000_000_000 + record) * 1000);
                let texts = [2, 3, 4].map(|column| batch.column(column).as_string::<i32>().value(row).to_owned());
                assert_eq!(texts, ["clicks".to_owned(), format!("k{record}"), format!("{record}00")]);
                seen += 1;
            }
        }
        assert!(seen == 2999 && rows.batches.len() > 1, "{seen} rows in {} batches", rows.batches.len());
        let facts = RecordFacts { made_of: made_of(), arrivals: &arrivals, origins: &[] };
        let Rows::Columns(rows) = format.convert(&outputs, &facts).rows else { panic!("columns expected") };
        assert_eq!([3, 4].map(|column| rows.batches[0].column(column).null_count()), [1024; 2]);
    }

    #[test]
    fn names_that_are_taken_are_refused() {
        use RecordFact::*;
        for taken in ["ID", "", "At"] {
            let named = names([(ArrivalTime, "at"), (Stream, "of"), (PartitionKey, taken), (SequenceNumber, "x")]);
            let refused = MetadataColumns::new(table().arrow(), named, "clicks").err();
            assert!(refused.is_some_and(|why| why.contains(&format!("`{taken}`"))), "{taken}");
        }
    }
}
