//! Where a stream's plans can be sent: live settings (endpoint, credentials, time-outs) by outlet and store. A plan keeps
//! its store through every reload; these change.

use super::plan::Outlet;
use super::supervise::Shared;
use crate::config::{Conditional, Destination, S3, StreamConfig};
use crate::deliver::object::{Failure, Looked, ObjectStore};
use crate::deliver::{Attempt, Shipment, Sink, local::Local, s3};
use crate::error::{Error, Kind, Result};
use crate::fs::Fs;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// See the module.
pub struct Sinks {
    fs: Arc<dyn Fs>,
    runtime: tokio::runtime::Handle,
    stream: String,
    destination: Option<S3>,
    backup: Option<S3>,
    made: BTreeMap<(bool, String), Made>,
    /// Stores that open plans were sent to by the sinks of before; see [`Sinks::follow`].
    known: BTreeMap<(bool, String), Reached>,
}

/// A store that was reached: under which endpoint, and what it calls the probe's content. That is empty where it tells
/// no store from another.
#[derive(Clone)]
struct Reached {
    endpoint: Option<String>,
    probe: String,
}

/// A sink in use.
enum Made {
    Local(Arc<Local>),
    S3(Arc<Probed>),
}

impl Sinks {
    pub fn new(shared: &Shared, stream: &str, config: Option<&StreamConfig>) -> Sinks {
        let s3 = |place: Option<&Destination>| match place {
            Some(Destination::S3(s3)) => Some((**s3).clone()),
            _ => None,
        };
        Sinks {
            fs: shared.fs.clone(),
            runtime: shared.runtime.clone(),
            stream: stream.to_owned(),
            destination: s3(config.map(|c| &c.destination)),
            backup: s3(config.and_then(|c| c.backup.as_ref()).map(|b| &b.destination)),
            made: BTreeMap::new(),
            known: BTreeMap::new(),
        }
    }

    /// Takes over from the sinks of the configuration before. What that had settings for and this has not (a backup that
    /// was switched off) goes on with those. Of `open`, the stores of open plans, those that have been reached before
    /// must be found again under a changed endpoint: another store would get objects that the first may have already.
    pub fn follow(&mut self, before: Sinks, open: &BTreeSet<(bool, String)>) {
        let reached = |made: Made| match made {
            Made::S3(probed) => probed.reached.get().cloned(),
            Made::Local(_) => None,
        };
        self.known = before.known;
        self.known.extend(before.made.into_iter().filter_map(|(place, made)| Some((place, reached(made)?))));
        self.known.retain(|place, _| open.contains(place));
        self.destination = self.destination.take().or(before.destination);
        self.backup = self.backup.take().or(before.backup);
    }

    /// The sink of an outlet's store, which may be one that only an older epoch used: then with the settings of today.
    pub fn sink(&mut self, outlet: Outlet, store: &str) -> Result<Arc<dyn Sink>> {
        let place = (outlet == Outlet::Backup, store.to_owned());
        match self.made.get(&place) {
            Some(Made::Local(sink)) => return Ok(sink.clone()),
            Some(Made::S3(sink)) => return Ok(sink.clone()),
            None => {}
        }
        let settings = if place.0 { &self.backup } else { &self.destination };
        let made = match (store.strip_prefix("file://"), store.strip_prefix("s3://"), settings) {
            (Some(dir), _, _) => Made::Local(Arc::new(Local::new(self.fs.clone(), PathBuf::from(dir)))),
            (_, Some(bucket), Some(settings)) => {
                let settings = S3 { bucket: bucket.to_owned(), ..settings.clone() };
                Made::S3(Arc::new(Probed {
                    s3: s3::S3::connect(&settings, self.runtime.clone())?,
                    stream: self.stream.clone(),
                    endpoint: settings.endpoint.clone(),
                    reached: OnceLock::new(),
                    expected: self.known.get(&place).filter(|reached| may_differ(reached, &settings)).cloned(),
                }))
            }
            _ => {
                let message = format!("the configuration has no settings for `{store}`, where open plans have to go");
                return Err(Error::new(Kind::Misconfigured, message));
            }
        };
        self.made.insert(place, made);
        self.sink(outlet, store)
    }
}

/// A bucket that is asked, before anything is sent to it, whether it heeds conditions.
struct Probed {
    s3: s3::S3,
    stream: String,
    endpoint: Option<String>,
    /// Set when it has been asked.
    reached: OnceLock<Reached>,
    /// It has been asked before, at another endpoint: what was made to ask it must be there.
    expected: Option<Reached>,
}

/// Whether the settings may lead to another store than the one that was reached; without a probe nothing could tell.
fn may_differ(reached: &Reached, settings: &S3) -> bool {
    reached.endpoint != settings.endpoint && settings.conditional == Conditional::Auto
}

impl Probed {
    /// What the store calls the probe's content.
    fn ask(&self) -> Result<String, Failure> {
        let key = format!("_hydrant/probe-{}", self.stream);
        if let Some(Reached { probe, .. }) = &self.expected {
            match self.s3.look(&key) {
                Looked::Present { tag, .. } if probe.is_empty() || *probe == tag => {}
                Looked::Failed(failure) => return Err(failure),
                Looked::Present { .. } | Looked::Absent => {
                    let reason = format!(
                        "`endpoint` leads to another store than before (the `{key}` of that one is not there) while \
                         objects are on their way to that one: put it back until `open_plans` is 0"
                    );
                    return Err(Failure { misconfigured: true, reason });
                }
            }
        }
        if !self.s3.probe(&key)? {
            tracing::warn!(
                stream = self.stream,
                "the store does not heed If-None-Match: every name is looked at first, and an object that somebody else \
                 creates in between is overwritten"
            );
            // It has just been written anew.
            return Ok(String::new());
        }
        match self.s3.look(&key) {
            Looked::Present { tag, .. } => Ok(tag),
            Looked::Absent | Looked::Failed(_) => Ok(String::new()),
        }
    }
}

impl Sink for Probed {
    fn attempt(&self, shipment: &Shipment) -> Attempt {
        if self.reached.get().is_none() {
            match self.ask() {
                // Another shipment may have asked meanwhile, with the same answer.
                Ok(probe) => drop(self.reached.set(Reached { endpoint: self.endpoint.clone(), probe })),
                Err(failure) => return failure.into(),
            }
        }
        self.s3.attempt(shipment)
    }
}
