//! What an operator sets of a transform.

use serde_json::Value;
use std::time::Duration;

/// Limits and configuration of one stream's transform. The defaults fit guests made from Rust, C, Zig or
/// AssemblyScript; Python and JavaScript want 128 MiB of memory.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Handed to the guest's `init` as JSON; `null` if there is none.
    pub config: Option<Value>,
    /// Records and bytes of one call. A record larger than `max_bytes` is called with alone.
    pub max_records: usize,
    pub max_bytes: usize,
    /// Of all linear memories of an instance together.
    pub memory_bytes: usize,
    /// What a guest may hand over in one answer, or in one log line or metric.
    pub output_bytes: usize,
    /// Calls spent on one batch; what is not told apart by then fails together.
    pub isolate_max_calls: u32,
    /// Without effect for now: a component that imports `wasi:*` is refused when it is loaded.
    pub allow_wasi: bool,
    /// A call may take this long, and `timeout_per_record` more for every record. `init` may take `timeout`.
    pub timeout: Duration,
    pub timeout_per_record: Duration,
    /// How often a batch that ran out of time is tried again before it is halved, and a record alone before it fails.
    pub retries: u32,
    /// Log lines of one call that are written.
    pub log_lines: usize,
    /// Different metrics that are kept.
    pub metric_names: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            config: None,
            max_records: 500,
            max_bytes: 3 << 20,
            memory_bytes: 64 << 20,
            output_bytes: 16 << 20,
            isolate_max_calls: 64,
            allow_wasi: true,
            timeout: Duration::from_secs(1),
            timeout_per_record: Duration::from_millis(10),
            retries: 1,
            log_lines: 100,
            metric_names: 64,
        }
    }
}

impl Settings {
    /// What one call with so many records may take.
    pub(super) fn deadline(&self, records: usize) -> Duration {
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        self.timeout.saturating_add(self.timeout_per_record.saturating_mul(records))
    }
}
