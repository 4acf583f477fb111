//! Failed records that are put in again: what the plan log knows of them, and what became of them.
//!
//! Lines of a failure object go into the journal as one frame, announced in the plan log before and acknowledged there
//! after. Of a frame that was announced and not acknowledged when the process died, the journal knows: until that is
//! settled it keeps everything from where the frame may be. Only one is under way at a time.

use super::Engine;
use super::redriven::RedrivenRecords;
use crate::error::Result;
use crate::lane::{Cursor, Read};
use crate::record::EntryPoint as Stage;
use crate::stream::plan::state::RedrivenLines;
use crate::stream::plan::{Entry, Track};
use std::collections::BTreeMap;
use std::ops::Range;

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
