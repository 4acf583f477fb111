//! Open plans on their way out: rebuilt if a restart took their bytes, sent, tried again, and held where only a person
//! can decide.

use super::archive;
use super::buffer::Filling;
use super::engine::Engine;
use super::plan::{Entry, Outlet, Plan, Track};
use crate::compress::Compress;
use crate::deliver::{Attempt, Body, Shipment, retry};
use crate::error::{Error, Kind, Result};
use crate::format::Format;
use crate::format::lines::Lines;
use crate::sabotage;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// An open plan's way.
pub struct Shipping {
    pub(super) phase: Phase,
    attempts: u32,
    /// Why the last attempt failed, until the plan is settled.
    alarm: Option<String>,
    content_encoding: Option<&'static str>,
    only_look: bool,
}

/// Where it stands.
pub(super) enum Phase {
    /// Its records are read again; so many outputs are in.
    Rebuilding {
        filling: Filling,
        outputs: u64,
    },
    Ready(Arc<Body>),
    /// The medium lost some of its records. Whether its object was stored before is asked; if not, it is cut down to
    /// the others, whose bytes these are.
    Damaged(Arc<Body>),
    /// It was not: see [`Engine::cut_down`].
    CutDown(Arc<Body>),
    Sent(Arc<Body>),
    Waiting {
        body: Arc<Body>,
        until: Duration,
    },
    /// The name is taken; a new one has to be persisted first.
    Rename(Arc<Body>),
    Stored {
        tag: String,
        object_bytes: u64,
    },
    /// Never sent again by itself: what stands at its name, or what its records give now, is not what it lists.
    Held {
        alarm: String,
    },
}

impl Shipping {
    pub(super) fn content_encoding(&self) -> Option<&'static str> {
        self.content_encoding
    }

    pub(super) fn ready(plan: &Plan, body: Arc<Body>, content_encoding: Option<&'static str>) -> Shipping {
        debug_assert!(plan.is_open());
        Shipping::new(Phase::Ready(body), content_encoding)
    }

    fn new(phase: Phase, content_encoding: Option<&'static str>) -> Shipping {
        Shipping { phase, attempts: 0, alarm: None, content_encoding, only_look: false }
    }
}

impl Engine {
    /// Bytes of open plans' objects that are in memory.
    pub(super) fn held_bytes(&self) -> usize {
        let body = |shipping: &Shipping| match &shipping.phase {
            Phase::Ready(body)
            | Phase::Damaged(body)
            | Phase::CutDown(body)
            | Phase::Sent(body)
            | Phase::Waiting { body, .. }
            | Phase::Rename(body) => body.memory_bytes(),
            Phase::Rebuilding { .. } | Phase::Stored { .. } | Phase::Held { .. } => 0,
        };
        self.shipping.values().map(body).sum()
    }

    /// Where open plans go: whether to the backup's store, and which.
    pub fn open_stores(&self) -> BTreeSet<(bool, String)> {
        self.state().open_plans().map(|p| (p.outlet == Outlet::Backup, p.store.clone())).collect()
    }

    /// Whether another object's bytes should go to scratch at once: a store that does not answer must not fill memory.
    pub(super) fn is_held_full(&self) -> bool {
        self.held_bytes() > self.home.bounds.memory_bytes_max / 4
    }

    /// The bytes of a plan being rebuilt, to append to. `None` if it is not being rebuilt.
    pub(super) fn rebuilding(&mut self, number: u64) -> Result<Option<&mut Shipping>> {
        if !self.shipping.contains_key(&number) {
            let plan = &self.state().plans[&number];
            let (epoch, outlet) = (plan.epoch, plan.outlet);
            let filling = self.filling(epoch, outlet)?;
            let content_encoding = self.route(epoch)?.content_encoding(outlet);
            let phase = Phase::Rebuilding { filling, outputs: 0 };
            self.shipping.insert(number, Shipping::new(phase, content_encoding));
        }
        Ok(self.shipping.get_mut(&number).filter(|s| matches!(s.phase, Phase::Rebuilding { .. })))
    }

