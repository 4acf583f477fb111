//! Which plans are sent when, and what has to be done with each.

use super::refusals::Refusals;
use super::shipping::{PackedOutputs, Rebuilding, Shipping, ShippingPhase, Todo};
use super::window::Window;
use crate::alarm::{Alarm, AlarmKind};
use crate::deliver::{Body, Shipment};
use crate::sabotage;
use crate::stream::pipeline::live::{Gate, Live};
use crate::stream::plan::state::State;
use crate::stream::plan::{Outlet, Plan, Reason, Refused};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// The open plans of a lane on their way out.
#[derive(Default)]
pub(crate) struct Outbox {
    /// By the plan's number.
    pub(super) shipping: BTreeMap<u64, Shipping>,
    todo: BTreeSet<(Todo, u64)>,
    pub(super) window: Window,
}

/// A plan whose object is stored.
pub(crate) struct StoredPlan {
    pub(crate) number: u64,
    /// The store's tag of the object.
    pub(crate) tag: String,
    pub(crate) object_bytes: u64,
}

/// A plan that is given up on, and why.
pub(crate) struct GivenUpPlan {
    pub(crate) number: u64,
    pub(crate) reason: Reason,
    /// What tells of it instead of error records.
    pub(crate) contents: Option<Vec<u8>>,
}

impl Outbox {
    /// A plan whose object is ready to be sent.
    pub(crate) fn add(&mut self, plan: &Plan, body: Arc<Body>, content_encoding: Option<&'static str>) {
        debug_assert!(plan.is_open());
        self.insert(plan.number, Shipping::new(ShippingPhase::Ready(body), content_encoding));
    }

    fn insert(&mut self, number: u64, shipping: Shipping) {
        self.remove(number);
        self.todo.extend(shipping.phase.todo().map(|todo| (todo, number)));
        self.shipping.insert(number, shipping);
    }

