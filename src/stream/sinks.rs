//! Where a stream's plans can be sent: live settings (endpoint, credentials, time-outs) by outlet and store. A plan keeps
//! its store through every reload; these change.

use super::common::Common;
use super::live::Gate;
use super::places::{Before, Version};
use super::plan::Outlet;
use super::route::HTTP_ENDPOINT;
use super::sealed;
use crate::config::{BackupMode, Conditional, Destination, Http, Loaded, S3, Store, StreamConfig, Target, Way};
use crate::deliver::object::{Failure, Looked, ObjectStore};
use crate::deliver::warehouse::Warehouse;
use crate::deliver::{Attempt, Shelf, Shipment, Sink, Spool, http, local::Local, s3};
use crate::error::{Error, Kind, Result};
use crate::fs::Fs;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::Semaphore;

/// See the module.
pub struct Sinks {
    common: Common,
    stream: String,
    arn: String,
    settings: Settings,
    made: BTreeMap<Place, Made>,
    /// Stores that open plans were sent to by the sinks of before; see [`Sinks::follow`].
    known: BTreeMap<Place, Reached>,
    /// What the next life has to know of them.
    remembered: Option<Arc<Remembered>>,
}

/// Stores that were reached, in a file: an endpoint may be changed while the process is not there.
struct Remembered {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    reached: Mutex<BTreeMap<Place, Reached>>,
}

/// The file.
#[derive(Default, Serialize, Deserialize)]
struct Memory {
    reached: Vec<(Place, Reached)>,
}

/// Its name in a stream's directory.
const MEMORY: &str = "REACHED";

impl Remembered {
    /// Takes note of a store before anything is sent there.
    fn note(&self, place: &Place, reached: &Reached) -> Result<()> {
        let mut known = self.reached.lock().expect("nobody panics holding it");
        let is_known =
            |known: &Reached| known == reached || reached.probe.is_empty() && known.endpoint == reached.endpoint;
        if known.get(place).is_some_and(is_known) {
            return Ok(());
        }
        let mut all = known.clone();
        all.insert(place.clone(), reached.clone());
        sealed::write(&*self.fs, &self.path, &Memory { reached: all.clone().into_iter().collect() })?;
        *known = all;
        Ok(())
    }
}

/// The kind of a destination that takes no objects.
const HTTP: &str = "http";

/// How each place is reached today.
#[derive(Clone, Default)]
pub(super) struct Settings {
    /// The destination's bucket, and the backup's.
    buckets: [Option<S3>; 2],
    /// Failures go where the backup goes.
    fails_into_backup: bool,
    /// Other nodes may be at the same objects.
    is_shared: bool,
    http: Option<Http>,
    /// Of each kind of warehouse; the error is what is wrong with the settings.
    warehouses: BTreeMap<&'static str, std::result::Result<Target, String>>,
    /// Why there are no settings that a configuration before had.
    lacking: Vec<String>,
}

/// Whose settings lead to a store, and its name: the same bucket name may stand for different stores.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Place {
    of_backup: bool,
    store: String,
}

/// A store that was reached: under which endpoint, and what it calls the probe's content. That is empty where it tells
/// no store from another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Reached {
    endpoint: Option<String>,
    probe: String,
}

/// A sink in use.
enum Made {
    Local(Arc<Local>),
    Probed(Arc<Probed>),
    Other(Arc<dyn Sink>),
}

impl Settings {
    fn of(config: &StreamConfig) -> Settings {
        let bucket = |store: Option<Store>| match store {
            Some(Store::S3(s3)) => Some(s3.clone()),
            _ => None,
        };
        let backup = config.backup.as_ref().and_then(|b| b.destination.store());
        let buckets = [bucket(config.destination.store()), bucket(backup)];
        let fails_into_backup = config.fails_into_backup();
        let is_shared = config.kinesis().is_some_and(|kinesis| kinesis.coordination.is_some());
        let http = match &config.destination {
            Destination::Http(http) => Some((**http).clone()),
            _ => None,
        };
        let warehouse = config.destination.warehouse().map(|w| (config.destination.kind(), w.target));
        let (warehouses, lacking) = (warehouse.into_iter().collect(), Vec::new());
        Settings { buckets, fails_into_backup, is_shared, http, warehouses, lacking }
    }

