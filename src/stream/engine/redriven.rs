//! Failed records that are put in again: what the plan log knows of them, and what became of them in this life.
//!
//! Lines of a failure object go into the journal as one frame, announced in the plan log before and acknowledged there
//! after. Of a frame that was announced and not acknowledged when the process died, the journal knows: until that is
//! settled it keeps everything from where the frame may be. Only one is under way at a time.

use super::Engine;
use crate::error::Result;
use crate::lane::{Cursor, Read};
use crate::record::EntryPoint as Stage;
use crate::stream::plan::list::ListItem;
use crate::stream::plan::state::RedrivenLines;
use crate::stream::plan::{Entry, Outlet, Plan, Track};
use std::collections::BTreeMap;
use std::ops::Range;

/// The offsets that records were given when they were put in again, and how many of their outputs ended where.
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

impl Engine {
    /// Finds out of announced lines whether they are in the journal.
    pub(super) fn settle_takes(&mut self) -> Result<()> {
        let under_way = self.state().takes.iter().filter_map(|(object, t)| Some((object, t.under_way.as_ref()?)));
        let under_way: Vec<(String, u64, u64)> =
            under_way.map(|(object, (lines, from))| (object.clone(), lines.outputs(), *from)).collect();
        for (object, lines, from) in under_way {
            let mut cursor = Cursor::at(from);
            let taken = loop {
                match self.lane.read(&mut cursor)? {
                    Read::End => break false,
                    // Nobody else puts such frames.
                    Read::Frame(frame) if frame.entry != Stage::Source && frame.batch.len() as u64 == lines => {
                        break true;
                    }
                    Read::Frame(_) | Read::Gap { .. } | Read::Lost { .. } => {}
                }
            };
            self.books.commit(vec![Entry::Taken { object, taken }])?;
        }
        Ok(())
    }

    /// Another redrive begins: what became of an earlier one's records is not counted any more, and what that one put in
    /// and did not come to acknowledge is.
    pub fn begin_redrive(&mut self) -> Result<()> {
        self.redriven = RedrivenRecords::default();
        self.settle_takes()
    }

    /// Commits what a redrive says of an object. Of a frame that is in the journal, `put` are its offsets.
    pub fn note_take(&mut self, entries: Vec<Entry>, put: Option<Range<u64>>) -> Result<()> {
        put.into_iter().for_each(|offsets| self.redriven.put(offsets));
        if entries.is_empty() { Ok(()) } else { self.books.commit(entries) }
    }

    /// What is known of an object.
    pub fn takes_of(&self, object: &str) -> RedrivenLines {
        self.state().takes.get(object).cloned().unwrap_or_default()
    }

    /// Where a line put in now cannot be below.
    pub fn journal_end(&self) -> u64 {
        self.lane.durable()
    }

    /// Takes note of where outputs of plans that were settled just now ended.
    pub(super) fn tally(&mut self, settled: &[u64]) {
        for plan in settled.iter().filter_map(|number| self.books.state().plans.get(number)) {
            self.redriven.tally(plan);
        }
    }

    /// How many outputs of records put in again in this life ended in each outlet, and how many records are not settled
    /// yet as far as the backup does not wait for them.
    pub fn redriven(&self) -> (BTreeMap<String, u64>, u64) {
        self.redriven.so_far(self.state().low_of(Track::Main))
    }
}
