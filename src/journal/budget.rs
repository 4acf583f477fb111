//! A limit on bytes of disk, per stream and, above it, per node.

use crate::error::{Error, Kind, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that may be on disk, and those that are. Whoever goes gives its parent back all that it has.
pub struct Budget {
    what: &'static str,
    limit: AtomicU64,
    used: AtomicU64,
    parent: Option<Arc<Budget>>,
}

impl Budget {
    /// `what` names the budget's owner in errors: `stream`, `node`.
    pub fn new(what: &'static str, limit: u64, parent: Option<Arc<Budget>>) -> Arc<Self> {
        Arc::new(Budget { what, limit: AtomicU64::new(limit), used: AtomicU64::new(0), parent })
    }

    pub fn unlimited() -> Arc<Self> {
        Budget::new("stream", u64::MAX, None)
    }

    pub fn set_limit(&self, limit: u64) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    pub fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    /// Takes `bytes`, or nothing and an error of kind `NoSpace` that says whose budget is over.
    pub fn take(&self, bytes: u64) -> Result<()> {
        let limit = self.limit.load(Ordering::Relaxed);
        let add = |used: u64| used.checked_add(bytes).filter(|&sum| sum <= limit);
        if let Err(used) = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add) {
            let message = format!("the disk budget of this {} is used up: {used} of {limit} bytes", self.what);
            return Err(Error::new(Kind::NoSpace, message));
        }
        match self.parent.as_ref().map_or(Ok(()), |p| p.take(bytes)) {
            Ok(()) => Ok(()),
            Err(e) => {
                self.used.fetch_sub(bytes, Ordering::Relaxed);
                Err(e)
            }
        }
    }

    /// Counts what is on disk already, over the limit or not.
    pub fn found(&self, bytes: u64) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.parent {
            parent.found(bytes);
        }
    }

    /// Gives back what was taken or found.
    pub fn give_back(&self, bytes: u64) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(parent) = &self.parent {
            parent.give_back(bytes);
        }
    }
}

impl Drop for Budget {
    fn drop(&mut self) {
        if let Some(parent) = &self.parent {
            parent.give_back(self.used());
        }
    }
}
