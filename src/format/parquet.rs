//! JSON records to Parquet objects, through Arrow.
//!
//! A chunk is converted record by record into batches small enough to stay in cache; a record that does not convert is
//! found by halving and fails alone. One object is one `ArrowWriter`, opened late: until 64 KiB of rows have come, a
//! buffer keeps the rows only, because an open writer costs up to a mebibyte.

use super::dictionary::Dictionaries;
use super::{Converted, NotConverted, Rows};
use crate::record::Records;
use arrow_array::{RecordBatch, UInt32Array};
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;
use arrow_schema::ArrowError;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use arrow_select::take::take_record_batch;
use parquet::arrow::ArrowWriter;
use std::ops::Range;
use std::sync::Arc;

/// Rows per batch: more and arrow-json's tape leaves the second-level cache, at up to six times the cost.
const BATCH_ROWS: usize = 1024;
/// Rows a decoder takes before it stops: room for records that hold several documents.
const DECODER_ROWS: usize = 2 * BATCH_ROWS;
const STAGED_BYTES: usize = 64 << 10;
const STAGED_BATCHES: usize = 32;
/// A row group is closed when the writer holds this much.
const WRITER_BYTES_MAX: usize = 24 << 20;

/// Settings of the format.
pub struct ParquetFormat {
    schema: SchemaRef,
    dictionaries: Arc<Dictionaries>,
}

/// The rows of a chunk.
pub struct ParquetColumns {
    batches: Vec<RecordBatch>,
    /// Of each record, its rows, counted over all batches; empty if it failed.
    rows_of: Vec<Range<u32>>,
}

impl ParquetFormat {
    pub fn new(schema: SchemaRef, compression: parquet::basic::Compression) -> Self {
        ParquetFormat { schema, dictionaries: Arc::new(Dictionaries::new(compression)) }
    }

    pub fn encoder(&self) -> ParquetEncoder {
        ParquetEncoder {
            schema: self.schema.clone(),
            dictionaries: self.dictionaries.clone(),
            staged: Vec::new(),
            staged_bytes: 0,
            writer: None,
        }
    }

    fn decoder(&self) -> Decoder {
        ReaderBuilder::new(self.schema.clone())
            .with_batch_size(DECODER_ROWS)
            .with_coerce_primitive(true)
            .build_decoder()
            .expect("every type that a schema can name can be decoded")
    }

    pub fn convert(&self, records: &Records) -> Converted {
        let mut chunk = ColumnChunk {
            parquet: self,
            records,
            decoder: self.decoder(),
            columns: ParquetColumns { batches: Vec::new(), rows_of: vec![0..0; records.len()] },
            rows: 0,
            failed: Vec::new(),
        };
        let all: Vec<usize> = (0..records.len()).collect();
        for some in all.chunks(BATCH_ROWS) {
            if chunk.decode(some).is_err() {
                chunk.decode_carefully(some);
            }
        }
        chunk.failed.sort_by_key(|(i, _)| *i);
        Converted { rows: Rows::Columns(chunk.columns), failed: chunk.failed }
    }
}

/// A conversion under way.
struct ColumnChunk<'a> {
    parquet: &'a ParquetFormat,
    records: &'a Records,
    decoder: Decoder,
    columns: ParquetColumns,
    rows: u32,
    failed: Vec<(usize, NotConverted)>,
}

/// A group of records does not convert as it is.
struct Spoiled(String);

impl From<ArrowError> for Spoiled {
    fn from(e: ArrowError) -> Self {
        Spoiled(match e {
            ArrowError::JsonError(text) => text,
            other => other.to_string(),
        })
    }
}

