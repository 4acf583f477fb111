//! Reading a lane into buffers, and into open plans that an earlier life left behind.

use super::buffer::Buffer;
use super::engine::{Engine, Slot};
use super::live::Limits;
use super::plan::{Outlet, Plan, Reason, Track};
use super::replay::Listed;
use super::route::{Chunk, Judged, Raw, Takes, Told, Verdict, error_line};
use super::ship::Phase;
use crate::error::{Error, Kind, Result};
use crate::format::Rows;
use crate::lane::Cursor;
use crate::partition::prefix::Key;
use crate::record::keyed::{self, Keys};
use crate::record::{Batch, Entry};
use crate::sabotage;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// How often a record whose fate is bound is given to a transform that runs out of time, before the stream waits.
const BOUND_TRIES: u32 = 20;

/// What plans of an earlier life say of a record.
enum Bound {
    /// All its outputs are settled.
    Done,
    /// An open failure plan lists it: its line is made from the reason the plan keeps.
    Failure(u64),
    /// Plans list these of its outputs, settled or open; the rest is still to be made.
    Outputs(Vec<Listed>),
}

/// Records of which plans of an earlier life may know something, read again.
pub(super) struct Again {
    chunk: Chunk,
    bounds: Vec<Option<Bound>>,
    /// Where the track goes on behind them.
    cursor: Cursor,
    /// How many of them some plan lists.
    pub(super) listed: u64,
}

impl Again {
    /// Plans that list outputs of them.
    pub(super) fn plans(&self) -> BTreeSet<u64> {
        let listed = self.bounds.iter().filter_map(|bound| match bound {
            Some(Bound::Outputs(listed)) => Some(listed.iter().map(|l| l.plan)),
            _ => None,
        });
        listed.flatten().collect()
    }
}

/// Outputs of a chunk for one buffer or plan: index of the record, index of the output, output number, of how many.
type Pick = (u32, u32, u32, u32);

impl Engine {
    /// Reads, judges and places one chunk of the main track. Whether anything moved.
    pub(super) fn read_main(&mut self) -> Result<bool> {
        let Some(epoch) = self.epoch_to_read(Track::Main)? else { return Ok(false) };
        if let Some(again) = self.waiting.take() {
            return self.read_again(epoch, again);
        }
        if self.cursors[0].offset < self.replays[0].end() {
            let limits = self.route(epoch)?.chunk_limits();
            let Some((chunk, behind)) = self.next_or_pass(Track::Main, limits)? else { return Ok(true) };
            self.meets_spans(&chunk)?;
            let again = self.look_up(&chunk, behind);
            return self.read_again(epoch, again);
        }
        let Some(judging) = self.next_judging(epoch)? else { return Ok(true) };
        let (chunk, judged, behind) = match judging.finish() {
            Ok(done) => done,
            Err(e) => {
                self.ahead.forget();
                return Err(e);
            }
        };
        self.place_new(epoch, &chunk, &judged)?;
        self.cursors[0] = behind;
        sabotage::point("lane.read");
        Ok(true)
    }

    fn read_again(&mut self, epoch: u32, again: Again) -> Result<bool> {
        // What plans list of these records has been looked up, which can be done only once: they wait as they are.
        match self.place_again(epoch, &again) {
            Ok(true) => {}
            Ok(false) => {
                self.waiting = Some(again);
                return Ok(false);
            }
            Err(e) => {
                self.waiting = Some(again);
                return Err(e);
            }
        }
        self.cursors[0] = again.cursor;
        sabotage::point("lane.replayed");
        self.finish_rebuilding(Track::Main)?;
        Ok(true)
    }

    /// The epoch of the next record of a track, with the buffers ready for it. `None`: nothing may be read now.
    fn epoch_to_read(&mut self, track: Track) -> Result<Option<u32>> {
        let offset = self.cursors[track as usize].offset;
        if self.is_at_rest(track) {
            return Ok(None);
        }
        let Some(epoch) = self.state().epoch_at(offset).map(|e| e.number) else { return Ok(None) };
        let held = self.buffer_epochs[track as usize];
        if held != epoch && !sabotage::on("epochs_share_a_buffer") {
            // The barrier: no object is made under two epochs. Planned is enough, delivered is not waited for.
            self.cut_where(|slot, _| slot.outlet.track() == track)?;
        }
        self.buffer_epochs[track as usize] = epoch;
        Ok(Some(epoch))
    }

