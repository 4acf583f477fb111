//! Records that are read again: what plans of an earlier life list of them ends there, and open ones get their bytes anew.

use super::Engine;
use super::buffer::BufferSlot;
use super::fill::{Pick, push_line};
use super::outbox::Rebuilding;
use super::reread::{Bound, RereadRecords};
use crate::alarm::{Alarm, AlarmKind};
use crate::destination::Payload;
use crate::error::{Error, Kind, Result};
use crate::format::Rows;
use crate::partition::key::Key;
use crate::record::Records;
use crate::record::keyed::{self, Keys};
use crate::sabotage;
use crate::stream::pipeline::route::{Chunk, Judged, Raw, RecordVerdict, Told};
use crate::stream::plan::replay::ListedOutput;
use crate::stream::plan::{Outlet, Plan};
use std::collections::BTreeMap;
use std::ops::Range;

/// How often a record whose fate is bound is given to a transform that runs out of time, before the stream waits.
const BOUND_TRIES: u32 = 20;

impl Engine {
    /// `Misconfigured`: a record that a plan lists is not the one that it listed, so nothing of it may be judged.
    pub(super) fn meets_spans(&self, chunk: &Chunk) -> Result<()> {
        let (Some(first), Some(last)) = (chunk.offsets.first(), chunk.offsets.last()) else { return Ok(()) };
        if chunk.origins.is_empty() {
            return Ok(());
        }
        for (number, span) in &self.state().spans {
            let list = &self.state().plans[number].list;
            for (offset, expected) in [(list.first(), &span.first), (list.end() - 1, &span.last)] {
                if offset < *first || offset > *last {
                    continue;
                }
                let found = chunk.offsets.binary_search(&offset).ok().map(|i| &chunk.origins[i].position);
                if found != Some(expected) {
                    let found = found.map_or_else(|| "nothing".to_owned(), ToString::to_string);
                    let message = format!(
                        "record {offset} of plan {number} stood at {expected}, found {found} there: its source does not hold any more what was read from it"
                    );
                    return Err(Error::new(Kind::Misconfigured, message));
                }
            }
        }
        Ok(())
    }

    /// Judges and places records that are read again. `false`: a record whose fate is bound ran out of time too often,
    /// nothing was placed.
    pub(super) fn place_again(&mut self, epoch: u32, again: &RereadRecords) -> Result<bool> {
        if again.chunk.records.is_empty() {
            return Ok(true);
        }
        let now_ms = self.home.clock.wall_ms();
        let judged = self.route(epoch)?.judge(&again.chunk, now_ms)?;
        let mut alone: BTreeMap<usize, Judged> = BTreeMap::new();
        for (i, bound) in again.bounds.iter().enumerate() {
            let timed_out = matches!(judged.verdicts[i], RecordVerdict::Failed { may_differ: true, .. });
            if let Some(Bound::Outputs(listed)) = bound
                && timed_out
                && !sabotage::on("bound_record_judged_again")
            {
                match self.judge_alone(epoch, &again.chunk, i, now_ms)? {
                    Some(judged) => drop(alone.insert(i, judged)),
                    None if self.is_told_of(listed) => {}
                    None => {
                        let offset = again.chunk.offsets[i];
                        let detail = format!("record {offset} is in an open plan and now runs out of time");
                        self.alarm = Some(Alarm::new(AlarmKind::Stalled, detail));
                        return Ok(false);
                    }
                }
            }
        }
        let mut from = 0;
        for (&i, single) in &alone {
            self.place_range(epoch, again, (&judged, 0), from..i)?;
            self.place_range(epoch, again, (single, i), i..i + 1)?;
            from = i + 1;
        }
        self.place_range(epoch, again, (&judged, 0), from..again.bounds.len())?;
        Ok(true)
    }

