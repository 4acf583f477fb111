//! Rows to Parquet objects. One object is one `ArrowWriter`; it and each row group in it are opened late ([`StagedRows`]).

use super::column_file::{ByteSink, ExpectedBytes, FooterBytes, StagedRows};
use super::dictionary::Dictionaries;
use super::parquet_settings::{ParquetSettings, RowOrder};
use super::rows::ColumnRows;
use arrow_array::RecordBatch;
use arrow_ord::sort::{SortColumn, SortOptions, lexsort_to_indices};
use arrow_schema::SchemaRef;
use arrow_select::take::take_record_batch;
use parquet::arrow::ArrowWriter;
use std::sync::Arc;

/// Rows that are sorted together, in memory: what is not encoded yet takes several times as much as what is.
const SORTED_BYTES_MAX: usize = 64 << 20;
const SORTED_BATCHES: usize = 1024;

/// Settings of the format.
pub struct ParquetFormat {
    dictionaries: Arc<Dictionaries>,
    footer: FooterBytes,
}

impl ParquetFormat {
    pub fn new(settings: ParquetSettings) -> Self {
        ParquetFormat { dictionaries: Arc::new(Dictionaries::new(settings)), footer: FooterBytes::default() }
    }

    /// A new object of rows of that schema, whose bytes go to `sink`.
    pub(super) fn encoder(&self, schema: SchemaRef, sink: ByteSink) -> ParquetEncoder {
        let (dictionaries, footer) = (self.dictionaries.clone(), self.footer.clone());
        footer.of_empty(|| {
            let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(dictionaries.properties()));
            writer.and_then(ArrowWriter::into_inner).expect(ENCODES).len()
        });
        let staged = match dictionaries.settings().order.is_empty() {
            true => StagedRows::new(schema.clone()),
            false => StagedRows::of(schema.clone(), SORTED_BYTES_MAX, SORTED_BATCHES),
        };
        ParquetEncoder { schema, dictionaries, footer, staged, writer: ObjectWriter::Unopened(sink) }
    }
}

/// One Parquet object being written.
pub struct ParquetEncoder {
    schema: SchemaRef,
    dictionaries: Arc<Dictionaries>,
    footer: FooterBytes,
    staged: StagedRows,
    writer: ObjectWriter,
}

enum ObjectWriter {
    Unopened(ByteSink),
    Open(Box<ArrowWriter<ByteSink>>),
    Gone,
}

const ENCODES: &str = "rows of the writer's own schema always encode, and a sink takes what it is given";

impl ParquetEncoder {
    pub(super) fn push(&mut self, columns: &ColumnRows, picked: Option<&[u32]>) {
        columns.pick(picked, |batch| self.push_rows(batch));
    }

    fn push_rows(&mut self, batch: RecordBatch) {
        match &mut self.writer {
            ObjectWriter::Open(writer) if writer.in_progress_rows() > 0 => {
                self.staged.pass(&batch);
                writer.write(&batch).expect(ENCODES);
                if writer.memory_size() > self.dictionaries.settings().block_bytes {
                    writer.flush().expect(ENCODES);
                }
            }
            _ if self.staged.push(batch) => match self.is_sorted() {
                true => self.settle(),
                false => drop(self.write_staged()),
            },
            _ => {}
        }
    }

    fn is_sorted(&self) -> bool {
        !self.dictionaries.settings().order.is_empty()
    }

    /// Writes what is staged, in order if there is one.
    fn write_staged(&mut self) -> &mut ArrowWriter<ByteSink> {
        self.writer = match std::mem::replace(&mut self.writer, ObjectWriter::Gone) {
            ObjectWriter::Unopened(sink) => {
                let writer = ArrowWriter::try_new(sink, self.schema.clone(), Some(self.dictionaries.properties()));
                ObjectWriter::Open(Box::new(writer.expect(ENCODES)))
            }
            open => open,
        };
        let batches = match self.is_sorted() {
            true => {
                let order = &self.dictionaries.settings().order;
                self.staged.take_whole().iter().map(|rows| sorted(rows, order)).collect()
            }
            false => self.staged.take(),
        };
        let ObjectWriter::Open(writer) = &mut self.writer else { unreachable!("opened above") };
        for batch in batches {
            writer.write(&batch).expect(ENCODES);
        }
        writer
    }

    pub(super) fn finish(mut self) {
        let writer = self.write_staged();
        writer.flush().expect(ENCODES);
        let rows_end = writer.bytes_written();
        let written = writer.finish().expect(ENCODES);
        let footer = writer.bytes_written() - rows_end;
        self.footer.learn(footer, written.num_row_groups());
        self.dictionaries.learn(&written);
    }

    pub(super) fn expected_bytes(&self) -> Option<ExpectedBytes> {
        let ObjectWriter::Open(writer) = &self.writer else { return None };
        let groups = writer.flushed_row_groups().len() + usize::from(writer.in_progress_rows() > 0);
        let end = self.footer.expected(groups.max(1));
        Some(self.staged.expected(end, writer.bytes_written(), writer.in_progress_size()))
    }

