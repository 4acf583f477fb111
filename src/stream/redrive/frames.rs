//! Frames of records on their way into the journal: announced in the plan log before, acknowledged there after, and marked
//! beside their object when all of it is in.

use super::errors::{again, ends_run};
use super::marks::RedriveMark;
use super::run::{PutLines, RedriveRun};
use crate::deliver::Attempt;
use crate::error::{Error, Kind, Result};
use crate::record::{EntryPoint as Stage, Records};
use crate::stream::plan::Entry;
use crate::stream::plan::list::{ListBuilder, OffsetList};
use std::ops::Range;
/// One frame of records that are put in again.
const FRAME_RECORDS_MAX: u64 = 5000;
const FRAME_BYTES_MAX: usize = 2 << 20;
impl RedriveRun<'_> {
    /// Adds a record: number of its line, where it enters, and its bytes.
    pub(super) fn add(
        &mut self,
        name: &str,
        filling: &mut FrameFilling,
        (number, entry, record): (u64, Stage, &[u8]),
    ) -> Result<()> {
        if filling.frame.as_ref().is_some_and(|f| f.is_full() || f.entry != entry) {
            filling.put.extend(self.put(name, filling.frame.take())?);
        }
        let frame = filling.frame.get_or_insert_with(|| RedriveFrame::new(entry));
        frame.lines.push(number, 0, 1);
        frame.batch.push(record);
        Ok(())
    }

    pub(super) fn finish(&mut self, name: &str, mut filling: FrameFilling) -> Result<PutLines> {
        filling.put.extend(self.put(name, filling.frame)?);
        if let Some(told) = self.told.take() {
            self.tell(vec![told], None)?;
        }
        Ok(PutLines { lines: runs(&filling.put).collect(), ..PutLines::default() })
    }

    /// Puts a frame in: announced in the plan log before, acknowledged there with what comes next.
    pub(super) fn put(&mut self, name: &str, frame: Option<RedriveFrame>) -> Result<Option<OffsetList>> {
        let Some(RedriveFrame { entry, lines, batch }) = frame else { return Ok(None) };
        let (lines, count) = (lines.finish(), batch.len() as u64);
        if !self.selection.dry_run {
            let object = name.to_owned();
            let take = Entry::Take { object: object.clone(), lines: lines.clone(), from: self.behind };
            let entries = self.told.take().into_iter().chain([take]).collect();
            self.tell(entries, None)?;
            // Nothing of a frame that was refused is in the journal.
            let first = again(|| self.stream.put_again(batch.clone(), entry)).map_err(ends_run)?;
            self.behind = first + count;
            crate::sabotage::point("redrive.put");
            self.tell(Vec::new(), Some(first..first + count))?;
            self.told = Some(Entry::Taken { object, taken: true });
        }
        let mut progress = self.stream.progress();
        progress.records += count;
        let step = if entry == Stage::Again {
            "transform"
        } else if matches!(entry, Stage::Format | Stage::Keyed) {
            "format"
        } else {
            "deliver"
        };
        *progress.steps.entry(step.to_owned()).or_default() += count;
        Ok(Some(lines))
    }

    pub(super) fn tell(&self, entries: Vec<Entry>, put: Option<Range<u64>>) -> Result<()> {
        self.stream.ask(move |engine, _| engine.note_take(entries, put)).and_then(|noted| noted).map_err(ends_run)
    }

    /// Leaves the mark of an object, and only then lets the plan log forget it.
    pub(super) fn mark(&self, name: &str, put: PutLines, is_in_log: bool) -> Result<()> {
        let PutLines { mut lines, records, in_log, ends: _ } = put;
        lines.sort_unstable();
        if !lines.is_empty() {
            let redriven_ms = jiff::Timestamp::now().as_millisecond() as u64;
            let mark = RedriveMark { object: name.to_owned(), lines, records, redriven_ms };
            let shipment = mark.shipment(&self.stream.name);
            again(|| match self.shelf.attempt(&shipment) {
                Attempt::Stored { .. } => Ok(()),
                other => {
                    let kind = if matches!(other, Attempt::Retry { .. }) { Kind::Retry } else { Kind::Invalid };
                    Err(Error::new(kind, format!("mark `{name}` as put in again: {other:?}")))
                }
            })?;
        }
        crate::sabotage::point("redrive.marked");
        let known = is_in_log.then(|| name.to_owned()).into_iter().chain(in_log);
        self.tell(known.map(|object| Entry::Redriven { object }).collect(), None)
    }
}

/// The lines that lists name.
pub(super) fn runs(lists: &[OffsetList]) -> impl Iterator<Item = (u64, u64)> {
    let items = lists.iter().flat_map(OffsetList::items);
    items.map(|item| (item.offset(), item.end() - item.offset()))
}

/// What is put in of an object, frame by frame.
#[derive(Default)]
pub(super) struct FrameFilling {
    pub(super) put: Vec<OffsetList>,
    pub(super) frame: Option<RedriveFrame>,
}

/// Records of one step on their way into the journal.
pub(super) struct RedriveFrame {
    pub(super) entry: Stage,
    pub(super) lines: ListBuilder,
    pub(super) batch: Records,
}

impl RedriveFrame {
    pub(super) fn new(entry: Stage) -> RedriveFrame {
        RedriveFrame { entry, lines: ListBuilder::default(), batch: Records::default() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.lines.outputs() >= FRAME_RECORDS_MAX || self.batch.bytes().len() >= FRAME_BYTES_MAX
    }
}
