//! Settings of the ORC format. Where Firehose has a setting, it has Firehose's name.

use super::json_serde::JsonSerde;
use super::metadata_columns::MetadataColumnNames;
use crate::units::ByteSize;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Orc {
    /// A file with the columns, as for Parquet.
    pub schema: PathBuf,
    #[serde(default)]
    pub compression: OrcCompression,
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
    pub writer: OrcWriter,
}

/// Inside the ORC file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrcCompression {
    #[default]
    Snappy,
    Zlib,
    /// Smaller than snappy and as fast; not in Firehose.
    Zstd,
    None,
}

/// How the file is written. What is in it does not depend on these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OrcWriter {
    /// Bytes of a stripe, encoded, 1MiB to 256MiB: each is held in memory until it is written (Firehose: StripeSizeBytes).
    pub stripe_size: ByteSize,
    /// Rows of a row group, 1,000 to 1,000,000 (Firehose: RowIndexStride).
    pub row_index_stride: u32,
}

impl Default for OrcWriter {
    fn default() -> Self {
        OrcWriter { stripe_size: ByteSize::mib(24), row_index_stride: 10_000 }
    }
}

impl OrcWriter {
    /// Whether nothing is set.
    pub(super) fn is_default(&self) -> bool {
        *self == OrcWriter::default()
    }
}
