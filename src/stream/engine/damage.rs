//! Open plans of which the medium lost records: cut down to what can still be read. What is gone goes into a plan of its
//! own that is settled at once, so that it is accounted for with its exact offsets, and the rest gets an object.

use super::Engine;
use super::ship::alternate_name;
use crate::error::Result;
use crate::stream::plan::list::{ListBuilder, OffsetList};
use crate::stream::plan::{Abandoned, Entry, Mark, Outlet, Plan, Track};

impl Engine {
    /// Outputs that a plan lists of records that were not lost.
    pub(super) fn outputs_left(&self, number: u64) -> u64 {
        let plan = &self.state().plans[&number];
        // Nearly always: the list need not be gone through.
        match self.readers[plan.outlet.track()].lost().is_empty() {
            true => plan.list.outputs(),
            false => self.divide(plan).0.outputs(),
        }
    }

    /// Lost records that a plan lists before `offset`.
    pub(super) fn lost_before(&self, number: u64, offset: u64) -> usize {
        let plan = &self.state().plans[&number];
        let lost = self.readers[plan.outlet.track()].lost();
        match lost.is_empty() {
            true => 0,
            false => plan.list.outputs_of().take_while(|o| o.0 < offset).filter(|o| lost.contains(o.0)).count(),
        }
    }

    /// A plan's list: what is left, and what is lost.
    fn divide(&self, plan: &Plan) -> (ListBuilder, ListBuilder) {
        let lost = self.readers[plan.outlet.track()].lost();
        let (mut left, mut gone) = (ListBuilder::default(), ListBuilder::default());
        for (offset, output, of) in plan.list.outputs_of() {
            let side = if lost.contains(offset) { &mut gone } else { &mut left };
            side.push(offset, output, of);
        }
        (left, gone)
    }

    /// Replaces damaged plans whose objects are not in the store, each in one commit.
    pub(super) fn cut_down(&mut self) -> Result<bool> {
        let Some((number, body)) = self.outbox.to_cut_down() else { return Ok(false) };
        let old = self.state().plans[&number].clone();
        let (left, gone) = self.divide(&old);
        let mut entries = vec![Entry::Close { plan: number }];
        let next = self.state().next_plan;
        let mut child = None;
        if !left.is_empty() {
            let child = child.insert(self.child(next, &old, left.finish()));
            entries.push(Entry::Plan(child.clone()));
        }
        // The backup is a copy: what is gone is accounted for on the main track.
        if old.outlet.track() == Track::Main {
            entries.extend(self.lost_plan(next + 1, &old, gone.finish()));
        }
        self.books.commit(entries)?;
        let encoding = self.outbox.remove(number);
        if let Some(child) = child {
            self.outbox.add(&child, body, encoding);
        }
        self.write_ledger_lines()?;
        Ok(true)
    }

    /// The plan of what is left of `old`.
    fn child(&mut self, number: u64, old: &Plan, list: OffsetList) -> Plan {
        let id = self.random_uuid();
        let lost = self.readers[old.outlet.track()].lost();
        let offsets = old.list.outputs_of().map(|(offset, ..)| offset);
        let reasons = old.reasons.iter().zip(offsets).filter(|(_, offset)| !lost.contains(*offset));
        let reasons = reasons.map(|(reason, _)| reason.clone()).collect();
        let abandoned = old.abandoned.clone();
        let abandoned = abandoned.map(|a| Box::new(Abandoned { name: alternate_name(&a.name, &id), ..*a }));
        let name = alternate_name(&old.name, &id);
        Plan { number, id, name, reasons, list, abandoned, lengths: None, ..old.clone() }
    }

    /// The plan of what is lost of `old`, and its mark.
    fn lost_plan(&mut self, number: u64, old: &Plan, list: OffsetList) -> [Entry; 2] {
        let plan = Plan {
            number,
            id: self.random_uuid(),
            outlet: Outlet::Lost,
            store: String::new(),
            name: String::new(),
            list,
            reasons: Vec::new(),
            bytes: 0,
            abandoned: None,
            ..old.clone()
        };
        let completed = self.state().completed_by(&plan);
        let mark = Mark {
            plan: number,
            mark: self.state().marks + 1,
            at_ms: self.home.clock.wall_ms(),
            completed: completed.here,
            failed: completed.failed,
            ..Mark::default()
        };
        [Entry::Plan(plan), Entry::Mark(mark)]
    }
}