    /// Judges one bound record until it does not run out of time.
    fn judge_alone(&mut self, epoch: u32, chunk: &Chunk, i: usize, now_ms: u64) -> Result<Option<Judged>> {
        let mut single = Chunk { entry: chunk.entry, ..Chunk::default() };
        single.push_of(chunk, i);
        for _ in 0..BOUND_TRIES {
            let judged = self.route(epoch)?.judge(&single, now_ms)?;
            if !matches!(judged.verdicts[0], RecordVerdict::Failed { may_differ: true, .. }) {
                return Ok(Some(judged));
            }
        }
        Ok(None)
    }

    /// Whether what is open of a record's outputs is given up on: then it need not be known what they were.
    fn is_told_of(&self, listed: &[ListedOutput]) -> bool {
        let open = || listed.iter().map(|l| &self.state().plans[&l.plan]).filter(|plan| plan.is_open());
        open().next().is_some() && open().all(Plan::tells_of_outputs)
    }

    /// Places records `range` of `again`, whose verdicts stand at `i - base` in `judged`.
    fn place_range(
        &mut self,
        epoch: u32,
        again: &RereadRecords,
        (judged, base): (&Judged, usize),
        range: Range<usize>,
    ) -> Result<()> {
        let mut picks: Vec<Vec<Pick>> = vec![Vec::new(); judged.keys.len()];
        let mut rebuilt: BTreeMap<u64, (Vec<u32>, Vec<u64>)> = BTreeMap::new();
        for i in range {
            let verdict = &judged.verdicts[i - base];
            let listed = match &again.bounds[i] {
                Some(Bound::Done) => continue,
                Some(Bound::Failure(plan)) => {
                    self.rebuild_failure(*plan, (&again.chunk, i), verdict, judged)?;
                    continue;
                }
                Some(Bound::Outputs(listed)) => listed.as_slice(),
                None => &[],
            };
            match verdict {
                RecordVerdict::Kept { first, count } if listed.first().is_none_or(|l| l.of == *count) => {
                    for number in 0..*count {
                        let output = first + number;
                        match listed.iter().find(|l| l.output == number) {
                            Some(l) if self.state().plans[&l.plan].is_open() => {
                                let (outputs, arrivals) = rebuilt.entry(l.plan).or_default();
                                outputs.push(output);
                                arrivals.push(again.chunk.arrivals[i]);
                            }
                            Some(_) => {}
                            None => {
                                picks[judged.key_of[output as usize] as usize].push((i as u32, output, number, *count));
                            }
                        }
                    }
                }
                verdict if listed.is_empty() || sabotage::on("bound_record_judged_again") => {
                    self.place_ended(epoch, (&again.chunk, i), verdict, judged)?;
                }
                verdict => {
                    // Of what is settled nothing is made again.
                    let tells = |plan: &Plan| plan.is_open() && plan.tells_of_outputs();
                    let (tells, others): (Vec<ListedOutput>, Vec<ListedOutput>) =
                        listed.iter().partition(|l| tells(&self.state().plans[&l.plan]));
                    self.hold_all(&others, again.chunk.offsets[i], verdict);
                    let of = listed.first().filter(|_| !tells.is_empty()).map_or(0, |l| l.of);
                    for output in (0..of).filter(|output| listed.iter().all(|l| l.output != *output)) {
                        // The record itself is told of, for all its outputs that are nowhere.
                        let slot = BufferSlot::open(Outlet::Dropped, Key::from_persisted("").expect("an empty key"));
                        self.buffer(&slot, again.chunk.arrivals[i])?.push(&again.chunk, i, (output, of), 0);
                    }
                    let first = tells.first().map(|l| l.plan);
                    for plan in tells.iter().map(|l| l.plan) {
                        if let Some((outputs, arrivals)) = rebuilt.remove(&plan) {
                            self.rebuild(plan, judged, &outputs, &arrivals)?;
                        }
                        self.rebuild_source(plan, &again.chunk, i, first == Some(plan))?;
                    }
                }
            }
        }
        for (plan, (outputs, arrivals)) in rebuilt {
            self.rebuild(plan, judged, &outputs, &arrivals)?;
        }
        self.place_outputs(&again.chunk, judged, &picks)
    }

