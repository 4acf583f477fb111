//! When a buffer becomes an object, and the decision that it does: persisted before anything is sent because of it.

use super::Engine;
use super::buffer::Buffer;
use super::buffer::Slot;
use super::ship::Shipping;
use crate::error::Result;
use crate::partition::prefix::{self, Key};
use crate::sabotage;
use crate::stream::pipeline::route::Payload;
use crate::stream::plan::state::Completed;
use crate::stream::plan::{Entry, Mark, Outlet, Plan};
use std::sync::Arc;
use uuid::Uuid;

/// Failures of one plan: their reasons are persisted with it, and must not outgrow a commit.
const REASONS_MAX: usize = 5000;

impl Engine {
    /// Cuts what is full or old enough, and under memory pressure the largest buffers: those that still are when what they
    /// have encoded is on scratch.
    pub(super) fn cut_due(&mut self) -> Result<bool> {
        let now = self.home.clock.steady();
        let due: Vec<Slot> = self
            .buffers
            .iter()
            .filter(|(slot, b)| {
                let interval = self.live.interval_of(slot.outlet);
                let full =
                    b.bytes >= self.live.size_of(slot.outlet) || b.reasons.len() >= REASONS_MAX || slot.closed > 0;
                full || !interval.is_zero() && now >= b.opened + interval
            })
            .map(|(slot, _)| slot.clone())
            .collect();
        let mut busy = self.cut(due)?;
        if self.buffer_bytes() > self.buffer_bytes_max() {
            for slot in self.pressed() {
                self.buffers.get_mut(&slot).expect("it is one of them").filling.yield_memory();
            }
            // That may be enough for all.
            self.note_memory();
        }
        busy |= self.cut(self.pressed())?;
        Ok(busy)
    }

    pub(super) fn buffer_bytes(&self) -> usize {
        self.buffers.values().map(|b| b.filling.memory_bytes()).sum()
    }

    fn buffer_bytes_max(&self) -> usize {
        self.home.memory.allowed(self.home.bounds.memory_bytes_max)
    }

    /// The largest buffers, as many as are too many or take too much memory.
    fn pressed(&self) -> Vec<Slot> {
        let bounds = &self.home.bounds;
        let mut sizes: Vec<(usize, &Slot)> =
            self.buffers.iter().map(|(slot, b)| (b.filling.memory_bytes(), slot)).collect();
        let (mut bytes, bytes_max) = (self.buffer_bytes(), self.buffer_bytes_max());
        if bytes <= bytes_max && sizes.len() <= bounds.open_keys_max {
            return Vec::new();
        }
        sizes.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let mut left = sizes.len();
        let too_much = sizes.iter().take_while(|(size, _)| {
            let too_much = bytes > bytes_max || left > bounds.open_keys_max;
            bytes -= size;
            left -= 1;
            too_much
        });
        too_much.map(|(_, slot)| (*slot).clone()).collect()
    }

    pub(super) fn cut_where(&mut self, pick: impl Fn(&Slot, &Buffer) -> bool) -> Result<bool> {
        let slots = self.buffers.iter().filter(|(s, b)| pick(s, b)).map(|(s, _)| s.clone()).collect();
        self.cut(slots)
    }

    /// Turns buffers into plans, persisted in one commit, and hands out their shipments.
    pub(super) fn cut(&mut self, slots: Vec<Slot>) -> Result<bool> {
        if slots.is_empty() {
            return Ok(false);
        }
        let (mut entries, mut plans) = (Vec::new(), Vec::new());
        let mut marks = self.state().marks;
        let first = self.state().next_plan;
        for (number, slot) in (first..).zip(&slots) {
            let plan = self.plan(number, slot)?;
            entries.push(Entry::Plan(plan.clone()));
            entries.extend(self.buffers[slot].span.clone().map(|span| Entry::Span { plan: number, span }));
            if !plan.outlet.has_sink() {
                marks += 1;
                let Completed { here: completed, failed } = self.state().completed_by(&plan);
                let at_ms = self.home.clock.wall_ms();
                entries.push(Entry::Mark(Mark {
                    plan: number,
                    mark: marks,
                    at_ms,
                    completed,
                    failed,
                    ..Mark::default()
                }));
            }
            plans.push(plan);
        }
        if sabotage::on("upload_before_plan") {
            self.log.apply_in_memory(entries);
            self.ship_cut(&slots, &plans)?;
        } else {
            self.log.commit(entries)?;
            sabotage::point("plan.persisted");
            let settled: Vec<u64> = plans.iter().filter(|p| !p.outlet.has_sink()).map(|p| p.number).collect();
            self.tally(&settled);
            self.ship_cut(&slots, &plans)?;
        }
        self.write_ledger_lines()?;
        Ok(true)
    }

