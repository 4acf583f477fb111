//! Plans that their destination does not take. One that was refused for too long is given up on: that is persisted first,
//! then an object that tells of it goes where failures go. One that is too large is cut in two, the halves persisted and
//! the plan closed in one commit.

use super::engine::Engine;
use super::list::ListBuilder;
use super::plan::{Abandoned, Entry, Outlet, Plan, Reason, Track};
use super::route::{Told, error_line};
use super::ship::{Phase, Shipping};
use crate::deliver::records::{Building, Records};
use crate::deliver::{Body, Spool};
use crate::error::{Error, Kind, Result};
use crate::sabotage;
use std::sync::Arc;

/// Of an error record's message: an endpoint may say as much as it likes.
const MESSAGE_BYTES_MAX: usize = 8192;

fn unreadable(e: std::io::Error) -> Error {
    Error::io("read a plan's records from scratch", e)
}

impl Engine {
    /// Gives up or cuts what its destination does not take. Without room for that, or without the configuration of a plan,
    /// everything else goes on: marks are what makes room.
    pub(super) fn end_refused(&mut self) -> Result<bool> {
        match self.give_up().and_then(|busy| Ok(busy | self.split()?)) {
            Err(e) if matches!(e.kind, Kind::NoSpace | Kind::Misconfigured) => {
                self.alarm = Some(format!("plans that were refused cannot be given up on: {e}"));
                Ok(false)
            }
            done => done,
        }
    }

    /// Persists which plans are given up on, and makes the objects that tell of them.
    fn give_up(&mut self) -> Result<bool> {
        let given_up = self.shipping.iter().filter_map(|(number, s)| match &s.phase {
            Phase::GivenUp { reason, instead, .. } => Some((*number, (**reason).clone(), instead.clone())),
            _ => None,
        });
        let given_up: Vec<(u64, Reason, Option<Vec<u8>>)> = given_up.collect();
        if given_up.is_empty() {
            return Ok(false);
        }
        let mut entries = Vec::new();
        for (number, reason, contents) in &given_up {
            let abandoned = self.abandoned(*number, reason.clone(), contents.clone())?;
            entries.push(Entry::Abandon { plan: *number, abandoned: Box::new(abandoned) });
        }
        if sabotage::on("abandon_not_persisted") {
            self.log.apply_in_memory(entries);
        } else {
            self.log.commit(entries)?;
        }
        sabotage::point("plan.abandoned");
        for (number, reason, _) in given_up {
            let Some(shipping) = self.shipping.remove(&number) else { continue };
            let Phase::GivenUp { body, .. } = shipping.phase else { continue };
            tracing::warn!(
                stream = self.home.stream,
                plan = self.state().plans[&number].id.to_string(),
                code = reason.code,
                error = reason.message,
                attempts = reason.attempts,
                "the destination is given up on for these records; they go where failures go"
            );
            let plan = &self.state().plans[&number];
            self.shipping.insert(number, Shipping::ready(plan, body, None));
            self.make_error_records(number)?;
        }
        Ok(true)
    }

    /// The decision that a plan is given up on: name and time are evaluated now, once.
    fn abandoned(&mut self, number: u64, mut reason: Reason, contents: Option<Vec<u8>>) -> Result<Abandoned> {
        let plan = &self.state().plans[&number];
        // A directory knows its objects by the plan's id in their names.
        let (epoch, arrival_ms, id) = (plan.epoch, plan.oldest_arrival_ms, plan.id);
        let route = self.route(epoch)?;
        let key = route.failure_key(Outlet::DeliveryFailed);
        let name = self.object_name(epoch, Outlet::DeliveryFailed, &key, arrival_ms, &id)?;
        if reason.message.len() > MESSAGE_BYTES_MAX {
            let end = (0..=MESSAGE_BYTES_MAX).rev().find(|&i| reason.message.is_char_boundary(i)).unwrap_or(0);
            reason.message.truncate(end);
        }
        Ok(Abandoned { reason, store: route.failures.store.clone(), name, contents })
    }

