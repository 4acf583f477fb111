//! The objects that are being filled: which of them are to be cut, and what they hold together.

use super::buffer::{BufferSlot, KeyBuffer};
use crate::stream::pipeline::live::Live;
use crate::stream::plan::Track;
use std::collections::BTreeMap;
use std::time::Duration;

/// Failures of one plan: their reasons are persisted with it, and must not outgrow a commit.
const REASONS_MAX: usize = 5000;

/// The objects that are being filled, by what they are filled with.
#[derive(Default)]
pub(super) struct Buffers(BTreeMap<BufferSlot, KeyBuffer>);

impl Buffers {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What they take in memory, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.0.values().map(|buffer| buffer.filling.memory_bytes()).sum()
    }

    /// The buffer of a slot, if it has one.
    pub(super) fn get(&self, slot: &BufferSlot) -> Option<&KeyBuffer> {
        self.0.get(slot)
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, slot: &BufferSlot) -> Option<&mut KeyBuffer> {
        self.0.get_mut(slot)
    }

    /// Gives a slot its buffer.
    pub(super) fn open(&mut self, slot: &BufferSlot, buffer: KeyBuffer) {
        self.0.insert(slot.clone(), buffer);
    }

    /// The buffer of a slot, which is open, for records that arrived at `arrival_ms`.
    pub(super) fn receive(&mut self, slot: &BufferSlot, arrival_ms: u64) -> &mut KeyBuffer {
        let buffer = self.0.get_mut(slot).expect("whoever fills a slot has opened its buffer");
        buffer.oldest_arrival_ms = buffer.oldest_arrival_ms.min(arrival_ms);
        buffer
    }

    /// Takes out the buffer of a slot.
    pub(super) fn remove(&mut self, slot: &BufferSlot) -> Option<KeyBuffer> {
        self.0.remove(slot)
    }

    /// Closes a slot's buffer: the next output opens another one, and this one is cut at the next step.
    pub(super) fn close(&mut self, slot: &BufferSlot) {
        if let Some(buffer) = self.0.remove(slot) {
            let same = self.0.keys().filter(|s| s.outlet == slot.outlet && s.key == slot.key);
            let closed = 1 + same.map(|s| s.closed).max().unwrap_or(0);
            self.0.insert(BufferSlot { closed, ..slot.clone() }, buffer);
        }
    }

    /// Hands over to the worker threads what waits for one.
    pub(super) fn go_on(&mut self) {
        self.0.values_mut().for_each(|buffer| buffer.filling.go_on());
    }

    /// Has the ends of objects made that are about to be taken out.
    pub(super) fn end(&mut self, slots: &[BufferSlot]) {
        for slot in slots {
            if let Some(buffer) = self.0.get_mut(slot) {
                buffer.filling.end();
            }
        }
    }

    /// Those of a track.
    pub(super) fn of_track(&self, track: Track) -> impl Iterator<Item = &KeyBuffer> {
        self.0.iter().filter(move |(slot, _)| slot.outlet.track() == track).map(|(_, buffer)| buffer)
    }

    /// The slots of those that `pick` picks.
    pub(super) fn slots_where(&self, pick: impl Fn(&BufferSlot) -> bool) -> Vec<BufferSlot> {
        self.0.keys().filter(|slot| pick(slot)).cloned().collect()
    }

    /// The slots of those that are full or old enough.
    pub(super) fn due(&self, live: &Live, now: Duration) -> Vec<BufferSlot> {
        let is_due = |(slot, buffer): &(&BufferSlot, &KeyBuffer)| {
            let interval = live.interval_of(slot.outlet);
            let is_full = buffer.bytes >= live.size_of(slot.outlet) || buffer.reasons.len() >= REASONS_MAX;
            is_full || slot.closed > 0 || !interval.is_zero() && now >= buffer.opened + interval
        };
        self.0.iter().filter(is_due).map(|(slot, _)| slot.clone()).collect()
    }

    /// When the next one is old enough.
    pub(super) fn next_due(&self, live: &Live) -> Option<Duration> {
        self.0.iter().map(|(slot, buffer)| buffer.opened + live.interval_of(slot.outlet)).min()
    }

    /// The slots of the largest, as many as there are too many or as take too much memory.
    pub(super) fn pressed(&self, bytes_max: usize, open_max: usize) -> Vec<BufferSlot> {
        let mut sizes: Vec<(usize, &BufferSlot)> =
            self.0.iter().map(|(slot, buffer)| (buffer.filling.memory_bytes(), slot)).collect();
        let mut bytes: usize = sizes.iter().map(|(bytes, _)| bytes).sum();
        if bytes <= bytes_max && sizes.len() <= open_max {
            return Vec::new();
        }
        sizes.sort_unstable_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let mut left = sizes.len();
        let too_much = sizes.iter().take_while(|(size, _)| {
            let too_much = bytes > bytes_max || left > open_max;
            bytes -= size;
            left -= 1;
            too_much
        });
        too_much.map(|(_, slot)| (*slot).clone()).collect()
    }

    /// Has these give back what memory can be had without ending their objects.
    pub(super) fn yield_memory(&mut self, slots: &[BufferSlot]) {
        for slot in slots {
            if let Some(buffer) = self.0.get_mut(slot) {
                buffer.filling.yield_memory();
            }
        }
    }
}
