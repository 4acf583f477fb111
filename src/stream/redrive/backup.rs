//! Backup objects that are put in again: those that the ledger names and tells the ends of the records of.

use super::backed_up::ends;
use super::errors::{again, cannot_read};
use super::frames::FrameFilling;
use super::run::{PutLines, RedriveRun};
use crate::error::{Error, Kind, Result};
use crate::record::EntryPoint as Stage;
use crate::stream::plan::Outlet;
use crate::stream::state_log::ledger::names::names;
use crate::stream::state_log::ledger::{Line, Stub};
use std::collections::{BTreeMap, HashSet};
use std::io::Read;

impl RedriveRun<'_> {
    /// Puts in the records of a backup object, if where they end is certain.
    pub(super) fn backed_up(
        &mut self,
        name: &str,
        mut bytes: impl Read,
        line: &Line,
        taken: &HashSet<u64>,
    ) -> Result<PutLines> {
        let mut plain = Vec::new();
        bytes.read_to_end(&mut plain).map_err(|e| cannot_read(name, e))?;
        let ends = match ends(&plain, line) {
            Ok(ends) => ends,
            Err(why) => {
                self.stream.progress().unreadable += line.outputs;
                self.note(format!("`{name}` is left: {why}"));
                return Ok(PutLines::default());
            }
        };
        let (mut filling, mut start) = (FrameFilling::default(), 0);
        for (number, end) in (0..).zip(ends) {
            match taken.contains(&number) {
                true => self.stream.progress().before += 1,
                // As from its source, but known as put in again.
                false => self.add(name, &mut filling, (number, Stage::Again, &plain[start..end]))?,
            }
            start = end;
        }
        self.finish(name, filling)
    }

    /// The ledger's lines of backup objects in `store`.
    pub(super) fn lines_of_backup(&self, store: &str) -> Result<BTreeMap<String, Line>> {
        let (fs, dir) = (&*self.stream.shared.fs, &self.stream.dir);
        // A file may be archived between its listing and its reading.
        let mut names =
            again(|| names(fs, dir).map(|(names, _)| names).map_err(|e| Error::new(Kind::Retry, e.to_string())))?;
        for stub in std::mem::take(&mut names.archived) {
            let Stub { store, name, .. } = stub;
            let shelf = self.stream.ask(move |_, sinks| sinks.shelf(Outlet::ProcessingFailed, &store))??;
            let body = self.fetch(&*shelf, &name)?;
            names.add(&body.read(0, body.len() as usize).map_err(|e| cannot_read(&name, e))?)?;
        }
        let lines = names.lines.into_iter().filter(|line| line.is_of_backup() && line.store == store);
        Ok(lines.map(|line| (line.name.clone(), line)).collect())
    }
}
