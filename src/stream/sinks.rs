//! Where a stream's plans can be sent: live settings (endpoint, credentials, time-outs) by outlet and store. A plan keeps
//! its store through every reload; these change.

use super::plan::Outlet;
use super::supervise::Shared;
use crate::config::{Destination, S3, StreamConfig};
use crate::deliver::{Attempt, Shipment, Sink, local::Local, s3};
use crate::error::{Error, Kind, Result};
use crate::fs::Fs;
use std::collections::BTreeMap;
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
    made: BTreeMap<(bool, String), Arc<dyn Sink>>,
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
        }
    }

    /// The sink of an outlet's store, which may be one that only an older epoch used: then with the settings of today.
    pub fn sink(&mut self, outlet: Outlet, store: &str) -> Result<Arc<dyn Sink>> {
        let place = (outlet == Outlet::Backup, store.to_owned());
        if let Some(sink) = self.made.get(&place) {
            return Ok(sink.clone());
        }
        let settings = if place.0 { &self.backup } else { &self.destination };
        let sink: Arc<dyn Sink> = match (store.strip_prefix("file://"), store.strip_prefix("s3://"), settings) {
            (Some(dir), _, _) => Arc::new(Local::new(self.fs.clone(), PathBuf::from(dir))),
            (_, Some(bucket), Some(settings)) => {
                let settings = S3 { bucket: bucket.to_owned(), ..settings.clone() };
                Arc::new(Probed {
                    s3: s3::S3::connect(&settings, self.runtime.clone())?,
                    stream: self.stream.clone(),
                    asked: AtomicBool::new(false),
                })
            }
            _ => {
                let message = format!("the configuration has no settings for `{store}`, where open plans have to go");
                return Err(Error::new(Kind::Misconfigured, message));
            }
        };
        self.made.insert(place, sink.clone());
        Ok(sink)
    }
}

/// A bucket that is asked, before anything is sent to it, whether it heeds conditions.
struct Probed {
    s3: s3::S3,
    stream: String,
    asked: AtomicBool,
}

impl Sink for Probed {
    fn attempt(&self, shipment: &Shipment) -> Attempt {
        if !self.asked.load(Ordering::Acquire) {
            match self.s3.probe(&format!("_hydrant/probe-{}", self.stream)) {
                Ok(true) => {}
                Ok(false) => tracing::warn!(
                    stream = self.stream,
                    "the store does not heed If-None-Match: every name is looked at first, and an object that somebody \
                     else creates in between is overwritten"
                ),
                Err(failure) => return failure.into(),
            }
            self.asked.store(true, Ordering::Release);
        }
        self.s3.attempt(shipment)
    }
}
