//! An open plan's way: where it stands, and what is known of its attempts.

use super::refusals::Refusals;
use crate::alarm::Alarm;
use crate::deliver::Body;
use crate::stream::engine::filling::Filling;
use crate::stream::plan::Reason;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// An open plan on its way.
pub(super) struct Shipping {
    pub(super) phase: ShippingPhase,
    pub(super) attempts: u32,
    /// Why the last attempt failed, until the plan is settled.
    pub(super) alarm: Option<Alarm>,
    pub(super) content_encoding: Option<&'static str>,
    /// Its bytes are not those that may have been sent: attempts only ask whether its object is there.
    pub(super) only_look: bool,
    /// By its last answer there is no such store as it goes to.
    pub(super) is_nowhere: bool,
    /// Somebody has given up on it: whether it is there is asked once more, and then it is.
    pub(super) is_given_up: bool,
    /// The attempt that is under way only asks.
    pub(super) is_asked: bool,
    /// Its body is made for error records.
    pub(super) packed: Option<PackedOutputs>,
    pub(super) refusals: Refusals,
    /// Of the last refusal, if that was the last answer.
    pub(super) refused: Option<(Box<Reason>, Option<Vec<u8>>)>,
}

/// What the elements of a body that is made for error records hold: each an output with its partition keys packed in front,
/// but of these records (by their offsets) what their source gave, since their outputs cannot be made again.
#[derive(Default)]
pub(crate) struct PackedOutputs {
    pub(crate) as_source: BTreeSet<u64>,
    /// Those of them that are told of with another plan.
    pub(crate) elsewhere: BTreeSet<u64>,
}

/// A plan's body that is made again.
pub(crate) struct Rebuilding {
    pub(crate) filling: Filling,
    /// So many outputs are in.
    pub(crate) outputs: u64,
    /// It is made for error records.
    pub(crate) packed: Option<PackedOutputs>,
}

/// Where a plan stands.
pub(super) enum ShippingPhase {
    /// Its records are read again.
    Rebuilding(Box<Rebuilding>),
    Ready(Arc<Body>),
    /// The medium lost some of its records. Whether its object was stored before is asked; if not, it is cut down to
    /// the others, whose bytes these are.
    Damaged(Arc<Body>),
    /// It was not.
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
    /// Its destination has refused for too long, or somebody has given up on it.
    GivenUp {
        /// None: its bytes are not at hand.
        body: Option<Arc<Body>>,
        reason: Box<Reason>,
        instead: Option<Vec<u8>>,
    },
    /// Too large for its destination.
    TooLarge(Arc<Body>, Box<Reason>),
    /// Some of its records are not taken, by their numbers in it.
    Rejected(Arc<Body>, BTreeMap<u64, Reason>),
    /// Never sent again by itself: what stands at its name, or what its records give now, is not what it lists.
    Held {
        alarm: String,
    },
}

/// What has to be done, and persisted, before anything else becomes of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Todo {
    Settle,
    Rename,
    CutDown,
    GiveUp,
    SetApart,
    Split,
}

impl ShippingPhase {
    /// What has to be done in this phase, if anything.
    pub(super) fn todo(&self) -> Option<Todo> {
        match self {
            ShippingPhase::Stored { .. } => Some(Todo::Settle),
            ShippingPhase::Rename(_) => Some(Todo::Rename),
            ShippingPhase::CutDown(_) => Some(Todo::CutDown),
            ShippingPhase::GivenUp { .. } => Some(Todo::GiveUp),
            ShippingPhase::Rejected(..) => Some(Todo::SetApart),
            ShippingPhase::TooLarge(..) => Some(Todo::Split),
            ShippingPhase::Rebuilding(_)
            | ShippingPhase::Ready(_)
            | ShippingPhase::Damaged(_)
            | ShippingPhase::Sent(_)
            | ShippingPhase::Waiting { .. }
            | ShippingPhase::Held { .. } => None,
        }
    }

    /// The plan's bytes, as far as they are at hand.
    pub(super) fn body(&self) -> Option<&Arc<Body>> {
        match self {
            ShippingPhase::Ready(body)
            | ShippingPhase::Damaged(body)
            | ShippingPhase::CutDown(body)
            | ShippingPhase::Sent(body)
            | ShippingPhase::Waiting { body, .. }
            | ShippingPhase::GivenUp { body: Some(body), .. }
            | ShippingPhase::TooLarge(body, _)
            | ShippingPhase::Rejected(body, _)
            | ShippingPhase::Rename(body) => Some(body),
            ShippingPhase::Rebuilding(_)
            | ShippingPhase::Stored { .. }
            | ShippingPhase::GivenUp { body: None, .. }
            | ShippingPhase::Held { .. } => None,
        }
    }

    /// What it takes in memory, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        match self {
            ShippingPhase::Rebuilding(rebuilding) => rebuilding.filling.memory_bytes(),
            phase => phase.body().map_or(0, |body| body.memory_bytes()),
        }
    }
}

impl Shipping {
    pub(super) fn new(phase: ShippingPhase, content_encoding: Option<&'static str>) -> Shipping {
        Shipping {
            phase,
            attempts: 0,
            alarm: None,
            content_encoding,
            only_look: false,
            is_nowhere: false,
            is_given_up: false,
            is_asked: false,
            packed: None,
            refusals: Refusals::default(),
            refused: None,
        }
    }
}