    /// Takes out a plan; its content encoding.
    pub(crate) fn remove(&mut self, number: u64) -> Option<&'static str> {
        let removed = self.shipping.remove(&number)?;
        if let Some(todo) = removed.phase.todo() {
            self.todo.remove(&(todo, number));
        }
        removed.content_encoding
    }

    /// Has a plan go on in another phase.
    pub(super) fn enter(&mut self, number: u64, phase: ShippingPhase) {
        let Some(shipping) = self.shipping.get_mut(&number) else { return };
        let before = std::mem::replace(&mut shipping.phase, phase);
        let after = shipping.phase.todo();
        if let Some(todo) = before.todo() {
            self.todo.remove(&(todo, number));
        }
        self.todo.extend(after.map(|todo| (todo, number)));
    }

    /// The plans with which this has to be done.
    fn with(&self, todo: Todo) -> impl Iterator<Item = (u64, &ShippingPhase)> {
        let numbers = self.todo.range((todo, 0)..=(todo, u64::MAX)).map(|(_, number)| *number);
        numbers.filter_map(|number| Some((number, &self.shipping.get(&number)?.phase)))
    }

    /// Whether something is known of a plan's way.
    pub(crate) fn knows(&self, number: u64) -> bool {
        self.shipping.contains_key(&number)
    }

    /// Bytes of open plans' objects that are in memory.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.shipping.values().map(|shipping| shipping.phase.memory_bytes()).sum()
    }

    /// Begins to make a plan's body again. `refused`: how its destination has refused it in earlier lives.
    pub(crate) fn rebuild(
        &mut self,
        number: u64,
        rebuilding: Rebuilding,
        content_encoding: Option<&'static str>,
        refused: Option<Refused>,
    ) {
        let shipping = Shipping::new(ShippingPhase::Rebuilding(Box::new(rebuilding)), content_encoding);
        let refusals = refused.map(Refusals::of).unwrap_or_default();
        self.insert(number, Shipping { refusals, ..shipping });
    }

    /// The body of a plan that is made again. `None` if it is not.
    pub(crate) fn rebuilding(&mut self, number: u64) -> Option<&mut Rebuilding> {
        match &mut self.shipping.get_mut(&number)?.phase {
            ShippingPhase::Rebuilding(rebuilding) => Some(rebuilding),
            _ => None,
        }
    }

    /// Takes the body of a plan that is made again, which is then held until [`Outbox::rebuilt`] or [`Outbox::hold`].
    pub(crate) fn take_rebuilding(&mut self, number: u64) -> Option<Rebuilding> {
        self.rebuilding(number)?;
        let shipping = self.shipping.get_mut(&number)?;
        match std::mem::replace(&mut shipping.phase, ShippingPhase::Held { alarm: String::new() }) {
            ShippingPhase::Rebuilding(rebuilding) => Some(*rebuilding),
            _ => None,
        }
    }

    /// A plan's body is made again. `is_whole`: with all that it lists.
    pub(crate) fn rebuilt(&mut self, number: u64, body: Arc<Body>, packed: Option<PackedOutputs>, is_whole: bool) {
        let Some(shipping) = self.shipping.get_mut(&number) else { return };
        (shipping.packed, shipping.only_look) = (packed, !is_whole);
        self.enter(number, if is_whole { ShippingPhase::Ready(body) } else { ShippingPhase::Damaged(body) });
    }

    /// The body of a plan that is ready, and what its elements hold if it is made for error records, which is taken out.
    pub(crate) fn take_records(&mut self, number: u64) -> Option<(Arc<Body>, Option<PackedOutputs>)> {
        let shipping = self.shipping.get_mut(&number)?;
        match &shipping.phase {
            ShippingPhase::Ready(body) | ShippingPhase::Damaged(body) => Some((body.clone(), shipping.packed.take())),
            _ => None,
        }
    }

    /// Gives a plan that is ready another body.
    pub(crate) fn replace_body(&mut self, number: u64, made: Arc<Body>, content_encoding: Option<&'static str>) {
        let Some(shipping) = self.shipping.get_mut(&number) else { return };
        if let ShippingPhase::Ready(body) | ShippingPhase::Damaged(body) = &mut shipping.phase {
            *body = made;
            shipping.content_encoding = content_encoding;
        }
    }

    /// Keeps a plan from being sent, with an alarm, for as long as it is held.
    pub(crate) fn hold(&mut self, number: u64, alarm: String) {
        self.insert(number, Shipping::new(ShippingPhase::Held { alarm }, None));
    }

    /// Why plans are held.
    pub(crate) fn held(&self) -> Vec<Alarm> {
        let held = self.shipping.iter().filter_map(|(number, shipping)| match &shipping.phase {
            ShippingPhase::Held { alarm } => {
                Some(Alarm::new(AlarmKind::PlanHeld, alarm.as_str()).about(format!("plan {number}")))
            }
            _ => None,
        });
        held.collect()
    }

    /// Of each store, why the first plan whose last attempt failed is not delivered. What is delivered elsewhere does not end
    /// it.
    pub(crate) fn undelivered(&self) -> Vec<Alarm> {
        let mut first: Vec<&Alarm> = Vec::new();
        for alarm in self.shipping.values().filter_map(|shipping| shipping.alarm.as_ref()) {
            if !first.iter().any(|known| known.is_same(alarm)) {
                first.push(alarm);
            }
        }
        first.into_iter().cloned().collect()
    }

    /// Shipments to be sent now, with the outlet and store of each.
    pub(crate) fn due(&mut self, state: &State, live: &Live, now: Duration) -> Vec<(Outlet, String, Shipment)> {
        let mut free = self.free_slots(state, live);
        let turn = live.ordered.then(|| whose_turn(state));
        // In the order of the records: halves of a plan that was cut go before what comes behind it, so that there are
        // never many of them.
        let may_go = |shipping: &Shipping| match &shipping.phase {
            ShippingPhase::Ready(_) | ShippingPhase::Damaged(_) => true,
            ShippingPhase::Waiting { until, .. } => *until <= now,
            _ => false,
        };
        let ready = self.shipping.iter().filter(|(_, s)| may_go(s) && (!state.paused || s.is_given_up));
        let mut ready: Vec<&Plan> = ready.map(|(number, _)| &state.plans[number]).collect();
        ready.sort_by_key(|plan| (plan.list.first(), plan.number));
        let mut out = Vec::new();
        for plan in ready {
            let gate = Gate::of(plan);
            let free = &mut free[gate as usize];
            if *free == 0 || gate == Gate::Destination && turn.is_some_and(|turn| turn != Some(plan.number)) {
                continue;
            }
            *free -= 1;
            out.extend(self.send(plan, now));
        }
        out
    }

    fn send(&mut self, plan: &Plan, now: Duration) -> Option<(Outlet, String, Shipment)> {
        let shipping = self.shipping.get_mut(&plan.number)?;
        let body = shipping.phase.body()?.clone();
        shipping.is_asked = shipping.only_look || shipping.is_given_up;
        shipping.refusals.send(now);
        let shipment = Shipment {
            plan: plan.number,
            id: plan.id,
            outputs: plan.list.outputs(),
            digest: plan.list.digest(),
            name: plan.place().1.to_owned(),
            planned_ms: plan.planned_ms,
            content_encoding: shipping.content_encoding,
            body: body.clone(),
            only_look: shipping.is_asked,
        };
        let phase = match sabotage::on("mark_before_reply") {
            true => ShippingPhase::Stored { tag: String::new(), object_bytes: body.len() },
            false => ShippingPhase::Sent(body),
        };
        self.enter(plan.number, phase);
        Some((plan.ends_in(), plan.place().0.to_owned(), shipment))
    }

    /// How many more shipments may go through each gate.
    fn free_slots(&self, state: &State, live: &Live) -> [usize; Gate::ALL.len()] {
        let mut free = live.shipments_max;
        if live.adaptive {
            let max = &mut free[Gate::Destination as usize];
            *max = self.window.allowed(*max);
        }
        for (number, _) in self.shipping.iter().filter(|(_, s)| matches!(s.phase, ShippingPhase::Sent(_))) {
            let free = &mut free[Gate::of(&state.plans[number]) as usize];
            *free = free.saturating_sub(1);
        }
        free
    }

    /// When the next plan is to be sent again. Without a free slot it is a reply that is waited for.
    pub(crate) fn next_retry(&self, state: &State, live: &Live) -> Option<Duration> {
        if state.paused {
            return None;
        }
        let free = self.free_slots(state, live);
        let turn = live.ordered.then(|| whose_turn(state));
        let until = self.shipping.iter().filter_map(|(number, s)| {
            let ShippingPhase::Waiting { until, .. } = &s.phase else { return None };
            let gate = Gate::of(&state.plans[number]);
            let waits = gate == Gate::Destination && turn.is_some_and(|turn| turn != Some(*number));
            (free[gate as usize] > 0 && !waits).then_some(*until)
        });
        until.min()
    }

    /// Ends all waiting: what was in the way may have been mended.
    pub(crate) fn retry_now(&mut self) {
        for shipping in self.shipping.values_mut() {
            if let ShippingPhase::Waiting { body, .. } = &shipping.phase {
                shipping.phase = ShippingPhase::Ready(body.clone());
            }
        }
    }

    /// Plans whose object is stored.
    pub(crate) fn stored(&self) -> Vec<StoredPlan> {
        let stored = self.with(Todo::Settle).filter_map(|(number, phase)| match phase {
            ShippingPhase::Stored { tag, object_bytes } => {
                Some(StoredPlan { number, tag: tag.clone(), object_bytes: *object_bytes })
            }
            _ => None,
        });
        stored.collect()
    }

    /// Plans whose name is taken by somebody else's object.
    pub(crate) fn to_rename(&self) -> Vec<u64> {
        self.with(Todo::Rename).map(|(number, _)| number).collect()
    }

    /// The next plan of which the medium has lost records and whose object is not there, and the body of the others.
    pub(crate) fn to_cut_down(&self) -> Option<(u64, Arc<Body>)> {
        self.with(Todo::CutDown).find_map(|(number, phase)| Some((number, phase.body()?.clone())))
    }

    /// Plans that are given up on.
    pub(crate) fn to_give_up(&self) -> Vec<GivenUpPlan> {
        let given_up = self.with(Todo::GiveUp).filter_map(|(number, phase)| match phase {
            ShippingPhase::GivenUp { reason, instead, .. } => {
                Some(GivenUpPlan { number, reason: (**reason).clone(), contents: instead.clone() })
            }
            _ => None,
        });
        given_up.collect()
    }

    /// The body of a plan that is given up on, if it is at hand.
    pub(crate) fn body_given_up(&self, number: u64) -> Option<Arc<Body>> {
        self.shipping.get(&number)?.phase.body().cloned()
    }

    /// The next plan of which the destination does not take some records, its body, and these with their reasons.
    pub(crate) fn to_set_apart(&self) -> Option<(u64, Arc<Body>, BTreeMap<u64, Reason>)> {
        self.with(Todo::SetApart).find_map(|(number, phase)| match phase {
            ShippingPhase::Rejected(body, rejected) => Some((number, body.clone(), rejected.clone())),
            _ => None,
        })
    }

    /// The plan with the earliest records of those that are too large for their destination, its body, and why it is.
    pub(crate) fn to_split(&self, state: &State) -> Option<(u64, Arc<Body>, Box<Reason>)> {
        let too_large = self.with(Todo::Split).filter_map(|(number, phase)| match phase {
            ShippingPhase::TooLarge(body, reason) => Some((number, body.clone(), reason.clone())),
            _ => None,
        });
        too_large.min_by_key(|(number, ..)| (state.plans[number].list.first(), *number))
    }

    /// Gives up on a plan whose body is at hand.
    pub(crate) fn give_up(&mut self, number: u64, body: Arc<Body>, reason: Box<Reason>) {
        self.enter(number, ShippingPhase::GivenUp { body: Some(body), reason, instead: None });
    }

    /// A plan has another name, or goes to another store, durably.
    pub(crate) fn redirected(&mut self, number: u64) {
        let Some(shipping) = self.shipping.get_mut(&number) else { return };
        shipping.is_nowhere = false;
        if let Some(body) = shipping.phase.body().cloned() {
            self.enter(number, ShippingPhase::Ready(body));
        }
    }

    /// Plans that wait for a store that does not exist.
    pub(crate) fn stranded(&self) -> Vec<u64> {
        let is_stranded =
            |phase: &ShippingPhase| matches!(phase, ShippingPhase::Waiting { .. } | ShippingPhase::Ready(_));
        let is_nowhere = |s: &Shipping| s.is_nowhere || sabotage::on("moved_without_an_answer");
        let stranded = self.shipping.iter().filter(|(_, s)| is_nowhere(s) && is_stranded(&s.phase));
        stranded.map(|(number, _)| *number).collect()
    }

    /// How plans were refused that the plan log does not know of yet.
    pub(crate) fn new_refusals(&self, now: Duration) -> Vec<(u64, Refused)> {
        let new =
            self.shipping.iter().filter(|(_, s)| s.refusals.is_new && matches!(s.phase, ShippingPhase::Waiting { .. }));
        new.map(|(plan, s)| (*plan, s.refusals.so_far(now))).collect()
    }

    /// The plan log knows of all refusals.
    pub(crate) fn refusals_are_known(&mut self) {
        self.shipping.values_mut().for_each(|s| s.refusals.is_new = false);
    }
}

/// The open plan of the destination with the earliest records.
pub(super) fn whose_turn(state: &State) -> Option<u64> {
    let destination = state.open_plans().filter(|p| Gate::of(p) == Gate::Destination);
    destination.min_by_key(|p| (p.list.first(), p.number)).map(|p| p.number)
}
