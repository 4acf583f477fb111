//! A user's code between the journal and the destination: records in, one outcome a record out.

pub mod wasm;

use crate::error::Result;
use crate::record::{Origin, Records};

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransformVerdict {
    /// Outputs `first .. first + count` of [`Transformed::outputs`]; at least one.
    Kept {
        first: u32,
        count: u32,
    },
    /// On purpose, without trace but a count.
    Dropped,
    Failed(TransformFailure),
}

/// Why a transform failed a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransformFailure {
    /// `Transform.Trap`, `Transform.Timeout` and so on.
    pub code: &'static str,
    pub message: String,
    pub attempts: u32,
    /// Another run might decide otherwise (a time-out): a record whose fate is already bound is tried again instead.
    pub may_differ: bool,
}

/// Partition keys of one output, as the transform set them.
pub type PartitionKeys = Vec<(String, String)>;

/// A chunk of records after the transform.
#[derive(Debug, Default)]
pub struct Transformed {
    pub outputs: Records,
    /// One per output; empty if no output has any.
    pub partition_keys: Vec<PartitionKeys>,
    /// One per record.
    pub verdicts: Vec<TransformVerdict>,
}

/// A transform of one stream. Deterministic: no clock, no randomness, no state that outlives a call and matters.
pub trait RecordTransform: Send + Sync {
    /// Records and bytes it wants to be given at once.
    fn batch_limits(&self) -> (usize, usize);

    /// Transforms a chunk. `arrivals` has the arrival of each record in milliseconds since the Unix epoch, `origins` where
    /// each stood in a shard, and nothing if they come from elsewhere. Blocks for as long as its limits allow; chunks may be transformed at the same time. An error means that the transform as a
    /// whole cannot run: nothing was judged.
    fn apply(&self, records: &Records, arrivals: &[u64], origins: &[Origin]) -> Result<Transformed>;

    /// What the user's code has counted since the last time, by name.
    fn take_metrics(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
}
