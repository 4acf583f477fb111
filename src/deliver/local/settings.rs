//! Settings of the `local` destination.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A folder that is treated as a bucket.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Local {
    /// Made if it is not there. Relative to the working directory.
    pub dir: PathBuf,
    /// As in S3; `/` makes folders.
    #[serde(default)]
    pub prefix: String,
    #[serde(default)]
    pub error_prefix: Option<String>,
}
