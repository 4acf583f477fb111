//! One run of a redrive: objects one after the other, each as far as it was not put in before.

use super::errors::{again, cannot_read, refused};
use super::frames::runs;
use super::marks::RedriveMark;
use super::progress::Selection;
use crate::deliver::body::Scratch;
use crate::deliver::warehouse::manifest;
use crate::deliver::{Body, Shelf, Spool};
use crate::error::{Error, Kind, Result};
use crate::stream::plan::Entry;
use crate::stream::state_log::ledger::Line;
use crate::stream::supervise::Stream;
use std::collections::{BTreeMap, HashSet};
use std::io::BufRead;
use std::sync::Arc;
/// Objects that are refused, by their store or by the destination, one after the other before the run ends: so many are not
/// refused for what is in them.
const REFUSED_MAX: u32 = 10;
/// Messages that are kept of a run.
const NOTES_MAX: usize = 200;

/// What is known of an object before a run.
#[derive(Default)]
pub(super) struct PutBefore {
    /// Its lines that were put in.
    pub(super) taken: HashSet<u64>,
    /// Those of which no mark says so.
    pub(super) unmarked: Vec<(u64, u64)>,
    /// The plan log knows of some.
    pub(super) is_in_log: bool,
}

/// What a run put in of an object: lines, and of a manifest how many records these are.
#[derive(Default)]
pub(super) struct PutLines {
    pub(super) lines: Vec<(u64, u64)>,
    pub(super) records: Option<u64>,
    /// Why the run ends here.
    pub(super) ends: Option<Error>,
    /// Other objects of which the plan log knows lines that this one's mark speaks of.
    pub(super) in_log: Vec<String>,
}

pub(super) struct RedriveRun<'s> {
    pub(super) stream: &'s Stream,
    pub(super) selection: Selection,
    pub(super) shelf: Arc<dyn Shelf>,
    pub(super) scratch: Arc<Scratch>,
    /// The store of the destination's plans.
    pub(super) destination: String,
    /// Of an object's lines that are in the journal, not yet told to the plan log; and where the last frame ended.
    pub(super) told: Option<Entry>,
    pub(super) behind: u64,
    /// The ledger's of the backup, if that is put in again, by the names of objects.
    pub(super) lines: BTreeMap<String, Line>,
    /// Objects that were refused since the last one that was not.
    pub(super) refused: u32,
}

impl RedriveRun<'_> {
    pub(super) fn note(&self, note: String) {
        let notes = &mut self.stream.progress().notes;
        if notes.len() < NOTES_MAX {
            notes.push(note);
        }
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<String>> {
        again(|| self.shelf.list(prefix).map_err(|failure| refused("list", prefix, failure)))
    }

    pub(super) fn fetch(&self, shelf: &dyn Shelf, name: &str) -> Result<Body> {
        again(|| {
            let mut spool = Spool::new(&self.scratch);
            let fetched = shelf.fetch(name, &mut spool);
            fetched.map(|()| spool.finish(false)).map_err(|failure| refused("read", name, failure))
        })
    }

    /// The lines of an object that were put in before, as its marks and the plan log know them.
    pub(super) fn before(&self, name: &str) -> Result<PutBefore> {
        let object = name.to_owned();
        let takes = self.stream.ask(move |engine, _| engine.takes_of(&object))?;
        let mut before = PutBefore { is_in_log: !takes.taken.is_empty(), ..PutBefore::default() };
        for mark in self.list(&RedriveMark::of_object(&self.stream.name, name))? {
            let body = self.fetch(&*self.shelf, &mark)?;
            let bytes = body.read(0, body.len() as usize).map_err(|e| Error::io("read scratch", e))?;
            let lines = RedriveMark::read(&mark, &bytes)?.lines;
            before.taken.extend(lines.into_iter().flat_map(|(first, count)| first..first + count));
        }
        // A run may have died between a mark and the plan log's note of it: what stands in one is not put into another.
        for (first, count) in runs(&takes.taken) {
            if !before.taken.contains(&first) {
                before.unmarked.push((first, count));
            }
            before.taken.extend(first..first + count);
        }
        Ok(before)
    }

    /// Leaves an object that cannot be put in as it is to another run, and goes on with those behind it. The error: so many
    /// were refused one after the other for what may be nobody's fault but the store's or the destination's.
    pub(super) fn leave(&mut self, name: &str, why: Error) -> Result<()> {
        if let Some(told) = self.told.take() {
            self.tell(vec![told], None)?;
        }
        self.stream.progress().left += 1;
        self.note(format!("`{name}` is left: {why}"));
        self.refused += matches!(why.kind, Kind::Retry | Kind::Misconfigured) as u32;
        match self.refused < REFUSED_MAX {
            true => Ok(()),
            false => {
                let message = format!("{REFUSED_MAX} objects were refused one after the other, the last: {why}");
                Err(Error::new(Kind::Retry, message))
            }
        }
    }

    pub(super) fn object(&mut self, name: &str) -> Result<()> {
        let before = self.before(name)?;
        let body = self.fetch(&*self.shelf, name)?;
        let mut lines = body.plain().map_err(|e| cannot_read(name, e))?;
        let is_manifest = manifest::begins(lines.fill_buf().map_err(|e| cannot_read(name, e))?);
        let records_before = self.stream.progress().records;
        let mut put = match self.lines.get(name).cloned() {
            Some(line) => self.backed_up(name, lines, &line, &before.taken)?,
            None if is_manifest => self.manifest(name, lines, &before.taken)?,
            None => self.records(name, lines, &before.taken)?,
        };
        if !is_manifest {
            self.refused = 0;
        }
        let ends = put.ends.take();
        if !self.selection.dry_run {
            put.lines.extend(before.unmarked);
            self.mark(name, put, before.is_in_log)?;
        }
        let put = self.stream.progress().records - records_before;
        if put > 0 {
            let verb = if self.selection.dry_run { "would be put in" } else { "put in" };
            self.note(format!("`{name}`: {put} {verb}"));
        }
        ends.map_or(Ok(()), Err)
    }
}
