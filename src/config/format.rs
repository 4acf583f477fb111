//! Settings of the format and compress steps.

use super::by_name::alone;
use super::json_serde::JsonSerde;
use super::orc::Orc;
use super::parquet::Parquet;
use crate::units::ByteSize;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What a record becomes in its object.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = lines_alone)]
pub enum Format {
    /// Its bytes, with nothing between records.
    #[default]
    Raw,
    /// Its bytes, and a newline if they do not end in one and are no gzip.
    Lines(Lines),
    /// Rows of a Parquet file, read from JSON.
    Parquet(Parquet),
    /// Rows of an ORC file, read from JSON.
    Orc(Orc),
}

/// What an object of a format is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectContent {
    /// Records as they are.
    Records,
    Lines,
    /// Columns, to which records are converted: one that does not convert has failed.
    Columns,
}

/// What a format is.
#[derive(Debug)]
pub struct FormatSpec {
    /// The key in YAML and in definitions.
    pub key: &'static str,
    /// Its name in messages.
    pub name: &'static str,
    pub content: ObjectContent,
    /// An object is compressed inside, and not as a whole.
    pub compresses_inside: bool,
    /// `buffer.size` where the file says nothing, if that is not what others have.
    pub buffer_size: Option<ByteSize>,
}

static RAW: FormatSpec = FormatSpec {
    key: "raw",
    name: "raw",
    content: ObjectContent::Records,
    compresses_inside: false,
    buffer_size: None,
};

static LINES: FormatSpec = FormatSpec { key: "lines", name: "lines", content: ObjectContent::Lines, ..RAW };

static PARQUET: FormatSpec = FormatSpec {
    key: "parquet",
    name: "Parquet",
    content: ObjectContent::Columns,
    compresses_inside: true,
    // Firehose's default where records are converted; a small file of columns costs every reader of it.
    buffer_size: Some(ByteSize::mib(128)),
};

static ORC: FormatSpec = FormatSpec { key: "orc", name: "ORC", ..PARQUET };

impl Format {
    /// What it is.
    pub fn spec(&self) -> &'static FormatSpec {
        match self {
            Format::Raw => &RAW,
            Format::Lines(Lines {}) => &LINES,
            Format::Parquet(_) => &PARQUET,
            Format::Orc(_) => &ORC,
        }
    }

    /// Whether records are converted to columns.
    pub fn converts(&self) -> bool {
        self.spec().content == ObjectContent::Columns
    }

    /// How JSON becomes the values of columns, if it does.
    pub fn serde(&self) -> Option<&JsonSerde> {
        match self {
            Format::Raw | Format::Lines(_) => None,
            Format::Parquet(parquet) => Some(&parquet.serde),
            Format::Orc(orc) => Some(&orc.serde),
        }
    }

    /// Columns that are not the schema's, by the keys of the settings that name them.
    pub(super) fn further_columns(&self) -> Vec<(Vec<&'static str>, &str)> {
        let (extra, metadata) = match self {
            Format::Raw | Format::Lines(_) => return Vec::new(),
            Format::Parquet(parquet) => (&parquet.extra, &parquet.metadata),
            Format::Orc(orc) => (&orc.extra, &orc.metadata),
        };
        let metadata = [
            ("arrival_time", &metadata.arrival_time),
            ("stream", &metadata.stream),
            ("partition_key", &metadata.partition_key),
            ("sequence_number", &metadata.sequence_number),
        ];
        let metadata = metadata.into_iter().filter_map(|(key, name)| Some((vec!["metadata", key], name.as_deref()?)));
        extra.iter().map(|name| (vec!["extra"], name.as_str())).chain(metadata).collect()
    }

    /// The file with the columns that records are converted to.
    pub fn schema(&self) -> Option<&PathBuf> {
        match self {
            Format::Raw | Format::Lines(_) => None,
            Format::Parquet(parquet) => Some(&parquet.schema),
            Format::Orc(orc) => Some(&orc.schema),
        }
    }

    /// See [`Format::schema`].
    pub(super) fn schema_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Format::Raw | Format::Lines(_) => None,
            Format::Parquet(parquet) => Some(&mut parquet.schema),
            Format::Orc(orc) => Some(&mut orc.schema),
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lines {}

/// What is done to an object as a whole. Must be `none` for Parquet and ORC.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = gzip_alone)]
pub enum Compress {
    #[default]
    None,
    Gzip(Gzip),
}

impl Compress {
    /// The key in YAML.
    pub fn name(&self) -> &'static str {
        match self {
            Compress::None => "none",
            Compress::Gzip(_) => "gzip",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Gzip {
    /// From 1 (fastest) to 9 (smallest). The default is 1: on JSON 9 takes several times as long for a few percent.
    pub level: u32,
}

impl Default for Gzip {
    fn default() -> Self {
        Gzip { level: 1 }
    }
}

fn lines_alone(schema: &mut Schema) {
    alone(schema, "lines");
}

fn gzip_alone(schema: &mut Schema) {
    alone(schema, "gzip");
}
