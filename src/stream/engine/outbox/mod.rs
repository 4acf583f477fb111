//! Open plans on their way out: which of them are sent when, what follows from an answer, and what has to be done with a plan
//! before anything else becomes of it. It persists nothing itself.

mod abandon;
mod answer;
mod queue;
mod refusals;
mod shipping;
mod window;

pub use self::abandon::AbandonCount;
pub(super) use self::answer::{AnswerContext, held};
pub(super) use self::queue::{GivenUpPlan, Outbox, StoredPlan};
pub(super) use self::shipping::{PackedOutputs, Rebuilding};