impl ColumnChunk<'_> {
    /// Decodes these records into one batch, or none of them.
    fn decode(&mut self, some: &[usize]) -> Result<(), Spoiled> {
        let decoded = self.try_decode(some);
        if decoded.is_err() {
            self.decoder = self.parquet.decoder();
        }
        let (batch, ends) = decoded?;
        let mut start = self.rows;
        for (&i, end) in some.iter().zip(ends) {
            self.columns.rows_of[i] = start..self.rows + end;
            start = self.rows + end;
        }
        self.rows = start;
        self.columns.batches.extend(batch);
        Ok(())
    }

    fn try_decode(&mut self, some: &[usize]) -> Result<(Option<RecordBatch>, Vec<u32>), Spoiled> {
        let mut ends = Vec::with_capacity(some.len());
        for &i in some {
            let record = self.records.get(i);
            let before = self.decoder.len();
            if record.trim_ascii_start().first() != Some(&b'{') {
                return Err(Spoiled("not an object".into()));
            }
            let consumed = self.decoder.decode(record)?;
            if consumed < record.len() || self.decoder.has_partial_record() || self.decoder.len() == before {
                return Err(Spoiled("too many documents in a record, or an unfinished one".into()));
            }
            ends.push(self.decoder.len() as u32);
        }
        Ok((self.decoder.flush()?, ends))
    }

    /// The slow way, taken for a group that holds something bad: each record is looked at, the sound ones are halved
    /// until what the schema refuses stands alone.
    fn decode_carefully(&mut self, some: &[usize]) {
        let mut sound = Vec::with_capacity(some.len());
        for &i in some {
            match check(self.records.get(i)) {
                Ok(()) => sound.push(i),
                Err(why) => self.failed.push((i, why)),
            }
        }
        self.halve(&sound);
    }

    fn halve(&mut self, some: &[usize]) {
        let Err(Spoiled(why)) = self.decode(some) else { return };
        match some {
            [] => {}
            [i] => {
                let message = format!("Data does not match the schema. {why}");
                self.failed.push((*i, NotConverted { code: "DataFormatConversion.MalformedData", message }));
            }
            _ => {
                let (left, right) = some.split_at(some.len() / 2);
                self.halve(left);
                self.halve(right);
            }
        }
    }
}

/// Whether a record is one or more JSON objects; messages as Firehose writes them (docs/firehose.md: "Codes of failures").
fn check(record: &[u8]) -> Result<(), NotConverted> {
    let fail = |code, message: String| Err(NotConverted { code, message });
    let malformed = "DataFormatConversion.MalformedData";
    if record.trim_ascii().is_empty() {
        return fail(malformed, "The record was empty or contained only whitespace.".into());
    }
    if std::str::from_utf8(record).is_err() {
        return fail(malformed, "The record is not valid UTF-8.".into());
    }
    for document in serde_json::Deserializer::from_slice(record).into_iter::<&serde_json::value::RawValue>() {
        match document {
            Err(e) => {
                return fail("DataFormatConversion.ParseError", format!("Encountered malformed JSON. {e}"));
            }
            Ok(d) if !d.get().starts_with('{') => {
                let message = "The input JSON contained a primitive at the top level. The top level must be an object \
                               or array.";
                let array = "The input JSON contained an array at the top level. Records must be objects.";
                return fail(malformed, if d.get().starts_with('[') { array } else { message }.into());
            }
            Ok(_) => {}
        }
    }
    Ok(())
}

/// One Parquet object being written.
pub struct ParquetEncoder {
    schema: SchemaRef,
    dictionaries: Arc<Dictionaries>,
    staged: Vec<RecordBatch>,
    staged_bytes: usize,
    writer: Option<ArrowWriter<Vec<u8>>>,
}

const IN_MEMORY: &str = "rows of the writer's own schema always encode into memory";

impl ParquetEncoder {
    pub fn push(&mut self, columns: &ParquetColumns, picked: &[u32], out: &mut Vec<u8>) {
        let mut first_row = 0;
        let mut picked = picked.iter().map(|&i| columns.rows_of[i as usize].clone()).filter(|r| !r.is_empty());
        let mut next = picked.next();
        for batch in &columns.batches {
            let rows = first_row..first_row + batch.num_rows() as u32;
            let mut wanted: Vec<u32> = Vec::new();
            while let Some(range) = next.clone().filter(|r| r.start < rows.end) {
                wanted.extend(range.map(|row| row - rows.start));
                next = picked.next();
            }
            first_row = rows.end;
            match wanted.len() {
                0 => {}
                n if n == batch.num_rows() => self.push_rows(batch.clone(), out),
                _ => {
                    let wanted = UInt32Array::from(wanted);
                    self.push_rows(take_record_batch(batch, &wanted).expect("rows of this batch"), out);
                }
            }
        }
    }

    fn push_rows(&mut self, batch: RecordBatch, out: &mut Vec<u8>) {
        match &mut self.writer {
            Some(writer) => {
                writer.write(&batch).expect(IN_MEMORY);
                if writer.memory_size() > WRITER_BYTES_MAX {
                    writer.flush().expect(IN_MEMORY);
                }
                out.append(writer.inner_mut());
            }
            None => {
                self.staged_bytes += batch.get_array_memory_size();
                self.staged.push(batch);
                if self.staged_bytes > STAGED_BYTES {
                    self.open(out);
                } else if self.staged.len() > STAGED_BATCHES {
                    self.staged = vec![concat_batches(&self.schema, &self.staged).expect(IN_MEMORY)];
                }
            }
        }
    }

