//! What a redrive is asked for, and how it stands.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is put in again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Selection {
    /// Firehose's error type, such as `http-endpoint-failed`, or `backup`; without it all failures.
    pub kind: Option<String>,
    /// Only records that failed with this code, such as `HttpEndpoint.RequestTimeout`.
    pub code: Option<String>,
    /// Only records that arrived in this time, in milliseconds since the Unix epoch.
    pub from_ms: Option<u64>,
    pub to_ms: Option<u64>,
    /// Objects whose names begin so, instead of those that the stream's error prefix leads to.
    pub prefix: Option<String>,
    /// Nothing is put in: what would be, is counted.
    pub dry_run: bool,
}

/// How a run stands.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RedriveProgress {
    /// It went through everything selected; but for what is `left`, that is put in.
    pub ended: bool,
    pub running: bool,
    /// Why it ended before.
    pub error: Option<String>,
    pub objects: u64,
    pub objects_done: u64,
    /// Records put in by this run, or that would be, and at which step.
    pub records: u64,
    pub steps: BTreeMap<String, u64>,
    /// Put in by an earlier run.
    pub before: u64,
    /// Objects, or of a manifest those that it names, that cannot be put in as they are.
    #[serde(default)]
    pub left: u64,
    pub not_selected: u64,
    /// Lines that are no error records.
    pub unreadable: u64,
    /// Where outputs of this run's records ended, and how many of its records have not yet.
    pub became: BTreeMap<String, u64>,
    pub pending: u64,
    pub notes: Vec<String>,
}
