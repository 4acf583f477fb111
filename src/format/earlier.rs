//! JSON as versions before there were SerDes read it: through arrow-json, by exact names, with timestamps in milliseconds. What an
//! epoch of those has planned is made again as it was judged then, and what it has not read yet is read as its definition was meant.
//!
//! Records are decoded many at a time; one that does not convert is found by halving and fails alone.

use super::rows::{BATCH_ROWS, ColumnRows};
use super::schema::{TableSchema, TimestampUnit};
use super::{Converted, NotConverted, Rows};
use crate::record::Records;
use arrow_array::RecordBatch;
use arrow_json::ReaderBuilder;
use arrow_json::reader::Decoder;
use arrow_schema::{ArrowError, SchemaRef};

/// Rows a decoder takes before it stops: room for records that hold several documents.
const DECODER_ROWS: usize = 2 * BATCH_ROWS;

/// What records are read into.
pub struct EarlierTable {
    schema: SchemaRef,
}

impl EarlierTable {
    pub fn new(schema: &TableSchema) -> EarlierTable {
        EarlierTable { schema: schema.arrow(TimestampUnit::Millis) }
    }

    /// The batches' schema.
    pub fn arrow(&self) -> &SchemaRef {
        &self.schema
    }

    fn decoder(&self) -> Decoder {
        ReaderBuilder::new(self.schema.clone())
            .with_batch_size(DECODER_ROWS)
            .with_coerce_primitive(true)
            .build_decoder()
            .expect("every type that a schema of then can name can be decoded")
    }

    pub(super) fn convert(&self, records: &Records) -> Converted {
        let mut chunk = ColumnChunk {
            table: self,
            records,
            decoder: self.decoder(),
            columns: ColumnRows::of_records(records.len()),
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
        Converted {
            rows: Rows::Columns(ColumnRows::new(chunk.columns.batches, chunk.columns.rows_of)),
            failed: chunk.failed,
            coverage: None,
        }
    }
}

/// A conversion under way.
struct ColumnChunk<'a> {
    table: &'a EarlierTable,
    records: &'a Records,
    decoder: Decoder,
    columns: ColumnRows,
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
            self.decoder = self.table.decoder();
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
