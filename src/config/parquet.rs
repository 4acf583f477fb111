//! Settings of the Parquet format. Where Firehose has a setting, it has Firehose's name and its default where that is known.

use super::json_serde::JsonSerde;
use super::metadata_columns::MetadataColumnNames;
use crate::units::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parquet {
    /// A file with the columns, relative to the configuration file: YAML with `columns`, a type (`struct<name:type,…>`), a `CREATE
    /// EXTERNAL TABLE` statement, a JSON Schema, an Avro schema, or a Parquet file.
    pub schema: PathBuf,
    #[serde(default)]
    pub compression: ParquetCompression,
    /// What JSON values become.
    #[serde(default)]
    pub serde: JsonSerde,
    /// A further column, of type `string`, with what the schema does not know of a record: its JSON, as it came.
    #[serde(default)]
    pub extra: Option<String>,
    /// Further columns, with what is known of a record besides its bytes.
    #[serde(default)]
    pub metadata: MetadataColumnNames,
    #[serde(default)]
    pub writer: ParquetWriter,
}

/// Inside the Parquet file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParquetCompression {
    #[default]
    Snappy,
    Gzip,
    Uncompressed,
    /// Smaller than snappy and as fast; not in Firehose.
    Zstd,
    /// Not in Firehose.
    Lz4Raw,
}

/// How the file is written. What is in it does not depend on these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ParquetWriter {
    /// Bytes of a row group, encoded, 1MiB to 256MiB: each is held in memory until it is written (Firehose: BlockSizeBytes).
    pub block_size: ByteSize,
    /// Bytes of a page, 64KiB to 16MiB (Firehose: PageSizeBytes).
    pub page_size: ByteSize,
    /// Which columns have a dictionary (Firehose: EnableDictionaryCompression).
    pub dictionary: ParquetDictionary,
    /// Of the format, for data pages (Firehose: WriterVersion).
    pub version: ParquetVersion,
    /// Statistics of each page and where it is, so that readers may leave out pages as well as row groups.
    pub page_index: bool,
    /// Columns with a bloom filter, members of structs as `user.id`.
    pub bloom_filter_columns: Vec<String>,
    /// How often such a filter may say yes to what is not there, 0.0001 to 0.5.
    pub bloom_filter_false_positive_probability: f64,
    /// Rows of a row group are sorted by these, the first one first. Columns of the table, with values that can be compared.
    pub sorting_columns: Vec<SortingColumn>,
}

/// A column that rows are sorted by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SortingColumn {
    pub column: String,
    #[serde(default)]
    pub descending: bool,
    #[serde(default)]
    pub nulls_first: bool,
}

/// Which columns have a dictionary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParquetDictionary {
    /// Those for which it pays, as objects before have shown.
    #[default]
    Auto,
    /// All, until theirs are too large.
    All,
    None,
}

/// Of the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParquetVersion {
    #[default]
    V1,
    V2,
}

impl Default for ParquetWriter {
    fn default() -> Self {
        ParquetWriter {
            block_size: ByteSize::mib(24),
            page_size: ByteSize::mib(1),
            dictionary: ParquetDictionary::Auto,
            version: ParquetVersion::V1,
            page_index: false,
            bloom_filter_columns: Vec::new(),
            bloom_filter_false_positive_probability: 0.05,
            sorting_columns: Vec::new(),
        }
    }
}

impl ParquetWriter {
    /// Whether nothing is set.
    pub(super) fn is_default(&self) -> bool {
        *self == ParquetWriter::default()
    }
}
