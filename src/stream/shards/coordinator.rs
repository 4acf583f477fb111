//! A node's part in a stream whose shards several nodes read: its leases are kept, others taken, and given up.

use super::lease_store::LeaseStore;
use super::new_shards::{is_too_early, missing};
use super::renewals::{HeldLeases, LostLeases, lock, renew};
use crate::config::{self, Store, StreamConfig};
use crate::error::{Error, Kind, Result};
use crate::lane::Start;
use crate::source::kinesis::balance::{Watch, Worker};
use crate::source::kinesis::client::{ListedShard, StreamSummary};
use crate::source::kinesis::lease::{Lease, ShardBegin};
use crate::source::kinesis::leases::{Leases, NewLeases};
use crate::stream::lane::open::Elsewhere;
use crate::stream::lane::resources::LaneResources;
use crate::stream::lane::sinks::Sinks;
use crate::stream::plan::{Entry, Outlet};
use crate::stream::state_log::objects::StateObjects;
use crate::stream::state_log::shared_log::SharedLog;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Tries to open a lane before it is left to others.
const OPENS_MAX: u32 = 3;
/// For how many failover times it is left to them.
const LEFT_FOR: u32 = 6;
/// The same of a shard that nobody has, if what kept it from being opened may be over in a moment.
const LEFT_FOR_A_MOMENT: u32 = 1;
/// How many times longer it is left to a node that reads it, at most, when opening it has failed here again and again.
const LEFT_LONGER_MAX: u32 = 100;

/// A node's part in the sharing of shards. All calls block.
pub(super) struct Coordinator {
    leases: Leases,
    objects: Arc<StateObjects>,
    /// Where they are, and under which endpoint: another one may be another store.
    place: Option<ReachedPlace>,
    runtime: Handle,
    failover: Duration,
    watch: Watch,
    held: HeldLeases,
    /// Leases that were found not to be ours any more.
    lost: LostLeases,
    renewals: JoinHandle<()>,
    is_prepared: bool,
    /// Shards whose lanes could not be opened here.
    failed: BTreeMap<String, FailedShard>,
}

/// A shard that could not be opened here.
struct FailedShard {
    times: u32,
    /// Since when its lease is left to others, if it has failed often enough.
    since: Instant,
    why: Error,
}

type ReachedPlace = (String, Option<String>);

fn place(config: &StreamConfig) -> Option<ReachedPlace> {
    let endpoint = |store: &Store| match store {
        Store::S3(s3) => s3.endpoint.clone(),
        _ => None,
    };
    config.failures().map(|store| (store.name().to_string(), endpoint(&store)))
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.renewals.abort();
    }
}

impl Coordinator {
    /// Nothing is asked yet.
    pub(super) fn connect(
        common: &LaneResources,
        stream: &str,
        config: &StreamConfig,
        wake: &Sender<()>,
    ) -> Result<Coordinator> {
        let shared = &common.shared;
        let settings = config.kinesis().ok_or_else(|| Error::new(Kind::Bug, "a stream without a source"))?;
        let table = settings.coordination.as_ref().map(|coordination| &coordination.dynamodb);
        let table = table.ok_or_else(|| Error::new(Kind::Bug, "a stream without a lease table"))?;
        let store = config.failures().map(|store| store.name().to_string()).ok_or_else(|| {
            Error::new(Kind::Misconfigured, "nodes that share shards need a place for failures that all of them reach")
        })?;
        let shelf = Sinks::new(common, stream).shelf(Outlet::ProcessingFailed, &store)?;
        // Another one in every life: what a life before had is taken when it is seen to be over.
        let worker = format!("hydrant-{}", uuid::Uuid::new_v4());
        tracing::info!(stream, worker, table = table.table, "shards are shared with other nodes");
        let leases = shared.runtime.block_on(Leases::connect(settings, table, stream, worker))?;
        let (held, lost) = (HeldLeases::default(), LostLeases::default());
        let renewals = renew(leases.clone(), held.clone(), lost.clone(), table.failover, wake.clone());
        Ok(Coordinator {
            leases,
            objects: StateObjects::new(shelf, store, stream),
            place: place(config),
            runtime: shared.runtime.clone(),
            failover: table.failover,
            watch: Watch::default(),
            held,
            lost,
            renewals: shared.runtime.spawn(renewals),
            is_prepared: false,
            failed: BTreeMap::new(),
        })
    }

