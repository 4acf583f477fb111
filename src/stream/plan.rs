//! Plans, the state of a lane, and how entries of the plan log change it. No I/O: what is durable is the log's matter.

use super::list::{Item, List};
pub use super::outlet::{Outlet, Track};
use super::span::Span;
use crate::lane::Start;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Why a record failed: kept in the plan, so that a replay does not judge again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    pub code: String,
    pub message: String,
    pub attempts: u32,
    /// Milliseconds since the Unix epoch at which the last attempt ended.
    pub ended_ms: u64,
}

/// The persisted decision that exactly these records, in this outlet, with this key, become this object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Short name within the log.
    pub number: u64,
    pub id: Uuid,
    pub outlet: Outlet,
    pub epoch: u32,
    /// The store the object goes to, such as `s3://bucket`: a plan keeps it through every reload.
    pub store: String,
    /// The object's name in that store.
    pub name: String,
    pub list: List,
    pub oldest_arrival_ms: u64,
    /// For failures: one per listed record, in order.
    pub reasons: Vec<Reason>,
    /// Bytes of the records as they were buffered, before compression.
    pub bytes: u64,
    /// Of a backup: the digest of its records' lengths (see `backed_up`).
    pub lengths: Option<u128>,
    /// Milliseconds since the Unix epoch at which it was decided.
    pub planned_ms: u64,
    /// Its destination was given up on: it is never sent there again.
    pub abandoned: Option<Box<Abandoned>>,
    /// Set once settled.
    pub mark: Option<Mark>,
}

/// What becomes of a plan that its destination did not take: another object tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Abandoned {
    pub reason: Reason,
    /// Where the object goes, and its name there.
    pub store: String,
    pub name: String,
    /// What stands in it; `None`: an error record for each listed output.
    pub contents: Option<Vec<u8>>,
}

impl Plan {
    pub fn is_open(&self) -> bool {
        self.mark.is_none()
    }

    /// Where its records end.
    pub fn ends_in(&self) -> Outlet {
        if self.abandoned.is_some() { Outlet::DeliveryFailed } else { self.outlet }
    }

    /// The outlet that counts it. A copy for the backup is one wherever it goes.
    pub fn counts_in(&self) -> Outlet {
        if self.outlet == Outlet::Backup { Outlet::Backup } else { self.ends_in() }
    }

    /// Whether an error record is made of each of its outputs.
    pub fn tells_of_outputs(&self) -> bool {
        self.outlet != Outlet::Backup && self.abandoned.as_ref().is_some_and(|a| a.contents.is_none())
    }

    /// Store and name of the object that it becomes.
    pub fn place(&self) -> (&str, &str) {
        match &self.abandoned {
            Some(abandoned) => (&abandoned.store, &abandoned.name),
            None => (&self.store, &self.name),
        }
    }

    /// Gives its object another name.
    pub fn rename(&mut self, name: String) {
        match &mut self.abandoned {
            Some(abandoned) => abandoned.name = name,
            None => self.name = name,
        }
    }

    /// Sends its object to another store.
    fn send_to(&mut self, store: String) {
        match &mut self.abandoned {
            Some(abandoned) => abandoned.store = store,
            None => self.store = store,
        }
    }

    /// What it takes in memory and, about, in a snapshot.
    pub fn memory_bytes(&self) -> usize {
        let reasons: usize = self.reasons.iter().map(|r| size_of::<Reason>() + r.code.len() + r.message.len()).sum();
        let abandoned = self.abandoned.as_ref().map_or(0, |a| {
            let texts = a.reason.code.len() + a.reason.message.len() + a.store.len() + a.name.len();
            size_of::<Abandoned>() + texts + a.contents.as_ref().map_or(0, Vec::len)
        });
        size_of::<Plan>() + self.store.len() + self.name.len() + self.list.encoded().len() + reasons + abandoned
    }
}

/// `epoch number from offset from`, with its configuration by hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    pub number: u32,
    pub from: u64,
    pub hash: [u8; 32],
}

/// What a settled plan adds up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub plan: u64,
    /// Marks are numbered without a gap, in the order of the log.
    pub mark: u64,
    pub at_ms: u64,
    /// Records of which this mark settles the last output, and all others ended well.
    pub completed: u64,
    /// Records of which this mark settles the last output, and another one was given up on.
    pub failed: u64,
    /// Bytes of the object as stored.
    pub object_bytes: u64,
    /// The store's tag of the object, as far as it gave one.
    pub tag: String,
}

/// Settled so far, per outlet, each counted by its own marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub objects: u64,
    pub outputs: u64,
    pub records: u64,
    pub bytes: u64,
    pub object_bytes: u64,
}

/// How a destination has refused an open plan so far: its patience with it goes on in the next life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    pub count: u32,
    /// The time since its first attempt began, in milliseconds, without that between lives.
    pub spent_ms: u64,
    /// The pauses between attempts together, in milliseconds.
    pub paused_ms: u64,
}

/// A change of a lane's state. Tags are on disk: never reuse one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    Plan(Plan),
    Mark(Mark),
    /// An open plan ends without a mark: what it lists is in plans of the same commit.
    Close {
        plan: u64,
    },
    /// An open plan is given up on.
    Abandon {
        plan: u64,
        abandoned: Box<Abandoned>,
    },
    /// What an open plan's destination has cost so far.
    Refused {
        plan: u64,
        refused: Refused,
    },
    /// Nothing is delivered until the next of these says so.
    Pause(bool),
    /// Lines of a failure object are about to be put in again, as one frame at or above this offset of the journal.
    Take {
        object: String,
        lines: List,
        from: u64,
    },
    /// They are in the journal, or will not be.
    Taken {
        object: String,
        taken: bool,
    },
    /// A mark beside the object says which of its lines were put in again.
    Redriven {
        object: String,
    },
    /// Somebody else's object stands at the old name.
    Rename {
        plan: u64,
        name: String,
    },
    /// There is no such store as it went to, and never was: it goes to this one.
    Move {
        plan: u64,
        store: String,
    },
    Low {
        track: Track,
        low: u64,
    },
    Epoch(Epoch),
    /// The backup track exists from this offset on; `None` ends it.
    BackupFrom(Option<u64>),
    /// Where a lane that is somebody else's begins again.
    Start(Start),
    /// Where there the records of a plan of the same commit stand.
    Span {
        plan: u64,
        span: Span,
    },
    /// Only in snapshots.
    Totals {
        marks: u64,
        next_plan: u64,
        totals: [Totals; Outlet::ALL.len()],
    },
}

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
    /// Failure objects by name that were put in again, in part at least, and have no mark yet that says so.
    pub takes: BTreeMap<String, Takes>,
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
pub struct Takes {
    pub taken: Vec<List>,
    /// Lines of which it is not known yet, and the offset that their frame is not below.
    pub under_way: Option<(List, u64)>,
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
                Item::Whole { count, .. } => completed.here += count,
                Item::Part { offset, of, .. } => {
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

    /// The epoch under which a record at `offset` is read.
    pub fn epoch_at(&self, offset: u64) -> Option<&Epoch> {
        self.epochs.iter().rev().find(|e| e.from <= offset)
    }
}

pub(super) fn parts(list: &List) -> impl Iterator<Item = (u64, u32)> {
    list.items().filter_map(|item| match item {
        Item::Part { offset, of, .. } => Some((offset, of)),
        Item::Whole { .. } => None,
    })
}