    /// The offset that a track may not read beyond: below the frontier it always reads, since only that moves `low`.
    pub(super) fn read_limit(&self, track: Track) -> Option<u64> {
        let bounds = &self.home.bounds;
        let plans = || self.state().plans.values().filter(|p| p.outlet.track() == track);
        let full = self.log.is_starved()
            || plans().filter(|p| p.is_open()).count() >= bounds.open_plans_max
            || plans().map(Plan::memory_bytes).sum::<usize>() >= bounds.plan_bytes_max
            || self.held_bytes() > bounds.memory_bytes_max;
        let frontier = if sabotage::on("cap_stops_all_reading") { 0 } else { self.state().frontier(track) };
        full.then_some(frontier)
    }

    /// Accounts for acknowledged records that the medium lost: a plan of their own, settled when persisted.
    pub(super) fn place_lost(&mut self, track: Track, from: u64, to: u64) -> Result<()> {
        self.lost[track as usize].push(from..to);
        self.loss = Some(format!("records {from} to {} were acknowledged and cannot be read any more", to - 1));
        if track == Track::Backup {
            return Ok(());
        }
        let slot = Slot::open(Outlet::Lost, Key::from_persisted("").expect("an empty key"));
        let mut listed = Vec::new();
        // What is in the buffer is there because there was no room to plan it the last time.
        let known = self.buffers.get(&slot).map_or(0, |b| b.list.behind());
        for offset in from.max(known)..to {
            self.replays[0].at(offset, &mut listed);
            // What an open plan lists is that plan's matter: its object may be in the store already.
            let of = listed.first().map_or(1, |l| l.of);
            for output in (0..of).filter(|output| listed.iter().all(|l| l.output != *output)) {
                self.buffer(&slot, 0)?.list.push(offset, output, of);
            }
        }
        if self.buffers.contains_key(&slot) {
            self.cut(vec![slot])?;
        }
        Ok(())
    }

    /// The buffer of a slot, opened if need be, for records that arrived at `arrival_ms`.
    fn buffer(&mut self, slot: &Slot, arrival_ms: u64) -> Result<&mut Buffer> {
        if !self.buffers.contains_key(slot) {
            let filling = self.filling(self.buffer_epochs[slot.outlet.track() as usize], slot.outlet)?;
            let buffer = Buffer::new(filling, self.home.clock.steady());
            self.buffers.insert(slot.clone(), buffer);
        }
        let buffer = self.buffers.get_mut(slot).expect("inserted above");
        buffer.oldest_arrival_ms = buffer.oldest_arrival_ms.min(arrival_ms);
        Ok(buffer)
    }

    /// Places records of which no plan knows anything.
    fn place_new(&mut self, epoch: u32, chunk: &Chunk, judged: &Judged) -> Result<()> {
        let mut picks: Vec<Vec<Pick>> = vec![Vec::new(); judged.keys.len()];
        for (i, verdict) in judged.verdicts.iter().enumerate() {
            match verdict {
                Verdict::Kept { first, count } => {
                    for output in 0..*count {
                        let key = judged.key_of[(first + output) as usize] as usize;
                        picks[key].push((i as u32, first + output, output, *count));
                    }
                }
                _ => self.place_ended(epoch, chunk, i, verdict, judged)?,
            }
        }
        self.place_outputs(chunk, judged, &picks)
    }

    /// Puts kept outputs into the buffers of their keys.
    fn place_outputs(&mut self, chunk: &Chunk, judged: &Judged, picks: &[Vec<Pick>]) -> Result<()> {
        for (key, picks) in judged.keys.iter().zip(picks).filter(|(_, p)| !p.is_empty()) {
            let slot = Slot::open(Outlet::Destination, key.clone());
            let mut picks = picks.as_slice();
            while !picks.is_empty() {
                let (fit, rest) = picks.split_at(self.room(&slot, picks, judged));
                if fit.is_empty() {
                    self.close_buffer(&slot);
                } else {
                    self.fill(&slot, chunk, judged, fit)?;
                }
                picks = rest;
            }
        }
        Ok(())
    }