    /// The services are reached as these settings say from now on.
    pub(super) fn reconnect(
        &self,
        common: &LaneResources,
        stream: &str,
        config: &StreamConfig,
        settings: &config::Kinesis,
    ) -> Result<()> {
        if let Some(coordination) = &settings.coordination {
            self.runtime.block_on(self.leases.reconnect(settings, &coordination.dynamodb))?;
        }
        let place = place(config);
        if place != self.place {
            tracing::warn!(
                stream,
                store = self.objects.store,
                "states of lanes go on where they are, as it was reached before, until a restart: the place for failures \
                 is another one now, or is reached in another way"
            );
        } else {
            let shelf = Sinks::new(common, stream).shelf(Outlet::ProcessingFailed, &self.objects.store)?;
            self.objects.reach(shelf);
        }
        Ok(())
    }

    /// Who we are in the table.
    pub(super) fn worker(&self) -> &str {
        &self.leases.worker
    }

    /// The name of the table.
    pub(super) fn table(&self) -> &str {
        self.leases.table()
    }

    /// Leases that are ours.
    pub(super) fn held(&self) -> usize {
        lock(&self.held).len()
    }

    /// Between two looks at the table, which cost more the more states are in it.
    pub(super) fn looks_apart(&self) -> Duration {
        self.failover
    }

