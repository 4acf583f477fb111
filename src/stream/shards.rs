//! The lanes of a stream that reads from Kinesis: one a shard, each with a directory of its own, opened when the shards
//! it was made from are read to their ends and settled, so that the records of a partition key stay in order.

use super::engine::Engine;
use super::open::{open_shard, read_or_make_meta};
use super::runner::Running;
use super::sinks::Sinks;
use super::status::Status;
use super::supervise::Shared;
use crate::config::{self, StartingPosition, StreamConfig};
use crate::error::{Error, Kind, Result};
use crate::fs::{read, write_atomically};
use crate::lane::Start;
use crate::source::kinesis::client::{Kinesis, Listed, Summary};
use crate::source::kinesis::poll::Poll;
use crate::source::kinesis::shard::Shard;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Between two looks at a shard that was read to its end and has records that are not settled.
const ENDING: Duration = Duration::from_millis(100);
/// Between two tries of what Kinesis refused.
const RETRY: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Shards {
    shared: Arc<Inner>,
    wake: Sender<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Inner {
    shared: Shared,
    name: String,
    /// Holds a directory for each life of the Kinesis stream, by its time of creation, with one for each shard.
    dir: PathBuf,
    config: Mutex<StreamConfig>,
    lanes: Mutex<BTreeMap<String, Lane>>,
    alarm: Mutex<Option<String>>,
    retired: Arc<AtomicBool>,
    stopped: AtomicBool,
    /// When the stream of Kinesis was made, as last seen; 0: not yet.
    created_ms: AtomicU64,
}

enum Lane {
    Open(Box<OpenLane>),
    /// Read to its end and settled: how it stood then.
    Done(Box<Status>),
}

struct OpenLane {
    running: Running,
    shard: Arc<Shard>,
    reader: tokio::task::JoinHandle<()>,
    dir: PathBuf,
}

impl Drop for OpenLane {
    fn drop(&mut self) {
        self.shard.close();
        self.reader.abort();
        self.running.stop();
    }
}

/// The file `BEGIN`: where the shards of a stream begin to be read, decided once.
#[derive(Debug, Serialize, Deserialize)]
struct Begin {
    arn: String,
    /// Milliseconds since the Unix epoch; `None`: at the oldest record.
    timestamp_ms: Option<u64>,
}

impl Shards {
    /// Starts to look for shards. Kinesis is asked only from a thread of its own.
    pub(super) fn start(
        shared: &Shared,
        name: &str,
        dir: &Path,
        config: &StreamConfig,
        retired: &Arc<AtomicBool>,
    ) -> Shards {
        let inner = Arc::new(Inner {
            shared: shared.clone(),
            name: name.to_owned(),
            dir: dir.join("shards"),
            config: Mutex::new(config.clone()),
            lanes: Mutex::default(),
            alarm: Mutex::default(),
            retired: retired.clone(),
            stopped: AtomicBool::new(false),
            created_ms: AtomicU64::new(0),
        });
        let (wake, woken) = channel();
        let (of_thread, waker) = (inner.clone(), wake.clone());
        let thread = std::thread::Builder::new().name(format!("shards {name}"));
        let thread = thread.spawn(move || of_thread.run(&woken, &waker)).expect("a thread can be started");
        Shards { shared: inner, wake, thread: Mutex::new(Some(thread)) }
    }

    /// Adds how each shard stands, and what keeps shards from being read.
    pub(super) fn add_to(&self, status: &mut Status) {
        let alarm = self.shared.alarm.lock().expect("nobody panics holding it").clone();
        status.alarm = status.alarm.take().or(alarm);
        for (id, lane) in self.shared.lanes().iter() {
            match lane {
                Lane::Open(lane) => {
                    let mut of_shard = lane.running.status();
                    of_shard.alarm = of_shard.alarm.or_else(|| lane.shard.alarm());
                    status.add_shard(id.clone(), of_shard, Some(lane.shard.behind_ms()));
                }
                Lane::Done(done) => status.add_shard(id.clone(), (**done).clone(), None),
            }
        }
    }

    /// Has something done on the thread of every open lane.
    pub(super) fn ask_all(
        &self,
        work: impl Fn(&mut Engine, &mut Sinks) -> Result<u64> + Clone + Send + 'static,
    ) -> Result<u64> {
        let mut sum = 0;
        for lane in self.shared.lanes().values() {
            if let Lane::Open(lane) = lane {
                sum += lane.running.ask(work.clone())??;
            }
        }
        Ok(sum)
    }

    /// Brings a configuration into force in every lane.
    pub(super) fn reload(&self, config: &StreamConfig) -> Result<()> {
        *self.shared.config.lock().expect("nobody panics holding it") = config.clone();
        for lane in self.shared.lanes().values() {
            if let Lane::Open(lane) = lane {
                lane.running.reload(&self.shared.shared, &self.shared.name, &lane.dir, config)?;
            }
        }
        let _ = self.wake.send(());
        Ok(())
    }

    /// Reads nothing more, and begins to deliver what is held.
    pub(super) fn drain(&self) {
        self.end_thread();
        for lane in self.shared.lanes().values() {
            if let Lane::Open(lane) = lane {
                lane.reader.abort();
                lane.running.drain();
            }
        }
    }

    /// Whether every lane's thread has ended.
    pub(super) fn have_ended(&self) -> bool {
        self.shared.lanes().values().all(|lane| match lane {
            Lane::Open(lane) => lane.running.has_ended(),
            Lane::Done(_) => true,
        })
    }

    /// Whether one of them ended by an error.
    pub(super) fn are_broken(&self) -> bool {
        !self.shared.stopped.load(Ordering::Relaxed)
            && self.shared.lanes().values().any(|lane| matches!(lane, Lane::Open(l) if l.running.has_ended()))
    }

    fn end_thread(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        let _ = self.wake.send(());
        if let Some(thread) = self.thread.lock().expect("nobody panics holding it").take() {
            let _ = thread.join();
        }
    }

    /// Ends every lane where it is.
    pub(super) fn stop(&self) {
        self.end_thread();
        self.shared.lanes().clear();
    }
}

impl Inner {
    fn lanes(&self) -> MutexGuard<'_, BTreeMap<String, Lane>> {
        self.lanes.lock().expect("nobody panics holding the lanes")
    }

    fn config(&self) -> StreamConfig {
        self.config.lock().expect("nobody panics holding it").clone()
    }

    fn run(&self, woken: &Receiver<()>, wake: &Sender<()>) {
        let mut next_list = Instant::now();
        while !self.stopped.load(Ordering::Relaxed) {
            let config = self.config();
            let Some(settings) = config.kinesis() else { return };
            let ended = self.end_lanes();
            if ended > 0 || Instant::now() >= next_list {
                let done = self.open_lanes(&config, settings, wake);
                // A lane that is ending makes this loop turn often: Kinesis is not asked any sooner for that.
                next_list = Instant::now() + if done.is_ok() { settings.shards_interval } else { RETRY };
                if let Err(e) = &done {
                    tracing::warn!(stream = self.name, error = %e, "shards cannot be read");
                }
                *self.alarm.lock().expect("nobody panics holding it") = done.err().map(|e| e.to_string());
            }
            let mut pause = next_list.saturating_duration_since(Instant::now());
            if self.lanes().values().any(|lane| matches!(lane, Lane::Open(l) if l.shard.is_at_end())) {
                pause = pause.min(ENDING);
            }
            match woken.recv_timeout(pause) {
                Ok(()) => while woken.try_recv().is_ok() {},
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Ends lanes that were read to the end of their shard and are settled. How many.
    fn end_lanes(&self) -> usize {
        let mut lanes = self.lanes();
        let mut done = Vec::new();
        for (id, lane) in lanes.iter() {
            let Lane::Open(lane) = lane else { continue };
            if !lane.shard.is_at_end() {
                continue;
            }
            // Its children wait: what is in buffers becomes objects at once.
            let is_done = lane
                .running
                .ask(|engine, _| engine.flush().map(|_| matches!(engine.state().start, Some(Start::End { .. }))));
            if matches!(is_done, Ok(Ok(true))) {
                let status = lane.running.status();
                let bytes = serde_json::to_vec(&status).expect("plain values always serialise into memory");
                match write_atomically(&*self.shared.fs, &lane.dir.join("DONE"), &bytes) {
                    Ok(()) => done.push((id.clone(), status)),
                    Err(e) => tracing::warn!(stream = self.name, shard = id, error = %e, "cannot note that it is done"),
                }
            }
        }
        let n = done.len();
        for (id, status) in done {
            tracing::info!(stream = self.name, shard = id, "the shard was read to its end, and everything is settled");
            lanes.insert(id, Lane::Done(Box::new(status)));
        }
        n
    }

    /// Opens the lanes of shards whose parents are done.
    fn open_lanes(&self, config: &StreamConfig, settings: &config::Kinesis, wake: &Sender<()>) -> Result<()> {
        let kinesis = self.shared.runtime.block_on(Kinesis::connect(settings))?;
        let summary = self.shared.runtime.block_on(kinesis.summary())?;
        let listed = self.shared.runtime.block_on(kinesis.shards())?;
        self.meet(summary.created_ms);
        let dir = self.dir.join(summary.created_ms.to_string());
        let begin = self.begin(&dir, settings, &summary)?;
        for shard in &listed {
            if self.stopped.load(Ordering::Relaxed) {
                return Ok(());
            }
            if !self.lanes().contains_key(&shard.id) && self.is_next(shard, &listed) {
                let lane = self.open(config, settings, &kinesis, &dir.join(&shard.id), shard, &begin, wake);
                let lane = lane.map_err(|e| e.during(format!("shard `{}`", shard.id)))?;
                self.lanes().insert(shard.id.clone(), lane);
            }
        }
        Ok(())
    }

    /// Takes note of when the stream was made. One that was deleted and made again has other shards under the same names:
    /// those of before are read no more, and deliver what they hold.
    fn meet(&self, created_ms: u64) {
        let before = self.created_ms.swap(created_ms, Ordering::Relaxed);
        if before == 0 || before == created_ms {
            return;
        }
        tracing::error!(
            stream = self.name,
            "the stream of Kinesis was made anew: what was not read of the old one is lost"
        );
        let mut lanes = self.lanes();
        for (id, lane) in std::mem::take(&mut *lanes) {
            if let Lane::Open(open) = &lane {
                open.reader.abort();
            }
            lanes.insert(format!("{id} of {before}"), lane);
        }
    }

    /// Whether a shard may be read: its parents are done, or are not there any more.
    fn is_next(&self, shard: &Listed, listed: &[Listed]) -> bool {
        let lanes = self.lanes();
        shard.parents.iter().all(|parent| match lanes.get(parent) {
            Some(lane) => matches!(lane, Lane::Done(_)),
            None => !listed.iter().any(|l| l.id == *parent),
        })
    }

    /// Where reading begins, decided when a stream is first seen.
    fn begin(&self, dir: &Path, settings: &config::Kinesis, summary: &Summary) -> Result<Begin> {
        let fs = &*self.shared.fs;
        let path = dir.join("BEGIN");
        let act = || format!("`{}`", path.display());
        match read(fs, &path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|e| Error::new(Kind::Corrupt, format!("{}: {e}", act())))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let timestamp_ms = match settings.start {
                    StartingPosition::Latest => Some(self.shared.clock.wall_ms()),
                    StartingPosition::TrimHorizon => None,
                    StartingPosition::Timestamp(ms) => Some(ms),
                };
                let begin = Begin { arn: summary.arn.clone(), timestamp_ms };
                let bytes = serde_json::to_vec(&begin).expect("plain values always serialise into memory");
                fs.create_dir_all(dir).map_err(|e| Error::io(act(), e))?;
                write_atomically(fs, &path, &bytes).map_err(|e| Error::io(act(), e))?;
                Ok(begin)
            }
            Err(e) => Err(Error::io(act(), e)),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all of them are what a lane is made of")]
    fn open(
        &self,
        config: &StreamConfig,
        settings: &config::Kinesis,
        kinesis: &Kinesis,
        dir: &Path,
        listed: &Listed,
        begin: &Begin,
        wake: &Sender<()>,
    ) -> Result<Lane> {
        let shared = &self.shared;
        let during = |e| Error::io(format!("`{}`", dir.display()), e);
        shared.fs.create_dir_all(dir).map_err(during)?;
        if let Ok(bytes) = read(&*shared.fs, &dir.join("DONE")) {
            let status = serde_json::from_slice(&bytes);
            return status.map(Lane::Done).map_err(|e| Error::new(Kind::Corrupt, format!("`DONE`: {e}")));
        }
        let meta = read_or_make_meta(&*shared.fs, dir, Some(&self.name))?;
        let begin = begin.timestamp_ms.map_or(Start::TrimHorizon, Start::Timestamp);
        let (engine, shard) = open_shard(shared, dir, &meta, config, begin)?;
        let state = engine.state();
        let start = state.start.clone().expect("it is persisted before the lane is opened");
        let bound = state.plans.values().any(|p| p.list.end() > state.low[p.outlet.track() as usize]);
        let name = format!("{}/{}", self.name, listed.id);
        let running =
            Running::start(shared, &name, engine, Sinks::new(shared, &self.name, Some(config)), &self.retired);
        let (tell, wake, of_reader) = (running.teller(), wake.clone(), shard.clone());
        let poll = Poll {
            kinesis: kinesis.clone(),
            stream: self.name.clone(),
            id: listed.id.clone(),
            shard: shard.clone(),
            start,
            bound,
            interval: settings.poll_interval,
            tell: Box::new(move || {
                tell();
                if of_reader.is_at_end() {
                    let _ = wake.send(());
                }
            }),
        };
        let reader = shared.runtime.spawn(poll.run());
        tracing::info!(stream = self.name, shard = listed.id, "the shard is read");
        Ok(Lane::Open(Box::new(OpenLane { running, shard, reader, dir: dir.to_path_buf() })))
    }
}
