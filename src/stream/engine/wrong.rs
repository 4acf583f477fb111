//! What wrong builds do in the engine's place, where that is more than to leave something out.

use super::Engine;
use super::buffer::BufferSlot;
use crate::error::Result;
use crate::stream::pipeline::route::{Chunk, Told};
use crate::stream::plan::list::{ListItem, OffsetList};
use crate::stream::plan::{Entry, Epoch, Outlet, Reason};

/// `drop_counted_twice`: a record that was dropped fails as well.
pub(super) fn place_again(engine: &mut Engine, epoch: u32, (chunk, i): (&Chunk, usize)) -> Result<()> {
    let slot = BufferSlot::open(Outlet::ProcessingFailed, engine.route(epoch)?.failure_key(Outlet::ProcessingFailed));
    let reason = Reason { code: String::new(), message: String::new(), attempts: 1, ended_ms: 0 };
    let (offset, arrival_ms) = (chunk.offsets[i], chunk.arrivals[i]);
    let told = Told { reason: &reason, offset, output: 0, arrival_ms, raw: &[], keys: None };
    engine.place_failure(&slot, chunk, i, &told)
}

/// `epoch_not_persisted`: a change is kept in memory only, and old records are read under the new configuration. The number
/// of the epoch that it goes by.
pub(super) fn without_epoch(last: Option<Epoch>, entries: &mut Vec<Entry>) -> u32 {
    let Some(last) = last else { return 1 };
    entries.clear();
    last.number
}

/// `low_passes_incomplete`: whether all outputs of each record are listed; other plans are passed.
pub(super) fn is_whole(list: &OffsetList) -> bool {
    list.items().all(|item| matches!(item, ListItem::Whole { .. }))
}
