//! How JSON becomes the values of columns. Keys have the names of Firehose's settings, in YAML's spelling.

use super::by_name::alone;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Which deserializer decides what a value may be: one of Firehose's, or ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(transform = serdes_alone)]
pub enum JsonSerde {
    /// Firehose's `OpenXJsonSerDe`: keys in any case, numbers and times in many forms.
    Openx(OpenxSerde),
    /// Firehose's `HiveJsonSerDe`: no number is read from a string, no text from an object.
    Hive(HiveSerde),
    /// Exact names, RFC 3339, and nothing that would lose a digit.
    Strict(StrictSerde),
}

impl Default for JsonSerde {
    fn default() -> Self {
        JsonSerde::Openx(OpenxSerde::default())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OpenxSerde {
    /// Keys name columns whatever their case, at every depth.
    pub case_insensitive: bool,
    /// A key `a.b` names the column `a_b`.
    pub convert_dots_in_json_keys_to_underscores: bool,
    /// From a column, or a member of a struct, to the key it is read from.
    pub column_to_json_key_mappings: BTreeMap<String, String>,
}

impl Default for OpenxSerde {
    fn default() -> Self {
        OpenxSerde {
            case_insensitive: true,
            convert_dots_in_json_keys_to_underscores: false,
            column_to_json_key_mappings: BTreeMap::new(),
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HiveSerde {
    /// Patterns of Joda-Time that are tried in turn, or `millis`: milliseconds since 1970. Without any, times are as
    /// `java.sql.Timestamp.valueOf` takes them.
    pub timestamp_formats: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StrictSerde {}

fn serdes_alone(schema: &mut Schema) {
    ["openx", "hive", "strict"].into_iter().for_each(|name| alone(schema, name));
}
