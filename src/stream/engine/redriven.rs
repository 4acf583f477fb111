//! What became of records that were put in again, in this life.

use crate::stream::plan::list::ListItem;
use crate::stream::plan::{Outlet, Plan};
use std::collections::BTreeMap;
use std::ops::Range;

/// The offsets that such records were given, and how many of their outputs ended where.
#[derive(Default)]
pub(super) struct RedrivenRecords {
    offsets: Vec<Range<u64>>,
    ended: BTreeMap<Outlet, u64>,
}

impl RedrivenRecords {
    /// Records were put in again at these offsets.
    pub(super) fn put(&mut self, offsets: Range<u64>) {
        self.offsets.push(offsets);
    }

    /// Takes note of where the outputs of a plan ended that was settled just now.
    pub(super) fn tally(&mut self, plan: &Plan) {
        if self.offsets.is_empty() || plan.outlet == Outlet::Backup {
            return;
        }
        let mut ended = 0;
        for item in plan.list.items() {
            let (first, count) = match item {
                ListItem::Whole { first, count } => (first, count),
                ListItem::Part { offset, .. } => (offset, 1),
            };
            let overlap = |r: &Range<u64>| r.end.min(first + count).saturating_sub(r.start.max(first));
            ended += self.offsets.iter().map(overlap).sum::<u64>();
        }
        *self.ended.entry(plan.ends_in()).or_default() += ended;
    }

    /// How many outputs ended in each outlet, and how many of the records are at or above `low`.
    pub(super) fn so_far(&self, low: u64) -> (BTreeMap<String, u64>, u64) {
        let ended = self.ended.iter().map(|(outlet, n)| (outlet.name().to_owned(), *n)).collect();
        let open = self.offsets.iter().map(|r| r.end.saturating_sub(r.start.max(low))).sum();
        (ended, open)
    }
}
