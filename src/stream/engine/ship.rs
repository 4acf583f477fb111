//! Open plans on their way out: rebuilt if a restart took their bytes, sent, tried again, and held where only a person
//! can decide.

use super::Engine;
use super::abandon::last_words;
use super::archive;
use super::buffer::Filling;
use super::refusals::Refusals;
use crate::compress::Compress;
use crate::deliver::{Attempt, Body, Rejection, Shipment, records, retry};
use crate::error::{Error, Kind, Result};
use crate::format::elements::Encoder as Elements;
use crate::format::lines::Lines;
use crate::format::{Encoder, Format};
use crate::sabotage;
use crate::stream::pipeline::live::Gate;
use crate::stream::pipeline::route::Payload;
use crate::stream::plan::{Entry, Outlet, Plan, Reason, Track};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// An open plan's way.
pub struct Shipping {
    pub(super) phase: Phase,
    pub(super) attempts: u32,
    /// Why the last attempt failed, until the plan is settled.
    pub(super) alarm: Option<String>,
    pub(super) content_encoding: Option<&'static str>,
    only_look: bool,
    /// By its last answer there is no such store as it goes to.
    pub(super) is_nowhere: bool,
    /// Somebody has given up on it: whether it is there is asked once more, and then it is.
    pub(super) is_given_up: bool,
    /// The attempt that is under way only asks.
    is_asked: bool,
    /// Its body is made for error records; see [`Told`].
    pub(super) told: Option<Told>,
    pub(super) refusals: Refusals,
    /// Of the last refusal, if that was the last answer.
    pub(super) refused: Option<(Box<Reason>, Option<Vec<u8>>)>,
}

/// What the elements of a body that is made for error records hold: each an output with its partition keys packed in front,
/// but of these records (by their offsets) what their source gave, since their outputs cannot be made again.
#[derive(Default)]
pub(super) struct Told {
    pub(super) as_source: BTreeSet<u64>,
    /// Those of them that are told of with another plan.
    pub(super) elsewhere: BTreeSet<u64>,
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
    /// Its destination has refused for too long, or somebody has given up on it: see [`Engine::give_up`].
    GivenUp {
        /// None: its bytes are not at hand.
        body: Option<Arc<Body>>,
        reason: Box<Reason>,
        instead: Option<Vec<u8>>,
    },
    /// Too large for its destination: see [`Engine::split`].
    TooLarge(Arc<Body>, Box<Reason>),
    /// Some of its records are not taken, by their numbers in it: see [`Engine::set_apart`].
    Rejected(Arc<Body>, BTreeMap<u64, Reason>),
    /// Never sent again by itself: what stands at its name, or what its records give now, is not what it lists.
    Held {
        alarm: String,
    },
}

