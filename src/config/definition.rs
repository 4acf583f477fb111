//! The part of a stream's settings that an epoch persists: what decides which bytes a record becomes and where they go. It is
//! written and read by this code alone.
//!
//! The keys and their order of meaning are on disk, in every epoch: never rename one or use one for something else. What is
//! live (credentials, endpoints, time-outs, retries, buffers, budgets) is not in it.

use super::transform::Wasi;
use super::{
    Compress, Destination, Format, JsonSerde, MetadataColumnNames, Orc, OrcCompression, OrcWriter, Parquet,
    ParquetCompression, ParquetWriter, Store, StreamConfig, Transform,
};
use crate::destination::DestinationKind;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// An epoch's definition. Files are named by their SHA-256 in hexadecimal, so that a moved file is the same and a changed one
/// is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    pub transform: Vec<StepDefinition>,
    /// Nothing yet: jq is to stand here.
    #[serde(default)]
    pub partition: (),
    pub format: FormatDefinition,
    pub compress: CompressDefinition,
    /// An IANA zone; UTC without one.
    #[serde(default)]
    pub time_zone: Option<String>,
    #[serde(default)]
    pub file_extension: Option<String>,
    pub destination: DestinationDefinition,
    /// Where failures go, unless that is the destination. Definitions of before there were other places have none.
    #[serde(default)]
    pub failures: Option<FailuresDefinition>,
    #[serde(default)]
    pub backup: Option<BackupDefinition>,
    /// The version of the program, which may do the same thing differently from another one.
    #[serde(default)]
    pub hydrant: String,
}

/// One step of the transform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepDefinition {
    Wasm(WasmDefinition),
}

/// A component and what it is given. Sizes are bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WasmDefinition {
    pub module: String,
    pub config: Option<serde_json::Value>,
    pub max_records: u32,
    pub max_bytes: u64,
    pub memory: u64,
    pub output: u64,
    pub isolate_max_calls: u32,
    #[serde(default)]
    pub wasi: Wasi,
}

/// What a record becomes in its object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FormatDefinition {
    Raw,
    Lines,
    /// `schema` is the hash of a JSON list of columns: name, type, and the key that it is read from, unless that is the name.
    Parquet {
        schema: String,
        compression: ParquetCompression,
        /// Definitions of before there were SerDes have none: JSON was read in a way of its own then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        serde: Option<JsonSerde>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extra: Option<String>,
        #[serde(default, skip_serializing_if = "MetadataColumnNames::is_default")]
        metadata: MetadataColumnNames,
        #[serde(default, skip_serializing_if = "ParquetWriter::is_default")]
        writer: ParquetWriter,
    },
    /// As for Parquet.
    Orc {
        schema: String,
        compression: OrcCompression,
        serde: JsonSerde,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        extra: Option<String>,
        #[serde(default, skip_serializing_if = "MetadataColumnNames::is_default")]
        metadata: MetadataColumnNames,
        #[serde(default, skip_serializing_if = "OrcWriter::is_default")]
        writer: OrcWriter,
    },
}

/// What is done to an object as a whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CompressDefinition {
    #[default]
    None,
    Gzip {
        level: u32,
    },
}

/// Where records go: what a warehouse is told to load is live, and only where objects are staged for it decides anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DestinationDefinition {
    pub kind: DestinationKind,
    /// A bucket or a directory; empty if it takes no objects.
    pub place: String,
    pub prefix: String,
    #[serde(default)]
    pub error_prefix: Option<String>,
}

/// Where failures go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailuresDefinition {
    pub kind: DestinationKind,
    pub place: String,
    pub prefix: String,
    #[serde(default)]
    pub error_prefix: Option<String>,
    #[serde(default)]
    pub compress: CompressDefinition,
}

/// Where source records are copied to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupDefinition {
    pub kind: DestinationKind,
    pub place: String,
    pub prefix: String,
    pub compress: CompressDefinition,
}

impl Definition {
    /// Canonical JSON: equal for two definitions exactly if no new epoch is needed between them.
    pub fn to_json(&self) -> Vec<u8> {
        // By way of a value, whose keys are in order.
        let value = serde_json::to_value(self).expect("plain values always serialise");
        value.to_string().into_bytes()
    }
}

impl StreamConfig {
    /// What an epoch persists of it. Files appear as `hash_of` their path.
    pub fn definition(&self, hash_of: &dyn Fn(&Path) -> String) -> Definition {
        let failures = self.backup.as_ref().filter(|_| self.fails_into_backup());
        let failures = failures.and_then(|backup| Some((backup.destination.store()?, &backup.compress)));
        let backup = self.source_backup().and_then(|backup| Some((backup.destination.store()?, &backup.compress)));
        Definition {
            transform: self.transform.iter().map(|step| StepDefinition::of(step, hash_of)).collect(),
            partition: (),
            format: FormatDefinition::of(&self.format, hash_of),
            compress: CompressDefinition::of(&self.compress),
            time_zone: self.time_zone.clone(),
            file_extension: self.file_extension.clone(),
            destination: DestinationDefinition::of(&self.destination),
            failures: failures.map(|(store, compress)| FailuresDefinition {
                kind: store.kind(),
                place: store.place(),
                prefix: store.prefix().to_owned(),
                error_prefix: store.error_prefix().map(str::to_owned),
                compress: CompressDefinition::of(compress),
            }),
            backup: backup.map(|(store, compress)| BackupDefinition {
                kind: store.kind(),
                place: store.place(),
                prefix: store.prefix().to_owned(),
                compress: CompressDefinition::of(compress),
            }),
            hydrant: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

impl StepDefinition {
    fn of(Transform::Wasm(wasm): &Transform, hash_of: &dyn Fn(&Path) -> String) -> StepDefinition {
        StepDefinition::Wasm(WasmDefinition {
            module: hash_of(&wasm.module),
            config: wasm.config.clone(),
            max_records: wasm.batch.max_records,
            max_bytes: wasm.batch.max_bytes.bytes(),
            memory: wasm.limits.memory.bytes(),
            output: wasm.limits.output.bytes(),
            isolate_max_calls: wasm.isolate.max_calls,
            wasi: wasm.wasi,
        })
    }
}

impl FormatDefinition {
    fn of(format: &Format, hash_of: &dyn Fn(&Path) -> String) -> FormatDefinition {
        match format {
            Format::Raw => FormatDefinition::Raw,
            Format::Lines(_) => FormatDefinition::Lines,
            Format::Parquet(parquet) => {
                let Parquet { schema, compression, serde, extra, metadata, writer } = parquet.clone();
                let (schema, serde) = (hash_of(&schema), Some(serde));
                FormatDefinition::Parquet { schema, compression, serde, extra, metadata, writer }
            }
            Format::Orc(orc) => {
                let Orc { schema, compression, serde, extra, metadata, writer } = orc.clone();
                FormatDefinition::Orc { schema: hash_of(&schema), compression, serde, extra, metadata, writer }
            }
        }
    }
}

impl CompressDefinition {
    fn of(compress: &Compress) -> CompressDefinition {
        match compress {
            Compress::None => CompressDefinition::None,
            Compress::Gzip(gzip) => CompressDefinition::Gzip { level: gzip.level },
        }
    }
}

impl DestinationDefinition {
    fn of(destination: &Destination) -> DestinationDefinition {
        let store = destination.store();
        DestinationDefinition {
            kind: destination.kind(),
            place: store.map(Store::place).unwrap_or_default(),
            prefix: store.as_ref().map_or("", Store::prefix).to_owned(),
            error_prefix: store.as_ref().and_then(Store::error_prefix).map(str::to_owned),
        }
    }
}
