//! Reading a lane into buffers, and into open plans that an earlier life left behind.

use super::buffer::BufferSlot;
use super::buffer::KeyBuffer;
use super::object_size::{EncodedSizes, ObjectSoFar};
use super::outbox::Rebuilding;
use super::reread::RereadRecords;
use super::{Engine, wrong};
use crate::error::{Error, Kind, Result};
use crate::partition::key::Key;
use crate::record::EntryPoint as Stage;
use crate::sabotage;
use crate::stream::pipeline::live::PlanLimits;
use crate::stream::pipeline::route::{Chunk, Judged, RecordVerdict, Told, error_line};
use crate::stream::plan::{Entry, Outlet, Plan, Track};
use std::collections::BTreeMap;

/// Outputs of a chunk for one buffer or plan: index of the record, index of the output, output number, of how many.
pub(super) type Pick = (u32, u32, u32, u32);

impl Engine {
    /// Reads, judges and places one chunk of the main track. Whether anything moved.
    pub(super) fn read_main(&mut self) -> Result<bool> {
        let Some(epoch) = self.epoch_to_read(Track::Main)? else { return Ok(false) };
        if let Some(again) = self.readers[Track::Main].waiting.take() {
            return self.read_again(epoch, again);
        }
        if self.readers[Track::Main].is_behind_plans() {
            let limits = self.route(epoch)?.chunk_limits();
            let Some((chunk, behind)) = self.next_or_pass(Track::Main, limits)? else { return Ok(true) };
            self.meets_spans(&chunk)?;
            let again = self.readers[Track::Main].look_up(&chunk, behind, self.books.state());
            return self.read_again(epoch, again);
        }
        let Some(judging) = self.next_judging(epoch)? else { return Ok(true) };
        let (chunk, mut judged, behind) = match judging.finish() {
            Ok(done) => done,
            Err(e) => {
                self.ahead().forget();
                return Err(e);
            }
        };
        self.place_new(epoch, &chunk, &judged)?;
        if let Some(coverage) = judged.coverage.take() {
            if coverage.rounded > 0 {
                let labels = [("DeliveryStreamName", self.home.stream.clone())];
                metrics::counter!("hydrant_values_rounded", &labels).increment(coverage.rounded);
            }
            self.coverage.merge(coverage);
        }
        self.readers[Track::Main].move_to(behind);
        sabotage::point("lane.read");
        Ok(true)
    }

    fn read_again(&mut self, epoch: u32, again: RereadRecords) -> Result<bool> {
        // What plans list of these records has been looked up, which can be done only once: they wait as they are.
        match self.place_again(epoch, &again) {
            Ok(true) => {}
            Ok(false) => {
                self.readers[Track::Main].waiting = Some(again);
                return Ok(false);
            }
            Err(e) => {
                self.readers[Track::Main].waiting = Some(again);
                return Err(e);
            }
        }
        self.readers[Track::Main].move_to(again.cursor);
        sabotage::point("lane.replayed");
        self.finish_rebuilding(Track::Main)?;
        Ok(true)
    }

    /// The epoch of the next record of a track, with the buffers ready for it. `None`: nothing may be read now.
    fn epoch_to_read(&mut self, track: Track) -> Result<Option<u32>> {
        let offset = self.readers[track].offset();
        if self.is_at_rest(track) {
            return Ok(None);
        }
        let Some(epoch) = self.state().epoch_at(offset).map(|e| e.number) else { return Ok(None) };
        let held = self.readers[track].epoch();
        if held != epoch && !sabotage::on("epochs_share_a_buffer") {
            // The barrier: no object is made under two epochs. Planned is enough, delivered is not waited for.
            self.cut_where(|slot| slot.outlet.track() == track)?;
            if track == Track::Main {
                self.sizes = EncodedSizes::default();
            }
        }
        self.readers[track].enter(epoch);
        Ok(Some(epoch))
    }

    /// The offset that a track may not read beyond: below the frontier it always reads, since only that moves `low`.
    pub(super) fn read_limit(&self, track: Track) -> Option<u64> {
        let bounds = &self.home.bounds;
        let plans = || self.state().plans.values().filter(|p| p.outlet.track() == track);
        let full = self.books.is_starved()
            || plans().filter(|p| p.is_open()).count() >= bounds.open_plans_max
            || plans().map(Plan::memory_bytes).sum::<usize>() >= bounds.plan_bytes_max
            || self.outbox.memory_bytes() > bounds.memory_bytes_max;
        let frontier = if sabotage::on("cap_stops_all_reading") { 0 } else { self.state().frontier(track) };
        full.then_some(frontier)
    }

