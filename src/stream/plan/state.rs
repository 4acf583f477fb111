//! The state of a lane, and how entries of its plan log change it. No I/O: what is durable is the log's matter.

use super::list::{ListItem, OffsetList};
use super::loss::Loss;
use super::span::Span;
use super::{Entry, Epoch, Mark, Outlet, Plan, Refused, Totals, Track};
use crate::lane::Start;
use std::collections::{BTreeMap, BTreeSet};

/// The state of a lane as its plan log tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Open plans, and settled ones that a replay or the ledger still needs.
    pub plans: BTreeMap<u64, Plan>,
    /// Everything below is settled, per [`Track`].
    pub low: [u64; 2],
    pub backup_from: Option<u64>,
    pub epochs: Vec<Epoch>,
    pub marks: u64,
    pub next_plan: u64,
    pub totals: [Totals; Outlet::ALL.len()],
    pub paused: bool,
    /// What the medium has lost.
    pub loss: Loss,
    /// Failure objects by name that were put in again, in part at least, and have no mark yet that says so.
    pub takes: BTreeMap<String, RedrivenLines>,
    /// Records that have several outputs and are not complete.
    pub(super) partial: BTreeMap<u64, Partial>,
    /// Where a lane that is somebody else's begins again.
    pub start: Option<Start>,
    /// Where there the first and the last record of a plan stand, by its number.
    pub spans: BTreeMap<u64, Span>,
    /// Open plans that were refused, by number.
    pub refused: BTreeMap<u64, Refused>,
}

/// What was put in again of a failure object: numbers of its lines, from 0.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RedrivenLines {
    pub taken: Vec<OffsetList>,
    /// Lines of which it is not known yet, and the offset that their frame is not below.
    pub under_way: Option<(OffsetList, u64)>,
}

/// The settled outputs of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Partial {
    pub(super) settled: u32,
    /// One of them was given up on.
    pub(super) failed: bool,
}

/// Records that a mark completes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Completed {
    /// They count in the outlet of the plan.
    pub here: u64,
    /// They count as failed, since an output of theirs was given up on before.
    pub failed: u64,
}

