//! From a definition's format to the format step.

use super::load::blob;
use crate::config::definition::FormatDefinition;
use crate::config::{JsonSerde, ParquetCompression, ParquetDictionary, ParquetVersion, ParquetWriter, SortingColumn};
use crate::config::{MetadataColumnNames, OrcCompression, OrcWriter};
use crate::error::{Error, Kind, Result};
use crate::format::column_file::{ColumnFile, ColumnFormat};
use crate::format::earlier::EarlierTable;
use crate::format::json::{HiveRules, HiveTimestampFormat, JsonTable, OpenXRules, SerdeRules};
use crate::format::metadata::{MetadataColumns, RecordFact};
use crate::format::orc::{OrcCodec, OrcFormat, OrcSettings};
use crate::format::parquet_settings::{DictionaryUse, ParquetSettings, RowOrder, has_leaf, order_column};
use crate::format::rows::RecordTable;
use crate::format::schema::{ColumnType, NamedType, TableSchema};
use crate::format::{RecordFormat, lines::LinesFormat, parquet::ParquetFormat};
use crate::stream::state_log::blobs::Blobs;
use parquet::basic::Compression;
use parquet::file::properties::WriterVersion;

/// The format step of a stream that a definition describes.
pub(super) fn format(definition: &FormatDefinition, blobs: &Blobs, stream: &str) -> Result<RecordFormat> {
    let (schema, serde, extra, metadata) = match definition {
        FormatDefinition::Raw => return Ok(RecordFormat::Lines(LinesFormat { newline: false })),
        FormatDefinition::Lines => return Ok(RecordFormat::Lines(LinesFormat { newline: true })),
        FormatDefinition::Parquet { schema, serde, extra, metadata, .. } => (schema, serde.as_ref(), extra, metadata),
        FormatDefinition::Orc { schema, serde, extra, metadata, .. } => (schema, Some(serde), extra, metadata),
    };
    let misconfigured = |e| Error::new(Kind::Misconfigured, e);
    let schema = table_schema(&blob(schema, blobs)?)?;
    let table = match serde {
        Some(serde) => {
            let table = JsonTable::new(schema.clone(), serde_rules(serde)?);
            let table = if matches!(definition, FormatDefinition::Orc { .. }) { table.for_orc() } else { table };
            table.check_keys().map_err(misconfigured)?;
            RecordTable::Json(match extra {
                Some(name) => table.with_extra(name).map_err(misconfigured)?,
                None => table,
            })
        }
        None => RecordTable::Earlier(EarlierTable::new(&schema)),
    };
    let metadata = MetadataColumns::new(table.arrow(), named_facts(metadata), stream).map_err(misconfigured)?;
    let file = match definition {
        FormatDefinition::Orc { compression, writer, .. } => {
            let extra = extra.iter().map(|name| NamedType { name: name.clone(), of: ColumnType::String, key: None });
            let columns = schema.columns.iter().cloned().chain(extra).chain(metadata.columns().iter().cloned());
            ColumnFile::Orc(OrcFormat::new(columns.collect(), orc_settings(*compression, writer)))
        }
        FormatDefinition::Parquet { compression, writer, .. } => {
            ColumnFile::Parquet(ParquetFormat::new(parquet_settings(&schema, *compression, writer)?))
        }
        FormatDefinition::Raw | FormatDefinition::Lines => unreachable!("returned above"),
    };
    Ok(RecordFormat::Columns(Box::new(ColumnFormat::new(table, file).with_metadata(metadata))))
}

fn named_facts(names: &MetadataColumnNames) -> impl Iterator<Item = (RecordFact, String)> {
    let MetadataColumnNames { arrival_time, stream, partition_key, sequence_number } = names.clone();
    let named = [
        (RecordFact::ArrivalTime, arrival_time),
        (RecordFact::Stream, stream),
        (RecordFact::PartitionKey, partition_key),
        (RecordFact::SequenceNumber, sequence_number),
    ];
    named.into_iter().filter_map(|(fact, name)| Some((fact, name?)))
}