    fn ship_cut(&mut self, slots: &[Slot], plans: &[Plan]) -> Result<()> {
        for (slot, plan) in slots.iter().zip(plans) {
            let Some(buffer) = self.buffers.remove(slot) else { continue };
            if plan.outlet.has_sink() {
                let body = Arc::new(buffer.filling.finish(self.is_held_full()));
                let encoding = self.route(plan.epoch)?.content_encoding(plan.outlet);
                self.shipping.insert(plan.number, Shipping::ready(plan, body, encoding));
            }
        }
        Ok(())
    }

    /// The decision to be persisted for a buffer: name, time and randomness are evaluated now, once.
    fn plan(&mut self, number: u64, slot: &Slot) -> Result<Plan> {
        let Slot { outlet, key, .. } = slot;
        let epoch = self.buffer_epochs[outlet.track() as usize];
        let id = self.random_uuid();
        let buffer = &self.buffers[slot];
        let list = buffer.list.clone().finish();
        let id = if sabotage::on("plan_id_from_offsets") { Uuid::from_u128(list.digest()) } else { id };
        let (oldest_arrival_ms, bytes) = (buffer.oldest_arrival_ms, buffer.bytes);
        let reasons = buffer.reasons.clone();
        let lengths = (*outlet == Outlet::Backup).then(|| buffer.lengths.digest());
        let (mut store, mut name) = (String::new(), String::new());
        if outlet.has_sink() {
            let route = self.route(epoch)?;
            store = route.store(*outlet).to_owned();
            name = match *outlet == Outlet::Destination && route.takes == Payload::Records {
                // Nothing there has a name but the request, which is the plan's.
                true => id.to_string(),
                false => self.object_name(epoch, (*outlet, true), key, oldest_arrival_ms, &id)?,
            };
        }
        Ok(Plan {
            number,
            id,
            outlet: *outlet,
            epoch,
            store,
            name,
            list,
            oldest_arrival_ms,
            reasons,
            bytes,
            lengths,
            planned_ms: self.home.clock.wall_ms(),
            abandoned: None,
            mark: None,
        })
    }

    /// A name for an object, made now; `has_version`: it tells the version of the stream, as all but manifests do.
    pub(super) fn object_name(
        &mut self,
        epoch: u32,
        (outlet, has_version): (Outlet, bool),
        key: &Key,
        arrival_ms: u64,
        id: &Uuid,
    ) -> Result<String> {
        let stream = self.home.stream.clone();
        let mut words: Vec<u128> = (0..8).map(|_| (self.home.random)()).collect();
        let route = self.route(epoch)?;
        let at = jiff::Timestamp::from_millisecond(arrival_ms as i64).unwrap_or_default();
        let at = at.to_zoned(route.time_zone.clone());
        let mut random = || prefix_random(words.pop().unwrap_or(0));
        let prefix = prefix::evaluate(key, &at, &mut random);
        let extension = route.extension(outlet).to_owned();
        let version = has_version.then_some(epoch as u64);
        Ok(prefix::object_name(&prefix, &stream, version, &at, id, &extension))
    }
}

/// Eleven characters of `[0-9a-zA-Z]`, as Firehose's `random-string`.
fn prefix_random(mut word: u128) -> String {
    const LETTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut letter = || {
        let i = (word % 62) as usize;
        word /= 62;
        LETTERS[i] as char
    };
    (0..prefix::RANDOM_STRING_CHARS).map(|_| letter()).collect()
}
