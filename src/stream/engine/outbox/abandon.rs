//! Plans that a person gives up on, whatever holds them. Whether the object is there is asked once more, and then they are given
//! up on.

use super::queue::Outbox;
use super::shipping::{Shipping, ShippingPhase};
use crate::deliver::Attempt;
use crate::stream::pipeline::live::Live;
use crate::stream::plan::Reason;
use crate::stream::plan::state::State;
use std::collections::BTreeSet;
use std::time::Duration;

/// The code of what somebody has given up on without an answer that has one.
const ABANDONED: &str = "Delivery.Abandoned";

/// What `abandon` did, in plans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AbandonCount {
    pub given_up: u64,
    /// They tell of failures and have no other place: theirs has to take them.
    pub left: u64,
}

impl std::ops::Add for AbandonCount {
    type Output = AbandonCount;

    fn add(self, other: AbandonCount) -> AbandonCount {
        AbandonCount { given_up: self.given_up + other.given_up, left: self.left + other.left }
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
    /// Plans that are ready and do not go: the stream is paused, or a plan before them is not taken where they go too.
    pub(crate) fn held_up(&self, state: &State, live: &Live, now: Duration) -> BTreeSet<u64> {
        let place = |number: &u64| state.plans[number].place().0;
        let is_refused = |shipping: &Shipping| {
            shipping.alarm.is_some()
                || matches!(shipping.phase, ShippingPhase::Waiting { .. } | ShippingPhase::Held { .. })
        };
        let refused = self.shipping.iter().filter(|(_, shipping)| is_refused(shipping));
        let refused: BTreeSet<&str> = refused.map(|(number, _)| place(number)).collect();
        let go = self.going(state, live, now);
        let ready = self.shipping.iter().filter(|(_, shipping)| matches!(shipping.phase, ShippingPhase::Ready(_)));
        let stay = ready.map(|(number, _)| *number).filter(|number| !go.contains(number));
        stay.filter(|number| state.paused || refused.contains(place(number))).collect()
    }

    /// Gives up on every plan that its destination, or the backup, has not taken so far, and on what is held. What is being sent
    /// at this moment is given up on if it is not taken. `held`: plans that are made again of records that cannot be, and
    /// those that are [held up](Outbox::held_up).
    pub(crate) fn abandon(&mut self, state: &State, held: &BTreeSet<u64>, ended_ms: u64) -> AbandonCount {
        let mut done = AbandonCount::default();
        let numbers: Vec<u64> = self.shipping.keys().copied().collect();
        for number in numbers {
            let Some(shipping) = self.shipping.get_mut(&number) else { continue };
            let plan = &state.plans[&number];
            let is_held = match &shipping.phase {
                ShippingPhase::Waiting { .. } | ShippingPhase::Held { .. } | ShippingPhase::Sent(_) => true,
                ShippingPhase::Rebuilding(_) | ShippingPhase::Ready(_) => held.contains(&number),
                _ => false,
            };
            if !is_held || shipping.is_given_up {
                continue;
            }
            if plan.abandoned.is_some() || plan.outlet.is_failure() {
                let is_untried = matches!(shipping.phase, ShippingPhase::Sent(_) | ShippingPhase::Ready(_));
                done.left += (shipping.alarm.is_some() || !is_untried) as u64;
                continue;
            }
            done.given_up += 1;
            let refused = shipping.refused.take();
            let attempts = shipping.attempts;
            let given_up = |words: String| {
                let (reason, instead) = last_words(Some(words), Attempt::Absent, attempts, ended_ms);
                ShippingPhase::GivenUp { body: None, reason, instead }
            };
            let phase = match (&shipping.phase, refused) {
                (ShippingPhase::Waiting { body, .. }, Some((reason, instead))) => {
                    ShippingPhase::GivenUp { body: Some(body.clone()), reason, instead }
                }
                (ShippingPhase::Waiting { body, .. }, None) => {
                    let body = body.clone();
                    shipping.is_given_up = true;
                    ShippingPhase::Ready(body)
                }
                (ShippingPhase::Held { alarm }, _) => given_up(alarm.clone()),
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
