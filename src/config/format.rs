//! Settings of the format and compress steps.

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
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lines {}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Parquet {
    /// A YAML file with `columns`, relative to the configuration file.
    pub schema: PathBuf,
    #[serde(default)]
    pub compression: ParquetCompression,
}

/// Inside the Parquet file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParquetCompression {
    #[default]
    Snappy,
    Gzip,
    Uncompressed,
}

/// What is done to an object as a whole. Must be `none` for Parquet.
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

/// A setting whose keys all have defaults may be given by its name alone; the derived schema does not know.
fn alone(schema: &mut Schema, name: &str) {
    if let Some(forms) = schema.get_mut("oneOf").and_then(|forms| forms.as_array_mut()) {
        forms.push(serde_json::json!({ "type": "string", "const": name }));
    }
}

fn lines_alone(schema: &mut Schema) {
    alone(schema, "lines");
}

fn gzip_alone(schema: &mut Schema) {
    alone(schema, "gzip");
}
