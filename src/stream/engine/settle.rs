//! What follows a stored object: its mark, the `low` it allows, its ledger line, and then the journal's trimming, each
//! durable before the next.

use super::Engine;
use crate::error::{Error, Kind, Result};
use crate::lane::Start;
use crate::sabotage;
use crate::stream::plan::list::Item;
use crate::stream::plan::state::Completed;
use crate::stream::plan::{Entry, Mark, Plan, Track};
use crate::stream::state_log::ledger::{Ledger, Line};
use crate::stream::state_log::log::Log;
use std::path::Path;

/// Records that `low` moves over before it is worth a commit of its own.
const LOW_MOVES_MIN: u64 = 100_000;

impl Engine {
    /// The lowest offset of a track that is not settled if `settling` are: everything read lies in a buffer, an open
    /// plan, or is settled.
    fn low_after(&self, track: Track, settling: &[u64]) -> u64 {
        let mut low = self.cursors[track as usize].offset.min(self.lane.durable());
        let buffers = self.buffers.iter().filter(|(slot, _)| slot.outlet.track() == track);
        low = buffers.filter_map(|(_, b)| b.list.first()).fold(low, u64::min);
        let open = self.state().open_plans().filter(|p| p.outlet.track() == track && !settling.contains(&p.number));
        if sabotage::on("low_passes_incomplete") {
            let whole = open.filter(|p| p.list.items().all(|i| matches!(i, Item::Whole { .. })));
            return whole.map(|p| p.list.first()).fold(low, u64::min).max(self.state().low[track as usize]);
        }
        open.map(|p| p.list.first()).fold(low, u64::min).max(self.state().low[track as usize])
    }

    /// Persists the marks of stored plans together with the `low` they allow, then the ledger lines, then trims.
    pub(super) fn settle(&mut self) -> Result<bool> {
        let stored = self.stored();
        let mut entries = Vec::new();
        for (mark, (number, tag, object_bytes)) in (self.state().marks + 1..).zip(&stored) {
            let completed = self.completed_after(&stored, &self.state().plans[number]);
            entries.push(Entry::Mark(Mark {
                plan: *number,
                mark,
                at_ms: self.home.clock.wall_ms(),
                completed: completed.here,
                failed: completed.failed,
                object_bytes: *object_bytes,
                tag: tag.clone(),
            }));
        }
        let numbers: Vec<u64> = stored.iter().map(|s| s.0).collect();
        for track in self.tracks() {
            let low = self.low_after(track, &numbers);
            let moved = low - self.state().low[track as usize];
            // On its own, `low` is worth a commit only at rest or when a segment could go.
            if moved > 0 && (!entries.is_empty() || self.is_at_rest(track) || moved > LOW_MOVES_MIN) {
                entries.push(Entry::Low { track, low });
            }
        }
        let start = self.start_after(&entries);
        entries.extend(start.map(Entry::Start));
        if entries.is_empty() {
            return Ok(false);
        }
        let trim = entries.iter().any(|e| matches!(e, Entry::Low { .. }));
        if trim && sabotage::on("recycle_before_low") {
            let low = self.low_after(Track::Main, &numbers);
            self.lane.recycle(low)?;
        }
        if sabotage::on("ledger_line_before_mark") {
            self.ledger_lines_ahead(&entries)?;
        }
        self.log.commit(entries)?;
        sabotage::point("mark.persisted");
        self.tally(&numbers);
        numbers.iter().for_each(|n| drop(self.shipping.remove(n)));
        self.write_ledger_lines()?;
        if trim {
            // What lies below the new `low` needs no plan any more.
            self.log.ledger_is_durable_to(self.ledger.mark());
            let low = self.tracks().map(|t| self.state().low[t as usize]).min().unwrap_or(0);
            let low = match sabotage::on("trimmed_past_takes") {
                true => low,
                false => low.min(self.state().take_from()),
            };
            if self.lane.recycle(low)? > 0 {
                sabotage::point("journal.recycled");
            }
            self.forget_epochs();
        }
        Ok(true)
    }

