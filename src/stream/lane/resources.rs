//! What the lanes of a stream have in common under one configuration, so that a thousand of them cost little more than one:
//! an epoch's route is loaded once, and a bucket has one client.

use super::bucket::Bucket;
use super::gates::StreamGates;
use super::places::Before;
use super::reached::{Reached, StorePlace};
use super::shared::NodeShared;
use super::sink_settings::SinkSettings;
use crate::config::StreamConfig;
use crate::deliver::Sink;
use crate::error::Result;
use crate::stream::pipeline::known::Known;
use crate::stream::pipeline::live::Gate;
use crate::stream::pipeline::route::Route;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What the lanes of a stream share. What no lane uses is not kept. Each configuration has its own,
/// because the running transform and the connection to a bucket belong to it.
#[derive(Clone)]
pub struct LaneResources {
    pub shared: NodeShared,
    /// By the hash of the epoch's definition, which names modules and schemas by theirs.
    pub(super) routes: Known<[u8; 32], Route>,
    buckets: Known<StorePlace, Bucket>,
    /// What is no bucket, by the store where it stages objects and how that was reached before.
    sinks: Known<(StorePlace, Option<Reached>), dyn Sink>,
    /// Shipments that may be under way at once, whichever lanes they are of.
    gates: Arc<StreamGates>,
    /// How stores are reached, those included that the configuration does not lead to any more.
    pub(in crate::stream) settings: SinkSettings,
}

impl LaneResources {
    pub fn new(shared: &NodeShared, config: Option<&StreamConfig>, before: &Before) -> LaneResources {
        LaneResources {
            shared: shared.clone(),
            routes: Known::default(),
            buckets: Known::default(),
            sinks: Known::default(),
            gates: StreamGates::new(config),
            settings: SinkSettings::with_before(config, before),
        }
    }

    /// Behind the gates of the configuration before: what is under way counts on.
    pub(in crate::stream) fn behind(self, gates: &Arc<StreamGates>) -> LaneResources {
        LaneResources { gates: gates.clone(), ..self }
    }

    pub(in crate::stream) fn gates(&self) -> &Arc<StreamGates> {
        &self.gates
    }

    /// Where shipments wait until there are not too many under way.
    pub(super) fn gate(&self, gate: Gate) -> Arc<Semaphore> {
        self.gates.gate(gate)
    }

    /// A sink that is no bucket, made if no lane has it.
    pub(super) fn sink(
        &self,
        place: &StorePlace,
        reached: Option<Reached>,
        connect: impl FnOnce() -> Result<Arc<dyn Sink>>,
    ) -> Result<Arc<dyn Sink>> {
        self.sinks.get((place.clone(), reached), connect)
    }

    /// A bucket, made if no lane has it.
    pub(super) fn bucket(&self, place: &StorePlace, connect: impl FnOnce() -> Result<Bucket>) -> Result<Arc<Bucket>> {
        self.buckets.get(place.clone(), || connect().map(Arc::new))
    }
}
