//! How each place of a stream is reached today, those included that the configuration does not lead to any more.

use super::places::{Before, PlacesVersion};
use crate::config::{BackupMode, Destination, LoadedPlaces, S3, Store, StreamConfig};
use crate::destination::{DestinationKind, Payload, StoreName, Way};
use crate::error::{Error, Kind};
use crate::stream::plan::Outlet;
use std::collections::BTreeMap;

/// How each place is reached today.
#[derive(Clone, Default)]
pub(in crate::stream) struct SinkSettings {
    /// The destination's bucket, and the backup's.
    pub(super) buckets: [Option<S3>; 2],
    /// Failures go where the backup goes.
    fails_into_backup: bool,
    /// Other nodes may be at the same objects.
    pub(super) is_shared: bool,
    /// Destinations that are more than a store of objects.
    pub(super) own: BTreeMap<DestinationKind, Destination>,
    /// Why there are no settings that a configuration before had.
    lacking: Vec<String>,
}

impl SinkSettings {
    fn of(config: &StreamConfig) -> SinkSettings {
        let buckets = [bucket(&config.destination), config.backup.as_ref().and_then(|b| bucket(&b.destination))];
        let fails_into_backup = config.fails_into_backup();
        let is_shared = config.kinesis().is_some_and(|kinesis| kinesis.coordination.is_some());
        let kind = config.destination.kind();
        let is_own = kind.spec().ways.contains(&Way::Own(kind));
        let own = is_own.then(|| (kind, config.destination.clone())).into_iter().collect();
        SinkSettings { buckets, fails_into_backup, is_shared, own, lacking: Vec::new() }
    }

    /// Of a configuration, or of the one that the stream was left with, and of those before it.
    pub(super) fn with_before(config: Option<&StreamConfig>, before: &Before) -> SinkSettings {
        let mut settings = config.map(SinkSettings::of).unwrap_or_default();
        if let (None, [last, ..]) = (config, before.0.as_slice()) {
            let only_failed = matches!(&last.loaded.backup, Ok(Some(b)) if b.mode == BackupMode::Failed);
            let takes_records = last.kind.is_some_and(|kind| kind.spec().payload == Payload::Records);
            settings.fails_into_backup = only_failed || takes_records;
        }
        for version in &before.0 {
            let mut why: Vec<String> = version.ways.iter().filter_map(|way| settings.add(*way, version)).collect();
            why.dedup();
            settings.lacking.extend(why);
        }
        settings
    }

    /// Takes from a version the settings of a way that no newer one has; why there are none, if so.
    fn add(&mut self, way: Way, version: &PlacesVersion) -> Option<String> {
        let LoadedPlaces { destination, backup } = &version.loaded;
        if way == Way::BackupBucket {
            self.buckets[1] = backup.as_ref().ok().and_then(|b| bucket(&b.as_ref()?.destination));
            return backup.as_ref().err().map(|e| e.to_string());
        }
        let destination = match destination {
            Ok(destination) => destination,
            Err(e) => return Some(e.to_string()),
        };
        match way {
            Way::Own(kind) => drop(self.own.insert(kind, destination.clone())),
            Way::Bucket | Way::BackupBucket => self.buckets[0] = bucket(destination),
        }
        None
    }

    /// What was known before and is not now.
    pub(in crate::stream) fn complete(&mut self, before: SinkSettings) {
        for (bucket, before) in self.buckets.iter_mut().zip(before.buckets) {
            *bucket = bucket.take().or(before);
        }
        for (kind, before) in before.own {
            self.own.entry(kind).or_insert(before);
        }
    }

    /// Whether there are settings of the destination's bucket, of an endpoint, and of the backup's bucket.
    #[cfg(test)]
    pub(super) fn reaches(&self) -> [bool; 3] {
        [self.buckets[0].is_some(), self.own.contains_key(&DestinationKind::Http), self.buckets[1].is_some()]
    }

    /// What is said of a store that nothing leads to.
    pub(super) fn no_settings(&self, store: &StoreName) -> Error {
        let mut message = format!("the configuration has no settings for `{store}`, where open plans have to go");
        if !self.lacking.is_empty() {
            message += &format!(", and those of before cannot be used: {}", self.lacking.join("; "));
        }
        Error::new(Kind::Misconfigured, message)
    }

    /// Whether the backup's settings lead to an outlet's store. Failures go to either: to the one that has their bucket.
    pub(super) fn of_backup(&self, outlet: Outlet, store: &StoreName) -> bool {
        let names = |i: usize| match (&self.buckets[i], store) {
            (Some(s3), StoreName::Bucket(bucket)) => s3.bucket == *bucket,
            _ => false,
        };
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

/// The bucket of a destination, or the one where it stages.
fn bucket(destination: &Destination) -> Option<S3> {
    match destination.store() {
        Some(Store::S3(s3)) => Some(s3.clone()),
        _ => None,
    }
}