    /// Adds outputs to the body of a plan that is made again.
    fn rebuild(&mut self, plan: u64, judged: &Judged, outputs: &[u32], arrivals: &[u64]) -> Result<()> {
        let epoch = self.state().plans[&plan].epoch;
        // Nothing else has a use for partition keys.
        let has_keys = self.route(epoch)?.takes == Payload::Objects;
        let Some(rebuilding) = self.rebuilding(plan)? else { return Ok(()) };
        rebuilding.outputs += outputs.len() as u64;
        if rebuilding.packed.is_none() {
            rebuilding.filling.push(&judged.outputs, &judged.rows, outputs, arrivals);
            return Ok(());
        }
        let (mut packed, none) = (Records::default(), Keys::new());
        for &output in outputs {
            let keys = judged.partition_keys.get(output as usize).filter(|_| has_keys).unwrap_or(&none);
            packed.push(&keyed::pack(keys, judged.outputs.get(output as usize)));
        }
        let all: Vec<u32> = (0..outputs.len() as u32).collect();
        rebuilding.filling.push(&packed, &Rows::Bytes, &all, arrivals);
        Ok(())
    }

    /// Adds a record as its source gave it to what is told of a plan whose outputs it does not give any more.
    fn rebuild_source(&mut self, plan: u64, chunk: &Chunk, i: usize, tells: bool) -> Result<()> {
        let Some(rebuilding) = self.rebuilding(plan)? else { return Ok(()) };
        rebuilding.outputs += 1;
        rebuilding.filling.push(&chunk.records, &Rows::Bytes, &[i as u32], &[chunk.arrivals[i]]);
        if let Some(packed) = &mut rebuilding.packed {
            packed.as_source.insert(chunk.offsets[i]);
            if !tells {
                packed.elsewhere.insert(chunk.offsets[i]);
            }
        }
        Ok(())
    }

    /// Makes a bound record's error line again, with the reason its plan keeps.
    fn rebuild_failure(
        &mut self,
        plan: u64,
        (chunk, i): (&Chunk, usize),
        now: &RecordVerdict,
        judged: &Judged,
    ) -> Result<()> {
        let outlet = self.state().plans[&plan].outlet;
        let may_be_output = outlet == Outlet::ConversionFailed || !chunk.entry.is_before_transform();
        let raw = match now {
            RecordVerdict::Failed { raw, .. } if may_be_output => *raw,
            _ => Raw::Source,
        };
        let (raw, keys) = judged.given(chunk, i, raw);
        let (offset, arrival) = (chunk.offsets[i], chunk.arrivals[i]);
        let Some(so_far) = self.rebuilding(plan)?.map(|rebuilding| rebuilding.outputs) else { return Ok(()) };
        let at = so_far as usize + self.lost_before(plan, offset);
        let Some(reason) = self.state().plans[&plan].reasons.get(at).cloned() else { return Ok(()) };
        if let Some(Rebuilding { filling, outputs, .. }) = self.rebuilding(plan)? {
            let told = Told { reason: &reason, offset, output: 0, arrival_ms: arrival, raw, keys };
            filling.write(|encoder, out| push_line(encoder, out, outlet, &told));
            *outputs += 1;
        }
        Ok(())
    }

    /// A record's outputs are listed, and now it gives others: its open plans are never sent as something else.
    fn hold_all(&mut self, listed: &[ListedOutput], offset: u64, now: &RecordVerdict) {
        let now = match now {
            RecordVerdict::Kept { count, .. } => format!("{count} outputs"),
            RecordVerdict::Dropped => "none".to_owned(),
            RecordVerdict::Failed { reason, .. } => format!("a failure ({})", reason.code),
        };
        for l in listed {
            if self.state().plans[&l.plan].is_open() {
                self.hold(l.plan, &format!("record {offset} gave {} outputs and now gives {now}", l.of));
            }
        }
    }
}
