//! Columns for what is known of a record besides its bytes.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Further columns, with what is known of a record besides its bytes; each is named by its column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetadataColumnNames {
    /// When the record was taken: a `timestamp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrival_time: Option<String>,
    /// The name of the stream: a `string`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The partition key of a record of Kinesis, else null: a `string`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition_key: Option<String>,
    /// The sequence number of a record of Kinesis, else null: a `string`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence_number: Option<String>,
}

impl MetadataColumnNames {
    /// Whether there is none.
    pub(super) fn is_default(&self) -> bool {
        *self == MetadataColumnNames::default()
    }
}
