//! What the lanes of a stream have in common under one configuration, so that a thousand of them cost little more than one:
//! an epoch's route is loaded once, and a bucket has one client.

use super::live::Gate;
use super::open::{default_live, live};
use super::places::Before;
use super::route::Route;
use super::sinks::{Bucket, Place, Reached, Settings};
use super::supervise::Shared;
use crate::config::StreamConfig;
use crate::deliver::Sink;
use crate::error::Result;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use tokio::sync::Semaphore;

/// See the module. What no lane uses is not kept. Another configuration has another one: what is live of a transform, and
/// how a bucket is reached, is of it.
#[derive(Clone)]
pub struct Common {
    pub shared: Shared,
    /// By the hash of the epoch's definition, which names modules and schemas by theirs.
    routes: Known<[u8; 32], Route>,
    buckets: Known<Place, Bucket>,
    /// What is no bucket, by the store where it stages objects and how that was reached before.
    sinks: Known<(Place, Option<Reached>), dyn Sink>,
    /// Shipments that may be under way at once, whichever lanes they are of.
    gates: [Arc<Semaphore>; Gate::ALL.len()],
    /// How stores are reached, those included that the configuration does not lead to any more.
    pub(super) settings: Settings,
    pub(super) before: Arc<Before>,
}

type Known<K, V> = Arc<Mutex<BTreeMap<K, Weak<V>>>>;

impl Common {
    pub fn new(shared: &Shared, config: Option<&StreamConfig>, before: &Arc<Before>) -> Common {
        let gates = config.map_or_else(default_live, live).shipments_of_lanes_max;
        Common {
            shared: shared.clone(),
            routes: Known::default(),
            buckets: Known::default(),
            sinks: Known::default(),
            gates: gates.map(|n| Arc::new(Semaphore::new(n))),
            settings: Settings::with_before(config, before),
            before: before.clone(),
        }
    }

    /// Where shipments wait until there are not too many under way.
    pub(super) fn gate(&self, gate: Gate) -> Arc<Semaphore> {
        self.gates[gate as usize].clone()
    }

    /// A sink that is no bucket, made if no lane has it.
    pub(super) fn sink(
        &self,
        place: &Place,
        reached: Option<Reached>,
        connect: impl FnOnce() -> Result<Arc<dyn Sink>>,
    ) -> Result<Arc<dyn Sink>> {
        get(&self.sinks, (place.clone(), reached), connect)
    }

    /// The route of a definition with this hash, made if no lane has it.
    pub fn route(&self, hash: [u8; 32], load: impl FnOnce() -> Result<Route>) -> Result<Arc<Route>> {
        get(&self.routes, hash, || load().map(Arc::new))
    }

    /// A bucket, made if no lane has it.
    pub(super) fn bucket(&self, place: &Place, connect: impl FnOnce() -> Result<Bucket>) -> Result<Arc<Bucket>> {
        get(&self.buckets, place.clone(), || connect().map(Arc::new))
    }
}

/// Whoever comes while it is being made waits for it.
fn get<K: Ord, V: ?Sized>(known: &Known<K, V>, key: K, make: impl FnOnce() -> Result<Arc<V>>) -> Result<Arc<V>> {
    let mut known = known.lock().expect("nobody panics holding what lanes have in common");
    if let Some(found) = known.get(&key).and_then(Weak::upgrade) {
        return Ok(found);
    }
    let made = make()?;
    known.retain(|_, weak| weak.strong_count() > 0);
    known.insert(key, Arc::downgrade(&made));
    Ok(made)
}
