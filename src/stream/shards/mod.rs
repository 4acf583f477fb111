//! The lanes of a stream that reads from Kinesis: one a shard, each with a directory of its own, opened when the shards
//! it was made from are read to their ends and settled, so that the records of a partition key stay in order. Where several
//! nodes share the shards, the lanes here are those whose leases this node has.

pub mod connection;
pub mod coordinated;
pub mod coordinator;
pub mod directories;
pub mod drain;
pub mod lanes;
pub mod lease_store;
pub mod life;
mod new_shards;
mod passed;
mod renewals;
pub mod scheduler;
pub mod standalone;
pub mod status;

use self::directories::SHARDS;
use self::lanes::{OpenLane, ShardLane};
use self::scheduler::ShardScheduler;
use crate::alarm::Alarm;
use crate::config::{self, StreamConfig};
use crate::error::{Error, Kind, Result};
use crate::source::kinesis::lease::Lease;
use crate::stream::engine::Engine;
use crate::stream::lane::pool::{OF_SHARDS, Pool};
use crate::stream::lane::resources::LaneResources;
use crate::stream::lane::shared::NodeShared;
use crate::stream::lane::sinks::Sinks;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Add;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::watch;

/// Between two looks at a shard that was read to its end and has records that are not settled.
const ENDING: Duration = Duration::from_millis(100);
/// Between two tries of what Kinesis refused.
const RETRY: Duration = Duration::from_secs(5);

/// What is done with a stream's shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ReadingPhase {
    /// They are looked for and read.
    Reading,
    /// What is held is delivered.
    Draining,
    /// Nothing any more.
    Stopped,
}

/// The lanes of one stream's shards.
pub(in crate::stream) struct Shards {
    set: Arc<ShardSet>,
    wake: Sender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread that opens lanes, and whoever asks them something, have in common.
struct ShardSet {
    shared: NodeShared,
    name: String,
    /// Holds a directory for each life of the Kinesis stream, by its time of creation, with one for each shard.
    dir: PathBuf,
    /// As which it was started.
    source: Option<config::Kinesis>,
    /// What the thread is told.
    current: Mutex<Current>,
    phase: watch::Sender<ReadingPhase>,
    retired: Arc<AtomicBool>,
    /// While set, nothing of the stream is delivered, and lanes that are opened begin paused.
    paused: Arc<AtomicBool>,
    /// What the thread tells of the stream of Kinesis.
    seen: Mutex<SeenStream>,
    lanes: Mutex<BTreeMap<String, ShardLane>>,
    /// Where lanes run. Goes after them.
    pool: OnceLock<Pool>,
}

/// How the stream of Kinesis stood when it was last looked at.
#[derive(Default)]
struct SeenStream {
    /// When it was made; 0: it was not looked at yet.
    created_ms: u64,
    /// Why it cannot be read.
    alarm: Option<Alarm>,
    /// What was found damaged of files that are no single shard's.
    damage: BTreeSet<String>,
    /// Who we are among the nodes that share the shards, if any do.
    worker: Option<String>,
    /// Leases of other nodes.
    elsewhere: Vec<Lease>,
}

/// The configuration in force, and what the lanes have in common under it; with the stream's own lane, too.
#[derive(Clone)]
struct Current {
    /// Counts the configurations.
    generation: u64,
    config: StreamConfig,
    common: LaneResources,
}

impl Shards {
    /// Starts to look for shards. Kinesis is asked only from a thread of its own.
    pub(in crate::stream) fn start(
        of_stream: &LaneResources,
        name: &str,
        dir: &Path,
        config: &StreamConfig,
        (retired, paused): (&Arc<AtomicBool>, &Arc<AtomicBool>),
    ) -> Result<Shards> {
        let shared = &of_stream.shared;
        let common = of_stream.clone();
        let set = Arc::new(ShardSet {
            shared: shared.clone(),
            name: name.to_owned(),
            dir: dir.join(SHARDS),
            source: config.kinesis().cloned(),
            current: Mutex::new(Current { generation: 0, config: config.clone(), common }),
            phase: watch::Sender::new(ReadingPhase::Reading),
            retired: retired.clone(),
            paused: paused.clone(),
            seen: Mutex::default(),
            lanes: Mutex::default(),
            pool: OnceLock::new(),
        });
        let (wake, woken) = channel();
        let scheduler = ShardScheduler::new(set.clone(), woken, wake.clone());
        let thread = std::thread::Builder::new().name(format!("shards {name}")).spawn(move || scheduler.run());
        let thread = thread.map_err(|e| Error::new(Kind::Retry, format!("start a thread for shards: {e}")))?;
        Ok(Shards { set, wake, thread: Mutex::new(Some(thread)) })
    }

    /// Has something done on the thread of every open lane.
    pub(in crate::stream) fn ask_all<T: Default + Add<Output = T> + Send + 'static>(
        &self,
        work: impl Fn(&mut Engine, &mut Sinks) -> Result<T> + Clone + Send + 'static,
    ) -> Result<T> {
        let mut sum = T::default();
        for lane in self.set.lanes().values() {
            if let ShardLane::Open(lane) = lane
                && !(self.are_draining() && lane.running.has_ended())
            {
                sum = sum + lane.running.ask(work.clone())??;
            }
        }
        Ok(sum)
    }

