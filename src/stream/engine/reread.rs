//! Records that are read again, and what plans of an earlier life say of them.

use crate::lane::Cursor;
use crate::stream::pipeline::route::Chunk;
use crate::stream::plan::replay::ListedOutput;
use std::collections::BTreeSet;

/// What plans of an earlier life say of a record.
pub(super) enum Bound {
    /// All its outputs are settled.
    Done,
    /// An open failure plan lists it: its line is made from the reason the plan keeps.
    Failure(u64),
    /// Plans list these of its outputs, settled or open; the rest is still to be made.
    Outputs(Vec<ListedOutput>),
}

/// Records of which plans of an earlier life may know something, read again.
pub(super) struct RereadRecords {
    pub(super) chunk: Chunk,
    pub(super) bounds: Vec<Option<Bound>>,
    /// Where the track goes on behind them.
    pub(super) cursor: Cursor,
    /// How many of them some plan lists.
    pub(super) listed: u64,
}

impl RereadRecords {
    /// Plans that list outputs of them.
    pub(super) fn plans(&self) -> BTreeSet<u64> {
        let listed = self.bounds.iter().filter_map(|bound| match bound {
            Some(Bound::Outputs(listed)) => Some(listed.iter().map(|l| l.plan)),
            _ => None,
        });
        listed.flatten().collect()
    }
}
