//! The loops that the service is compared with: one thread, everything in memory, nothing made durable.

use super::corpus::Corpus;
use super::machine::thread_cpu_s;
use arrow_json::ReaderBuilder;
use arrow_schema::SchemaRef;
use flate2::Compression as FlateLevel;
use flate2::write::GzEncoder;
use hydrant::compress::Compression;
use hydrant::format::Rows;
use hydrant::format::column_file::{ColumnFile, ColumnFormat, EncodedBytes};
use hydrant::format::json::{JsonTable, OpenXRules, SerdeRules};
use hydrant::format::metadata::RecordFacts;
use hydrant::format::orc::{OrcFormat, OrcSettings};
use hydrant::format::parquet::ParquetFormat;
use hydrant::format::parquet_settings::ParquetSettings;
use hydrant::format::rows::RecordTable;
use hydrant::record::Records;
use parquet::arrow::ArrowWriter;
use parquet::basic;
use parquet::file::properties::WriterProperties;
use std::io::Write;
use std::time::Instant;

/// Records per batch: where arrow-json is at its best.
const BATCH_ROWS: usize = 1024;
/// What a stream judges at once.
const CHUNK_RECORDS: usize = 4096;
const CHUNK_BYTES: usize = 1 << 20;

/// One run of a loop.
#[derive(Clone, Copy, Debug)]
pub struct Loop {
    pub seconds: f64,
    pub cpu_s: f64,
    pub out_bytes: usize,
}

fn measure(work: impl FnOnce() -> Result<usize, String>) -> Result<Loop, String> {
    let (cpu, began) = (thread_cpu_s(), Instant::now());
    let out_bytes = work()?;
    Ok(Loop { seconds: began.elapsed().as_secs_f64(), cpu_s: thread_cpu_s() - cpu, out_bytes })
}

/// REF: arrow-json in batches of 1,024 into an `ArrowWriter` with its defaults and snappy.
pub fn parquet(corpus: &Corpus, schema: &SchemaRef) -> Result<Loop, String> {
    let error = |e: &dyn std::fmt::Display| format!("the reference: {e}");
    measure(|| {
        let properties = WriterProperties::builder().set_compression(basic::Compression::SNAPPY).build();
        let writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties));
        let mut writer = writer.map_err(|e| error(&e))?;
        let decoder = ReaderBuilder::new(schema.clone()).with_batch_size(BATCH_ROWS).build_decoder();
        let mut decoder = decoder.map_err(|e| error(&e))?;
        let mut rest = corpus.bytes();
        while !rest.is_empty() {
            let consumed = decoder.decode(rest).map_err(|e| error(&e))?;
            rest = &rest[consumed..];
            if let Some(batch) = decoder.flush().map_err(|e| error(&e))? {
                writer.write(&batch).map_err(|e| error(&e))?;
            }
        }
        Ok(writer.into_inner().map_err(|e| error(&e))?.len())
    })
}

/// REFGZ: one gzip stream of level 6.
pub fn gzip(corpus: &Corpus) -> Result<Loop, String> {
    measure(|| {
        let mut encoder = GzEncoder::new(Vec::new(), FlateLevel::new(6));
        encoder.write_all(corpus.bytes()).map_err(|e| e.to_string())?;
        Ok(encoder.finish().map_err(|e| e.to_string())?.len())
    })
}

/// The service's own steps that make an object's bytes, alone.
pub struct Own {
    chunks: Vec<Records>,
    /// Gzip if absent.
    format: Option<ColumnFormat>,
}

impl Own {
    pub fn parquet(corpus: &Corpus) -> Result<Own, String> {
        let table = JsonTable::new(corpus.kind.table()?, SerdeRules::OpenX(OpenXRules::default()));
        let parquet = ColumnFile::Parquet(ParquetFormat::new(ParquetSettings::default()));
        Ok(Own { chunks: chunks(corpus), format: Some(ColumnFormat::new(RecordTable::Json(table), parquet)) })
    }

    pub fn orc(corpus: &Corpus) -> Result<Own, String> {
        let schema = corpus.kind.table()?;
        let orc = ColumnFile::Orc(OrcFormat::new(schema.columns.clone(), OrcSettings::default()));
        let table = JsonTable::new(schema, SerdeRules::OpenX(OpenXRules::default())).for_orc();
        Ok(Own { chunks: chunks(corpus), format: Some(ColumnFormat::new(RecordTable::Json(table), orc)) })
    }

    pub fn gzip(corpus: &Corpus) -> Own {
        Own { chunks: chunks(corpus), format: None }
    }

    pub fn run(&self) -> Result<Loop, String> {
        measure(|| match &self.format {
            Some(format) => self.encode(format),
            None => Ok(self.compress()),
        })
    }

    fn encode(&self, format: &ColumnFormat) -> Result<usize, String> {
        let (out, mut bytes) = (EncodedBytes::default(), 0);
        let mut encoder = format.encoder(Box::new(out.clone()));
        for chunk in &self.chunks {
            let facts = RecordFacts { made_of: None, arrivals: &[], origins: &[] };
            let converted = format.convert(chunk, &facts);
            if let Some((i, why)) = converted.failed.first() {
                return Err(format!("record {i} does not convert: {}", why.message));
            }
            let Rows::Columns(rows) = &converted.rows else { return Err("columns expected".into()) };
            encoder.push(rows, None);
            bytes += out.take().len();
        }
        encoder.finish();
        Ok(bytes + out.take().len())
    }

    fn compress(&self) -> usize {
        let (mut encoder, mut out, mut bytes) = (Compression::Gzip { level: 1 }.encoder(), Vec::new(), 0);
        for record in self.chunks.iter().flat_map(Records::iter) {
            encoder.raw(&mut out).extend_from_slice(record);
            while let Some(piece) = encoder.piece() {
                bytes += piece.compress().len();
            }
        }
        bytes += encoder.rest().map_or(0, |piece| piece.compress().len());
        encoder.end(&mut out);
        bytes + out.len()
    }
}

fn chunks(corpus: &Corpus) -> Vec<Records> {
    let mut chunks = vec![Records::default()];
    for record in corpus.records() {
        let last = chunks.last().expect("there is always one");
        if last.len() == CHUNK_RECORDS || last.bytes().len() + record.len() > CHUNK_BYTES {
            chunks.push(Records::default());
        }
        chunks.last_mut().expect("there is always one").push(record);
    }
    chunks
}
