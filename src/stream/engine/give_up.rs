//! Plans that their destination does not take. One that was refused for too long is given up on: that is persisted first,
//! then an object that tells of it goes where failures go. What is divided instead is in `split`.

use super::Engine;
use super::cut::NewObject;
use super::outbox::GivenUpPlan;
use crate::alarm::Alarm;
use crate::deliver::records::BodyRecords;
use crate::deliver::{Body, Spool};
use crate::error::{Error, Kind, Result, bounded};
use crate::record::keyed::{self, Keys};
use crate::sabotage;
use crate::stream::pipeline::route::{Told, error_line};
use crate::stream::plan::{Abandoned, Entry, Outlet, Plan, Reason};
use std::sync::Arc;

/// Of an error record's message: an endpoint may say as much as it likes.
const MESSAGE_CHARS_MAX: usize = 8192;

pub(super) fn unreadable(e: std::io::Error) -> Error {
    Error::io("read a plan's records from scratch", e)
}

impl Engine {
    /// Gives up or cuts what its destination does not take. Without room for that, or without the configuration of a plan,
    /// everything else goes on: marks are what makes room.
    pub(super) fn end_refused(&mut self) -> Result<bool> {
        self.note_refusals()?;
        let ended = self.give_up().and_then(|busy| Ok(busy | self.set_apart()? | self.split()?));
        self.read_given_up_again()?;
        match ended {
            Err(e) if matches!(e.kind, Kind::NoSpace | Kind::Misconfigured) => {
                let e = e.during("give up on plans that were refused");
                self.alarm = Some(Alarm::of_error(&e));
                Ok(false)
            }
            done => done,
        }
    }

    /// Persists which plans are given up on, and makes the objects that tell of them.
    fn give_up(&mut self) -> Result<bool> {
        let given_up = self.outbox.to_give_up();
        if given_up.is_empty() {
            return Ok(false);
        }
        let mut entries = Vec::new();
        for GivenUpPlan { number, reason, contents } in &given_up {
            let abandoned = self.abandoned(*number, reason.clone(), contents.clone())?;
            entries.push(Entry::Abandon { plan: *number, abandoned: Box::new(abandoned) });
        }
        self.books.commit(entries)?;
        sabotage::point("plan.abandoned");
        for GivenUpPlan { number, reason, .. } in given_up {
            let body = self.outbox.body_given_up(number);
            let encoding = self.outbox.remove(number);
            tracing::warn!(
                stream = self.home.stream,
                plan = self.state().plans[&number].id.to_string(),
                code = reason.code,
                error = reason.message,
                attempts = reason.attempts,
                "the destination is given up on for these records; they go where failures go"
            );
            let plan = &self.books.state().plans[&number];
            // What the medium has lost of it is found when it is read again.
            let is_whole = self.outputs_left(number) == plan.list.outputs();
            let is_at_hand = |body: &Arc<Body>| is_whole && (!plan.tells_of_outputs() || body.index().is_some());
            let body = match (body.filter(is_at_hand), plan.abandoned.as_ref().is_some_and(|a| a.contents.is_some())) {
                (Some(body), _) => body,
                (None, true) => Arc::new(Spool::new(&self.scratch).finish(false)),
                (None, false) => {
                    self.reopens = true;
                    self.hold(number, "it is given up on, and its records are read again");
                    continue;
                }
            };
            self.outbox.add(plan, body, encoding);
            self.make_error_records(number)?;
        }
        Ok(true)
    }

    /// An error if records are to be read again of which the bytes are not at hand: only a start does that. What else is being
    /// given up on is awaited, since nothing but this life knows of it.
    fn read_given_up_again(&self) -> Result<()> {
        match self.reopens && !self.outbox.is_giving_up() {
            true => Err(Error::new(Kind::Reopen, "records that are given up on are read again")),
            false => Ok(()),
        }
    }

