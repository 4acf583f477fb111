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
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// See the module.
pub struct Sinks {
    fs: Arc<dyn Fs>,
    runtime: tokio::runtime::Handle,
    stream: String,
    destination: Option<S3>,
    backup: Option<S3>,
    made: BTreeMap<(bool, String), Made>,
    /// Stores that open plans were sent to with other settings; see [`Sinks::follow`].
    known: BTreeSet<(bool, String)>,
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
            known: BTreeSet::new(),
        }
    }

    /// Takes over from the sinks of the configuration before. What that had settings for and this has not (a backup that
    /// was switched off) goes on with those. Of `open`, the stores of open plans, those that have been reached before
    /// must be found again under a changed endpoint: another store would get objects that the first may have already.
    pub fn follow(&mut self, before: Sinks, open: &BTreeSet<(bool, String)>) {
        let asked = |made: &Made| matches!(made, Made::S3(probed) if probed.asked.load(Ordering::Acquire));
        let reached: BTreeSet<_> = before.made.into_iter().filter(|(_, m)| asked(m)).map(|(place, _)| place).collect();
        let endpoint = |place: &Option<S3>| place.as_ref().map(|s3| s3.endpoint.clone());
        let moved = |(is_backup, _): &(bool, String)| match is_backup {
            true => self.backup.is_some() && endpoint(&self.backup) != endpoint(&before.backup),
            false => self.destination.is_some() && endpoint(&self.destination) != endpoint(&before.destination),
        };
        let unreached = before.known.difference(&reached);
        let known = unreached.chain(reached.iter().filter(|place| moved(place)));
        self.known = known.filter(|place| open.contains(place)).cloned().collect();
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
                    asked: AtomicBool::new(false),
                    known: self.known.contains(&place) && settings.conditional == Conditional::Auto,
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
    asked: AtomicBool,
    /// It has been asked before, at another endpoint: what was made to ask it must be there.
    known: bool,
}

impl Probed {
    fn ask(&self) -> Result<(), Failure> {
        let key = format!("_hydrant/probe-{}", self.stream);
        if self.known {
            match self.s3.look(&key) {
                Looked::Present { .. } => {}
                Looked::Failed(failure) => return Err(failure),
                Looked::Absent => {
                    let reason = format!(
                        "`endpoint` leads to another store than before (`{key}` is not there) while objects are on \
                         their way to that one: put it back until `open_plans` is 0"
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
        }
        Ok(())
    }
}

impl Sink for Probed {
    fn attempt(&self, shipment: &Shipment) -> Attempt {
        if !self.asked.load(Ordering::Acquire) {
            if let Err(failure) = self.ask() {
                return failure.into();
            }
            self.asked.store(true, Ordering::Release);
        }
        self.s3.attempt(shipment)
    }
}
