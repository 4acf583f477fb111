//! The routes of a lane's epochs: loaded when they are first needed, from definitions that are kept on disk.

use crate::error::{Error, Kind, Result};
use crate::stream::pipeline::load::Routes;
use crate::stream::pipeline::route::Route;
use crate::stream::plan::state::State;
use crate::stream::state_log::blobs::{Blobs, hex};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The routes of a lane's epochs.
pub(super) struct EpochRoutes {
    blobs: Blobs,
    loader: Box<dyn Routes>,
    /// By the number of their epoch.
    loaded: BTreeMap<u32, Arc<Route>>,
}

impl EpochRoutes {
    pub(super) fn new(blobs: Blobs, loader: Box<dyn Routes>) -> EpochRoutes {
        EpochRoutes { blobs, loader, loaded: BTreeMap::new() }
    }

    /// The route that a definition describes.
    pub(super) fn load(&self, definition: &[u8]) -> Result<Arc<Route>> {
        self.loader.load(definition, &self.blobs)
    }

    /// Keeps a definition, and returns its hash. It is durable when [`EpochRoutes::settle`] has returned.
    pub(super) fn put(&self, definition: &[u8]) -> Result<[u8; 32]> {
        self.blobs.put(definition)
    }

    /// Makes everything that was put durable.
    pub(super) fn settle(&self) -> Result<()> {
        self.blobs.settle()
    }

    /// Takes note of the route of an epoch.
    pub(super) fn insert(&mut self, epoch: u32, route: Arc<Route>) {
        self.loaded.insert(epoch, route);
    }

    /// The route of an epoch, loaded from disk if it is an old one.
    pub(super) fn get(&mut self, epoch: u32, state: &State) -> Result<Arc<Route>> {
        if let Some(route) = self.loaded.get(&epoch) {
            return Ok(route.clone());
        }
        let known = state.epochs.iter().find(|e| e.number == epoch);
        let known = known.ok_or_else(|| Error::new(Kind::Bug, format!("epoch {epoch} is not in the plan log")))?;
        let definition = self.blobs.get(&known.hash)?;
        let route = self.load(&definition);
        let route = route.map_err(|e| e.during(format!("load epoch {epoch} ({})", hex(&known.hash[..4]))))?;
        self.loaded.insert(epoch, route.clone());
        Ok(route)
    }

    /// Has routes loaded by another loader from now on, and returns the one before.
    pub(super) fn load_by(&mut self, loader: Box<dyn Routes>) -> Box<dyn Routes> {
        std::mem::replace(&mut self.loader, loader)
    }

    /// Forgets the routes of all epochs but this one: with another loader they may be others.
    pub(super) fn keep_only(&mut self, epoch: u32) {
        self.loaded.retain(|number, _| *number == epoch);
    }

    /// Drops the routes of epochs that are not needed any more. Their files stay until the next start.
    pub(super) fn forget_settled(&mut self, state: &State) {
        self.loaded.retain(|number, _| state.epochs.iter().any(|e| e.number == *number));
    }

    /// Removes the files of epochs that nothing needs: definitions by their hash, and what they name.
    pub(super) fn tidy(&self, state: &State) -> Result<()> {
        let epochs = &state.epochs;
        let definitions = epochs.iter().map(|e| self.blobs.get(&e.hash)).collect::<Result<Vec<_>>>()?;
        let named = |name: &str| definitions.iter().any(|d| memchr::memmem::find(d, name.as_bytes()).is_some());
        self.blobs.keep_only(&|name| epochs.iter().any(|e| hex(&e.hash) == name) || named(name))
    }

    /// What the user's code has counted since the last time, by name.
    pub(super) fn take_metrics(&self) -> Vec<(String, u64)> {
        self.loaded.values().flat_map(|r| r.transform.iter()).flat_map(|t| t.take_metrics()).collect()
    }
}
