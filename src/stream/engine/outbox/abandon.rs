//! Plans that a person gives up on, whatever holds them. Whether the object is there is asked once more, and then they are given
//! up on.

use super::queue::{Outbox, whose_turn};
use super::shipping::{Shipping, ShippingPhase};
use crate::deliver::Attempt;
use crate::destination::StoreName;
use crate::stream::pipeline::live::{Gate, Live};
use crate::stream::plan::state::State;
use crate::stream::plan::{Plan, Reason};
use std::collections::BTreeSet;
use std::time::Duration;

/// The code of what somebody has given up on without an answer that has one.
const ABANDONED: &str = "Delivery.Abandoned";

/// An attempt that has had no answer for so long holds up what stands behind it.
const UNANSWERED: Duration = Duration::from_secs(5);

/// What `abandon` did, in plans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AbandonCount {
    pub given_up: u64,
    /// Those of them that are being sent: each is given up on when its attempt fails, unless the stream is opened anew before.
    pub being_sent: u64,
    /// They are made again after a restart, and can be given up on when they are.
    pub rebuilding: u64,
    /// They tell of failures and have no other place: theirs has to take them.
    pub left: u64,
}

impl std::ops::Add for AbandonCount {
    type Output = AbandonCount;

    fn add(self, other: AbandonCount) -> AbandonCount {
        AbandonCount {
            given_up: self.given_up + other.given_up,
            being_sent: self.being_sent + other.being_sent,
            rebuilding: self.rebuilding + other.rebuilding,
            left: self.left + other.left,
        }
    }
}

/// Whether a plan does not tell of failures, and is not yet given up on.
fn can_be_given_up(plan: &Plan) -> bool {
    plan.abandoned.is_none() && !plan.outlet.is_failure()
}

/// Whether a plan goes to a destination that is given records.
fn is_receiver(plan: &Plan) -> bool {
    matches!(plan.place().0.parse(), Ok(StoreName::Receiver(_)))
}

impl Shipping {
    /// Whether it is not taken: its last attempt failed, it is held, or nobody answers.
    fn is_stalled(&self, now: Duration) -> bool {
        match &self.phase {
            ShippingPhase::Waiting { .. } | ShippingPhase::Held { .. } => true,
            ShippingPhase::Sent(_) => self.alarm.is_some() || now - self.refusals.sent >= UNANSWERED,
            ShippingPhase::Ready(_) => self.alarm.is_some(),
            _ => false,
        }
    }
}

/// Why somebody has given up on a plan: what was known of it, and what an attempt said last.
pub(super) fn last_words(
    known: Option<String>,
    attempt: Attempt,
    attempts: u32,
    ended_ms: u64,
) -> (Box<Reason>, Option<Vec<u8>>) {
    let (code, said, instead) = match attempt {
        Attempt::Refused { code, message, instead, .. } => (Some(code), Some(message), instead),
        Attempt::TooLarge { code, message } => (Some(code), Some(message), None),
        Attempt::Retry { reason } | Attempt::Misconfigured { reason } | Attempt::Nowhere { reason } => {
            (None, Some(format!("whether it is there by now is not known: {reason}")), None)
        }
        Attempt::Foreign => (None, Some("somebody else's object stands at its name".to_owned()), None),
        Attempt::Differs { found } => (None, Some(found), None),
        Attempt::Absent | Attempt::Stored { .. } | Attempt::Rejected { .. } => (None, None, None),
    };
    let words: Vec<String> = ["given up on by `abandon`".to_owned()].into_iter().chain(known).chain(said).collect();
    let (code, message) = (code.unwrap_or_else(|| ABANDONED.to_owned()), words.join("; "));
    (Box::new(Reason { code, message, attempts, ended_ms }), instead)
}