    /// An empty object of an outlet under an epoch.
    pub(super) fn filling(&mut self, epoch: u32, outlet: Outlet) -> Result<Filling> {
        let as_is = || Format::Lines(Lines { newline: false }).encoder();
        let (encoder, compress) = match outlet {
            Outlet::Destination => {
                let route = self.route(epoch)?;
                (route.format.encoder(), route.compress)
            }
            Outlet::Backup => (as_is(), self.route(epoch)?.backup.as_ref().map_or(Compress::None, |b| b.compress)),
            _ => (as_is(), Compress::None),
        };
        Ok(Filling::new(encoder, compress.encoder(), &self.scratch, &self.home.workers))
    }

    /// Closes rebuilt plans: complete ones are ready, those whose records have all been read without being complete are
    /// held.
    pub(super) fn finish_rebuilding(&mut self, track: Track) -> Result<()> {
        let read = self.cursors[track as usize].offset;
        let ended = self.state().open_plans().filter(|p| p.outlet.track() == track && p.list.end() <= read);
        let ended: Vec<(u64, u64)> = ended.map(|p| (p.number, p.list.outputs())).collect();
        for (number, expected) in ended {
            let full = self.is_held_full();
            // Nothing of it could be read: it is rebuilt all the same, from nothing.
            let rebuilding = match self.shipping.contains_key(&number) {
                true => matches!(self.shipping[&number].phase, Phase::Rebuilding { .. }),
                false => self.rebuilding(number)?.is_some(),
            };
            if !rebuilding {
                continue;
            }
            let left = self.outputs_left(number);
            let shipping = self.shipping.get_mut(&number).expect("it is being rebuilt");
            let rebuilt = std::mem::replace(&mut shipping.phase, Phase::Held { alarm: String::new() });
            let Phase::Rebuilding { filling, outputs } = rebuilt else { unreachable!("just matched") };
            if outputs == expected {
                let body = Arc::new(filling.finish(full));
                shipping.phase = Phase::Ready(body);
            } else if outputs == left {
                let body = Arc::new(filling.finish(full));
                (shipping.phase, shipping.only_look) = (Phase::Damaged(body), true);
            } else {
                self.hold(number, &format!("its records now give {outputs} outputs, expected {expected}"));
            }
        }
        Ok(())
    }

    /// Keeps a plan from being sent and says why, for as long as it is held.
    pub(super) fn hold(&mut self, number: u64, why: &str) {
        let Some(plan) = self.state().plans.get(&number) else { return };
        let alarm = format!("plan {} (`{}`) is held: {why}", plan.id, plan.name);
        self.shipping.insert(number, Shipping::new(Phase::Held { alarm }, None));
    }

    /// Why the first held plan is held.
    pub(super) fn held(&self) -> Option<&str> {
        self.shipping.values().find_map(|s| match &s.phase {
            Phase::Held { alarm } => Some(alarm.as_str()),
            _ => None,
        })
    }

    /// Why the first plan whose last attempt failed is not delivered. What is delivered elsewhere does not end it.
    pub(super) fn undelivered(&self) -> Option<&str> {
        self.shipping.values().find_map(|s| s.alarm.as_deref())
    }

    /// Shipments to be sent now, with the outlet and store of each; every one of them must be answered by [`Engine::reply`].
    pub fn shipments(&mut self) -> Vec<(Outlet, String, Shipment)> {
        let now = self.home.clock.steady();
        let mut free = self.free_slots();
        let mut out = Vec::new();
        for (number, shipping) in &mut self.shipping {
            let plan = &self.log.state().plans[number];
            let free = &mut free[plan.outlet.track() as usize];
            if *free == 0 {
                continue;
            }
            let body = match &shipping.phase {
                Phase::Ready(body) | Phase::Damaged(body) => body.clone(),
                Phase::Waiting { body, until } if *until <= now => body.clone(),
                _ => continue,
            };
            shipping.phase = Phase::Sent(body.clone());
            *free -= 1;
            if sabotage::on("mark_before_reply") {
                shipping.phase = Phase::Stored { tag: String::new(), object_bytes: body.len() };
            }
            let shipment = Shipment {
                plan: *number,
                id: plan.id,
                outputs: plan.list.outputs(),
                digest: plan.list.digest(),
                name: plan.name.clone(),
                content_encoding: shipping.content_encoding,
                body,
                only_look: shipping.only_look,
            };
            out.push((plan.outlet, plan.store.clone(), shipment));
        }
        let ledger = self.ledger_shipment();
        out.extend(ledger.map(|(store, shipment)| (Outlet::Destination, store, shipment)));
        out
    }