    /// Of a configuration, or of the one that the stream was left with, and of those before it.
    pub(super) fn with_before(config: Option<&StreamConfig>, before: &Before) -> Settings {
        let mut settings = config.map(Settings::of).unwrap_or_default();
        if let (None, [last, ..]) = (config, before.0.as_slice()) {
            let only_failed = matches!(&last.loaded.backup, Ok(Some(b)) if b.mode == BackupMode::Failed);
            settings.fails_into_backup = only_failed || last.kind.as_deref() == Some(HTTP);
        }
        for version in &before.0 {
            let mut why: Vec<String> = version.ways.iter().filter_map(|way| settings.add(*way, version)).collect();
            why.dedup();
            settings.lacking.extend(why);
        }
        settings
    }

    /// Takes from a version the settings of a way that no newer one has; why there are none, if so.
    fn add(&mut self, way: Way, version: &Version) -> Option<String> {
        let s3 = |destination: &Destination| match destination.store() {
            Some(Store::S3(s3)) => Some(s3.clone()),
            _ => None,
        };
        let Loaded { destination, backup } = &version.loaded;
        if way == Way::BackupBucket {
            self.buckets[1] = backup.as_ref().ok().and_then(|b| s3(&b.as_ref()?.destination));
            return backup.as_ref().err().map(|e| e.to_string());
        }
        let destination = match destination {
            Ok(destination) => destination,
            Err(e) => return Some(e.to_string()),
        };
        match way {
            Way::Bucket => self.buckets[0] = s3(destination),
            Way::Http if let Destination::Http(http) = destination => self.http = Some((**http).clone()),
            _ => drop(destination.warehouse().map(|w| self.warehouses.insert(destination.kind(), w.target))),
        }
        None
    }

    /// What was known before and is not now.
    pub(super) fn complete(&mut self, before: Settings) {
        for (bucket, before) in self.buckets.iter_mut().zip(before.buckets) {
            *bucket = bucket.take().or(before);
        }
        self.http = self.http.take().or(before.http);
        for (kind, before) in before.warehouses {
            self.warehouses.entry(kind).or_insert(before);
        }
    }

    /// Whether there are settings of the destination's bucket, of an endpoint, and of the backup's bucket.
    #[cfg(test)]
    pub(super) fn reaches(&self) -> [bool; 3] {
        [self.buckets[0].is_some(), self.http.is_some(), self.buckets[1].is_some()]
    }

    /// What is said of a store that nothing leads to.
    pub(super) fn no_settings(&self, store: &str) -> Error {
        let mut message = format!("the configuration has no settings for `{store}`, where open plans have to go");
        if !self.lacking.is_empty() {
            message += &format!(", and those of before cannot be used: {}", self.lacking.join("; "));
        }
        Error::new(Kind::Misconfigured, message)
    }

    /// Whether the backup's settings lead to an outlet's store. Failures go to either: to the one that has their bucket.
    fn of_backup(&self, outlet: Outlet, store: &str) -> bool {
        let bucket = store.strip_prefix("s3://");
        let names = |i: usize| self.buckets[i].as_ref().is_some_and(|s3| Some(s3.bucket.as_str()) == bucket);
        match outlet {
            Outlet::Backup => true,
            outlet if outlet.is_failure() => match self.fails_into_backup {
                true => names(1) || !names(0),
                false => !names(0) && (names(1) || self.buckets[0].is_none()),
            },
            _ => false,
        }
    }
}

