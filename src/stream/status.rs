//! How a stream stands, as its admin page and `hydrant status` show it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How a stream stands. Counts are of records unless they say otherwise.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    pub stream: String,
    /// `running`, `paused`, `retired` (not in the configuration any more) or `stopped` (see `alarm`).
    pub state: String,
    pub alarm: Option<String>,
    pub accepted: u64,
    /// Unread, in buffers and in open plans: counted, not subtracted.
    pub pending: u64,
    /// `accepted - settled - pending`: 0.
    pub gap: i64,
    pub lost: u64,
    pub backup_pending: u64,
    pub outlets: BTreeMap<String, Settled>,
    pub open_plans: u64,
    pub epoch: u32,
    pub disk_bytes: u64,
    /// Seconds since the oldest record that is not settled arrived; 0 if there is none.
    pub freshness_s: u64,
    /// The same for the backup.
    #[serde(default)]
    pub backup_freshness_s: u64,
    pub lane: String,
}

/// What an outlet has settled.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Settled {
    pub objects: u64,
    pub records: u64,
    pub bytes: u64,
    pub object_bytes: u64,
}