    /// Ends the row group.
    pub(super) fn settle(&mut self) {
        self.write_staged().flush().expect(ENCODES);
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let written = match &self.writer {
            ObjectWriter::Open(writer) => writer.memory_size(),
            _ => 0,
        };
        self.staged.memory_bytes() + written
    }
}

/// The rows in that order.
fn sorted(rows: &RecordBatch, order: &[RowOrder]) -> RecordBatch {
    let columns = order.iter().map(|by| SortColumn {
        values: rows.column(by.column).clone(),
        options: Some(SortOptions { descending: by.descending, nulls_first: by.nulls_first }),
    });
    let order = lexsort_to_indices(&columns.collect::<Vec<_>>(), None).expect("columns whose values have an order");
    take_record_batch(rows, &order).expect("rows of this batch")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::column_file::{ColumnFile, ColumnFormat, EncodedBytes};
    use crate::format::earlier::EarlierTable;
    use crate::format::json::{JsonTable, SerdeRules};
    use crate::format::metadata::RecordFacts;
    use crate::format::parquet_settings::DictionaryUse;
    use crate::format::rows::RecordTable;
    use crate::format::schema::TableSchema;
    use crate::format::{Converted, Rows};
    use crate::record::Records;
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::file::metadata::ParquetMetaData;

    fn format_of(columns: &[(&str, &str)], earlier: bool) -> ColumnFormat {
        let schema = TableSchema::parse(columns.iter().copied()).unwrap();
        let table = match earlier {
            true => RecordTable::Earlier(EarlierTable::new(&schema)),
            false => RecordTable::Json(JsonTable::new(schema, SerdeRules::OpenX(Default::default()))),
        };
        ColumnFormat::new(table, ColumnFile::Parquet(ParquetFormat::new(ParquetSettings::default())))
    }

    fn formats() -> [ColumnFormat; 2] {
        let columns = [("id", "bigint"), ("name", "string"), ("tags", "array<string>")];
        [false, true].map(|earlier| format_of(&columns, earlier))
    }

    fn rows_of(object: Vec<u8>) -> usize {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(object)).unwrap().build().unwrap();
        reader.map(|b| b.unwrap().num_rows()).sum()
    }

    fn converted(format: &ColumnFormat, records: &Records) -> Converted {
        format.convert(records, &RecordFacts { made_of: None, arrivals: &[], origins: &[] })
    }

    fn object_of(format: &ColumnFormat, rows: &Rows, picked: &[u32]) -> Vec<u8> {
        let Rows::Columns(columns) = rows else { panic!("columns expected") };
        let out = EncodedBytes::default();
        let mut encoder = format.encoder(Box::new(out.clone()));
        encoder.push(columns, Some(picked));
        encoder.finish();
        out.take()
    }

    fn batch(records: &[&str]) -> Records {
        let mut batch = Records::default();
        records.iter().for_each(|r| batch.push(r.as_bytes()));
        batch
    }

    #[test]
    fn a_bad_record_fails_alone_and_says_why() {
        let records = batch(&[
            r#"{"id":1,"name":"a"}"#,
            r#"{"id":"x"}"#,
            "",
            r#"{"id":2}{"id":3}"#,
            "[1]",
            r#"{"id":4"#,
            "7",
            r#"{"id":5,"tags":["t"],"more":{}}"#,
        ]);
        for format in formats() {
            let converted = converted(&format, &records);
            let failed: Vec<_> = converted.failed.iter().map(|(i, why)| (*i, why.code)).collect();
            let malformed = "DataFormatConversion.MalformedData";
            let expected = [
                (1, malformed),
                (2, malformed),
                (4, malformed),
                (5, "DataFormatConversion.ParseError"),
                (6, malformed),
            ];
            assert_eq!(failed, expected);
            let object = object_of(&format, &converted.rows, &[0, 3, 7]);
            assert_eq!(rows_of(object), 4, "one record holds two documents");
        }
    }

    #[test]
    fn every_type_that_a_schema_can_name_is_decoded_and_encoded() {
        let types = "tinyint smallint int bigint float double boolean string char(3) varchar(9) binary date timestamp \
                     timestamp(3) timestamp(9) decimal(9,2) \
                     array<struct<a:int>> map<string,double> map<int,string> struct<a:int,b:timestamp>";
        for text in types.split_whitespace() {
            let format = format_of(&[("v", text)], false);
            let value = match text {
                "boolean" => "true",
                "string" | "char(3)" | "varchar(9)" => "\"abc\"",
                "date" => "\"2026-11-20\"",
                "binary" => "\"AAEC\"",
                text if text.starts_with("timestamp") => "\"2026-11-20T12:30:00.123Z\"",
                _ if text.starts_with("array") => "[{\"a\":1}]",
                "map<int,string>" => "{\"7\":\"x\"}",
                _ if text.starts_with("map") => "{\"k\":1.5}",
                _ if text.starts_with("struct") => "{\"a\":1,\"b\":1790000000000}",
                _ => "7",
            };
            let converted = converted(&format, &batch(&[&format!("{{\"v\":{value}}}"), "{}", "{\"v\":null}"]));
            assert!(converted.failed.is_empty(), "{text}: {:?}", converted.failed);
            let object = object_of(&format, &converted.rows, &[0, 1, 2]);
            assert_eq!(rows_of(object), 3, "{text}");
        }
    }

    #[test]
    fn picking_splits_a_chunk_without_losing_a_row() {
        let lines: Vec<String> = (0..5000).map(|i| format!(r#"{{"id":{i},"name":"n{i}"}}"#)).collect();
        let records = batch(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        for format in formats() {
            let converted = converted(&format, &records);
            let mut rows = 0;
            for remainder in 0..3u32 {
                let picked: Vec<u32> = (0..5000).filter(|i| i % 3 == remainder).collect();
                rows += rows_of(object_of(&format, &converted.rows, &picked));
            }
            assert_eq!(rows, 5000);
        }
    }

    /// 20,000 rows under these settings, read again.
    fn object(settings: ParquetSettings) -> (ParquetMetaData, Vec<RecordBatch>) {
        let schema = TableSchema::parse([("id", "bigint"), ("name", "string"), ("user", "struct<id:int>")]).unwrap();
        let table = RecordTable::Json(JsonTable::new(schema, SerdeRules::OpenX(Default::default())));
        let format = ColumnFormat::new(table, ColumnFile::Parquet(ParquetFormat::new(settings)));
        let out = EncodedBytes::default();
        let mut encoder = format.encoder(Box::new(out.clone()));
        for chunk in 0..20u64 {
            let line = |i: u64| format!(r#"{{"id":{},"name":"n{}","user":{{"id":{i}}}}}"#, i * 7919 % 20_000, i % 10);
            let lines: Vec<String> = (chunk * 1000..(chunk + 1) * 1000).map(line).collect();
            let records = batch(&lines.iter().map(String::as_str).collect::<Vec<_>>());
            let Rows::Columns(columns) = converted(&format, &records).rows else { panic!("columns expected") };
            encoder.push(&columns, None);
        }
        encoder.finish();
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(out.take())).unwrap();
        let metadata = (**reader.metadata()).clone();
        (metadata, reader.with_batch_size(30_000).build().unwrap().map(Result::unwrap).collect())
    }

    #[test]
    fn a_file_is_written_as_its_settings_say() {
        use parquet::basic::Compression::{GZIP, LZ4_RAW, SNAPPY, UNCOMPRESSED, ZSTD};
        for compression in [SNAPPY, GZIP(Default::default()), UNCOMPRESSED, ZSTD(Default::default()), LZ4_RAW] {
            let (metadata, rows) = object(ParquetSettings { compression, ..Default::default() });
            assert_eq!(metadata.row_group(0).column(0).compression(), compression);
            assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 20_000);
        }
        let settings = ParquetSettings {
            block_bytes: 50_000,
            dictionary: DictionaryUse::None,
            version: parquet::file::properties::WriterVersion::PARQUET_2_0,
            bloom: vec!["user.id".into()],
            page_index: true,
            ..Default::default()
        };
        let (metadata, rows) = object(settings);
        assert!(metadata.num_row_groups() > 2 && metadata.file_metadata().version() == 2, "{metadata:?}");
        assert!(metadata.row_groups().iter().all(|group| group.column(1).dictionary_page_offset().is_none()));
        let indexed = |metadata: &ParquetMetaData| metadata.row_group(0).column(0).column_index_offset().is_some();
        assert!(indexed(&metadata) && !indexed(&object(ParquetSettings::default()).0));
        let blooms = metadata.row_groups()[0].columns().iter().map(|column| column.bloom_filter_offset().is_some());
        assert_eq!(blooms.collect::<Vec<_>>(), [false, false, true]);
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 20_000);
    }

    #[test]
    fn rows_of_a_row_group_are_sorted_as_asked() {
        let order = vec![
            RowOrder { column: 1, descending: true, nulls_first: false },
            RowOrder { column: 0, descending: false, nulls_first: false },
        ];
        let (metadata, rows) = object(ParquetSettings { order, ..Default::default() });
        let stored: Vec<_> = metadata.row_group(0).sorting_columns().unwrap().iter().map(|c| c.column_idx).collect();
        assert_eq!((metadata.num_row_groups(), stored), (1, vec![1, 0]));
        let names = rows[0].column(1).as_string::<i32>();
        let ids = rows[0].column(0).as_primitive::<Int64Type>();
        let found: Vec<_> = (0..20_000).map(|i| (std::cmp::Reverse(names.value(i)), ids.value(i))).collect();
        assert!(found.is_sorted() && found.len() == rows.iter().map(RecordBatch::num_rows).sum::<usize>());
    }
}