    /// Where a lane whose log is somebody else's begins again once `entries` are persisted, if that is worth persisting:
    /// whenever `low` moves, and when its end is reached.
    fn start_after(&self, entries: &[Entry]) -> Option<Start> {
        let moved = |track: Track| {
            entries.iter().find_map(|e| match e {
                Entry::Low { track: of, low } if *of == track => Some(*low),
                _ => None,
            })
        };
        let low = self.tracks().map(|t| moved(t).unwrap_or(self.state().low[t as usize])).min()?;
        let start = self.lane.anchor(low)?;
        let is_end = matches!(start, Start::End { .. }) && self.state().start.as_ref() != Some(&start);
        (is_end || entries.iter().any(|e| matches!(e, Entry::Low { .. }))).then_some(start)
    }

    /// A wrong build's order: the line before its mark.
    fn ledger_lines_ahead(&mut self, entries: &[Entry]) -> Result<()> {
        let mut state = self.state().clone();
        entries.iter().cloned().for_each(|e| state.apply(e));
        let done = self.ledger.mark();
        let mut lines: Vec<Line> = state.plans.values().filter_map(Line::of).filter(|l| l.mark > done).collect();
        lines.sort_by_key(|l| l.mark);
        self.ledger.append(&lines)
    }

    /// Records that `plan` completes once the plans before it in `stored` are settled too.
    fn completed_after(&self, stored: &[(u64, String, u64)], plan: &Plan) -> Completed {
        if stored.len() == 1 {
            return self.state().completed_by(plan);
        }
        let earlier = stored.iter().map(|s| s.0).take_while(|n| *n != plan.number);
        self.state().completed_by_after(earlier, plan)
    }

    /// Says so if lines are gone that the plan log cannot make again.
    pub(super) fn note_lost_lines(&mut self) {
        if self.log.ledger_from().is_some() {
            // Where a lane is shared, they are in the ledgers of other nodes.
            return;
        }
        let (behind, last) = (self.ledger.mark() + 1, self.state().marks);
        let kept = self.state().plans.values().filter_map(|p| p.mark.as_ref()).map(|m| m.mark);
        let kept = kept.filter(|mark| *mark >= behind).count() as u64;
        if last + 1 - behind > kept {
            let message =
                format!("the ledger has lost {} of the lines of marks {behind} to {last}", last + 1 - behind - kept);
            self.note_damage(vec![message]);
        }
    }

    /// Appends the lines of all marks that have none: after a commit, and at start those of the life before.
    pub(super) fn write_ledger_lines(&mut self) -> Result<()> {
        let done = self.ledger.mark();
        let mut lines: Vec<Line> = self.state().plans.values().filter_map(Line::of).filter(|l| l.mark > done).collect();
        if lines.is_empty() {
            return Ok(());
        }
        lines.sort_by_key(|l| l.mark);
        let appended = lines.chunk_by(|one, next| one.mark + 1 == next.mark).try_for_each(|lines| {
            // Where a lane is shared, lines of marks between are in the ledgers of other nodes.
            self.ledger.pass_to(lines[0].mark - 1)?;
            self.ledger.append(lines)
        });
        match appended {
            Ok(()) => self.log.ledger_is_durable_to(self.ledger.mark()),
            // The marks stay in the plan log until there is room for their lines.
            Err(e) if e.kind == Kind::NoSpace => self.alarm = Some(e.to_string()),
            Err(e) => return Err(e),
        }
        Ok(())
    }
}

/// A state that is older than the ledger is not believed: what was delivered since would be delivered again.
pub(super) fn refuse_older_state(log: &Log, ledger: &Ledger, dir: &Path) -> Result<()> {
    let (of_state, of_ledger, dir) = (log.state().marks, ledger.mark(), dir.display());
    if of_ledger <= of_state || sabotage::on("short_plan_log_believed") {
        return Ok(());
    }
    Err(match log {
        // Lines of a lane that begins anew would be taken for lines that are there.
        Log::Shared(_) => Error::new(
            Kind::Misconfigured,
            format!(
                "`{dir}` has the ledger of a state that is not in the lease table any more: found mark {of_state} at most \
                 in the table, {of_ledger} in the ledger; move that directory away for the shard to go on from its lease's \
                 checkpoint"
            ),
        ),
        Log::Files(_) => Error::new(
            Kind::Corrupt,
            format!(
                "the plan log in `{dir}` is older than the ledger beside it: found mark {of_state}, expected {of_ledger} \
                 at least; put the newer `plans.*` back, or see `hydrant repair`"
            ),
        ),
    })
}
