//! When a buffer becomes an object, and the decision that it does: persisted before anything is sent because of it.

use super::Engine;
use super::buffer::BufferSlot;
use crate::destination::Payload;
use crate::error::Result;
use crate::partition::key::{self, Key};
use crate::partition::object_name::ObjectName;
use crate::sabotage;
use crate::stream::plan::span::Span;
use crate::stream::plan::state::Completed;
use crate::stream::plan::{Entry, Mark, Outlet, Plan};
use std::sync::Arc;
use uuid::Uuid;

impl Engine {
    /// Cuts what is full or old enough, and under memory pressure the largest buffers: those that still are when what they
    /// have encoded is on scratch.
    pub(super) fn cut_due(&mut self) -> Result<bool> {
        let mut busy = self.cut(self.buffers.due(&self.live, self.home.clock.steady()))?;
        if self.buffers.memory_bytes() > self.home.memory_allowed(self.buffers.len()) {
            let pressed = self.pressed();
            self.buffers.yield_memory(&pressed);
            // That may be enough for all.
            self.note_memory();
        }
        let pressed = self.pressed();
        let objects = pressed.len() as u64;
        busy |= self.cut(pressed)?;
        self.note_cut_early(objects);
        Ok(busy)
    }

    fn note_cut_early(&mut self, objects: u64) {
        if objects > 0 {
            let labels = [("DeliveryStreamName", self.home.stream.clone())];
            metrics::counter!("hydrant_objects_cut_early", &labels).increment(objects);
            self.cut_early += objects;
        }
    }

    fn pressed(&self) -> Vec<BufferSlot> {
        let allowed = self.home.memory_allowed(self.buffers.len());
        self.buffers.pressed(allowed, self.home.bounds.open_keys_max)
    }

    pub(super) fn cut_where(&mut self, pick: impl Fn(&BufferSlot) -> bool) -> Result<bool> {
        self.cut(self.buffers.slots_where(pick))
    }

    /// Turns buffers into plans, persisted in one commit, and hands out their shipments.
    pub(super) fn cut(&mut self, slots: Vec<BufferSlot>) -> Result<bool> {
        if slots.is_empty() {
            return Ok(false);
        }
        let (mut entries, mut plans) = (Vec::new(), Vec::new());
        let mut marks = self.state().marks;
        let first = self.state().next_plan;
        for (number, slot) in (first..).zip(&slots) {
            let (plan, span) = self.plan(number, slot)?;
            entries.push(Entry::Plan(plan.clone()));
            entries.extend(span.map(|span| Entry::Span { plan: number, span }));
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
        self.books.commit(entries)?;
        sabotage::point("plan.persisted");
        let settled: Vec<u64> = plans.iter().filter(|p| !p.outlet.has_sink()).map(|p| p.number).collect();
        self.tally(&settled);
        self.ship_cut(&slots, &plans)?;
        self.write_ledger_lines()?;
        Ok(true)
    }

    fn ship_cut(&mut self, slots: &[BufferSlot], plans: &[Plan]) -> Result<()> {
        // All at once: the worker threads make as many as they can.
        self.buffers.end(slots);
        for (slot, plan) in slots.iter().zip(plans) {
            let Some(buffer) = self.buffers.remove(slot) else { continue };
            if plan.outlet.has_sink() {
                let so_far = buffer.so_far();
                let body = Arc::new(buffer.filling.finish(self.is_held_full()));
                if slot.closed > 0 && self.live.object_size_of(slot.outlet).is_some() {
                    self.sizes.learn_end(so_far, body.len());
                }
                let encoding = self.route(plan.epoch)?.content_encoding(plan.outlet);
                self.outbox.add(plan, body, encoding);
            }
        }
        Ok(())
    }

    /// The decision to be persisted for a buffer, and where its records stand in an external log:
    /// name, time and randomness are evaluated now, once.
    fn plan(&mut self, number: u64, slot: &BufferSlot) -> Result<(Plan, Option<Span>)> {
        let BufferSlot { outlet, key, .. } = slot;
        let epoch = self.readers[outlet.track()].epoch();
        let id = self.random_uuid();
        let buffer = self.buffers.get(slot).expect("only buffers that are open are cut");
        let list = buffer.list.clone().finish();
        let id = if sabotage::on("plan_id_from_offsets") { Uuid::from_u128(list.digest()) } else { id };
        let (oldest_arrival_ms, bytes) = (buffer.oldest_arrival_ms, buffer.bytes);
        let (reasons, span) = (buffer.reasons.clone(), buffer.span.clone());
        let lengths = (*outlet == Outlet::Backup).then(|| buffer.lengths.digest());
        let (mut store, mut name) = (String::new(), String::new());
        if outlet.has_sink() {
            let route = self.route(epoch)?;
            store = route.store(*outlet).to_string();
            name = match *outlet == Outlet::Destination && route.takes == Payload::Records {
                // Nothing there has a name but the request, which is the plan's.
                true => id.to_string(),
                false => {
                    let (outlet, has_version, arrival_ms) = (*outlet, true, oldest_arrival_ms);
                    self.object_name(&NewObject { epoch, outlet, has_version, key, arrival_ms, id: &id })?
                }
            };
        }
        let plan = Plan {
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
        };
        Ok((plan, span))
    }

    /// A name for an object, made now.
    pub(super) fn object_name(&mut self, object: &NewObject) -> Result<String> {
        let NewObject { epoch, outlet, has_version, key, arrival_ms, id } = object;
        let stream = self.home.stream.clone();
        let mut words: Vec<u128> = (0..8).map(|_| (self.home.random)()).collect();
        let route = self.route(*epoch)?;
        let at = jiff::Timestamp::from_millisecond(*arrival_ms as i64).unwrap_or_default();
        let at = at.to_zoned(route.time_zone.clone());
        let mut random = || prefix_random(words.pop().unwrap_or(0));
        let prefix = key::evaluate(key, &at, &mut random);
        let name = ObjectName {
            stream: &stream,
            version: has_version.then_some(*epoch as u64),
            oldest_arrival: &at,
            id,
            extension: route.extension(*outlet),
        };
        Ok(name.below(&prefix))
    }
}

/// What the name of an object follows from.
pub(super) struct NewObject<'a> {
    pub(super) epoch: u32,
    pub(super) outlet: Outlet,
    /// Its name tells the version of the stream, as all but those of manifests do.
    pub(super) has_version: bool,
    pub(super) key: &'a Key,
    /// When its oldest record arrived, in milliseconds since the Unix epoch.
    pub(super) arrival_ms: u64,
    pub(super) id: &'a Uuid,
}

/// Eleven characters of `[0-9a-zA-Z]`, as Firehose's `random-string`.
fn prefix_random(mut word: u128) -> String {
    const LETTERS: &[u8; 62] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let mut letter = || {
        let i = (word % 62) as usize;
        word /= 62;
        LETTERS[i] as char
    };
    (0..key::RANDOM_STRING_CHARS).map(|_| letter()).collect()
}
