//! What the lanes of a stream have in common under one configuration, so that a thousand of them cost little more than one:
//! an epoch's route is loaded once, and a bucket has one client.

use super::route::Route;
use super::sinks::{Bucket, Place};
use super::supervise::Shared;
use crate::error::Result;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

/// See the module. What no lane uses is not kept. Another configuration has another one: what is live of a transform, and
/// how a bucket is reached, is of it.
#[derive(Clone)]
pub struct Common {
    pub shared: Shared,
    /// By the hash of the epoch's definition, which names modules and schemas by theirs.
    routes: Known<[u8; 32], Route>,
    buckets: Known<Place, Bucket>,
}

type Known<K, V> = Arc<Mutex<BTreeMap<K, Weak<V>>>>;

impl Common {
    pub fn new(shared: &Shared) -> Common {
        Common { shared: shared.clone(), routes: Known::default(), buckets: Known::default() }
    }

    /// The route of a definition with this hash, made if no lane has it.
    pub fn route(&self, hash: [u8; 32], load: impl FnOnce() -> Result<Route>) -> Result<Arc<Route>> {
        get(&self.routes, hash, load)
    }

    /// A bucket, made if no lane has it.
    pub(super) fn bucket(&self, place: &Place, connect: impl FnOnce() -> Result<Bucket>) -> Result<Arc<Bucket>> {
        get(&self.buckets, place.clone(), connect)
    }
}

/// Whoever comes while it is being made waits for it.
fn get<K: Ord, V>(known: &Known<K, V>, key: K, make: impl FnOnce() -> Result<V>) -> Result<Arc<V>> {
    let mut known = known.lock().expect("nobody panics holding what lanes have in common");
    if let Some(found) = known.get(&key).and_then(Weak::upgrade) {
        return Ok(found);
    }
    let made = Arc::new(make()?);
    known.retain(|_, weak| weak.strong_count() > 0);
    known.insert(key, Arc::downgrade(&made));
    Ok(made)
}