impl Sinks {
    pub fn new(common: &Common, stream: &str) -> Sinks {
        Sinks {
            common: common.clone(),
            stream: stream.to_owned(),
            arn: format!("{}{stream}", common.shared.arn_prefix),
            settings: common.settings.clone(),
            made: BTreeMap::new(),
            known: BTreeMap::new(),
            remembered: None,
        }
    }

    /// Goes on with what lives before know of the stores that `open` plans go to, and remembers more in the stream's `dir`. What
    /// of it is damaged, if anything.
    pub fn remember(&mut self, dir: &Path, open: &BTreeSet<String>) -> Option<String> {
        let (fs, path) = (self.common.shared.fs.clone(), dir.join(MEMORY));
        let (memory, damage) = match sealed::read::<Memory>(&*fs, &path) {
            Ok(found) => found.unwrap_or_default(),
            Err(e) => {
                let message = format!("{e}: if an endpoint has been changed since, nothing tells");
                (Memory::default(), Some(message))
            }
        };
        let reached: BTreeMap<Place, Reached> = memory.reached.into_iter().collect();
        self.known = reached.clone();
        self.keep_known(open);
        self.remembered = Some(Arc::new(Remembered { fs, path, reached: Mutex::new(reached) }));
        damage
    }

    /// Forgets stores that no open plan goes to.
    fn keep_known(&mut self, open: &BTreeSet<String>) {
        // A warehouse's objects are staged in a store of their own.
        let staged = |o: &String| o.split_once('+').map(|(_, staged)| staged.to_owned());
        let open: BTreeSet<String> = open.iter().cloned().chain(open.iter().filter_map(staged)).collect();
        self.known.retain(|place, _| open.contains(&place.store));
    }

    /// Takes over from the sinks of the configuration before. What that had settings for and this has not (a backup that
    /// was switched off) goes on with those. Of `open`, the stores of open plans, those that have been reached before
    /// must be found again under a changed endpoint: another store would get objects that the first may have already.
    pub fn follow(&mut self, before: Sinks, open: &BTreeSet<String>) {
        let reached = |made: Made| match made {
            Made::Probed(probed) => probed.reached.get().cloned(),
            Made::Local(_) | Made::Other(_) => None,
        };
        self.known = before.known;
        self.known.extend(before.made.into_iter().filter_map(|(place, made)| Some((place, reached(made)?))));
        self.remembered = before.remembered;
        self.keep_known(open);
        self.settings.complete(before.settings);
    }

    /// The sink of an outlet's store, which may be one that only an older epoch used: then with the settings of today.
    pub fn sink(&mut self, outlet: Outlet, store: &str) -> Result<Arc<dyn Sink>> {
        Ok(match self.find(outlet, store)? {
            Made::Local(sink) => sink.clone(),
            Made::Probed(sink) => sink.clone(),
            Made::Other(sink) => sink.clone(),
        })
    }

    /// Where an outlet's shipments wait for those of other lanes.
    pub(super) fn gate(&self, outlet: Outlet) -> Arc<Semaphore> {
        self.common.gate(Gate::to(outlet))
    }

    /// The same where objects have to be found again.
    pub fn shelf(&mut self, outlet: Outlet, store: &str) -> Result<Arc<dyn Shelf>> {
        match self.find(outlet, store)? {
            Made::Local(sink) => Ok(sink.clone()),
            Made::Probed(sink) => Ok(sink.clone()),
            Made::Other(_) => Err(Error::new(Kind::Invalid, format!("`{store}` holds no objects"))),
        }
    }

    fn find(&mut self, outlet: Outlet, store: &str) -> Result<&Made> {
        let place = Place { of_backup: self.settings.of_backup(outlet, store), store: store.to_owned() };
        if !self.made.contains_key(&place) {
            let made = self.make(&place)?;
            self.made.insert(place.clone(), made);
        }
        Ok(&self.made[&place])
    }

