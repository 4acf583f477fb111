//! What a lane writes of itself: the log of its state, the ledger that follows from it, and the ledger's archive.

use super::archive::Archive;
use super::home::Home;
use crate::error::{Error, Kind, Result};
use crate::sabotage;
use crate::stream::plan::Entry;
use crate::stream::plan::state::State;
use crate::stream::state_log::ledger::{Ledger, Line};
use crate::stream::state_log::log::StateLog;
use std::path::Path;

/// What a lane writes of itself: log, ledger and archive. A line follows its mark: the ledger is never ahead of the log.
pub(super) struct Books {
    log: StateLog,
    ledger: Ledger,
    pub(super) archive: Archive,
}

impl Books {
    /// Opens the ledger beside a log. Errors: `Corrupt` and `Misconfigured` if the log's state is older than the ledger.
    pub(super) fn open(home: &Home, log: StateLog) -> Result<Books> {
        let (dir, kept) = (home.dir.join("ledger"), log.state().kept_marks());
        let mut ledger = Ledger::open(home.fs.clone(), dir, home.bounds.ledger_file_bytes, kept)?;
        refuse_older_state(&log, &ledger, &home.dir)?;
        if let Some(mark) = log.ledger_from() {
            ledger.pass_to(mark)?;
        }
        let mut books = Books { log, ledger, archive: Archive::default() };
        books.release_lines();
        Ok(books)
    }

    /// The state of the lane.
    pub(super) fn state(&self) -> &State {
        self.log.state()
    }

    /// The ledger, to be read.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The ledger, whose closed files are archived.
    pub(super) fn ledger_mut(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// Makes all of `entries` durable together, then applies them; or none of them. Blocks. Errors: see [`StateLog::commit`].
    pub(super) fn commit(&mut self, entries: Vec<Entry>) -> Result<()> {
        if sabotage::on("ledger_line_before_mark") {
            self.write_lines_ahead(&entries)?;
        }
        if is_left_in_memory(&entries) {
            self.log.apply_in_memory(entries);
            return Ok(());
        }
        self.log.commit(entries)
    }

    /// What was damaged of the ledger when it was opened, and lines that are gone. A sentence each.
    pub(super) fn damage(&self) -> Vec<String> {
        self.ledger.damage().iter().cloned().chain(self.lost_lines()).collect()
    }

    /// Lines that are gone and that the log cannot make again.
    fn lost_lines(&self) -> Option<String> {
        if self.log.ledger_from().is_some() {
            // Where a lane is shared, they are in the ledgers of other nodes.
            return None;
        }
        let (behind, last) = (self.ledger.mark() + 1, self.state().marks);
        let kept = self.state().plans.values().filter_map(|p| p.mark.as_ref()).map(|m| m.mark);
        let kept = kept.filter(|mark| *mark >= behind).count() as u64;
        let lost = (last + 1).saturating_sub(behind).saturating_sub(kept);
        (lost > 0).then(|| format!("the ledger has lost {lost} of the lines of marks {behind} to {last}"))
    }

    /// Appends the lines of all marks that have none: after a commit, and at start those of the life before. Errors:
    /// `NoSpace`, and the marks stay in the log until there is room for their lines.
    pub(super) fn write_lines(&mut self) -> Result<()> {
        let done = self.ledger.mark();
        let mut lines: Vec<Line> = self.state().plans.values().filter_map(Line::of).filter(|l| l.mark > done).collect();
        if lines.is_empty() {
            return Ok(());
        }
        lines.sort_by_key(|l| l.mark);
        lines.chunk_by(|one, next| one.mark + 1 == next.mark).try_for_each(|lines| {
            // Where a lane is shared, lines of marks between are in the ledgers of other nodes.
            self.ledger.pass_to(lines[0].mark - 1)?;
            self.ledger.append(lines)
        })?;
        self.release_lines();
        Ok(())
    }

    /// Lets the log forget plans whose lines are durable, as far as nothing else needs them.
    pub(super) fn release_lines(&mut self) {
        self.log.ledger_is_durable_to(self.ledger.mark());
    }

    /// Whether marks have no line yet for want of room.
    pub(super) fn lacks_lines(&self) -> bool {
        let done = self.ledger.mark();
        let lacks = || self.state().plans.values().any(|p| p.mark.as_ref().is_some_and(|m| m.mark > done));
        done < self.state().marks && self.log.ledger_from().is_none() && lacks()
    }

    /// Whether the log's reserve is at its low mark.
    pub(super) fn is_starved(&self) -> bool {
        self.log.is_starved()
    }

    /// Asks again for the room for the log's reserve that could not be had.
    pub(super) fn retry_room(&mut self) -> Result<()> {
        self.log.retry_room()
    }

    /// Lets go of what is only needed for the next commit.
    pub(super) fn rest(&mut self) {
        self.log.rest();
        self.ledger.rest();
    }

    /// A wrong build's order: the line before its mark.
    fn write_lines_ahead(&mut self, entries: &[Entry]) -> Result<()> {
        let mut state = self.state().clone();
        entries.iter().cloned().for_each(|e| state.apply(e));
        let done = self.ledger.mark();
        let mut lines: Vec<Line> = state.plans.values().filter_map(Line::of).filter(|l| l.mark > done).collect();
        lines.sort_by_key(|l| l.mark);
        self.ledger.append(&lines)
    }
}

/// Whether a wrong build leaves out that these are made durable.
fn is_left_in_memory(entries: &[Entry]) -> bool {
    let is_divided = entries.iter().any(|entry| matches!(entry, Entry::Close { .. }));
    let rule = |entry: &Entry| match entry {
        Entry::Plan(_) if is_divided => Some("split_not_persisted"),
        Entry::Plan(_) => Some("upload_before_plan"),
        Entry::Abandon { .. } => Some("abandon_not_persisted"),
        Entry::Rename { .. } => Some("rename_not_persisted"),
        _ => None,
    };
    entries.iter().filter_map(rule).any(sabotage::on)
}

/// A state that is older than the ledger is not believed: what was delivered since would be delivered again.
fn refuse_older_state(log: &StateLog, ledger: &Ledger, dir: &Path) -> Result<()> {
    let (of_state, of_ledger, dir) = (log.state().marks, ledger.mark(), dir.display());
    if of_ledger <= of_state || sabotage::on("short_plan_log_believed") {
        return Ok(());
    }
    Err(match log {
        // Lines of a lane that begins anew would be taken for lines that are there.
        StateLog::Shared(_) => Error::new(
            Kind::Misconfigured,
            format!(
                "`{dir}` has the ledger of a state that is not in the lease table any more: found mark {of_state} at most \
                 in the table, {of_ledger} in the ledger; move that directory away for the shard to go on from its lease's \
                 checkpoint"
            ),
        ),
        StateLog::Files(_) => Error::new(
            Kind::Corrupt,
            format!(
                "the plan log in `{dir}` is older than the ledger beside it: found mark {of_state}, expected {of_ledger} \
                 at least; put the newer `plans.*` back, or see `hydrant repair`"
            ),
        ),
    })
}
