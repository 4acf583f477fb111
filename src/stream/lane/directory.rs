//! A directory as a stream uses it: noted before anything is written there, so that one that never could be is told from one that
//! is not there at the moment, and may have an object already.

use super::reached::{Reached, ReachedStores, StorePlace};
use crate::deliver::local::LocalSink;
use crate::deliver::object::Failure;
use crate::deliver::{Attempt, Shelf, Shipment, Sink, Spool};
use crate::error::Kind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A directory that is noted before anything is written there.
pub(super) struct NotedDirectory {
    local: LocalSink,
    reached: Arc<ReachedStores>,
    place: StorePlace,
    /// It is noted.
    is_noted: AtomicBool,
}

impl NotedDirectory {
    pub(super) fn new(local: LocalSink, reached: Arc<ReachedStores>, place: StorePlace) -> NotedDirectory {
        let is_noted = AtomicBool::new(reached.may_have_been(&place));
        NotedDirectory { local, reached, place, is_noted }
    }

    /// Takes note that objects may be there from now on. The answer instead, if they cannot be, or nothing can be noted.
    fn note(&self) -> Result<(), Attempt> {
        if let Err(e) = self.local.make() {
            return Err(Attempt::Nowhere { reason: format!("make `{}`: {e}", self.local.root().display()) });
        }
        match self.reached.note(&self.place, &Reached { endpoint: None, probe: String::new() }) {
            Ok(()) => self.is_noted.store(true, Ordering::Relaxed),
            // On a full disk what is held is delivered all the same: that makes room.
            Err(e) if e.kind == Kind::NoSpace => {}
            Err(e) => return Err(Attempt::Retry { reason: format!("note which directory this is: {e}") }),
        }
        Ok(())
    }
}

impl Sink for NotedDirectory {
    fn attempt(&self, shipment: &Shipment) -> Attempt {
        if !self.is_noted.load(Ordering::Relaxed)
            && let Err(answer) = self.note()
        {
            return answer;
        }
        match self.local.attempt(shipment) {
            // It was there once, and may have the object.
            Attempt::Nowhere { reason } => Attempt::Misconfigured { reason },
            answer => answer,
        }
    }
}

impl Shelf for NotedDirectory {
    fn list(&self, prefix: &str) -> Result<Vec<String>, Failure> {
        self.local.list(prefix)
    }

    fn fetch(&self, name: &str, to: &mut Spool) -> Result<(), Failure> {
        self.local.fetch(name, to)
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        self.local.remove(name)
    }
}