    /// How many more shipments of each track may be under way: a backup's store that does not answer must not keep the
    /// destination from its own.
    fn free_slots(&self) -> [usize; 2] {
        let mut free = self.live.shipments_max;
        for (number, _) in self.shipping.iter().filter(|(_, s)| matches!(s.phase, Phase::Sent(_))) {
            let free = &mut free[self.state().plans[number].outlet.track() as usize];
            *free = free.saturating_sub(1);
        }
        free
    }

    /// What became of a shipment.
    pub fn reply(&mut self, number: u64, attempt: Attempt) {
        if number == archive::SHIPMENT {
            return self.ledger_reply(attempt);
        }
        let Some(shipping) = self.shipping.get_mut(&number) else { return };
        let Phase::Sent(body) = &shipping.phase else { return };
        let body = body.clone();
        shipping.attempts += 1;
        let attempts = shipping.attempts;
        let misconfigured = matches!(attempt, Attempt::Misconfigured { .. });
        match attempt {
            Attempt::Stored { tag } => {
                shipping.phase = Phase::Stored { tag, object_bytes: body.len() };
                self.alarm = None;
            }
            Attempt::Retry { reason }
            | Attempt::Misconfigured { reason }
            | Attempt::Refused { message: reason, .. }
            | Attempt::TooLarge { message: reason, .. } => {
                let random = self.home.jitter();
                let until = self.home.clock.steady() + retry::pause(attempts, misconfigured, random);
                shipping.phase = Phase::Waiting { body, until };
                let name = &self.log.state().plans[&number].name;
                shipping.alarm = Some(format!("`{name}` is not delivered after {attempts} attempts: {reason}"));
            }
            Attempt::Absent => shipping.phase = Phase::CutDown(body),
            // What stands there was never this plan's object.
            Attempt::Foreign if shipping.only_look => shipping.phase = Phase::CutDown(body),
            Attempt::Foreign => shipping.phase = Phase::Rename(body),
            Attempt::Differs { found } => self.hold(number, &found),
        }
    }

    /// Plans whose object is stored: number, the store's tag, the object's bytes. Also persists the new names of plans
    /// whose old one is taken.
    pub(super) fn stored(&mut self) -> Vec<(u64, String, u64)> {
        let stored = self.shipping.iter().filter_map(|(number, s)| match &s.phase {
            Phase::Stored { tag, object_bytes } => Some((*number, tag.clone(), *object_bytes)),
            _ => None,
        });
        stored.collect()
    }

    /// Gives plans whose name is taken another one, persisted before it is used.
    pub(super) fn rename_taken(&mut self) -> Result<bool> {
        let taken = self.shipping.iter().filter(|(_, s)| matches!(s.phase, Phase::Rename(_)));
        let taken: Vec<u64> = taken.map(|(number, _)| *number).collect();
        if taken.is_empty() {
            return Ok(false);
        }
        let mut entries = Vec::new();
        for &plan in &taken {
            let id = self.random_uuid();
            let old = self.state().plans[&plan].name.clone();
            let name = alternate_name(&old, &id);
            self.alarm = Some(format!("an object that is not ours stands at `{old}`; it stays, ours becomes `{name}`"));
            entries.push(Entry::Rename { plan, name });
        }
        if sabotage::on("rename_not_persisted") {
            self.log.apply_in_memory(entries);
        } else {
            self.log.commit(entries)?;
        }
        for number in taken {
            let shipping = self.shipping.get_mut(&number).ok_or_else(|| Error::new(Kind::Bug, "a plan vanished"))?;
            if let Phase::Rename(body) = &shipping.phase {
                shipping.phase = Phase::Ready(body.clone());
            }
        }
        Ok(true)
    }

    /// Ends all waiting: what was in the way may have been mended.
    pub fn retry_now(&mut self) {
        for shipping in self.shipping.values_mut() {
            if let Phase::Waiting { body, .. } = &shipping.phase {
                shipping.phase = Phase::Ready(body.clone());
            }
        }
    }

    pub(super) fn next_retry(&self) -> Option<Duration> {
        // Without a free slot it is a reply that is waited for.
        let free = self.free_slots();
        let until = self.shipping.iter().filter_map(|(number, s)| match &s.phase {
            Phase::Waiting { until, .. } if free[self.state().plans[number].outlet.track() as usize] > 0 => {
                Some(*until)
            }
            _ => None,
        });
        until.min()
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