    /// Accounts for acknowledged records that the medium lost: a plan of their own, settled when persisted.
    pub(super) fn place_lost(&mut self, track: Track, from: u64, to: u64) -> Result<()> {
        if track == Track::Backup {
            // No plan counts them: what becomes of a record is the main track's to say.
            if !self.state().loss.covers(track, &(from..to)) {
                self.books.commit(vec![Entry::Lost { track, from, to }])?;
            }
            self.readers[track].lose(from..to);
            return Ok(());
        }
        self.readers[track].lose(from..to);
        let slot = BufferSlot::open(Outlet::Lost, Key::from_persisted("").expect("an empty key"));
        let mut listed = Vec::new();
        // What is in the buffer is there because there was no room to plan it the last time.
        let known = self.buffers.get(&slot).map_or(0, |b| b.list.behind());
        for offset in from.max(known)..to {
            self.readers[Track::Main].listed_at(offset, &mut listed);
            // What an open plan lists is that plan's matter: its object may be in the store already.
            let of = listed.first().map_or(1, |l| l.of);
            for output in (0..of).filter(|output| listed.iter().all(|l| l.output != *output)) {
                self.buffer(&slot, 0)?.list.push(offset, output, of);
            }
        }
        if self.buffers.get(&slot).is_some() {
            self.cut(vec![slot])?;
        }
        Ok(())
    }

    /// The buffer of a slot, opened if need be, for records that arrived at `arrival_ms`.
    pub(super) fn buffer(&mut self, slot: &BufferSlot, arrival_ms: u64) -> Result<&mut KeyBuffer> {
        if self.buffers.get(slot).is_none() {
            let filling = self.filling(self.readers[slot.outlet.track()].epoch(), slot.outlet)?;
            self.buffers.open(slot, KeyBuffer::new(filling, self.home.clock.steady()));
        }
        Ok(self.buffers.receive(slot, arrival_ms))
    }

    /// Places records of which no plan knows anything.
    fn place_new(&mut self, epoch: u32, chunk: &Chunk, judged: &Judged) -> Result<()> {
        let mut picks: Vec<Vec<Pick>> = vec![Vec::new(); judged.keys.len()];
        for (i, verdict) in judged.verdicts.iter().enumerate() {
            match verdict {
                RecordVerdict::Kept { first, count } => {
                    for output in 0..*count {
                        let key = judged.key_of[(first + output) as usize] as usize;
                        picks[key].push((i as u32, first + output, output, *count));
                    }
                }
                _ => self.place_ended(epoch, (chunk, i), verdict, judged)?,
            }
        }
        self.place_outputs(chunk, judged, &picks)
    }

    /// Puts kept outputs into the buffers of their keys.
    pub(super) fn place_outputs(&mut self, chunk: &Chunk, judged: &Judged, picks: &[Vec<Pick>]) -> Result<()> {
        for (key, picks) in judged.keys.iter().zip(picks).filter(|(_, p)| !p.is_empty()) {
            let slot = BufferSlot::open(Outlet::Destination, key.clone());
            let mut picks = picks.as_slice();
            while !picks.is_empty() {
                let (fit, rest) = picks.split_at(self.room(&slot, picks, judged));
                if fit.is_empty() {
                    self.buffers.close(&slot);
                } else {
                    self.fill(&slot, chunk, judged, fit)?;
                }
                picks = rest;
            }
        }
        Ok(())
    }

    /// How many of `picks` the slot's buffer may still take before it is what its sink takes at most, or as large as its
    /// object should be.
    fn room(&mut self, slot: &BufferSlot, picks: &[Pick], judged: &Judged) -> usize {
        let Some(wanted) = self.live.object_size_of(slot.outlet) else {
            return self.room_below(self.live.limits, slot, picks, judged);
        };
        // What is known of the size may be older than what the buffer was given.
        let knows_little = |buffer: &KeyBuffer| buffer.bytes >= wanted / 4 && buffer.filling.expected_bytes().is_none();
        if let Some(buffer) = self.buffers.get_mut(slot).filter(|buffer| knows_little(buffer)) {
            buffer.filling.catch_up();
        }
        let fit = self.room_below(self.limits_of(slot), slot, picks, judged);
        if fit == picks.len() {
            return fit;
        }
        let Some(buffer) = self.buffers.get_mut(slot) else { return fit };
        buffer.filling.catch_up();
        let fit = self.room_below(self.limits_of(slot), slot, picks, judged);
        let Some(buffer) = self.buffers.get_mut(slot).filter(|_| fit == 0) else { return fit };
        let before = buffer.so_far();
        buffer.filling.settle();
        buffer.settled = self.sizes.learn(wanted, before, buffer.filling.expected_bytes());
        if buffer.settled.is_none() {
            return 0;
        }
        self.room_below(self.limits_of(slot), slot, picks, judged)
    }

