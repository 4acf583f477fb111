//! What follows from an answer.

use super::abandon::last_words;
use super::queue::Outbox;
use super::shipping::Shipping;
use super::shipping::ShippingPhase;
use crate::alarm::{Alarm, AlarmKind};
use crate::deliver::{Attempt, Body, Rejection};
use crate::destination::retry;
use crate::stream::pipeline::live::{Gate, Live};
use crate::stream::plan::{Plan, Reason};
use std::sync::Arc;
use std::time::Duration;

/// When an answer came, to which plan, and under which settings.
pub(crate) struct AnswerContext<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) live: &'a Live,
    /// By the steady clock.
    pub(crate) now: Duration,
    /// Milliseconds since the Unix epoch.
    pub(crate) ended_ms: u64,
}

impl Outbox {
    /// What became of a shipment. `jitter`: a random number in 0..1, for the pause before the next attempt.
    pub(crate) fn answered(&mut self, attempt: Attempt, context: &AnswerContext, jitter: &mut dyn FnMut() -> f64) {
        let number = context.plan.number;
        let Some(shipping) = self.shipping.get_mut(&number) else { return };
        let ShippingPhase::Sent(body) = &shipping.phase else { return };
        let body = body.clone();
        shipping.attempts += 1;
        shipping.refused = None;
        shipping.is_nowhere = matches!(attempt, Attempt::Nowhere { .. });
        if context.live.adaptive && Gate::of(context.plan) == Gate::Destination {
            let busy = matches!(attempt, Attempt::Refused { busy: true, .. });
            let taken = matches!(attempt, Attempt::Stored { .. });
            let took = context.now - shipping.refusals.sent;
            self.window.answered(taken, busy, took, context.live.shipments_max[Gate::Destination as usize]);
        }
        let phase = match shipping.is_given_up && !matches!(attempt, Attempt::Stored { .. }) {
            true => shipping.last_answer(attempt, body, context),
            false => shipping.answer(attempt, body, context, jitter),
        };
        self.enter(number, phase);
    }
}

impl Shipping {
    /// Where a plan stands after an answer.
    fn answer(
        &mut self,
        attempt: Attempt,
        body: Arc<Body>,
        context: &AnswerContext,
        jitter: &mut dyn FnMut() -> f64,
    ) -> ShippingPhase {
        let AnswerContext { plan, live, now, ended_ms } = *context;
        let attempts = self.attempts;
        let is_misconfigured = matches!(attempt, Attempt::Misconfigured { .. } | Attempt::Nowhere { .. });
        match attempt {
            Attempt::Stored { tag } => ShippingPhase::Stored { tag, object_bytes: body.len() },
            Attempt::Retry { reason } | Attempt::Misconfigured { reason } | Attempt::Nowhere { reason } => {
                // What is waited for here is not the destination.
                (self.refusals.first_sent, self.refusals.before) = (None, Duration::ZERO);
                self.alarm = Some(not_delivered(plan, attempts, &reason));
                ShippingPhase::Waiting { body, until: now + retry::pause(attempts, is_misconfigured, jitter()) }
            }
            Attempt::Refused { code, message, instead, .. } => {
                self.alarm = Some(not_delivered(plan, attempts, &format!("{code}: {message}")));
                let since_first = self.refusals.refuse(now);
                let pause = match &live.patience {
                    Some(patience) => patience.pause(self.refusals.count, self.refusals.paused, since_first, jitter()),
                    None => Some(retry::pause(attempts, false, jitter())),
                };
                let reason = Box::new(Reason { code, message, attempts, ended_ms });
                match pause {
                    Some(pause) => {
                        self.refused = Some((reason, instead));
                        ShippingPhase::Waiting { body, until: now + pause }
                    }
                    None => ShippingPhase::GivenUp { body: Some(body), reason, instead },
                }
            }
            Attempt::TooLarge { code, message } => {
                ShippingPhase::TooLarge(body, Box::new(Reason { code, message, attempts, ended_ms }))
            }
            Attempt::Rejected { records } => {
                let reason = |Rejection { code, message, .. }| Reason { code, message, attempts, ended_ms };
                let records = records.into_iter().map(|rejection| (rejection.record, reason(rejection)));
                ShippingPhase::Rejected(body, records.collect())
            }
            Attempt::Absent => ShippingPhase::CutDown(body),
            // What stands there was never this plan's object.
            Attempt::Foreign if self.only_look => ShippingPhase::CutDown(body),
            Attempt::Foreign => ShippingPhase::Rename(body),
            Attempt::Differs { found } => {
                *self = Shipping::new(ShippingPhase::Held { alarm: String::new() }, None);
                ShippingPhase::Held { alarm: held(plan, &found) }
            }
        }
    }

    /// The same of a plan that somebody has given up on, and that was not stored.
    fn last_answer(&mut self, attempt: Attempt, body: Arc<Body>, context: &AnswerContext) -> ShippingPhase {
        // Asking whether it is there is no attempt to deliver it.
        let attempts = self.attempts.saturating_sub(self.is_asked as u32);
        let (reason, instead) =
            last_words(self.alarm.take().map(|alarm| alarm.detail), attempt, attempts, context.ended_ms);
        match self.is_asked {
            true => ShippingPhase::GivenUp { body: Some(body), reason, instead },
            false => {
                // What became of that attempt may not be known.
                self.alarm = Some(about_store(context.plan, reason.message));
                ShippingPhase::Ready(body)
            }
        }
    }
}

fn not_delivered(plan: &Plan, attempts: u32, why: &str) -> Alarm {
    let detail = format!("`{}` is not delivered after {attempts} attempts: {why}", plan.place().1);
    // The names of objects stand in back quotes, and are not what it is about.
    let cause = why.split(": ").next().unwrap_or_default().split('`').step_by(2);
    about_store(plan, detail).because_of(cause.collect::<String>())
}

/// The alarm of a plan's store: what is not delivered there is likely to have one cause.
fn about_store(plan: &Plan, detail: String) -> Alarm {
    Alarm::new(AlarmKind::NotDelivered, detail).about(plan.place().0)
}

/// What an alarm says of a plan that is held.
pub(crate) fn held(plan: &Plan, why: &str) -> String {
    format!("plan {} (`{}`) is held: {why}", plan.id, plan.name)
}