fn orc_settings(compression: OrcCompression, writer: &OrcWriter) -> OrcSettings {
    let codec = match compression {
        OrcCompression::Snappy => OrcCodec::Snappy,
        OrcCompression::Zlib => OrcCodec::Zlib,
        OrcCompression::Zstd => OrcCodec::Zstd,
        OrcCompression::None => OrcCodec::None,
    };
    let (stripe_bytes, row_index_stride) = (writer.stripe_size.bytes() as usize, writer.row_index_stride);
    OrcSettings { codec, stripe_bytes, row_index_stride }
}

fn parquet_settings(
    schema: &TableSchema,
    compression: ParquetCompression,
    writer: &ParquetWriter,
) -> Result<ParquetSettings> {
    let misconfigured = |e: String| Error::new(Kind::Misconfigured, format!("the Parquet writer: {e}"));
    let order = |by: &SortingColumn| {
        let SortingColumn { column, descending, nulls_first } = by;
        let column = order_column(schema, column).map_err(misconfigured)?;
        Ok(RowOrder { column, descending: *descending, nulls_first: *nulls_first })
    };
    if let Some(column) = writer.bloom_filter_columns.iter().find(|column| !has_leaf(schema, column)) {
        let message = format!("found the bloom filter column `{column}`, expected one of the schema without members");
        return Err(misconfigured(message));
    }
    Ok(ParquetSettings {
        compression: match compression {
            ParquetCompression::Gzip => Compression::GZIP(Default::default()),
            ParquetCompression::Uncompressed => Compression::UNCOMPRESSED,
            ParquetCompression::Snappy => Compression::SNAPPY,
            ParquetCompression::Zstd => Compression::ZSTD(Default::default()),
            ParquetCompression::Lz4Raw => Compression::LZ4_RAW,
        },
        block_bytes: writer.block_size.bytes() as usize,
        page_bytes: writer.page_size.bytes() as usize,
        dictionary: match writer.dictionary {
            ParquetDictionary::Auto => DictionaryUse::Learned,
            ParquetDictionary::All => DictionaryUse::All,
            ParquetDictionary::None => DictionaryUse::None,
        },
        version: match writer.version {
            ParquetVersion::V1 => WriterVersion::PARQUET_1_0,
            ParquetVersion::V2 => WriterVersion::PARQUET_2_0,
        },
        page_index: writer.page_index,
        bloom: writer.bloom_filter_columns.clone(),
        bloom_share: writer.bloom_filter_false_positive_probability,
        order: writer.sorting_columns.iter().map(order).collect::<Result<_>>()?,
    })
}

/// Columns as a definition has them: name, type, and perhaps a key.
fn table_schema(columns: &[u8]) -> Result<TableSchema> {
    let corrupt = |what: String| Error::new(Kind::Corrupt, format!("an epoch's schema: {what}"));
    let columns: Vec<Vec<String>> = serde_json::from_slice(columns).map_err(|e| corrupt(e.to_string()))?;
    let named = columns.into_iter().map(|column| match column.as_slice() {
        [name, of, key @ ..] if key.len() <= 1 => {
            let of = ColumnType::parse(of).map_err(|e| Error::new(Kind::Misconfigured, format!("schema: {e}")))?;
            Ok(NamedType { name: name.clone(), of, key: key.first().cloned() })
        }
        other => Err(corrupt(format!("found a column of {} parts, expected 2 or 3", other.len()))),
    });
    Ok(TableSchema { columns: named.collect::<Result<_>>()? })
}

fn serde_rules(serde: &JsonSerde) -> Result<SerdeRules> {
    Ok(match serde {
        JsonSerde::Openx(openx) => SerdeRules::OpenX(OpenXRules {
            case_insensitive: openx.case_insensitive,
            dots_to_underscores: openx.convert_dots_in_json_keys_to_underscores,
            keys: openx.column_to_json_key_mappings.clone().into_iter().collect(),
        }),
        JsonSerde::Hive(hive) => {
            let formats = hive.timestamp_formats.iter().map(|format| HiveTimestampFormat::parse(format));
            let formats = formats.collect::<std::result::Result<_, String>>();
            let timestamp_formats = formats.map_err(|e| Error::new(Kind::Misconfigured, format!("serde: {e}")))?;
            SerdeRules::Hive(HiveRules { timestamp_formats })
        }
        JsonSerde::Strict(_) => SerdeRules::Strict,
    })
}