    /// How many of `picks` the slot's buffer may still take before it is what its sink takes at most.
    fn room(&self, slot: &Slot, picks: &[Pick], judged: &Judged) -> usize {
        let Limits { outputs_max, bytes_max } = self.live.limits;
        if self.live.limits == Limits::NONE {
            return picks.len();
        }
        let buffer = self.buffers.get(slot);
        let (mut outputs, mut bytes) = buffer.map_or((0, 0), |b| (b.list.outputs(), b.bytes));
        let fits = |pick: &&Pick| {
            let is_first = outputs == 0;
            outputs += 1;
            bytes += judged.outputs.get(pick.1 as usize).len() as u64;
            // One that is too large by itself is the sink's to refuse.
            is_first || outputs <= outputs_max && bytes <= bytes_max
        };
        picks.iter().take_while(fits).count()
    }

    /// Closes a slot's buffer: the next output opens another one, and this one is cut at the next step.
    fn close_buffer(&mut self, slot: &Slot) {
        if let Some(buffer) = self.buffers.remove(slot) {
            let same = self.buffers.keys().filter(|s| s.outlet == slot.outlet && s.key == slot.key);
            let closed = 1 + same.map(|s| s.closed).max().unwrap_or(0);
            self.buffers.insert(Slot { closed, ..slot.clone() }, buffer);
        }
    }

    fn fill(&mut self, slot: &Slot, chunk: &Chunk, judged: &Judged, picks: &[Pick]) -> Result<()> {
        let arrivals: Vec<u64> = picks.iter().map(|p| chunk.arrivals[p.0 as usize]).collect();
        let buffer = self.buffer(slot, arrivals.iter().copied().min().unwrap_or(0))?;
        let mut outputs = Vec::with_capacity(picks.len());
        for &(record, output, number, of) in picks {
            buffer.push(chunk, record as usize, (number, of), judged.outputs.get(output as usize).len());
            outputs.push(output);
        }
        buffer.filling.push(&judged.outputs, &judged.rows, &outputs, &arrivals);
        Ok(())
    }

    /// Puts a dropped or failed record where it ends.
    fn place_ended(&mut self, epoch: u32, chunk: &Chunk, i: usize, verdict: &Verdict, judged: &Judged) -> Result<()> {
        let (offset, arrival) = (chunk.offsets[i], chunk.arrivals[i]);
        match verdict {
            Verdict::Kept { .. } => {}
            Verdict::Dropped => {
                let slot = Slot::open(Outlet::Dropped, Key::from_persisted("").expect("an empty key"));
                let buffer = self.buffer(&slot, arrival)?;
                buffer.push(chunk, i, (0, 1), chunk.records.get(i).len());
                if sabotage::on("drop_counted_twice") && offset % 7 == 3 {
                    let key = self.route(epoch)?.failure_key(Outlet::ProcessingFailed);
                    let slot = Slot::open(Outlet::ProcessingFailed, key);
                    let reason = Reason { code: String::new(), message: String::new(), attempts: 1, ended_ms: 0 };
                    let told = Told { reason: &reason, offset, output: 0, arrival_ms: arrival, raw: &[], keys: None };
                    self.place_failure(&slot, chunk, i, &told)?;
                }
            }
            Verdict::Failed { outlet, reason, raw, .. } => {
                let slot = Slot::open(*outlet, self.route(epoch)?.failure_key(*outlet));
                let (raw, keys) = judged.given(chunk, i, *raw);
                let told = Told { reason, offset, output: 0, arrival_ms: arrival, raw, keys };
                self.place_failure(&slot, chunk, i, &told)?;
            }
        }
        Ok(())
    }

    fn place_failure(&mut self, slot: &Slot, chunk: &Chunk, i: usize, told: &Told) -> Result<()> {
        let buffer = self.buffer(slot, told.arrival_ms)?;
        buffer.push(chunk, i, (0, 1), told.raw.len());
        buffer.reasons.push(told.reason.clone());
        buffer.filling.write(|encoder, out| push_line(encoder, out, slot.outlet, told));
        Ok(())
    }