impl Shipping {
    pub(super) fn content_encoding(&self) -> Option<&'static str> {
        self.content_encoding
    }

    pub(super) fn set_content_encoding(&mut self, encoding: Option<&'static str>) {
        self.content_encoding = encoding;
    }

    pub(super) fn ready(plan: &Plan, body: Arc<Body>, content_encoding: Option<&'static str>) -> Shipping {
        debug_assert!(plan.is_open());
        Shipping::new(Phase::Ready(body), content_encoding)
    }

    fn new(phase: Phase, content_encoding: Option<&'static str>) -> Shipping {
        let (attempts, refusals) = (0, Refusals::default());
        Shipping {
            phase,
            attempts,
            alarm: None,
            content_encoding,
            only_look: false,
            is_nowhere: false,
            is_given_up: false,
            is_asked: false,
            told: None,
            refusals,
            refused: None,
        }
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
            | Phase::GivenUp { body: Some(body), .. }
            | Phase::TooLarge(body, _)
            | Phase::Rejected(body, _)
            | Phase::Rename(body) => body.memory_bytes(),
            Phase::Rebuilding { filling, .. } => filling.memory_bytes(),
            Phase::Stored { .. } | Phase::GivenUp { .. } | Phase::Held { .. } => 0,
        };
        self.shipping.values().map(body).sum()
    }

    /// The stores that open plans go to.
    pub fn open_stores(&self) -> BTreeSet<String> {
        self.state().open_plans().map(|p| p.place().0.to_owned()).collect()
    }

    /// Whether another object's bytes should go to scratch at once: a store that does not answer must not fill memory.
    pub(super) fn is_held_full(&self) -> bool {
        self.held_bytes() > self.home.memory.allowed(self.home.bounds.memory_bytes_max) / 2
    }

    /// The bytes of a plan being rebuilt, to append to. `None` if it is not being rebuilt.
    pub(super) fn rebuilding(&mut self, number: u64) -> Result<Option<&mut Shipping>> {
        if !self.shipping.contains_key(&number) {
            let plan = &self.state().plans[&number];
            let (epoch, outlet, tells) = (plan.epoch, plan.outlet, plan.tells_of_outputs());
            let content_encoding = self.route(epoch)?.content_encoding(outlet);
            let told = tells.then(Told::default);
            let filling = match told {
                Some(_) => {
                    let (elements, compress) = (Encoder::Elements(Elements::default()), records::compress(false));
                    Filling::new(elements, compress.encoder(), &self.scratch, &self.home.workers)
                }
                None => self.filling(epoch, outlet)?,
            };
            let phase = Phase::Rebuilding { filling, outputs: 0 };
            let refused = self.state().refused.get(&number).copied();
            let refusals = refused.map(Refusals::of).unwrap_or_default();
            let shipping = Shipping { told, refusals, ..Shipping::new(phase, content_encoding) };
            self.shipping.insert(number, shipping);
        }
        Ok(self.shipping.get_mut(&number).filter(|s| matches!(s.phase, Phase::Rebuilding { .. })))
    }

    /// An empty object of an outlet under an epoch.
    pub(super) fn filling(&mut self, epoch: u32, outlet: Outlet) -> Result<Filling> {
        let as_is = || Format::Lines(Lines { newline: false }).encoder();
        let gzip = self.live.gzip_requests;
        let route = self.route(epoch)?;
        let (encoder, compress) = match outlet {
            Outlet::Destination if route.takes == Payload::Records => {
                (Encoder::Elements(Elements::default()), records::compress(gzip))
            }
            Outlet::Destination if route.takes == Payload::Rows => (route.format.indexing_encoder(), route.compress),
            Outlet::Destination => (route.format.encoder(), route.compress),
            Outlet::Backup => (as_is(), route.backup.as_ref().map_or(Compress::None, |b| b.compress)),
            _ => (as_is(), route.failures.compress),
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
                self.make_error_records(number)?;
            } else if outputs == left {
                let body = Arc::new(filling.finish(full));
                (shipping.phase, shipping.only_look) = (Phase::Damaged(body), true);
                self.make_error_records(number)?;
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
        let paused = self.state().paused;
        let now = self.home.clock.steady();
        let mut free = self.free_slots();
        let mut out = Vec::new();
        let turn = self.live.ordered.then(|| self.whose_turn());
        let plans = &self.log.state().plans;
        // In the order of the records: halves of a plan that was cut go before what comes behind it, so that there are
        // never many of them.
        let mut numbers: Vec<u64> = self.shipping.keys().copied().collect();
        numbers.sort_by_key(|number| (plans[number].list.first(), *number));
        for number in &numbers {
            let Some(shipping) = self.shipping.get_mut(number) else { continue };
            if paused && !shipping.is_given_up {
                continue;
            }
            let plan = &plans[number];
            let gate = Gate::of(plan);
            let free = &mut free[gate as usize];
            if *free == 0 || gate == Gate::Destination && turn.is_some_and(|turn| turn != Some(*number)) {
                continue;
            }
            let body = match &shipping.phase {
                Phase::Ready(body) | Phase::Damaged(body) => body.clone(),
                Phase::Waiting { body, until } if *until <= now => body.clone(),
                _ => continue,
            };
            shipping.phase = Phase::Sent(body.clone());
            shipping.is_asked = shipping.only_look || shipping.is_given_up;
            shipping.refusals.send(now);
            *free -= 1;
            if sabotage::on("mark_before_reply") {
                shipping.phase = Phase::Stored { tag: String::new(), object_bytes: body.len() };
            }
            let shipment = Shipment {
                plan: *number,
                id: plan.id,
                outputs: plan.list.outputs(),
                digest: plan.list.digest(),
                name: plan.place().1.to_owned(),
                planned_ms: plan.planned_ms,
                content_encoding: shipping.content_encoding,
                body,
                only_look: shipping.is_asked,
            };
            out.push((plan.ends_in(), plan.place().0.to_owned(), shipment));
        }
        let ledger = if paused { None } else { self.ledger_shipment() };
        out.extend(ledger.map(|(store, shipment)| (Outlet::ProcessingFailed, store, shipment)));
        out
    }

    /// How many more shipments may go through each gate.
    fn free_slots(&self) -> [usize; Gate::ALL.len()] {
        let mut free = self.live.shipments_max;
        if self.live.adaptive {
            let max = &mut free[Gate::Destination as usize];
            *max = self.window.allowed(*max);
        }
        for (number, _) in self.shipping.iter().filter(|(_, s)| matches!(s.phase, Phase::Sent(_))) {
            let free = &mut free[Gate::of(&self.state().plans[number]) as usize];
            *free = free.saturating_sub(1);
        }
        free
    }

    /// The open plan of the destination with the earliest records.
    fn whose_turn(&self) -> Option<u64> {
        let destination = self.state().open_plans().filter(|p| Gate::of(p) == Gate::Destination);
        destination.min_by_key(|p| (p.list.first(), p.number)).map(|p| p.number)
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
        shipping.refused = None;
        let (attempts, now) = (shipping.attempts, self.home.clock.steady());
        let plan = &self.log.state().plans[&number];
        if self.live.adaptive && Gate::of(plan) == Gate::Destination {
            let busy = matches!(attempt, Attempt::Refused { busy: true, .. });
            let taken = matches!(attempt, Attempt::Stored { .. });
            let took = now - shipping.refusals.sent;
            self.window.answered(taken, busy, took, self.live.shipments_max[Gate::Destination as usize]);
        }
        let misconfigured = matches!(attempt, Attempt::Misconfigured { .. } | Attempt::Nowhere { .. });
        shipping.is_nowhere = matches!(attempt, Attempt::Nowhere { .. });
        let ended_ms = self.home.clock.wall_ms();
        if shipping.is_given_up && !matches!(attempt, Attempt::Stored { .. }) {
            let (reason, instead) = last_words(shipping.alarm.take(), attempt, attempts, ended_ms);
            shipping.phase = match shipping.is_asked {
                true => Phase::GivenUp { body: Some(body), reason, instead },
                false => {
                    // What became of that attempt may not be known.
                    shipping.alarm = Some(reason.message);
                    Phase::Ready(body)
                }
            };
            return;
        }
        match attempt {
            Attempt::Stored { tag } => {
                shipping.phase = Phase::Stored { tag, object_bytes: body.len() };
                self.alarm = None;
            }
            Attempt::Retry { reason } | Attempt::Misconfigured { reason } | Attempt::Nowhere { reason } => {
                let random = self.home.jitter();
                let until = now + retry::pause(attempts, misconfigured, random);
                shipping.phase = Phase::Waiting { body, until };
                // What is waited for here is not the destination.
                (shipping.refusals.first_sent, shipping.refusals.before) = (None, Duration::ZERO);
                shipping.alarm = Some(not_delivered(plan, attempts, &reason));
            }
            Attempt::Refused { code, message, instead, .. } => {
                let random = self.home.jitter();
                shipping.alarm = Some(not_delivered(plan, attempts, &format!("{code}: {message}")));
                let refusals = &mut shipping.refusals;
                refusals.count += 1;
                refusals.is_new = true;
                let since_first = refusals.since_first(now);
                let pause = match &self.live.patience {
                    Some(patience) => patience.pause(refusals.count, refusals.paused, since_first, random),
                    None => Some(retry::pause(attempts, false, random)),
                };
                refusals.since = Some(now);
                let reason = Box::new(Reason { code, message, attempts, ended_ms });
                shipping.phase = match pause {
                    Some(pause) => {
                        shipping.refused = Some((reason, instead));
                        Phase::Waiting { body, until: now + pause }
                    }
                    None => Phase::GivenUp { body: Some(body), reason, instead },
                };
            }
            Attempt::TooLarge { code, message } => {
                let reason = Box::new(Reason { code, message, attempts, ended_ms });
                shipping.phase = Phase::TooLarge(body, reason);
            }
            Attempt::Rejected { records } => {
                let reason = |Rejection { code, message, .. }| Reason { code, message, attempts, ended_ms };
                let records = records.into_iter().map(|rejection| (rejection.record, reason(rejection)));
                shipping.phase = Phase::Rejected(body, records.collect());
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
            let old = self.state().plans[&plan].place().1.to_owned();
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

    /// Keeps everything from being sent, or lets it go on. Durable when this returns.
    pub fn pause(&mut self, paused: bool) -> Result<()> {
        match self.state().paused == paused {
            true => Ok(()),
            false => self.log.commit(vec![Entry::Pause(paused)]),
        }
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
        if self.state().paused {
            return None;
        }
        let free = self.free_slots();
        let turn = self.live.ordered.then(|| self.whose_turn());
        let until = self.shipping.iter().filter_map(|(number, s)| {
            let Phase::Waiting { until, .. } = &s.phase else { return None };
            let gate = Gate::of(&self.state().plans[number]);
            let waits = gate == Gate::Destination && turn.is_some_and(|turn| turn != Some(*number));
            (free[gate as usize] > 0 && !waits).then_some(*until)
        });
        until.min()
    }
}

fn not_delivered(plan: &Plan, attempts: u32, why: &str) -> String {
    format!("`{}` is not delivered after {attempts} attempts: {why}", plan.place().1)
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