impl State {
    pub fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Plan(plan) => {
                self.next_plan = self.next_plan.max(plan.number + 1);
                self.plans.insert(plan.number, plan);
            }
            Entry::Mark(mark) => self.settle(mark),
            Entry::Close { plan } => {
                self.plans.remove(&plan);
                self.spans.remove(&plan);
                self.refused.remove(&plan);
            }
            Entry::Abandon { plan, abandoned } => {
                self.refused.remove(&plan);
                if let Some(plan) = self.plans.get_mut(&plan) {
                    plan.abandoned = Some(abandoned);
                }
            }
            Entry::Refused { plan, refused } => drop(self.refused.insert(plan, refused)),
            Entry::Pause(paused) => self.paused = paused,
            Entry::Take { object, lines, from } => {
                self.takes.entry(object).or_default().under_way = Some((lines, from));
            }
            Entry::Taken { object, taken } => {
                let takes = self.takes.entry(object).or_default();
                let lines = takes.under_way.take().filter(|_| taken);
                takes.taken.extend(lines.map(|(lines, _)| lines));
            }
            Entry::Redriven { object } => drop(self.takes.remove(&object)),
            Entry::Rename { plan, name } => {
                if let Some(plan) = self.plans.get_mut(&plan) {
                    plan.rename(name);
                }
            }
            Entry::Move { plan, store } => {
                if let Some(plan) = self.plans.get_mut(&plan) {
                    plan.send_to(store);
                }
            }
            Entry::Low { track, low } => {
                self.low[track as usize] = low;
                self.partial = self.partial.split_off(&self.low[Track::Main as usize]);
            }
            Entry::Epoch(epoch) => self.epochs.push(epoch),
            Entry::Lost { track, from, to } => self.loss.add(track, from..to),
            Entry::LossAcknowledged { records } => self.loss.acknowledge(records),
            Entry::BackupFrom(from) => {
                self.backup_from = from;
                self.low[Track::Backup as usize] = from.unwrap_or(0);
            }
            Entry::Start(start) => self.start = Some(start),
            Entry::Span { plan, span } => drop(self.spans.insert(plan, span)),
            Entry::Totals { marks, next_plan, totals } => {
                (self.marks, self.next_plan, self.totals) = (marks, next_plan, totals);
            }
        }
    }

    fn settle(&mut self, mark: Mark) {
        let Some(mut plan) = self.plans.remove(&mark.plan) else { return };
        self.refused.remove(&mark.plan);
        self.marks = mark.mark;
        self.totals[Outlet::DeliveryFailed as usize].records += mark.failed;
        let totals = &mut self.totals[plan.counts_in() as usize];
        totals.objects += plan.outlet.has_sink() as u64;
        totals.outputs += plan.list.outputs();
        totals.records += mark.completed;
        totals.bytes += plan.bytes;
        totals.object_bytes += mark.object_bytes;
        if plan.outlet.track() == Track::Main {
            self.count_parts(&plan);
        }
        if plan.outlet == Outlet::Lost {
            plan.list.items().for_each(|item| self.loss.add(Track::Main, item.offset()..item.end()));
        }
        plan.mark = Some(mark);
        // A replay passes over what is settled: nobody asks for the reasons any more.
        plan.reasons = Vec::new();
        if let Some(abandoned) = &mut plan.abandoned {
            (abandoned.reason.message, abandoned.contents) = (String::new(), None);
        }
        self.plans.insert(plan.number, plan);
    }

    /// Records that settling `plan` completes: whole ones, and those of which it holds the last open outputs.
    pub fn completed_by(&self, plan: &Plan) -> Completed {
        let gives_up = plan.abandoned.is_some();
        let mut completed = Completed::default();
        let mut here: BTreeMap<u64, Partial> = BTreeMap::new();
        for item in plan.list.items() {
            match item {
                ListItem::Whole { count, .. } => completed.here += count,
                ListItem::Part { offset, of, .. } => {
                    let before = || self.partial.get(&offset).copied().unwrap_or_default();
                    let record = here.entry(offset).or_insert_with(before);
                    record.settled += 1;
                    // A plan that is given up on counts as failed itself.
                    match record.settled == of {
                        true if record.failed && !gives_up => completed.failed += 1,
                        true => completed.here += 1,
                        false => {}
                    }
                }
            }
        }
        completed
    }

    /// [`State::completed_by`] as it will be once the plans `earlier` are settled too.
    pub fn completed_by_after(&self, earlier: impl Iterator<Item = u64>, plan: &Plan) -> Completed {
        let mut after = State { partial: self.partial.clone(), ..State::default() };
        for earlier in earlier.filter_map(|n| self.plans.get(&n)) {
            after.count_parts(earlier);
        }
        after.completed_by(plan)
    }

    fn count_parts(&mut self, plan: &Plan) {
        for (offset, of) in parts(&plan.list) {
            let record = self.partial.entry(offset).or_default();
            record.settled += 1;
            record.failed |= plan.abandoned.is_some();
            if record.settled == of {
                self.partial.remove(&offset);
            }
        }
    }

    /// The offset below which everything of a track is settled.
    pub fn low_of(&self, track: Track) -> u64 {
        self.low[track as usize]
    }

    /// Records with some outputs settled and some not.
    pub fn incomplete(&self) -> impl Iterator<Item = u64> {
        self.partial.keys().copied()
    }

    /// The offset that the journal has to keep for lines of which it is not known whether they were put in again.
    pub fn take_from(&self) -> u64 {
        let under_way = self.takes.values().filter_map(|t| t.under_way.as_ref());
        under_way.map(|(_, from)| *from).min().unwrap_or(u64::MAX)
    }

    pub fn open_plans(&self) -> impl Iterator<Item = &Plan> {
        self.plans.values().filter(|p| p.is_open())
    }

    /// One above the highest offset that any plan of the track lists, or the track's `low`.
    pub fn frontier(&self, track: Track) -> u64 {
        let listed = self.plans.values().filter(|p| p.outlet.track() == track).map(|p| p.list.end());
        listed.max().unwrap_or(0).max(self.low[track as usize])
    }

    /// The lowest mark of which, and of all behind which, the plans are here; one above the last mark if there is none.
    pub fn kept_marks(&self) -> u64 {
        let marks: BTreeSet<u64> = self.plans.values().filter_map(|p| Some(p.mark.as_ref()?.mark)).collect();
        let run = marks.iter().rev().zip((0..=self.marks).rev()).take_while(|(kept, expected)| **kept == *expected);
        self.marks + 1 - run.count() as u64
    }

    /// Whether a settled plan is still needed: a replay may meet its records, or its ledger line is not durable.
    pub fn is_needed(&self, plan: &Plan, ledger_mark: u64) -> bool {
        plan.mark.as_ref().is_none_or(|m| m.mark > ledger_mark)
            || plan.list.end() > self.low[plan.outlet.track() as usize]
    }

    /// The lowest epoch under which an unread record is read or a plan may have to be made again.
    fn oldest_epoch_needed(&self) -> u32 {
        let low = self.backup_from.map_or(self.low[0], |_| self.low[0].min(self.low[1]));
        let unread = self.epoch_at(low).map_or(0, |e| e.number);
        self.plans.values().map(|p| p.epoch).fold(unread, u32::min)
    }

    /// Forgets settled plans and old epochs that nothing needs any more. Returns whether any went.
    pub fn forget_settled(&mut self, ledger_mark: u64) -> bool {
        let mut plans = std::mem::take(&mut self.plans);
        let before = plans.len();
        plans.retain(|_, p| self.is_needed(p, ledger_mark));
        self.plans = plans;
        self.spans.retain(|plan, _| self.plans.contains_key(plan));
        let needed = self.oldest_epoch_needed();
        self.epochs.retain(|e| e.number >= needed);
        self.plans.len() < before
    }

    /// The lowest offset that a new record may get.
    pub fn floor(&self) -> u64 {
        let low = self.low[0].max(self.backup_from.map_or(0, |_| self.low[1]));
        self.plans.values().map(|p| p.list.end()).max().unwrap_or(0).max(low)
    }

    /// The epoch under which a record at `offset` is read.
    pub fn epoch_at(&self, offset: u64) -> Option<&Epoch> {
        self.epochs.iter().rev().find(|e| e.from <= offset)
    }
}

pub(super) fn parts(list: &OffsetList) -> impl Iterator<Item = (u64, u32)> {
    list.items().filter_map(|item| match item {
        ListItem::Part { offset, of, .. } => Some((offset, of)),
        ListItem::Whole { .. } => None,
    })
}