    fn make(&mut self, place: &Place) -> Result<Made> {
        let store = place.store.as_str();
        if let Some((kind, staged)) = store.split_once('+') {
            return self.make_warehouse(kind, staged);
        }
        let bucket = &self.settings.buckets[place.of_backup as usize];
        match (store.strip_prefix("file://"), store.strip_prefix("s3://"), bucket, &self.settings.http) {
            (Some(dir), ..) if self.settings.is_shared => {
                Ok(Made::Local(Arc::new(Local::shared(self.common.shared.fs.clone(), PathBuf::from(dir)))))
            }
            (Some(dir), ..) => Ok(Made::Local(Arc::new(Local::new(self.common.shared.fs.clone(), PathBuf::from(dir))))),
            (_, Some(bucket), Some(settings), _) => {
                let settings = S3 { bucket: bucket.to_owned(), ..settings.clone() };
                let runtime = self.common.shared.runtime.clone();
                let connect = || {
                    let s3 = s3::S3::connect(&settings, runtime)?;
                    Ok(Bucket { s3, answer: Mutex::default(), asked: AtomicU64::new(0) })
                };
                Ok(Made::Probed(Arc::new(Probed {
                    bucket: self.common.bucket(place, connect)?,
                    stream: self.stream.clone(),
                    endpoint: settings.endpoint.clone(),
                    reached: OnceLock::new(),
                    expected: self.known.get(place).filter(|reached| may_differ(reached, &settings)).cloned(),
                    remembered: self.remembered.clone().map(|remembered| (remembered, place.clone())),
                })))
            }
            (.., Some(settings)) if store == HTTP_ENDPOINT => {
                let runtime = self.common.shared.runtime.clone();
                let connect = || Ok(Arc::new(http::Http::connect(settings, &self.arn, runtime)?) as Arc<dyn Sink>);
                self.common.sink(place, None, connect).map(Made::Other)
            }
            _ => Err(self.settings.no_settings(store)),
        }
    }

    /// A warehouse whose objects are staged in `store`.
    fn make_warehouse(&mut self, kind: &str, store: &str) -> Result<Made> {
        let stage = self.sink(Outlet::Destination, store)?;
        let runtime = self.common.shared.runtime.clone();
        let target = self.settings.warehouses.get(kind).cloned();
        let target = target.ok_or_else(|| self.settings.no_settings(kind))?;
        let place = Place { of_backup: false, store: format!("{kind}+{store}") };
        let staged = Place { of_backup: false, store: store.to_owned() };
        let reached = self.known.get(&staged).cloned();
        let connect = || Ok(Arc::new(Warehouse::connect(target, stage, runtime)?) as Arc<dyn Sink>);
        self.common.sink(&place, reached, connect).map(Made::Other)
    }
}

/// A bucket as all lanes of a stream use it.
pub(super) struct Bucket {
    s3: s3::S3,
    /// What it said when it was last asked: what it calls the probe's content.
    answer: Mutex<Option<Result<String, Failure>>>,
    /// How often it was asked.
    asked: AtomicU64,
}

/// A bucket that is asked, before anything is sent to it, whether it heeds conditions.
struct Probed {
    bucket: Arc<Bucket>,
    stream: String,
    endpoint: Option<String>,
    /// Set when it has been asked.
    reached: OnceLock<Reached>,
    /// It has been asked before, at another endpoint: what was made to ask it must be there.
    expected: Option<Reached>,
    /// Where it is noted that it was reached, and as what.
    remembered: Option<(Arc<Remembered>, Place)>,
}

/// Whether the settings may lead to another store than the one that was reached; without a probe nothing could tell.
fn may_differ(reached: &Reached, settings: &S3) -> bool {
    reached.endpoint != settings.endpoint && settings.conditional == Conditional::Auto
}

impl Bucket {
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

impl Probed {
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

impl Shelf for Probed {
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

impl Sink for Probed {
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