impl Outbox {
    /// Plans that are ready and do not go: the stream is paused, or the first one of an order is not taken.
    pub(crate) fn held_up(&self, state: &State, live: &Live, now: Duration) -> BTreeSet<u64> {
        let first = whose_turn(state)
            .filter(|first| live.ordered && self.shipping.get(first).is_some_and(|shipping| shipping.is_stalled(now)));
        let is_behind = |number: &u64| {
            first.is_some_and(|first| first != *number) && Gate::of(&state.plans[number]) == Gate::Destination
        };
        let ready = self.shipping.iter().filter(|(_, shipping)| matches!(shipping.phase, ShippingPhase::Ready(_)));
        ready.map(|(number, _)| *number).filter(|number| state.paused || is_behind(number)).collect()
    }

    /// Gives up on every plan that its destination, or the backup, has not taken so far, and on what is held. What is being sent
    /// at this moment is given up on if it is not taken. `held`: plans that are made again of records that cannot be, and
    /// those that are [held up](Outbox::held_up).
    pub(crate) fn abandon(&mut self, state: &State, held: &BTreeSet<u64>, ended_ms: u64) -> AbandonCount {
        let not_begun = state.open_plans().filter(|plan| can_be_given_up(plan) && !self.knows(plan.number));
        let mut done = AbandonCount { rebuilding: not_begun.count() as u64, ..AbandonCount::default() };
        let numbers: Vec<u64> = self.shipping.keys().copied().collect();
        for number in numbers {
            let Some(shipping) = self.shipping.get_mut(&number) else { continue };
            let plan = &state.plans[&number];
            let is_held = match &shipping.phase {
                ShippingPhase::Waiting { .. } | ShippingPhase::Held { .. } | ShippingPhase::Sent(_) => true,
                ShippingPhase::Rebuilding(_) | ShippingPhase::Ready(_) => held.contains(&number),
                _ => false,
            };
            let is_rebuilding = matches!(shipping.phase, ShippingPhase::Rebuilding(_)) && !is_held;
            done.rebuilding += (is_rebuilding && can_be_given_up(plan)) as u64;
            if !is_held || shipping.is_given_up {
                continue;
            }
            if !can_be_given_up(plan) {
                let cannot_go = matches!(shipping.phase, ShippingPhase::Held { .. } | ShippingPhase::Rebuilding(_));
                let is_wrong = shipping.alarm.is_some() || cannot_go;
                done.left += is_wrong as u64;
                continue;
            }
            done.given_up += 1;
            done.being_sent += matches!(shipping.phase, ShippingPhase::Sent(_)) as u64;
            let refused = shipping.refused.take();
            let attempts = shipping.attempts;
            let given_up = |words: String| {
                let (reason, instead) = last_words(Some(words), Attempt::Absent, attempts, ended_ms);
                ShippingPhase::GivenUp { body: None, reason, instead }
            };
            let phase = match (&shipping.phase, refused) {
                (ShippingPhase::Waiting { body, .. } | ShippingPhase::Ready(body), Some((reason, instead))) => {
                    ShippingPhase::GivenUp { body: Some(body.clone()), reason, instead }
                }
                (ShippingPhase::Waiting { body, .. }, None) => {
                    let body = body.clone();
                    shipping.is_given_up = true;
                    ShippingPhase::Ready(body)
                }
                (ShippingPhase::Held { alarm }, _) => given_up(alarm.clone()),
                // Nobody can be asked what a receiver got.
                (ShippingPhase::Ready(body), None) if is_receiver(plan) => {
                    let known = shipping.alarm.take().map(|alarm| alarm.detail);
                    let (reason, instead) = last_words(known, Attempt::Absent, attempts, ended_ms);
                    ShippingPhase::GivenUp { body: Some(body.clone()), reason, instead }
                }
                (ShippingPhase::Rebuilding(_), _) => given_up("its records cannot be made again".to_owned()),
                _ => {
                    // Its answer decides.
                    shipping.is_given_up = true;
                    continue;
                }
            };
            self.enter(number, phase);
        }
        done
    }

    /// Whether a plan that somebody has given up on waits for an answer.
    pub(crate) fn is_giving_up(&self) -> bool {
        self.shipping
            .values()
            .any(|s| s.is_given_up && matches!(s.phase, ShippingPhase::Ready(_) | ShippingPhase::Sent(_)))
    }
}