    /// The decision that a plan is given up on: name and time are evaluated now, once.
    pub(super) fn abandoned(
        &mut self,
        number: u64,
        mut reason: Reason,
        contents: Option<Vec<u8>>,
    ) -> Result<Abandoned> {
        let plan = &self.state().plans[&number];
        // A directory knows its objects by the plan's id in their names.
        let (epoch, arrival_ms, id, is_of_backup) =
            (plan.epoch, plan.oldest_arrival_ms, plan.id, plan.outlet == Outlet::Backup);
        // Where failures go today: the place of then may be what is wrong.
        let today = self.epoch();
        let route = self.route(today)?;
        let manifest = route.manifest_key().filter(|_| contents.is_some());
        let has_version = manifest.is_none();
        let (outlet, key) = match (manifest, is_of_backup) {
            (Some(key), _) => (Outlet::DeliveryFailed, key),
            (None, true) => (Outlet::Backup, route.failed_backup_key()),
            (None, false) => (Outlet::DeliveryFailed, route.failure_key(Outlet::DeliveryFailed)),
        };
        let name = self.object_name(&NewObject { epoch, outlet, has_version, key: &key, arrival_ms, id: &id })?;
        reason.message = bounded(reason.message, MESSAGE_CHARS_MAX);
        Ok(Abandoned { reason, store: route.failures.store.to_string(), name, contents })
    }

    /// If a plan is given up on, turns its body, the records as its destination would have got them, into what goes where
    /// failures go.
    pub(super) fn make_error_records(&mut self, number: u64) -> Result<()> {
        let plan = &self.state().plans[&number];
        // A copy for the backup is the same wherever it goes.
        let Some(abandoned) = plan.abandoned.clone().filter(|_| plan.outlet != Outlet::Backup) else { return Ok(()) };
        let epoch = plan.epoch;
        let lost = self.readers[plan.outlet.track()].lost();
        // Where records were set apart, each has a reason of its own.
        let reasons = plan.reasons.iter().cloned().map(Some).chain(std::iter::repeat(None));
        let outputs = plan.list.outputs_of().zip(reasons).filter(|(o, _)| !lost.contains(o.0));
        let outputs: Vec<(u64, u32, Option<Reason>)> = outputs.map(|(o, reason)| (o.0, o.1, reason)).collect();
        let full = self.is_held_full();
        let mut filling = self.filling(epoch, Outlet::DeliveryFailed)?;
        let encoding = self.route(epoch)?.content_encoding(Outlet::DeliveryFailed);
        let Some((body, packed)) = self.outbox.take_records(number) else { return Ok(()) };
        let broken = || Error::new(Kind::Bug, "an output was not packed with its partition keys");
        match &abandoned.contents {
            Some(contents) => filling.write(|_, out| out.extend_from_slice(contents)),
            None => {
                let mut records = BodyRecords::new(&body).map_err(unreadable)?;
                let mut line = Vec::new();
                let mut before = None;
                for (offset, output, own) in outputs {
                    let Some((arrival, record)) = records.read().map_err(unreadable)? else { break };
                    let is_source = packed.as_ref().is_some_and(|told| told.as_source.contains(&offset));
                    // It stands for all outputs of the record, also for those of other plans.
                    let is_told = before.replace(offset) == Some(offset)
                        || packed.as_ref().is_some_and(|told| told.elsewhere.contains(&offset));
                    if is_told && is_source {
                        continue;
                    }
                    line.clear();
                    let reason = own.as_ref().unwrap_or(&abandoned.reason);
                    let (raw, keys) = match &packed {
                        Some(_) if is_source => (record, None),
                        Some(_) => keyed::unpack_one(record).map(|(keys, raw)| (raw, Some(keys))).ok_or_else(broken)?,
                        None => (record, Some(Keys::new())),
                    };
                    let told = Told { reason, offset, output, arrival_ms: arrival, raw, keys: keys.as_ref() };
                    error_line(Outlet::DeliveryFailed, &told, &mut line);
                    filling.write(|_, out| out.extend_from_slice(&line));
                }
            }
        }
        self.outbox.replace_body(number, Arc::new(filling.finish(full)), encoding);
        Ok(())
    }

    /// Takes up plans that an earlier life gave up on and whose objects are not made of records.
    pub(super) fn ship_given_up(&mut self) -> Result<()> {
        let told = |p: &&Plan| p.abandoned.as_ref().is_some_and(|a| a.contents.is_some());
        let plans: Vec<Plan> = self.state().open_plans().filter(told).cloned().collect();
        for plan in plans {
            let nothing = Arc::new(Spool::new(&self.scratch).finish(false));
            self.outbox.add(&plan, nothing, None);
            self.make_error_records(plan.number)?;
        }
        Ok(())
    }
}