    fn open(&mut self, out: &mut Vec<u8>) {
        let properties = self.dictionaries.properties();
        let mut writer = ArrowWriter::try_new(Vec::new(), self.schema.clone(), Some(properties)).expect(IN_MEMORY);
        for batch in self.staged.drain(..) {
            writer.write(&batch).expect(IN_MEMORY);
        }
        self.staged_bytes = 0;
        out.append(writer.inner_mut());
        self.writer = Some(writer);
    }

    pub fn finish(mut self, out: &mut Vec<u8>) {
        if self.writer.is_none() {
            self.open(out);
        }
        let writer = self.writer.as_mut().expect("opened above");
        self.dictionaries.learn(&writer.finish().expect(IN_MEMORY));
        out.append(writer.inner_mut());
    }

    pub fn memory_bytes(&self) -> usize {
        self.staged_bytes + self.writer.as_ref().map_or(0, |w| w.memory_size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::schema::schema;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    fn format() -> ParquetFormat {
        let columns = [("id", "bigint"), ("name", "string"), ("tags", "array<string>")];
        let columns: Vec<_> = columns.iter().map(|(n, t)| (n.to_string(), t.to_string())).collect();
        ParquetFormat::new(schema(&columns).unwrap(), parquet::basic::Compression::SNAPPY)
    }

    fn rows_of(object: Vec<u8>) -> usize {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(object)).unwrap().build().unwrap();
        reader.map(|b| b.unwrap().num_rows()).sum()
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
        let format = format();
        let converted = format.convert(&records);
        let failed: Vec<_> = converted.failed.iter().map(|(i, why)| (*i, why.code)).collect();
        let malformed = "DataFormatConversion.MalformedData";
        let expected =
            [(1, malformed), (2, malformed), (4, malformed), (5, "DataFormatConversion.ParseError"), (6, malformed)];
        assert_eq!(failed, expected);
        let (mut encoder, mut out) = (format.encoder(), Vec::new());
        let Rows::Columns(columns) = &converted.rows else { panic!("columns expected") };
        encoder.push(columns, &[0, 3, 7], &mut out);
        encoder.finish(&mut out);
        assert_eq!(rows_of(out), 4, "one record holds two documents");
    }

    #[test]
    fn every_type_that_a_schema_can_name_is_decoded_and_encoded() {
        let types = "tinyint smallint int bigint float double boolean string char(3) varchar(9) date timestamp decimal(9,2) \
                     array<struct<a:int>> map<string,double> struct<a:int,b:timestamp>";
        for text in types.split_whitespace() {
            let columns = [("v".to_owned(), text.to_owned())];
            let format = ParquetFormat::new(schema(&columns).unwrap(), parquet::basic::Compression::SNAPPY);
            let value = match text {
                "boolean" => "true",
                "string" | "char(3)" | "varchar(9)" => "\"abc\"",
                "date" => "\"2026-11-20\"",
                "timestamp" => "\"2026-11-20T12:30:00.123Z\"",
                _ if text.starts_with("array") => "[{\"a\":1}]",
                _ if text.starts_with("map") => "{\"k\":1.5}",
                _ if text.starts_with("struct") => "{\"a\":1,\"b\":1790000000000}",
                _ => "7",
            };
            let converted = format.convert(&batch(&[&format!("{{\"v\":{value}}}"), "{}", "{\"v\":null}"]));
            assert!(converted.failed.is_empty(), "{text}: {:?}", converted.failed);
            let (mut encoder, mut out) = (format.encoder(), Vec::new());
            let Rows::Columns(columns) = &converted.rows else { panic!("columns expected") };
            encoder.push(columns, &[0, 1, 2], &mut out);
            encoder.finish(&mut out);
            assert_eq!(rows_of(out), 3, "{text}");
        }
    }

    #[test]
    fn picking_splits_a_chunk_without_losing_a_row() {
        let lines: Vec<String> = (0..5000).map(|i| format!(r#"{{"id":{i},"name":"n{i}"}}"#)).collect();
        let records = batch(&lines.iter().map(String::as_str).collect::<Vec<_>>());
        let format = format();
        let converted = format.convert(&records);
        let Rows::Columns(columns) = &converted.rows else { panic!("columns expected") };
        let mut rows = 0;
        for remainder in 0..3u32 {
            let picked: Vec<u32> = (0..5000).filter(|i| i % 3 == remainder).collect();
            let (mut encoder, mut out) = (format.encoder(), Vec::new());
            encoder.push(columns, &picked, &mut out);
            encoder.finish(&mut out);
            rows += rows_of(out);
        }
        assert_eq!(rows, 5000);
    }
}
