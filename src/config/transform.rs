//! Settings of the transform step.

use crate::units::{self, ByteSize};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Transform {
    Wasm(Wasm),
}

/// A WebAssembly component that keeps, changes, drops or fails records.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wasm {
    /// The component, relative to the configuration file.
    pub module: PathBuf,
    /// The file's SHA-256 in hex: another file is not loaded.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Handed to the component's `init` as JSON.
    #[serde(default)]
    pub config: Option<serde_json::Value>,
    #[serde(default)]
    pub batch: Batch,
    #[serde(default)]
    pub limits: Limits,
    /// How often a batch that ran out of time is tried again before it is halved.
    #[serde(default = "one")]
    pub retries: u32,
    #[serde(default)]
    pub isolate: Isolate,
    #[serde(default)]
    pub wasi: Wasi,
}

fn one() -> u32 {
    1
}

/// What one call is given at most.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    pub max_records: u32,
    pub max_bytes: ByteSize,
}

impl Default for Batch {
    fn default() -> Self {
        Batch { max_records: 500, max_bytes: ByteSize::mib(3) }
    }
}

/// What one call may use at most.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub memory: ByteSize,
    /// A call may take this long, and `timeout_per_record` more for every record.
    #[serde(with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub timeout: Duration,
    #[serde(with = "units::duration")]
    #[schemars(with = "units::duration::Text")]
    pub timeout_per_record: Duration,
    /// Bytes handed back.
    pub output: ByteSize,
    /// Log lines of one call that are kept.
    pub log_lines: u32,
    /// Different metrics of one component that are kept.
    pub metric_names: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            memory: ByteSize::mib(64),
            timeout: Duration::from_secs(1),
            timeout_per_record: Duration::from_millis(10),
            output: ByteSize::mib(16),
            log_lines: 100,
            metric_names: 64,
        }
    }
}

/// The search for the records that make a batch fail.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Isolate {
    /// Calls spent on one batch; what is not told apart by then fails together.
    pub max_calls: u32,
}

impl Default for Isolate {
    fn default() -> Self {
        Isolate { max_calls: 64 }
    }
}

/// What becomes of a component that imports `wasi:*`. For now either refuses it; the difference begins when there is a
/// WASI to give.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wasi {
    /// It will get a WASI with nothing in it: no files, network, environment.
    #[default]
    Auto,
    /// It is refused.
    Deny,
}