    /// Whether a configuration has the shards read as they are: alone, or shared by this table, which is asked with these
    /// credentials.
    pub(in crate::stream) fn are_read_as(&self, config: &StreamConfig) -> bool {
        let pair = self.set.source.as_ref().zip(config.kinesis());
        pair.is_some_and(|(source, kinesis)| source.shares_as(kinesis))
    }

    /// Brings a configuration into force in every lane.
    pub(in crate::stream) fn reload(&self, of_stream: &LaneResources, config: &StreamConfig) -> Result<()> {
        let mut common = of_stream.clone();
        // Lanes that are opened later know of places before, too, also where those are not kept.
        let before = self.set.current();
        common.settings.complete(before.common.settings);
        *self.set.current.lock().expect("nobody panics holding it") =
            Current { generation: before.generation + 1, config: config.clone(), common: common.clone() };
        let mut failed = None;
        for lane in self.set.lanes().values() {
            if let ShardLane::Open(lane) = lane
                && !lane.running.has_ended()
            {
                let done = lane.running.reload(&common, &self.set.name, &lane.dir, config);
                // One that has delivered what it held ends at any time.
                let has_drained = self.are_draining() && lane.running.has_ended();
                failed = failed.or(done.err().filter(|_| !has_drained));
            }
        }
        let _ = self.wake.send(());
        failed.map_or(Ok(()), Err)
    }

    /// Whether other nodes may read them, too.
    pub(in crate::stream) fn are_shared(&self) -> bool {
        self.set.is_shared()
    }

    /// Whether one of them ended by an error.
    pub(in crate::stream) fn are_broken(&self) -> bool {
        !self.set.is_shared()
            && self.set.phase() == ReadingPhase::Reading
            && self.set.lanes().values().any(|lane| matches!(lane, ShardLane::Open(l) if l.running.has_ended()))
    }

    fn enter(&self, phase: ReadingPhase) {
        self.set.phase.send_replace(phase);
        let _ = self.wake.send(());
    }

    fn end_thread(&self) {
        self.enter(ReadingPhase::Stopped);
        if let Some(thread) = self.thread.lock().expect("nobody panics holding it").take() {
            let _ = thread.join();
        }
    }

    /// Ends every lane where it is.
    pub(in crate::stream) fn stop(&self) {
        self.end_thread();
        self.set.end_all();
    }
}

impl ShardSet {
    fn seen(&self) -> MutexGuard<'_, SeenStream> {
        self.seen.lock().expect("nobody panics holding it")
    }

    /// When the stream of Kinesis was made, as last seen; 0: it was not looked at yet.
    fn created_ms(&self) -> u64 {
        self.seen().created_ms
    }

    fn lanes(&self) -> MutexGuard<'_, BTreeMap<String, ShardLane>> {
        self.lanes.lock().expect("nobody panics holding the lanes")
    }

    /// Adds a lane that was just opened. If nothing is to be read any more it ends, and has read nothing.
    fn add(&self, id: &str, lane: ShardLane) {
        let mut lanes = self.lanes();
        // Whoever has lanes drained has said so before, and goes through them behind us.
        if self.phase() != ReadingPhase::Reading {
            return;
        }
        if let ShardLane::Open(open) = &lane
            && let Err(e) = self.catch_up(open)
        {
            let message = "the lane cannot follow what its stream was told meanwhile, and is opened again";
            tracing::warn!(stream = self.name, shard = id, error = %e, "{message}");
            return;
        }
        lanes.insert(id.to_owned(), lane);
    }

    /// Has a lane follow a pause and a configuration that came while it was opened: who told the others did not find it.
    fn catch_up(&self, lane: &OpenLane) -> Result<()> {
        lane.follow(self.paused.load(Ordering::Relaxed), self.is_shared())?;
        let now = self.current();
        match lane.generation == now.generation {
            true => Ok(()),
            false => lane.running.reload(&now.common, &self.name, &lane.dir, &now.config),
        }
    }

    /// Ends these lanes where they are, all at once: they share threads, and one that is told to end makes room for others.
    fn end(&self, ids: &[String]) {
        let ending: Vec<ShardLane> = {
            let mut lanes = self.lanes();
            ids.iter().filter_map(|id| lanes.remove(id)).collect()
        };
        for lane in &ending {
            if let ShardLane::Open(lane) = lane {
                lane.end();
            }
        }
        // They are waited for here, and nobody waits for the list of lanes meanwhile.
        drop(ending);
    }

    fn end_all(&self) {
        let all: Vec<String> = self.lanes().keys().cloned().collect();
        self.end(&all);
    }

    fn current(&self) -> Current {
        self.current.lock().expect("nobody panics holding it").clone()
    }

    /// Of the configuration in force.
    fn generation(&self) -> u64 {
        self.current.lock().expect("nobody panics holding it").generation
    }

    fn phase(&self) -> ReadingPhase {
        *self.phase.borrow()
    }

    /// Only the thread that opens lanes comes here.
    fn pool(&self) -> Result<&Pool> {
        if let Some(pool) = self.pool.get() {
            return Ok(pool);
        }
        let pool = Pool::start(&format!("lanes {}", self.name), OF_SHARDS)?;
        Ok(self.pool.get_or_init(|| pool))
    }

    fn is_shared(&self) -> bool {
        self.source.as_ref().is_some_and(|source| source.coordination.is_some())
    }
}
