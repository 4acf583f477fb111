//! The file `READ` in the directory of a shard: records that its lane passes over.

use crate::error::Result;
use crate::fs::Fs;
use crate::record::Position;
use crate::source::kinesis::reader::Passed;
use crate::stream::state_log::sealed;
use serde::{Deserialize, Serialize};
use std::path::Path;

pub(super) const READ: &str = "READ";

/// The file `READ`: sequence numbers, both included.
#[derive(Serialize, Deserialize)]
pub(super) struct ReadRange {
    pub(super) from: String,
    pub(super) to: String,
}

/// The records that are passed over by the lane in a directory, and what of the file was damaged.
pub(super) fn passed(fs: &dyn Fs, dir: &Path) -> Result<Option<(Passed, Option<String>)>> {
    let Some((ReadRange { from, to }, damage)) = sealed::read_and_mend(fs, &dir.join(READ))? else { return Ok(None) };
    let at = |sequence: String| Position { sequence: sequence.into(), sub_sequence: 0 };
    Ok(Some((Passed { from: at(from), to: at(to) }, damage)))
}