    /// The most that a slot's buffer may hold.
    fn limits_of(&self, slot: &BufferSlot) -> PlanLimits {
        let limits = self.live.limits;
        let Some(wanted) = self.live.object_size_of(slot.outlet) else { return limits };
        let buffer = self.buffers.get(slot);
        let so_far = buffer.map_or(ObjectSoFar::EMPTY, KeyBuffer::so_far);
        PlanLimits { bytes_max: limits.bytes_max.min(self.sizes.record_bytes(wanted, so_far)), ..limits }
    }

    fn room_below(&self, limits: PlanLimits, slot: &BufferSlot, picks: &[Pick], judged: &Judged) -> usize {
        let PlanLimits { outputs_max, bytes_max } = limits;
        if limits == PlanLimits::NONE {
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

    fn fill(&mut self, slot: &BufferSlot, chunk: &Chunk, judged: &Judged, picks: &[Pick]) -> Result<()> {
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
    pub(super) fn place_ended(
        &mut self,
        epoch: u32,
        (chunk, i): (&Chunk, usize),
        verdict: &RecordVerdict,
        judged: &Judged,
    ) -> Result<()> {
        let (offset, arrival) = (chunk.offsets[i], chunk.arrivals[i]);
        match verdict {
            RecordVerdict::Kept { .. } => {}
            RecordVerdict::Dropped => {
                let slot = BufferSlot::open(Outlet::Dropped, Key::from_persisted("").expect("an empty key"));
                let buffer = self.buffer(&slot, arrival)?;
                buffer.push(chunk, i, (0, 1), chunk.records.get(i).len());
                if sabotage::on("drop_counted_twice") && offset % 7 == 3 {
                    wrong::place_again(self, epoch, (chunk, i))?;
                }
            }
            RecordVerdict::Failed { outlet, reason, raw, .. } => {
                let slot = BufferSlot::open(*outlet, self.route(epoch)?.failure_key(*outlet));
                let (raw, keys) = judged.given(chunk, i, *raw);
                let told = Told { reason, offset, output: 0, arrival_ms: arrival, raw, keys };
                self.place_failure(&slot, chunk, i, &told)?;
            }
        }
        Ok(())
    }

    pub(super) fn place_failure(&mut self, slot: &BufferSlot, chunk: &Chunk, i: usize, told: &Told) -> Result<()> {
        let buffer = self.buffer(slot, told.arrival_ms)?;
        buffer.push(chunk, i, (0, 1), told.raw.len());
        buffer.reasons.push(told.reason.clone());
        buffer.filling.write(|encoder, out| push_line(encoder, out, slot.outlet, told));
        Ok(())
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
            self.readers[Track::Backup].listed_at(offset, &mut listed);
            match listed.first() {
                Some(l) if self.state().plans[&l.plan].is_open() => rebuilt.entry(l.plan).or_default().push(i as u32),
                // What is put in again was backed up when it came.
                None if chunk.entry == Stage::Source => fresh.push(i as u32),
                _ => {}
            }
        }
        for (plan, picked) in rebuilt {
            if let Some(Rebuilding { filling, outputs, .. }) = self.rebuilding(plan)? {
                filling.write(|encoder, out| encoder.push(&chunk.records, &picked, &[], out));
                *outputs += picked.len() as u64;
            }
        }
        if let Some(key) = key.filter(|_| !fresh.is_empty()) {
            let buffer = self.buffer(&BufferSlot::open(Outlet::Backup, key), chunk.arrivals[fresh[0] as usize])?;
            for &i in &fresh {
                let bytes = chunk.records.get(i as usize).len();
                buffer.push(&chunk, i as usize, (0, 1), bytes);
                buffer.lengths.push(bytes);
            }
            buffer.filling.write(|encoder, out| encoder.push(&chunk.records, &fresh, &[], out));
        }
        self.readers[Track::Backup].move_to(cursor);
        self.finish_rebuilding(Track::Backup)?;
        Ok(true)
    }
}

pub(super) fn push_line(encoder: &mut crate::format::FormatEncoder, out: &mut Vec<u8>, outlet: Outlet, told: &Told) {
    let mut line = Vec::new();
    error_line(outlet, told, &mut line);
    match encoder {
        crate::format::FormatEncoder::Lines(lines) => lines.push_record(&line, out),
        _ => unreachable!("error records are lines"),
    }
}