    /// Looks up what plans of an earlier life list of a chunk. The plan decides: what it lists ends there.
    fn look_up(&mut self, chunk: &Chunk, cursor: Cursor) -> Again {
        let entry = chunk.entry;
        let mut again = Again { chunk: Chunk { entry, ..Chunk::default() }, bounds: Vec::new(), cursor, listed: 0 };
        let mut listed = Vec::new();
        for (i, &offset) in chunk.offsets.iter().enumerate() {
            self.replays[0].at(offset, &mut listed);
            again.listed += !listed.is_empty() as u64;
            let bound = self.bound(&listed);
            if !matches!(bound, Some(Bound::Done)) {
                again.chunk.push_of(chunk, i);
                again.bounds.push(bound);
            }
        }
        again
    }

    fn bound(&self, listed: &[Listed]) -> Option<Bound> {
        let first = listed.first()?;
        let settled = |l: &&Listed| !self.state().plans[&l.plan].is_open();
        if sabotage::on("skip_when_one_output_is_listed") && listed.iter().any(|l| settled(&l)) {
            return Some(Bound::Done);
        }
        if sabotage::on("open_plans_record_skipped") {
            return Some(Bound::Done);
        }
        if listed.iter().filter(settled).count() as u32 == first.of {
            return Some(Bound::Done);
        }
        let outlet = self.state().plans[&first.plan].outlet;
        Some(if outlet.is_failure() { Bound::Failure(first.plan) } else { Bound::Outputs(listed.to_vec()) })
    }

    /// Judges and places records that are read again. `false`: a record whose fate is bound ran out of time too often,
    /// nothing was placed.
    fn place_again(&mut self, epoch: u32, again: &Again) -> Result<bool> {
        if again.chunk.records.is_empty() {
            return Ok(true);
        }
        let now_ms = self.home.clock.wall_ms();
        let judged = self.route(epoch)?.judge(&again.chunk, now_ms)?;
        let mut alone: BTreeMap<usize, Judged> = BTreeMap::new();
        for (i, bound) in again.bounds.iter().enumerate() {
            let timed_out = matches!(judged.verdicts[i], Verdict::Failed { may_differ: true, .. });
            if let Some(Bound::Outputs(listed)) = bound
                && timed_out
                && !sabotage::on("bound_record_judged_again")
            {
                match self.judge_alone(epoch, &again.chunk, i, now_ms)? {
                    Some(judged) => drop(alone.insert(i, judged)),
                    None if self.is_told_of(listed) => {}
                    None => {
                        let offset = again.chunk.offsets[i];
                        self.alarm = Some(format!("record {offset} is in an open plan and now runs out of time"));
                        return Ok(false);
                    }
                }
            }
        }
        let mut from = 0;
        for (&i, single) in &alone {
            self.place_range(epoch, again, &judged, from..i, 0)?;
            self.place_range(epoch, again, single, i..i + 1, i)?;
            from = i + 1;
        }
        self.place_range(epoch, again, &judged, from..again.bounds.len(), 0)?;
        Ok(true)
    }

    /// Judges one bound record until it does not run out of time.
    fn judge_alone(&mut self, epoch: u32, chunk: &Chunk, i: usize, now_ms: u64) -> Result<Option<Judged>> {
        let mut single = Chunk { entry: chunk.entry, ..Chunk::default() };
        single.push_of(chunk, i);
        for _ in 0..BOUND_TRIES {
            let judged = self.route(epoch)?.judge(&single, now_ms)?;
            if !matches!(judged.verdicts[0], Verdict::Failed { may_differ: true, .. }) {
                return Ok(Some(judged));
            }
        }
        Ok(None)
    }

    /// Whether what is open of a record's outputs is given up on: then it need not be known what they were.
    fn is_told_of(&self, listed: &[Listed]) -> bool {
        let open = || listed.iter().map(|l| &self.state().plans[&l.plan]).filter(|plan| plan.is_open());
        open().next().is_some() && open().all(Plan::tells_of_outputs)
    }

