//! A node's part in a stream whose shards several nodes read: its leases are kept, others taken, and given up.

use super::lease_store::LeaseStore;
use super::objects::Objects;
use super::open::Elsewhere;
use super::plan::Outlet;
use super::shared_log::SharedLog;
use super::sinks::Sinks;
use super::supervise::Shared;
use crate::config::{self, StartingPosition, StreamConfig};
use crate::error::{Error, Kind, Result};
use crate::source::kinesis::balance::Watch;
use crate::source::kinesis::client::{Listed, Summary};
use crate::source::kinesis::leases::{Begin, Lease, Leases};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// See the module. All calls block.
pub(super) struct Sharing {
    leases: Leases,
    objects: Arc<Objects>,
    runtime: Handle,
    failover: Duration,
    watch: Watch,
    /// When each lease of ours was last known to be ours.
    held: BTreeMap<String, Instant>,
    is_prepared: bool,
}

impl Sharing {
    /// Nothing is asked yet.
    pub fn connect(
        shared: &Shared,
        stream: &str,
        config: &StreamConfig,
        settings: &config::Kinesis,
        table: &config::LeaseTable,
    ) -> Result<Sharing> {
        let store = config.failures().map(|store| store.url()).ok_or_else(|| {
            Error::new(Kind::Misconfigured, "nodes that share shards need a place for failures that all of them reach")
        })?;
        let shelf = Sinks::new(shared, stream, Some(config)).shelf(Outlet::ProcessingFailed, &store)?;
        // Another one in every life: what a life before had is taken when it is seen to be over.
        let worker = format!("hydrant-{}", uuid::Uuid::new_v4());
        tracing::info!(stream, worker, table = table.table, "shards are shared with other nodes");
        Ok(Sharing {
            leases: shared.runtime.block_on(Leases::connect(settings, table, worker))?,
            objects: Objects::new(shelf, store, stream),
            runtime: shared.runtime.clone(),
            failover: table.failover,
            watch: Watch::default(),
            held: BTreeMap::new(),
            is_prepared: false,
        })
    }

    /// Who we are in the table.
    pub fn worker(&self) -> &str {
        &self.leases.worker
    }

    /// Between two calls of [`Sharing::renew`].
    pub fn renewals_apart(&self) -> Duration {
        self.failover / 3
    }

    /// Between two looks at the table, which cost more the more states are in it.
    pub fn looks_apart(&self) -> Duration {
        self.failover
    }

    /// Shows the others that we live. The leases that are not ours any more.
    pub fn renew(&mut self) -> Vec<String> {
        let mut lost = Vec::new();
        for (shard, seen) in &mut self.held {
            let asked = Instant::now();
            match self.runtime.block_on(self.leases.renew(shard)) {
                Ok(true) => *seen = asked,
                Ok(false) => lost.push(shard.clone()),
                // By now somebody else may take it to be free.
                Err(e) if seen.elapsed() >= self.failover => {
                    tracing::warn!(shard, error = %e, "the lease could not be renewed in time");
                    lost.push(shard.clone());
                }
                Err(e) => tracing::warn!(shard, error = %e, "the lease cannot be renewed"),
            }
        }
        self.held.retain(|shard, _| !lost.contains(shard));
        lost
    }

    /// Every lease, as it stands now.
    pub fn look(&mut self) -> Result<Vec<Lease>> {
        if !self.is_prepared {
            self.runtime.block_on(self.leases.prepare())?;
            self.is_prepared = true;
        }
        let leases = self.runtime.block_on(self.leases.list())?;
        self.watch.look(&leases, Instant::now());
        Ok(leases)
    }

    /// Makes the leases of shards that can be read and have none: their parents are read to their ends, or are not there
    /// any more. Removes those of shards that were read and are not there any more.
    pub fn make(
        &self,
        leases: &[Lease],
        listed: &[Listed],
        summary: &Summary,
        begin: impl FnOnce() -> Begin,
    ) -> Result<()> {
        let other_life = leases.iter().find(|l| l.created_ms != 0 && l.created_ms != summary.created_ms);
        if let Some(lease) = other_life {
            let message = format!(
                "the lease table has `{}` of a stream that was made at {} ms, found one that was made at {} ms: name \
                 another table, or empty it",
                lease.shard, lease.created_ms, summary.created_ms
            );
            return Err(Error::new(Kind::Misconfigured, message));
        }
        let of = |shard: &str| leases.iter().find(|l| l.shard == shard);
        let is_done = |parent: &String| match of(parent) {
            Some(lease) => lease.is_ended(),
            None => !listed.iter().any(|l| l.id == *parent),
        };
        let missing: Vec<&Listed> =
            listed.iter().filter(|l| of(&l.id).is_none() && l.parents.iter().all(is_done)).collect();
        if !missing.is_empty() {
            // What was decided once holds for shards that come later. Beside rows of the library, new shards are the
            // children of old ones.
            let begin = match (leases.iter().find_map(|l| l.begin), leases.is_empty()) {
                (Some(begin), _) => begin,
                (None, true) => begin(),
                (None, false) => Begin::TrimHorizon,
            };
            for shard in missing {
                self.runtime.block_on(self.leases.create_lease(shard, begin, summary.created_ms))?;
            }
        }
        let gone = leases.iter().filter(|l| l.is_ended() && !listed.iter().any(|shard| shard.id == l.shard));
        gone.into_iter().try_for_each(|lease| self.runtime.block_on(self.leases.forget(&lease.shard)))
    }

    /// Takes what is due to us. The shards of all leases that are ours.
    pub fn take(&mut self, leases: &[Lease]) -> Result<Vec<String>> {
        let now = Instant::now();
        for lease in self.watch.wanted(leases, &self.leases.worker, now, self.failover) {
            if self.runtime.block_on(self.leases.take(&lease))? {
                tracing::info!(shard = lease.shard, from = lease.owner, "the lease is ours");
                self.held.insert(lease.shard, now);
            }
        }
        Ok(self.held.keys().cloned().collect())
    }

    /// Gives a lease up, for others to take at once.
    pub fn release(&mut self, shard: &str) {
        if self.held.remove(shard).is_some()
            && let Err(e) = self.runtime.block_on(self.leases.release(shard))
        {
            tracing::warn!(shard, error = %e, "the lease cannot be given up; the others wait until it expires");
        }
    }

    /// Gives up all of them.
    pub fn release_all(&mut self) {
        let held: Vec<String> = self.held.keys().cloned().collect();
        held.iter().for_each(|shard| self.release(shard));
    }

    /// The state of a shard's lane.
    pub fn elsewhere(&self, shard: &str) -> Result<Elsewhere> {
        let (leases, objects, runtime) = (self.leases.clone(), self.objects.clone(), self.runtime.clone());
        let store = LeaseStore { leases, objects, runtime, shard: shard.to_owned() };
        Ok(Elsewhere { log: SharedLog::open(Box::new(store))?, objects: self.objects.clone() })
    }
}

/// Where a stream begins to be read that nobody has read before.
pub(super) fn begin(settings: &config::Kinesis, now_ms: u64) -> Begin {
    match settings.start {
        StartingPosition::Latest => Begin::Timestamp(now_ms),
        StartingPosition::TrimHorizon => Begin::TrimHorizon,
        StartingPosition::Timestamp(ms) => Begin::Timestamp(ms),
    }
}