    /// The leases that are not ours any more, since the last time.
    pub(super) fn take_lost(&mut self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.lost))
    }

    /// Every lease, as it stands now. `known_in`: where it is noted that the table was in use before. One that is not there
    /// any more is not made again: what was read is known nowhere else, and would be read anew.
    pub(super) fn look(&mut self, known_in: Option<&Path>) -> Result<Vec<Lease>> {
        if !self.is_prepared {
            match known_in {
                None => self.runtime.block_on(self.leases.prepare())?,
                Some(_) if self.runtime.block_on(self.leases.is_there())? => {}
                Some(dir) => {
                    let message = format!(
                        "the lease table `{}`, which knows what was read of the shards, is not there any more: restore it; to begin \
                         anew, and have records delivered again, remove `{}` of every node",
                        self.table(),
                        dir.display()
                    );
                    return Err(Error::new(Kind::Misconfigured, message));
                }
            }
            self.is_prepared = true;
        }
        let listed = self.runtime.block_on(self.leases.list());
        // It may be gone.
        let leases = listed.inspect_err(|_| self.is_prepared = false)?;
        self.watch.look(&leases, Instant::now());
        Ok(leases)
    }

    /// Whether the leases are of this delivery stream, and of the life of the stream of Kinesis that is seen now.
    pub(super) fn belong(&self, leases: &[Lease], summary: &StreamSummary) -> Result<()> {
        let other = leases.iter().find(|l| l.stream.as_ref().is_some_and(|stream| *stream != self.leases.stream));
        if let Some(Lease { shard, stream, .. }) = other {
            let message = format!(
                "the lease table has `{shard}` of the delivery stream `{}`: a table is for one delivery stream",
                stream.as_deref().unwrap_or_default()
            );
            return Err(Error::new(Kind::Misconfigured, message));
        }
        let other_life = leases.iter().find(|l| l.created_ms != 0 && l.created_ms != summary.created_ms);
        if let Some(lease) = other_life {
            let message = format!(
                "the lease table has `{}` of a stream that was made at {} ms, found one that was made at {} ms: name \
                 another table, or empty it",
                lease.shard, lease.created_ms, summary.created_ms
            );
            return Err(Error::new(Kind::Misconfigured, message));
        }
        Ok(())
    }

    /// Where leases of children are made when a shard ends. What was decided once holds for shards that come later.
    pub(super) fn new_leases(&self, leases: &[Lease]) -> NewLeases {
        let begin = leases.iter().find_map(|l| l.begin).unwrap_or(ShardBegin::TrimHorizon);
        NewLeases { leases: self.leases.clone(), begin }
    }

    /// Makes the leases of shards that can be read and have none: their parents are read to their ends, or are not there
    /// any more. Removes those of shards that were read and are not there any more.
    pub(super) fn make(
        &self,
        leases: &[Lease],
        listed: &[ListedShard],
        summary: &StreamSummary,
        begin: impl FnOnce() -> ShardBegin,
    ) -> Result<()> {
        let missing_once = missing(leases, listed);
        if !missing_once.is_empty() {
            // A lease that one answer has left out is not made again, nor that of its shard's parent.
            let again = self.runtime.block_on(self.leases.list())?;
            let is_missing_twice = |shard: &&ListedShard| missing_once.iter().any(|once| once.id == shard.id);
            let missing: Vec<&ListedShard> = missing(&again, listed).into_iter().filter(is_missing_twice).collect();
            // What was decided once holds for shards that come later. Beside rows of the library, new shards are the
            // children of old ones.
            let known = || leases.iter().chain(&again);
            let begin = match (known().find_map(|l| l.begin), known().next().is_none()) {
                (Some(begin), _) => begin,
                (None, true) => begin(),
                (None, false) => ShardBegin::TrimHorizon,
            };
            for shard in missing {
                self.runtime.block_on(self.leases.create_lease(shard, begin, summary.created_ms))?;
            }
        }
        let gone = leases.iter().filter(|l| l.is_ended() && !listed.iter().any(|shard| shard.id == l.shard));
        gone.into_iter().try_for_each(|lease| self.runtime.block_on(self.leases.forget(&lease.shard)))
    }

    /// Takes what is due to us. The shards of all leases that are ours and may be read, and what went wrong.
    pub(super) fn take(&mut self, leases: &[Lease], listed: &[ListedShard]) -> (Vec<String>, Option<Error>) {
        let now = Instant::now();
        let is_next = |lease: &Lease| !is_too_early(&lease.shard, leases, listed);
        let left = leases.iter().filter(|l| !self.is_left(l, now) && is_next(l));
        let left: Vec<Lease> = left.cloned().collect();
        let ours = |shard: &str| lock(&self.held).contains_key(shard);
        let wanted = self.watch.wanted(&left, &Worker { name: &self.leases.worker, has: &ours }, now, self.failover);
        let mut failed = None;
        for lease in wanted {
            match self.runtime.block_on(self.leases.take(&lease)) {
                Ok(true) => {
                    tracing::info!(shard = lease.shard, from = lease.owner, "the lease is ours");
                    lock(&self.held).insert(lease.shard, now);
                }
                Ok(false) => {}
                Err(e) => failed = Some(e),
            }
        }
        let held = lock(&self.held).keys().filter(|shard| !is_too_early(shard, leases, listed)).cloned().collect();
        (held, failed)
    }

    /// Whether another node that is alive has a shard's lease.
    fn has_reader(&self, lease: &Lease, now: Instant) -> bool {
        // A lease that could not be given up still names us.
        lease.owner.as_deref() != Some(&self.leases.worker) && !self.watch.is_free(lease, now, self.failover)
    }

    /// Whether a shard that could not be opened here is left to others for now.
    fn is_left(&self, lease: &Lease, now: Instant) -> bool {
        let Some(failed) = self.failed.get(&lease.shard).filter(|failed| failed.times >= OPENS_MAX) else {
            return false;
        };
        let left_for = match (self.has_reader(lease, now), failed.why.kind) {
            // It is not to lose its reader to a node that cannot read it: one that fails again waits longer each time.
            (true, _) => LEFT_FOR * (1 + failed.times - OPENS_MAX).min(LEFT_LONGER_MAX),
            (false, Kind::Retry) => LEFT_FOR_A_MOMENT,
            (false, _) => LEFT_FOR,
        };
        now < failed.since + left_for * self.failover.max(Duration::from_secs(1))
    }

    /// Takes note of whether a lane could be opened. One that cannot be opened here may be elsewhere: its lease is given up,
    /// and left to others for a while.
    pub(super) fn opened(&mut self, shard: &str, failed: Option<&Error>) {
        let Some(why) = failed else {
            self.failed.remove(shard);
            return;
        };
        let times = self.failed.get(shard).map_or(0, |failed| failed.times) + 1;
        self.failed.insert(shard.to_owned(), FailedShard { times, since: Instant::now(), why: why.clone() });
        if times >= OPENS_MAX {
            self.release(shard);
        }
    }

    /// Why a shard that could not be opened here, and that nobody else has taken since, is not read.
    pub(super) fn left_unread(&self, leases: &[Lease]) -> Option<Error> {
        let now = Instant::now();
        let is_free = |shard: &str| {
            let lease = leases.iter().find(|l| l.shard == shard);
            lease.is_some_and(|l| !self.has_reader(l, now) && !l.is_ended())
        };
        let (shard, FailedShard { times, why, .. }) =
            self.failed.iter().find(|(shard, failed)| failed.times >= OPENS_MAX && is_free(shard))?;
        Some(why.clone().during(format!("shard `{shard}` could not be opened {times} times and is read by nobody")))
    }

    /// Gives a lease up, for others to take at once.
    pub(super) fn release(&mut self, shard: &str) {
        let was_held = lock(&self.held).remove(shard).is_some();
        if was_held && let Err(e) = self.runtime.block_on(self.leases.release(shard)) {
            tracing::warn!(shard, error = %e, "the lease cannot be given up; the others wait until it expires");
        }
    }

    /// Gives up all but those of these shards.
    pub(super) fn release_all_but(&mut self, kept: &[String]) {
        let held: Vec<String> = lock(&self.held).keys().filter(|shard| !kept.contains(shard)).cloned().collect();
        held.iter().for_each(|shard| self.release(shard));
    }

    /// The state of a shard's lane, its lease as it stands now that it is ours, and the name of its directory. `created_ms`: of
    /// the stream it is read of.
    ///
    /// Another application may have had the shard since, and have moved the checkpoint: it knows what became of the records
    /// before that, and what is behind it is read from there, under another account.
    pub(super) fn elsewhere(&self, shard: &str, created_ms: u64) -> Result<(Elsewhere, Lease, String)> {
        let (lease, kept) = self.runtime.block_on(self.leases.load(shard))?;
        let open = |hand_overs: u64| {
            let (leases, objects) = (self.leases.clone(), self.objects.clone());
            let store = LeaseStore::new(leases, objects, self.runtime.clone(), (shard, created_ms, hand_overs));
            SharedLog::open(Box::new(store))
        };
        let (mut log, mut hand_overs) = (open(kept.hand_overs)?, kept.hand_overs);
        let known = log.state().start.clone();
        if let Some(start @ Start::Timestamp(_)) = known.clone()
            && lease.has_old_words()
        {
            log.commit(vec![Entry::Start(start)])?;
        }
        if let Some(start) = known.filter(|start| !lease.stands_at(start)) {
            hand_overs += 1;
            let open_plans = log.state().open_plans().count();
            log = open(hand_overs)?;
            log.begin_anew();
            tracing::warn!(
                shard,
                from = ?start,
                to = lease.checkpoint,
                open_plans,
                hand_overs,
                "another application has moved the checkpoint: the shard is read on from there"
            );
        }
        let dir = if hand_overs == 0 { shard.to_owned() } else { format!("{shard}.{hand_overs}") };
        Ok((Elsewhere { log, objects: self.objects.clone() }, lease, dir))
    }
}