    /// Places records `range` of `again`, whose verdicts stand at `i - base` in `judged`.
    fn place_range(
        &mut self,
        epoch: u32,
        again: &Again,
        judged: &Judged,
        range: Range<usize>,
        base: usize,
    ) -> Result<()> {
        let mut picks: Vec<Vec<Pick>> = vec![Vec::new(); judged.keys.len()];
        let mut rebuilt: BTreeMap<u64, (Vec<u32>, Vec<u64>)> = BTreeMap::new();
        for i in range {
            let verdict = &judged.verdicts[i - base];
            let listed = match &again.bounds[i] {
                Some(Bound::Done) => continue,
                Some(Bound::Failure(plan)) => {
                    self.rebuild_failure(*plan, &again.chunk, i, verdict, judged)?;
                    continue;
                }
                Some(Bound::Outputs(listed)) => listed.as_slice(),
                None => &[],
            };
            match verdict {
                Verdict::Kept { first, count } if listed.first().is_none_or(|l| l.of == *count) => {
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
                    self.place_ended(epoch, &again.chunk, i, verdict, judged)?;
                }
                verdict => {
                    let (tells, others) = listed.iter().partition(|l| self.state().plans[&l.plan].tells_of_outputs());
                    let (tells, others): (Vec<Listed>, Vec<Listed>) = (tells, others);
                    self.hold_all(&others, again.chunk.offsets[i], verdict);
                    let of = listed.first().filter(|_| !tells.is_empty()).map_or(0, |l| l.of);
                    for output in (0..of).filter(|output| listed.iter().all(|l| l.output != *output)) {
                        // The record itself is told of, for all its outputs that are nowhere.
                        let slot = Slot::open(Outlet::Dropped, Key::from_persisted("").expect("an empty key"));
                        self.buffer(&slot, again.chunk.arrivals[i])?.push(&again.chunk, i, (output, of), 0);
                    }
                    for plan in tells.iter().map(|l| l.plan) {
                        if let Some((outputs, arrivals)) = rebuilt.remove(&plan) {
                            self.rebuild(plan, judged, &outputs, &arrivals)?;
                        }
                        self.rebuild_source(plan, &again.chunk, i)?;
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
        let has_keys = self.route(epoch)?.takes == Takes::Objects;
        let Some(shipping) = self.rebuilding(plan)? else { return Ok(()) };
        let Phase::Rebuilding { filling, outputs: so_far } = &mut shipping.phase else { return Ok(()) };
        *so_far += outputs.len() as u64;
        if shipping.told.is_none() {
            filling.push(&judged.outputs, &judged.rows, outputs, arrivals);
            return Ok(());
        }
        let (mut packed, none) = (Batch::default(), Keys::new());
        for &output in outputs {
            let keys = judged.partition_keys.get(output as usize).filter(|_| has_keys).unwrap_or(&none);
            packed.push(&keyed::pack(keys, judged.outputs.get(output as usize)));
        }
        let all: Vec<u32> = (0..outputs.len() as u32).collect();
        filling.push(&packed, &Rows::Bytes, &all, arrivals);
        Ok(())
    }

    /// Adds a record as its source gave it to what is told of a plan whose outputs it does not give any more.
    fn rebuild_source(&mut self, plan: u64, chunk: &Chunk, i: usize) -> Result<()> {
        let Some(shipping) = self.rebuilding(plan)? else { return Ok(()) };
        let Phase::Rebuilding { filling, outputs: so_far } = &mut shipping.phase else { return Ok(()) };
        *so_far += 1;
        filling.push(&chunk.records, &Rows::Bytes, &[i as u32], &[chunk.arrivals[i]]);
        if let Some(told) = &mut shipping.told {
            told.as_source.insert(chunk.offsets[i]);
        }
        Ok(())
    }

    /// Makes a bound record's error line again, with the reason its plan keeps.
    fn rebuild_failure(&mut self, plan: u64, chunk: &Chunk, i: usize, now: &Verdict, judged: &Judged) -> Result<()> {
        let outlet = self.state().plans[&plan].outlet;
        let may_be_output = outlet == Outlet::ConversionFailed || !chunk.entry.is_before_transform();
        let raw = match now {
            Verdict::Failed { raw, .. } if may_be_output => *raw,
            _ => Raw::Source,
        };
        let (raw, keys) = judged.given(chunk, i, raw);
        let (offset, arrival) = (chunk.offsets[i], chunk.arrivals[i]);
        let Some(shipping) = self.rebuilding(plan)? else { return Ok(()) };
        let Phase::Rebuilding { outputs, .. } = &shipping.phase else { return Ok(()) };
        let at = *outputs as usize + self.lost_before(plan, offset);
        let Some(reason) = self.state().plans[&plan].reasons.get(at).cloned() else { return Ok(()) };
        if let Some(shipping) = self.rebuilding(plan)?
            && let Phase::Rebuilding { filling, outputs } = &mut shipping.phase
        {
            let told = Told { reason: &reason, offset, output: 0, arrival_ms: arrival, raw, keys };
            filling.write(|encoder, out| push_line(encoder, out, outlet, &told));
            *outputs += 1;
        }
        Ok(())
    }

    /// A record's outputs are listed, and now it gives others: its open plans are never sent as something else.
    fn hold_all(&mut self, listed: &[Listed], offset: u64, now: &Verdict) {
        let now = match now {
            Verdict::Kept { count, .. } => format!("{count} outputs"),
            Verdict::Dropped => "none".to_owned(),
            Verdict::Failed { reason, .. } => format!("a failure ({})", reason.code),
        };
        for l in listed {
            if self.state().plans[&l.plan].is_open() {
                self.hold(l.plan, &format!("record {offset} gave {} outputs and now gives {now}", l.of));
            }
        }
    }

    /// Reads one chunk of the backup track: source bytes, untouched.
    pub(super) fn read_backup(&mut self) -> Result<bool> {
        if self.state().backup_from.is_none() {
            return Ok(false);
        }
        let Some(epoch) = self.epoch_to_read(Track::Backup)? else { return Ok(false) };
        let Some((chunk, cursor)) = self.next_or_pass(Track::Backup, (4096, 1 << 20))? else { return Ok(true) };
        self.meets_spans(&chunk)?;
        let key = match &self.route(epoch)?.backup {
            Some(backup) => Some(backup.prefix.key(None, &[]).map_err(|e| Error::new(Kind::Bug, e.to_string()))?),
            None => None,
        };
        let mut fresh = Vec::new();
        let mut rebuilt: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        let mut listed = Vec::new();
        for (i, &offset) in chunk.offsets.iter().enumerate() {
            self.replays[1].at(offset, &mut listed);
            match listed.first() {
                Some(l) if self.state().plans[&l.plan].is_open() => rebuilt.entry(l.plan).or_default().push(i as u32),
                // What is put in again was backed up when it came.
                None if chunk.entry == Entry::Source => fresh.push(i as u32),
                _ => {}
            }
        }
        for (plan, picked) in rebuilt {
            if let Some(shipping) = self.rebuilding(plan)?
                && let Phase::Rebuilding { filling, outputs } = &mut shipping.phase
            {
                filling.write(|encoder, out| encoder.push(&chunk.records, &Rows::Bytes, &picked, &[], out));
                *outputs += picked.len() as u64;
            }
        }
        if let Some(key) = key.filter(|_| !fresh.is_empty()) {
            let buffer = self.buffer(&Slot::open(Outlet::Backup, key), chunk.arrivals[fresh[0] as usize])?;
            for &i in &fresh {
                let bytes = chunk.records.get(i as usize).len();
                buffer.push(&chunk, i as usize, (0, 1), bytes);
                buffer.lengths.push(bytes);
            }
            buffer.filling.write(|encoder, out| encoder.push(&chunk.records, &Rows::Bytes, &fresh, &[], out));
        }
        self.cursors[1] = cursor;
        self.finish_rebuilding(Track::Backup)?;
        Ok(true)
    }
}

fn push_line(encoder: &mut crate::format::Encoder, out: &mut Vec<u8>, outlet: Outlet, told: &Told) {
    let mut line = Vec::new();
    error_line(outlet, told, &mut line);
    match encoder {
        crate::format::Encoder::Lines(lines) => lines.push_record(&line, out),
        _ => unreachable!("error records are lines"),
    }
}
