//! Open plans on their way out: sent, answered, tried again, and held where only a person can decide.

use super::Engine;
use super::archive;
use super::outbox::{AbandonCount, AnswerContext, held};
use super::reread::RereadRecords;
use crate::alarm::{Alarm, AlarmKind};
use crate::deliver::{Attempt, Shipment};
use crate::error::{Kind, Result};
use crate::stream::plan::{Entry, Outlet, Track};
use std::collections::BTreeSet;
use uuid::Uuid;

impl Engine {
    /// The stores that open plans go to.
    pub fn open_stores(&self) -> BTreeSet<String> {
        self.state().open_plans().map(|p| p.place().0.to_owned()).collect()
    }

    /// Whether another object's bytes should go to scratch at once: a store that does not answer must not fill memory.
    pub(super) fn is_held_full(&self) -> bool {
        self.outbox.memory_bytes() > self.home.memory_allowed(0) / 2
    }

    /// Shipments to be sent now, with the outlet and store of each; every one of them must be answered by [`Engine::reply`].
    pub fn shipments(&mut self) -> Vec<(Outlet, String, Shipment)> {
        let mut due = self.outbox.due(self.books.state(), &self.live, self.home.clock.steady());
        let ledger = if self.state().paused { None } else { self.ledger_shipment() };
        due.extend(ledger.map(|(store, shipment)| (Outlet::ProcessingFailed, store, shipment)));
        due
    }

    /// What became of a shipment.
    pub fn reply(&mut self, number: u64, attempt: Attempt) {
        if number == archive::SHIPMENT {
            return self.ledger_reply(attempt);
        }
        let Some(plan) = self.books.state().plans.get(&number) else { return };
        if matches!(attempt, Attempt::Stored { .. }) {
            self.alarm = None;
        }
        let (now, ended_ms) = (self.home.clock.steady(), self.home.clock.wall_ms());
        let context = AnswerContext { plan, live: &self.live, now, ended_ms };
        let home = &mut self.home;
        self.outbox.answered(attempt, &context, &mut || home.jitter());
    }

    /// Keeps a plan from being sent and says why, for as long as it is held.
    pub(super) fn hold(&mut self, number: u64, why: &str) {
        if let Some(plan) = self.books.state().plans.get(&number) {
            self.outbox.hold(number, held(plan, why));
        }
    }

    /// Gives plans whose name is taken another one, persisted before it is used.
    pub(super) fn rename_taken(&mut self) -> Result<bool> {
        let taken = self.outbox.to_rename();
        if taken.is_empty() {
            return Ok(false);
        }
        let mut entries = Vec::new();
        for &plan in &taken {
            let id = self.random_uuid();
            let old = self.state().plans[&plan].place().1.to_owned();
            let name = alternate_name(&old, &id);
            let detail = format!("an object that is not ours stands at `{old}`; it stays, ours becomes `{name}`");
            self.alarm = Some(Alarm::new(AlarmKind::NotDelivered, detail).about(old.clone()));
            entries.push(Entry::Rename { plan, name });
        }
        self.books.commit(entries)?;
        taken.into_iter().for_each(|number| self.outbox.redirected(number));
        Ok(true)
    }

    /// Persists how plans were refused since the last time. Without room it is done when there is some.
    pub(super) fn note_refusals(&mut self) -> Result<()> {
        let new = self.outbox.new_refusals(self.home.clock.steady());
        if new.is_empty() {
            return Ok(());
        }
        let entries = new.into_iter().map(|(plan, refused)| Entry::Refused { plan, refused });
        match self.books.commit(entries.collect()) {
            Err(e) if e.kind == Kind::NoSpace => Ok(()),
            done => {
                self.outbox.refusals_are_known();
                done
            }
        }
    }

    /// Keeps everything from being sent, or lets it go on. Durable when this returns.
    pub fn pause(&mut self, paused: bool) -> Result<()> {
        match self.state().paused == paused {
            true => Ok(()),
            false => self.books.commit(vec![Entry::Pause(paused)]),
        }
    }

    /// Ends all waiting: what was in the way may have been mended.
    pub fn retry_now(&mut self) {
        self.outbox.retry_now();
    }

    /// Gives up on every plan that its destination, or the backup, has not taken so far, and on what is held: by something that
    /// is wrong with it, by a pause, or by a plan before it. What is being sent at this moment is given up on if it is not
    /// taken.
    pub fn abandon(&mut self) -> AbandonCount {
        let stuck = self.readers[Track::Main].waiting.as_ref().map(RereadRecords::plans).unwrap_or_default();
        let not_begun: Vec<u64> = stuck.iter().copied().filter(|number| !self.outbox.knows(*number)).collect();
        for number in not_begun {
            self.hold(number, "its records cannot be made again");
        }
        let mut held = self.outbox.held_up(self.books.state(), &self.live, self.home.clock.steady());
        held.extend(stuck);
        self.outbox.abandon(self.books.state(), &held, self.home.clock.wall_ms())
    }
}

/// The name with its UUID replaced.
pub(super) fn alternate_name(name: &str, id: &Uuid) -> String {
    const UUID_CHARS: usize = 36;
    let starts = (0..=name.len().saturating_sub(UUID_CHARS)).rev();
    let found = starts.into_iter().find(|&i| name.get(i..i + UUID_CHARS).is_some_and(|s| s.parse::<Uuid>().is_ok()));
    match found {
        Some(i) => format!("{}{id}{}", &name[..i], &name[i + UUID_CHARS..]),
        None => format!("{name}-{id}"),
    }
}
