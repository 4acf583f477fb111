//! Where a stream's plans can be sent: live settings (endpoint, credentials, time-outs) by outlet and store. A plan keeps
//! its store through every reload; these change.

use super::bucket::{Bucket, ProbedBucket};
use super::directory::NotedDirectory;
use super::reached::{Reached, ReachedBy, ReachedStores, StorePlace};
use super::resources::LaneResources;
use super::sink_settings::SinkSettings;
use crate::config::S3;
use crate::deliver::{Shelf, Sink, connect, local::LocalSink, s3};
use crate::destination::{DestinationKind, StoreName};
use crate::error::{Error, Kind, Result};
use crate::stream::pipeline::live::Gate;
use crate::stream::plan::Outlet;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The sinks that a lane's plans are sent through, made when they are first needed.
pub struct Sinks {
    common: LaneResources,
    stream: String,
    arn: String,
    settings: SinkSettings,
    made: BTreeMap<StorePlace, MadeSink>,
    /// Stores that open plans were sent to by the sinks of before; see [`Sinks::follow`].
    known: BTreeMap<StorePlace, Reached>,
    /// What the next life has to know of them.
    remembered: Option<Arc<ReachedStores>>,
}

/// A sink in use.
enum MadeSink {
    Local(Arc<LocalSink>),
    Directory(Arc<NotedDirectory>),
    ProbedBucket(Arc<ProbedBucket>),
    Other(Arc<dyn Sink>),
}

impl Sinks {
    pub fn new(common: &LaneResources, stream: &str) -> Sinks {
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
    pub(in crate::stream) fn remember(&mut self, dir: &Path, open: &BTreeSet<String>, of: ReachedBy) -> Option<String> {
        let (remembered, damage) = ReachedStores::open(&self.common.shared.fs, dir, !open.is_empty(), of);
        self.known = remembered.known();
        self.keep_known(open);
        self.remembered = Some(Arc::new(remembered));
        damage
    }

    /// Forgets stores that no open plan goes to.
    fn keep_known(&mut self, open: &BTreeSet<String>) {
        // A warehouse's objects are staged in a store of their own.
        let staged = |open: &String| Some(open.parse::<StoreName>().ok()?.objects()?.to_string());
        let open: BTreeSet<String> = open.iter().cloned().chain(open.iter().filter_map(staged)).collect();
        self.known.retain(|place, _| open.contains(&place.store));
    }

    /// Takes over from the sinks of the configuration before. What that had settings for and this has not (a backup that
    /// was switched off) goes on with those. Of `open`, the stores of open plans, those that have been reached before
    /// must be found again under a changed endpoint: another store would get objects that the first may have already.
    pub fn follow(&mut self, before: Sinks, open: &BTreeSet<String>) {
        let reached = |made: MadeSink| match made {
            MadeSink::ProbedBucket(probed) => probed.reached(),
            MadeSink::Local(_) | MadeSink::Directory(_) | MadeSink::Other(_) => None,
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
            MadeSink::Local(sink) => sink.clone(),
            MadeSink::Directory(sink) => sink.clone(),
            MadeSink::ProbedBucket(sink) => sink.clone(),
            MadeSink::Other(sink) => sink.clone(),
        })
    }

    /// Where an outlet's shipments wait for those of other lanes.
    pub(super) fn gate(&self, outlet: Outlet) -> Arc<Semaphore> {
        self.common.gate(Gate::to(outlet))
    }

    /// The same where objects have to be found again.
    pub fn shelf(&mut self, outlet: Outlet, store: &str) -> Result<Arc<dyn Shelf>> {
        match self.find(outlet, store)? {
            MadeSink::Local(sink) => Ok(sink.clone()),
            MadeSink::Directory(sink) => Ok(sink.clone()),
            MadeSink::ProbedBucket(sink) => Ok(sink.clone()),
            MadeSink::Other(_) => Err(Error::new(Kind::Invalid, format!("`{store}` holds no objects"))),
        }
    }

    fn find(&mut self, outlet: Outlet, store: &str) -> Result<&MadeSink> {
        let name: StoreName = store.parse()?;
        let place = StorePlace { of_backup: self.settings.of_backup(outlet, &name), store: store.to_owned() };
        if !self.made.contains_key(&place) {
            let made = self.make(&place, &name)?;
            self.made.insert(place.clone(), made);
        }
        Ok(&self.made[&place])
    }

    fn make(&mut self, place: &StorePlace, name: &StoreName) -> Result<MadeSink> {
        let bucket = &self.settings.buckets[place.of_backup as usize];
        match (name, bucket) {
            (StoreName::Table(kind, staged), _) => self.make_own(*kind, place, name, Some(staged)),
            (StoreName::Receiver(kind), _) => self.make_own(*kind, place, name, None),
            (StoreName::Directory(dir), _) if self.settings.is_shared => {
                Ok(MadeSink::Local(Arc::new(LocalSink::shared(self.common.shared.fs.clone(), dir.clone()))))
            }
            (StoreName::Directory(dir), _) => {
                let local = LocalSink::new(self.common.shared.fs.clone(), dir.clone());
                Ok(match &self.remembered {
                    Some(reached) => {
                        MadeSink::Directory(Arc::new(NotedDirectory::new(local, reached.clone(), place.clone())))
                    }
                    None => MadeSink::Local(Arc::new(local)),
                })
            }
            (StoreName::Bucket(bucket), Some(settings)) => {
                let settings = S3 { bucket: bucket.clone(), ..settings.clone() };
                let runtime = self.common.shared.runtime.clone();
                let connect = || Ok(Bucket::new(s3::S3Sink::connect(&settings, runtime)?));
                Ok(MadeSink::ProbedBucket(Arc::new(ProbedBucket::new(
                    self.common.bucket(place, connect)?,
                    &self.stream,
                    &settings,
                    self.known.get(place),
                    self.remembered.clone().map(|remembered| (remembered, place.clone())),
                ))))
            }
            (StoreName::Bucket(_), None) => Err(self.settings.no_settings(name)),
        }
    }

    /// The sink of a destination of its own kind, whose objects are perhaps staged in a store of theirs.
    fn make_own(
        &mut self,
        kind: DestinationKind,
        place: &StorePlace,
        name: &StoreName,
        staged: Option<&StoreName>,
    ) -> Result<MadeSink> {
        let stage = staged.map(|staged| self.sink(Outlet::Destination, &staged.to_string())).transpose()?;
        let settings = self.settings.own.get(&kind).ok_or_else(|| self.settings.no_settings(name))?;
        let staged = staged.map(|staged| StorePlace { of_backup: false, store: staged.to_string() });
        let reached = staged.and_then(|staged| self.known.get(&staged).cloned());
        let runtime = self.common.shared.runtime.clone();
        self.common.sink(place, reached, || connect(settings, &self.arn, stage, runtime)).map(MadeSink::Other)
    }
}
