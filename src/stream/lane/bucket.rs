//! A bucket as the lanes of a stream use it: asked, before anything is sent to it, whether it heeds conditions and whether it
//! is the store that was reached before.

use super::reached::{Reached, ReachedStores, StorePlace};
use crate::config::{Conditional, S3};
use crate::deliver::object::{Failure, Looked, ObjectStore};
use crate::deliver::{Attempt, Shelf, Shipment, Sink, Spool, s3};
use crate::error::Kind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// A bucket as all lanes of a stream use it.
pub(super) struct Bucket {
    s3: s3::S3Sink,
    /// What it said when it was last asked: what it calls the probe's content.
    answer: Mutex<Option<Result<String, Failure>>>,
    /// How often it was asked.
    asked: AtomicU64,
}

/// A bucket that is asked, before anything is sent to it, whether it heeds conditions.
pub(super) struct ProbedBucket {
    bucket: Arc<Bucket>,
    stream: String,
    endpoint: Option<String>,
    /// Set when it has been asked.
    reached: OnceLock<Reached>,
    /// It has been asked before, at another endpoint: what was made to ask it must be there.
    expected: Option<Reached>,
    /// Where it is noted that it was reached, and as what.
    remembered: Option<(Arc<ReachedStores>, StorePlace)>,
}

/// Whether the settings may lead to another store than the one that was reached; without a probe nothing could tell.
fn may_differ(reached: &Reached, settings: &S3) -> bool {
    reached.endpoint != settings.endpoint && settings.conditional == Conditional::Auto
}

impl Bucket {
    pub(super) fn new(s3: s3::S3Sink) -> Bucket {
        Bucket { s3, answer: Mutex::default(), asked: AtomicU64::new(0) }
    }

    /// Finds out whether it heeds conditions; what it calls the probe's content. Whoever comes while it is being asked waits
    /// for that answer, also if it is none: a bucket that hangs is not waited for by one after the other.
    fn ask(&self, key: &str, stream: &str) -> Result<String, Failure> {
        let came = self.asked.load(Ordering::Acquire);
        let mut answer = self.answer.lock().expect("nobody panics asking a bucket");
        match &*answer {
            Some(Ok(probe)) => return Ok(probe.clone()),
            Some(Err(failure)) if self.asked.load(Ordering::Acquire) > came => return Err(failure.clone()),
            _ => {}
        }
        let found = self.probe(key, stream);
        self.asked.fetch_add(1, Ordering::Release);
        *answer = Some(found.clone());
        found
    }

    fn probe(&self, key: &str, stream: &str) -> Result<String, Failure> {
        if !self.s3.probe(key)? {
            tracing::warn!(
                stream,
                "the store does not heed If-None-Match: every name is looked at first, and an object that somebody else \
                 creates in between is overwritten"
            );
            // It has just been written anew.
            return Ok(String::new());
        }
        match self.s3.look(key) {
            Looked::Present { tag, .. } => Ok(tag),
            Looked::Absent | Looked::Failed(_) => Ok(String::new()),
        }
    }
}

impl ProbedBucket {
    /// `known`: as what it was reached before, if it was; `remembered`: where it is noted that it is reached now.
    pub(super) fn new(
        bucket: Arc<Bucket>,
        stream: &str,
        settings: &S3,
        known: Option<&Reached>,
        remembered: Option<(Arc<ReachedStores>, StorePlace)>,
    ) -> ProbedBucket {
        ProbedBucket {
            bucket,
            stream: stream.to_owned(),
            endpoint: settings.endpoint.clone(),
            reached: OnceLock::new(),
            expected: known.filter(|reached| may_differ(reached, settings)).cloned(),
            remembered,
        }
    }

    /// As what it was reached, if it has been asked.
    pub(super) fn reached(&self) -> Option<Reached> {
        self.reached.get().cloned()
    }

    /// What the store calls the probe's content.
    fn ask(&self) -> Result<String, Failure> {
        let key = format!("_hydrant/probe-{}", self.stream);
        if let Some(Reached { probe, .. }) = &self.expected {
            match self.bucket.s3.look(&key) {
                Looked::Present { tag, .. } if probe.is_empty() || *probe == tag => {}
                Looked::Failed(failure) => return Err(failure),
                Looked::Present { .. } | Looked::Absent => {
                    let reason = format!(
                        "`endpoint` leads to another store than before (the `{key}` of that one is not there) while \
                         objects are on their way to that one: put it back until `open_plans` is 0"
                    );
                    return Err(Failure { misconfigured: true, nowhere: false, gone: false, reason });
                }
            }
        }
        self.bucket.ask(&key, &self.stream)
    }
}

impl Shelf for ProbedBucket {
    fn list(&self, prefix: &str) -> std::result::Result<Vec<String>, Failure> {
        self.bucket.s3.list(prefix)
    }

    fn fetch(&self, name: &str, to: &mut Spool) -> std::result::Result<(), Failure> {
        self.bucket.s3.fetch(name, to)
    }

    fn remove(&self, name: &str) -> std::result::Result<(), Failure> {
        self.bucket.s3.remove(name)
    }
}

impl Sink for ProbedBucket {
    fn attempt(&self, shipment: &Shipment) -> Attempt {
        if self.reached.get().is_none() {
            match self.ask() {
                // Another shipment may have asked meanwhile, with the same answer.
                Ok(probe) => {
                    let reached = Reached { endpoint: self.endpoint.clone(), probe };
                    if let Some((remembered, place)) = &self.remembered
                        && let Err(e) = remembered.note(place, &reached)
                    {
                        // On a full disk what is held is delivered all the same: that makes room.
                        if e.kind == Kind::NoSpace {
                            tracing::warn!(stream = self.stream, error = %e, "which store this is cannot be noted");
                            return self.bucket.s3.attempt(shipment);
                        }
                        return Attempt::Retry { reason: format!("note which store this is: {e}") };
                    }
                    drop(self.reached.set(reached));
                }
                Err(failure) => return failure.into(),
            }
        }
        self.bucket.s3.attempt(shipment)
    }
}