    /// If a plan is given up on, turns its body, the records as its destination would have got them, into what goes where
    /// failures go.
    pub(super) fn make_error_records(&mut self, number: u64) -> Result<()> {
        let plan = &self.state().plans[&number];
        let Some(abandoned) = plan.abandoned.clone() else { return Ok(()) };
        let epoch = plan.epoch;
        let lost = &self.lost[plan.outlet.track() as usize];
        let outputs: Vec<(u64, u32)> =
            plan.list.outputs_of().filter(|o| !super::damage::is_in(lost, o.0)).map(|o| (o.0, o.1)).collect();
        let full = self.is_held_full();
        let mut filling = self.filling(epoch, Outlet::DeliveryFailed)?;
        let encoding = self.route(epoch)?.content_encoding(Outlet::DeliveryFailed);
        let Some(shipping) = self.shipping.get_mut(&number) else { return Ok(()) };
        let (Phase::Ready(body) | Phase::Damaged(body)) = &mut shipping.phase else { return Ok(()) };
        match &abandoned.contents {
            Some(contents) => filling.write(|_, out| out.extend_from_slice(contents)),
            None => {
                let mut records = Records::new(body).map_err(unreadable)?;
                let mut line = Vec::new();
                for (offset, output) in outputs {
                    let Some((arrival, record)) = records.read().map_err(unreadable)? else { break };
                    line.clear();
                    let (reason, raw) = (&abandoned.reason, record);
                    let told = Told { reason, offset, output, arrival_ms: arrival, raw, keys: None };
                    error_line(Outlet::DeliveryFailed, &told, &mut line);
                    filling.write(|_, out| out.extend_from_slice(&line));
                }
            }
        }
        *body = Arc::new(filling.finish(full));
        shipping.set_content_encoding(encoding);
        Ok(())
    }

    /// Takes up plans that an earlier life gave up on and whose objects are not made of records.
    pub(super) fn ship_given_up(&mut self) -> Result<()> {
        let told = |p: &&Plan| p.abandoned.as_ref().is_some_and(|a| a.contents.is_some());
        let plans: Vec<Plan> = self.state().open_plans().filter(told).cloned().collect();
        for plan in plans {
            let nothing = Arc::new(Spool::new(&self.scratch).finish(false));
            self.shipping.insert(plan.number, Shipping::ready(&plan, nothing, None));
            self.make_error_records(plan.number)?;
        }
        Ok(())
    }

    /// Cuts a plan that is too large for its destination in two. A single output is given up on.
    fn split(&mut self) -> Result<bool> {
        let plans = &self.state().plans;
        let too_large = self.shipping.iter().filter_map(|(number, s)| match &s.phase {
            Phase::TooLarge(body, reason) => Some((*number, body.clone(), reason.clone())),
            _ => None,
        });
        // The earliest first; the others wait while there are many plans, since each of them would make more.
        let too_large = too_large.min_by_key(|(number, ..)| (plans[number].list.first(), *number));
        let open = self.state().open_plans().filter(|p| p.outlet.track() == Track::Main);
        let (open, first) = open.fold((0, u64::MAX), |(n, first), p| (n + 1, first.min(p.list.first())));
        let is_crowded = open > 2 * self.home.bounds.open_plans_max;
        let too_large =
            too_large.filter(|(number, ..)| !is_crowded || self.state().plans[number].list.first() == first);
        let Some((number, body, reason)) = too_large else { return Ok(false) };
        let old = self.state().plans[&number].clone();
        let outputs = old.list.outputs();
        if outputs == 1 {
            let shipping = self.shipping.get_mut(&number).expect("just found");
            shipping.phase = Phase::GivenUp { body, reason, instead: None };
            return Ok(true);
        }
        let next = self.state().next_plan;
        let gzip = self.live.gzip_requests;
        let building = || Building::new(Spool::new(&self.scratch), gzip);
        let mut halves = [(); 2].map(|()| (ListBuilder::default(), 0u64, building()));
        let mut records = Records::new(&body).map_err(unreadable)?;
        for (i, (offset, output, of)) in (0..).zip(old.list.outputs_of()) {
            let (list, bytes, building) = &mut halves[(i >= outputs / 2) as usize];
            list.push(offset, output, of);
            let Some((arrival, record)) = records.read().map_err(unreadable)? else { break };
            *bytes += record.len() as u64;
            building.push(arrival, record);
        }
        let mut entries = vec![Entry::Close { plan: number }];
        let (mut children, full): (Vec<(Plan, Body)>, bool) = (Vec::new(), self.is_held_full());
        for (number, (list, bytes, building)) in (next..).zip(halves) {
            let id = self.random_uuid();
            let plan = Plan { number, id, name: id.to_string(), list: list.finish(), bytes, ..old.clone() };
            entries.push(Entry::Plan(plan.clone()));
            children.push((plan, building.finish(full)));
        }
        if sabotage::on("split_not_persisted") {
            self.log.apply_in_memory(entries);
        } else {
            self.log.commit(entries)?;
        }
        sabotage::point("plan.split");
        self.shipping.remove(&number);
        for (plan, body) in children {
            self.shipping.insert(plan.number, Shipping::ready(&plan, Arc::new(body), None));
        }
        debug_assert!(old.outlet.track() == Track::Main);
        Ok(true)
    }
}
