//! Settings of one stream, its keys in path order.

use super::destination::Destination;
use super::store::Store;
use super::{Compress, Format, Kinesis, Local, Places, S3, Transform};
use crate::units::{self, ByteSize};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de as serde_de};
use std::borrow::Cow;
use std::time::Duration;

/// One delivery stream.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamConfig {
    #[serde(default)]
    pub source: Source,
    /// At most one for now.
    #[serde(default)]
    pub transform: Vec<Transform>,
    /// Partition keys by jq: not there yet.
    #[serde(default)]
    pub partition: Option<Partition>,
    #[serde(default)]
    pub format: Format,
    #[serde(default)]
    pub compress: Compress,
    #[serde(default)]
    pub buffer: Buffer,
    pub destination: Destination,
    /// A second copy of every record as it came, before any step; or only what failed.
    #[serde(default, with = "backup")]
    #[schemars(with = "Option<BackupYaml>")]
    pub backup: Option<Backup>,
    /// The most that this stream's journal and plan log may take, at least 2MiB.
    #[serde(default)]
    pub disk_budget: Option<ByteSize>,
    /// The IANA zone of timestamps in prefixes and object names (Firehose: CustomTimeZone). UTC if absent.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// Replaces the extension that format and compression give, such as `.json.gz`: `.` and 1 to 127 of the characters
    /// a-z 0-9 ! - _ . * ' ( )
    #[serde(default)]
    pub file_extension: Option<String>,
    /// `destination` and `backup` as the file says it.
    #[serde(skip)]
    pub places: Places,
}

impl StreamConfig {
    /// The stream of Kinesis that it reads, if it does.
    pub fn kinesis(&self) -> Option<&Kinesis> {
        match &self.source {
            Source::Kinesis(kinesis) => Some(kinesis),
            Source::DirectPut => None,
        }
    }

    /// The zone of `time_zone`, which was checked when the file was read.
    pub fn zone(&self) -> jiff::tz::TimeZone {
        let named = self.time_zone.as_deref().and_then(|name| jiff::tz::TimeZone::get(name).ok());
        named.unwrap_or(jiff::tz::TimeZone::UTC)
    }
}

/// What a source is.
#[derive(Debug)]
pub struct SourceSpec {
    /// Firehose's name of streams that have it (`DeliveryStreamType`).
    pub stream_type: &'static str,
    /// Records are put; else they are read, and puts are refused.
    pub takes_puts: bool,
}

static DIRECT_PUT: SourceSpec = SourceSpec { stream_type: "DirectPut", takes_puts: true };

static KINESIS: SourceSpec = SourceSpec { stream_type: "KinesisStreamAsSource", takes_puts: false };

impl Source {
    /// What it is.
    pub fn spec(&self) -> &'static SourceSpec {
        match self {
            Source::DirectPut => &DIRECT_PUT,
            Source::Kinesis(_) => &KINESIS,
        }
    }
}

/// Where records come from.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// PutRecord and PutRecordBatch.
    #[default]
    DirectPut,
    /// A stream of Kinesis Data Streams.
    Kinesis(Box<Kinesis>),
}

/// Partition keys. There is no value of this type: every text is refused.
#[derive(Clone, Debug, Serialize)]
pub enum Partition {}

impl<'de> Deserialize<'de> for Partition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_de::IgnoredAny::deserialize(deserializer)?;
        Err(serde_de::Error::custom("jq keys are not there yet"))
    }
}

impl JsonSchema for Partition {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Partition".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "null" })
    }
}

/// When a buffer becomes an object: whichever comes first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Buffer {
    /// Bytes before compression, 1MiB to 128MiB. With Parquet the default is 128MiB. With `object_size` up to 16GiB, and
    /// 64 times that size by default.
    pub size: ByteSize,
    /// Bytes of an object as it is delivered, encoded and compressed, 64KiB to 1GiB: objects are cut as near to it as can be
    /// told. Not for a backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_size: Option<ByteSize>,
    /// Age of the oldest record, 0s to 15m; of a backup more than 0s.
    #[serde(with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub interval: Duration,
}

impl Default for Buffer {
    fn default() -> Self {
        Buffer { size: ByteSize::mib(5), object_size: None, interval: Duration::from_secs(300) }
    }
}

impl StreamConfig {
    /// Whether failures go where the backup goes, buffered and compressed as it is.
    pub fn fails_into_backup(&self) -> bool {
        let only_failed = self.backup.as_ref().is_some_and(|b| b.mode == BackupMode::Failed);
        only_failed || self.destination.store().is_none()
    }

    /// Where failures go. A checked configuration has such a place.
    pub fn failures(&self) -> Option<Store<'_>> {
        match self.fails_into_backup() {
            true => self.backup.as_ref().and_then(|b| b.destination.store()),
            false => self.destination.store(),
        }
    }

    /// The backup, if it takes every record.
    pub fn source_backup(&self) -> Option<&Backup> {
        self.backup.as_ref().filter(|b| b.mode == BackupMode::All)
    }
}

/// A second place for objects. `mode: none` in YAML is no backup at all.
#[derive(Clone, Debug)]
pub struct Backup {
    pub mode: BackupMode,
    /// `S3` or `Local`.
    pub destination: Destination,
    pub buffer: Buffer,
    pub compress: Compress,
}

/// What the backup is given (Firehose: S3BackupMode).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackupMode {
    /// Every record as it came (`Enabled`, `AllData`); and what failed, where the destination takes no objects.
    #[default]
    All,
    /// What failed, and nothing else (`FailedDataOnly`).
    Failed,
    /// Nothing (`Disabled`).
    None,
}

/// A second copy of every record as it came, before any step; or only what failed.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BackupYaml {
    #[serde(default)]
    mode: BackupMode,
    #[serde(default)]
    s3: Option<Box<S3>>,
    #[serde(default)]
    local: Option<Local>,
    #[serde(default)]
    buffer: Buffer,
    #[serde(default)]
    compress: Compress,
}

/// `Option<Backup>` as its YAML form.
pub(super) mod backup {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(backup: &Option<Backup>, serializer: S) -> Result<S::Ok, S::Error> {
        let yaml = backup.clone().map(|Backup { mode, destination, buffer, compress }| {
            let (s3, local) = match destination {
                Destination::S3(s3) => (Some(s3), None),
                Destination::Local(local) => (None, Some(local)),
                _ => (None, None),
            };
            BackupYaml { mode, s3, local, buffer, compress }
        });
        yaml.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Backup>, D::Error> {
        let Some(yaml) = Option::<BackupYaml>::deserialize(deserializer)? else { return Ok(None) };
        let destination = match (yaml.s3, yaml.local) {
            _ if yaml.mode == BackupMode::None => return Ok(None),
            (Some(s3), None) => Destination::S3(s3),
            (None, Some(local)) => Destination::Local(local),
            (None, None) => return Err(serde_de::Error::custom("found no destination, expected one of `s3`, `local`")),
            (Some(_), Some(_)) => {
                return Err(serde_de::Error::custom("found `s3` and `local`, expected exactly one of `s3`, `local`"));
            }
        };
        Ok(Some(Backup { mode: yaml.mode, destination, buffer: yaml.buffer, compress: yaml.compress }))
    }
}
