//! Plans that are divided: one that is too large for its destination is cut in two, and one of which some records are not
//! taken is divided into these, given up on, and the others. The two are persisted and the plan is closed in one commit.

use super::Engine;
use super::filling::Filling;
use super::give_up::unreadable;
use super::ship::alternate_name;
use crate::deliver::Body;
use crate::deliver::records::BodyRecords;
use crate::error::{Error, Kind, Result};
use crate::format::Rows;
use crate::record::Records;
use crate::sabotage;
use crate::stream::plan::list::{ListBuilder, OffsetList};
use crate::stream::plan::{Abandoned, Entry, Plan, Reason, Track};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Of records that are encoded again at once.
const ENCODED_BYTES: usize = 256 << 10;

impl Engine {
    /// Sets apart what a destination does not take of a plan that it takes otherwise.
    pub(super) fn set_apart(&mut self) -> Result<bool> {
        let Some((number, body, rejected)) = self.outbox.to_set_apart() else { return Ok(false) };
        let (reasons, summary) = (rejected.values().cloned().collect(), summary(&rejected));
        let abandoned = self.abandoned(number, summary, None)?;
        let mut apart = self.in_two(number, &body, |i| rejected.contains_key(&i) as usize)?;
        let (refused, _) = &mut apart[1];
        let name = alternate_name(&abandoned.name, &refused.id);
        (refused.reasons, refused.abandoned) = (reasons, Some(Box::new(Abandoned { name, ..abandoned })));
        tracing::warn!(
            stream = self.home.stream,
            plan = refused.id.to_string(),
            records = rejected.len(),
            error = refused.abandoned.as_ref().map(|a| &a.reason.message),
            "the destination does not take these records; they go where failures go, the others of the object go on"
        );
        let refused = refused.number;
        self.replace(number, apart)?;
        self.make_error_records(refused)?;
        Ok(true)
    }

    /// Cuts a plan that is too large for its destination in two. A single output is given up on.
    pub(super) fn split(&mut self) -> Result<bool> {
        // The earliest first; the others wait while there are many plans, since each of them would make more.
        let too_large = self.outbox.to_split(self.books.state());
        let open = self.state().open_plans().filter(|p| p.outlet.track() == Track::Main);
        let (open, first) = open.fold((0, u64::MAX), |(n, first), p| (n + 1, first.min(p.list.first())));
        let is_crowded = open > 2 * self.home.bounds.open_plans_max;
        let too_large =
            too_large.filter(|(number, ..)| !is_crowded || self.state().plans[number].list.first() == first);
        let Some((number, body, reason)) = too_large else { return Ok(false) };
        let outputs = self.state().plans[&number].list.outputs();
        if outputs == 1 {
            self.outbox.give_up(number, body, reason);
            return Ok(true);
        }
        let halves = self.in_two(number, &body, |i| (i >= outputs / 2) as usize)?;
        self.replace(number, halves)?;
        Ok(true)
    }

    /// Two plans of the destination, and their bodies, for what one lists: `side` says for each of its outputs in which it
    /// goes. `body` holds its records.
    fn in_two(&mut self, number: u64, body: &Body, side: impl Fn(u64) -> usize) -> Result<[(Plan, Body); 2]> {
        let old = self.state().plans[&number].clone();
        let (next, full) = (self.state().next_plan, self.is_held_full());
        let new =
            |filling| Side { filling, list: ListBuilder::default(), bytes: 0, waiting: WaitingRecords::default() };
        let mut sides = [new(self.filling(old.epoch, old.outlet)?), new(self.filling(old.epoch, old.outlet)?)];
        let mut records = BodyRecords::new(body).map_err(unreadable)?;
        for (i, (offset, output, of)) in (0..).zip(old.list.outputs_of()) {
            let read = records.read().map_err(unreadable)?;
            let (arrival, record) =
                read.ok_or_else(|| Error::new(Kind::Bug, "a plan lists more outputs than its body holds"))?;
            let side = &mut sides[side(i)];
            side.list.push(offset, output, of);
            side.push(arrival, record);
        }
        drop(records);
        let mut plans = (next..).zip(sides).map(|(number, side)| {
            let id = self.random_uuid();
            let (name, bytes) = (alternate_name(&old.name, &id), side.bytes);
            let (list, body) = side.finish(full);
            (Plan { number, id, name, list, bytes, ..old.clone() }, body)
        });
        Ok([(); 2].map(|()| plans.next().expect("there are two sides")))
    }

    /// Puts plans in the place of an open one, in one commit, those that list something.
    fn replace(&mut self, number: u64, plans: [(Plan, Body); 2]) -> Result<()> {
        let plans: Vec<(Plan, Body)> = plans.into_iter().filter(|(plan, _)| plan.list.outputs() > 0).collect();
        let entries = plans.iter().map(|(plan, _)| Entry::Plan(plan.clone()));
        let entries = std::iter::once(Entry::Close { plan: number }).chain(entries).collect();
        self.books.commit(entries)?;
        sabotage::point("plan.split");
        let encoding = self.outbox.remove(number);
        for (plan, body) in plans {
            self.outbox.add(&plan, Arc::new(body), encoding);
        }
        Ok(())
    }
}

/// What goes into one of the plans that another is divided into.
struct Side {
    list: ListBuilder,
    filling: Filling,
    bytes: u64,
    waiting: WaitingRecords,
}

/// Records that are not encoded yet: many at once cost less.
#[derive(Default)]
struct WaitingRecords {
    records: Records,
    arrivals: Vec<u64>,
}

impl Side {
    fn push(&mut self, arrival_ms: u64, record: &[u8]) {
        self.bytes += record.len() as u64;
        self.waiting.records.push(record);
        self.waiting.arrivals.push(arrival_ms);
        if self.waiting.records.bytes().len() >= ENCODED_BYTES {
            self.encode();
        }
    }

    fn encode(&mut self) {
        let WaitingRecords { records, arrivals } = std::mem::take(&mut self.waiting);
        let picked: Vec<u32> = (0..records.len() as u32).collect();
        self.filling.push(&records, &Rows::Bytes, &picked, &arrivals);
    }

    fn finish(mut self, to_scratch: bool) -> (OffsetList, Body) {
        self.encode();
        (self.list.finish(), self.filling.finish(to_scratch))
    }
}

/// Of several records that are given up on together: the first one's, and how many there are.
fn summary(rejected: &BTreeMap<u64, Reason>) -> Reason {
    let first = rejected.values().next().cloned().expect("some are rejected");
    let message = match rejected.len() {
        1 => first.message,
        many => format!("{many} records, the first: {}", first.message),
    };
    Reason { message, ..first }
}
