//! What follows a stored object: its mark, the `low` it allows, its ledger line, and then the journal's trimming, each
//! durable before the next.

use super::outbox::StoredPlan;
use super::{Engine, wrong};
use crate::alarm::Alarm;
use crate::error::{Kind, Result};
use crate::lane::Start;
use crate::sabotage;
use crate::stream::plan::state::Completed;
use crate::stream::plan::{Entry, Mark, Plan, Track};

/// Records that `low` moves over before it is worth a commit of its own.
const LOW_MOVES_MIN: u64 = 100_000;

impl Engine {
    /// The lowest offset of a track that is not settled if `settling` are: everything read lies in a buffer, an open
    /// plan, or is settled.
    fn low_after(&self, track: Track, settling: &[u64]) -> u64 {
        let mut low = self.readers[track].offset().min(self.lane.durable());
        low = self.buffers.of_track(track).filter_map(|b| b.list.first()).fold(low, u64::min);
        let open = self.state().open_plans().filter(|p| p.outlet.track() == track && !settling.contains(&p.number));
        let open = open.filter(|p| !sabotage::on("low_passes_incomplete") || wrong::is_whole(&p.list));
        open.map(|p| p.list.first()).fold(low, u64::min).max(self.state().low_of(track))
    }

    /// Persists the marks of stored plans together with the `low` they allow, then the ledger lines, then trims.
    pub(super) fn settle(&mut self) -> Result<bool> {
        let stored = self.outbox.stored();
        let mut entries = Vec::new();
        for (mark, StoredPlan { number, tag, object_bytes }) in (self.state().marks + 1..).zip(&stored) {
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
        let numbers: Vec<u64> = stored.iter().map(|s| s.number).collect();
        for track in self.tracks() {
            let low = self.low_after(track, &numbers);
            let moved = low - self.state().low_of(track);
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
            self.recycle(self.low_after(Track::Main, &numbers))?;
        }
        self.books.commit(entries)?;
        sabotage::point("mark.persisted");
        self.tally(&numbers);
        for number in &numbers {
            self.outbox.remove(*number);
        }
        self.write_ledger_lines()?;
        if trim {
            // What lies below the new `low` needs no plan any more.
            self.books.release_lines();
            let low = self.tracks().map(|t| self.state().low_of(t)).min().unwrap_or(0);
            self.recycle(low.min(if sabotage::on("trimmed_past_takes") { low } else { self.state().take_from() }))?;
            self.routes.forget_settled(self.books.state());
        }
        Ok(true)
    }

    /// Nobody needs what lies below this any more.
    fn recycle(&self, low: u64) -> Result<()> {
        if self.lane.recycle(low)? > 0 {
            sabotage::point("journal.recycled");
        }
        Ok(())
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
        let low = self.tracks().map(|t| moved(t).unwrap_or(self.state().low_of(t))).min()?;
        let start = self.lane.anchor(low)?;
        let is_end = matches!(start, Start::End { .. }) && self.state().start.as_ref() != Some(&start);
        (is_end || entries.iter().any(|e| matches!(e, Entry::Low { .. }))).then_some(start)
    }

    /// Records that `plan` completes once the plans before it in `stored` are settled too.
    fn completed_after(&self, stored: &[StoredPlan], plan: &Plan) -> Completed {
        if stored.len() == 1 {
            return self.state().completed_by(plan);
        }
        let earlier = stored.iter().map(|s| s.number).take_while(|n| *n != plan.number);
        self.state().completed_by_after(earlier, plan)
    }

    /// Writes the ledger lines of marks that have none. Without room they wait, with an alarm.
    pub(super) fn write_ledger_lines(&mut self) -> Result<()> {
        match self.books.write_lines() {
            Err(e) if e.kind == Kind::NoSpace => {
                self.alarm = Some(Alarm::of_error(&e));
                Ok(())
            }
            done => done,
        }
    }
}
