//! All streams of one process: the data directory and its lock, streams that the configuration names, and streams that
//! it no longer names but that still hold records.

use super::roster::{NotOpen, Roster};
use super::streams_dir::StreamsDir;
use super::supervise::{Status, Stream};
use crate::alarm::{Alarm, AlarmKind};
use crate::clock::System;
use crate::config::{Config, StreamConfig};
use crate::error::{Error, Kind, Result};
use crate::fs::unsynced::{UnsyncedFs, sync_all};
use crate::fs::{Fs, real::RealFs};
use crate::journal::Budget;
use crate::stream::engine::memory::NodeMemory;
use crate::stream::lane::meta::{Meta, read_or_make_meta};
use crate::stream::lane::open::{self, LaneToOpen};
use crate::stream::lane::places;
use crate::stream::lane::pool::{self, Pool};
use crate::stream::lane::reached;
use crate::stream::lane::resources::LaneResources;
use crate::stream::lane::shared::NodeShared;
use crate::stream::pipeline::workers::Workers;
use rustix::fs::{FlockOperation, flock};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A broken stream is opened again after this pause, then after twice as long, and so on,
const REOPEN_PAUSE: Duration = Duration::from_secs(1);
/// so often twice as long: never less often than every half minute, for as long as it takes,
const REOPEN_DOUBLINGS_MAX: u32 = 5;
/// and from the beginning when it has run for so long.
const REOPEN_FORGOTTEN: Duration = Duration::from_secs(600);
/// Streams that are opened side by side: they wait for the disk most of the time.
const OPENED_AT_ONCE: usize = 16;

/// The streams of this process.
pub struct Node {
    shared: NodeShared,
    dir: StreamsDir,
    streams: Roster,
    /// How often each stream was opened again since it last ran for long, and when.
    reopened: Mutex<BTreeMap<String, (u32, Instant)>>,
    /// Held by whoever opens, reloads or mends: one after the other.
    changing: Mutex<()>,
    /// No stream is opened any more.
    ending: AtomicBool,
    _lock: File,
}

/// A stream's name, its directory, and its configuration if it has one.
type ToOpen<'c> = (String, PathBuf, Option<&'c StreamConfig>);

impl Node {
    /// Opens the data directory. Its streams are known, and refuse until [`Node::apply`] has opened them. Another process on
    /// the same directory is an error.
    pub fn start(config: &Config, runtime: tokio::runtime::Handle) -> Result<Node> {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let streams_dir = config.data_dir.join("streams");
        let act = || format!("open data directory `{}`", config.data_dir.display());
        fs.create_dir_all(&streams_dir).map_err(|e| Error::io(act(), e))?;
        let lock = lock(&config.data_dir).map_err(|e| e.during(act()))?;
        let limit = config.disk_budget.map_or(u64::MAX, |b| b.bytes());
        let arn_prefix = config.api.stream_arn("");
        let module_cache = config.data_dir.join("modules");
        fs.create_dir_all(&module_cache).map_err(|e| Error::io(act(), e))?;
        let clock = Arc::new(System::default());
        let budget = Budget::new("node", limit, None);
        // A stream's own thread does little but wait for their results.
        let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
        let workers = Workers::new(cpus);
        let node = Node {
            dir: StreamsDir::new(fs.clone(), streams_dir),
            shared: NodeShared {
                fs,
                clock,
                runtime,
                workers,
                lanes: Arc::new(Pool::start("lanes", pool::OF_NODE)?),
                memory: NodeMemory::new(0),
                budget,
                module_cache,
                arn_prefix,
            },
            streams: Roster::default(),
            reopened: Mutex::default(),
            changing: Mutex::default(),
            ending: AtomicBool::new(false),
            _lock: lock,
        };
        let found = node.find()?;
        let names = config.streams.keys().chain(found.keys());
        names.for_each(|name| drop(node.streams.not_open(name, NotOpen::Opening)));
        Ok(node)
    }

    /// Brings a configuration into force: new streams are opened, changed ones reloaded, missing ones retired. A stream that
    /// cannot be opened does not keep the others from running. The errors of streams that keep their old configuration are
    /// returned.
    pub fn apply(&self, config: &Config) -> Result<Vec<String>> {
        let _changing = self.changing();
        let mut errors = Vec::new();
        let mut opened = Vec::new();
        let mut found = self.find()?;
        self.shared.budget.set_limit(config.disk_budget.map_or(u64::MAX, |b| b.bytes()));
        let memory = config.memory.size.bytes() - config.memory.intake().bytes();
        self.shared.memory.set_limit(memory as usize);
        self.reopened.lock().expect("nobody panics holding it").clear();
        self.streams.forget(|name| config.streams.contains_key(name) || found.contains_key(name));
        for (name, stream_config) in &config.streams {
            if let Some(stream) = self.stream(name).filter(|s| !s.is_broken()) {
                errors.extend(stream.reload(stream_config).err().map(|e| format!("stream `{name}`: {e}")));
                continue;
            }
            let gone = self
                .streams
                .dir(name)
                .filter(|_| !found.contains_key(name))
                .map(|dir| format!("its directory `{}` is not there any more: put it back", dir.display()));
            let dir =
                found.remove(name).map_or_else(|| gone.map_or_else(|| self.dir.new_dir(), Err), |(dir, _)| Ok(dir));
            match dir {
                Ok(dir) => opened.push((name.clone(), dir, Some(stream_config))),
                Err(why) => self.cannot_open(name, &why),
            }
        }
        for (name, (dir, _)) in found.into_iter().filter(|(n, _)| !config.streams.contains_key(n)) {
            match self.stream(&name) {
                Some(stream) => stream.retire(),
                None => opened.push((name, dir, None)),
            }
        }
        self.open_all(self.make_new(opened));
        Ok(errors)
    }

    /// Makes the directories of streams that have none, all of them aside, durable together and then named: of a thousand
    /// new streams each would wait for the disk a dozen times. Returns what is to be opened.
    fn make_new<'c>(&self, streams: Vec<ToOpen<'c>>) -> Vec<ToOpen<'c>> {
        let act = || format!("make streams in `{}`", self.dir.path().display());
        let (made, mut open): (Vec<_>, Vec<_>) = streams.into_iter().partition(|(_, dir, _)| !dir.exists());
        if made.is_empty() {
            return open;
        }
        let shared = NodeShared { fs: Arc::new(UnsyncedFs), ..self.shared.clone() };
        let whole = Mutex::new(Vec::new());
        side_by_side(made, |(name, dir, config)| {
            if self.ending.load(Ordering::Relaxed) {
                return;
            }
            let made_in = self.dir.aside(&dir);
            let made = shared.fs.create_dir_all(&made_in).map_err(|e| Error::io(act(), e));
            let made = made.and_then(|()| read_or_make_meta(&*shared.fs, &made_in, Some(&name)));
            let made = made.and_then(|meta| {
                let kept = places::keep(&*shared.fs, &made_in, config)?;
                reached::begin(&*shared.fs, &made_in)?;
                let common = LaneResources::new(&shared, config, &kept.before);
                open::open(&LaneToOpen { common: &common, dir: &made_in, meta: &meta, config })
            });
            match made.map(drop) {
                Ok(()) => whole.lock().expect("nobody panics holding it").push((name, dir, config)),
                Err(e) => {
                    #[expect(clippy::disallowed_methods, reason = "it never had its name")]
                    let _ = std::fs::remove_dir_all(&made_in);
                    self.cannot_open(&name, &e.to_string());
                }
            }
        });
        let whole = whole.into_inner().expect("nobody panics holding it");
        let named = sync_all(self.dir.path()).and_then(|()| {
            whole.iter().try_for_each(|(_, dir, _)| self.shared.fs.rename(&self.dir.aside(dir), dir))?;
            self.shared.fs.sync_dir(self.dir.path())
        });
        match named.map_err(|e| Error::io(act(), e)) {
            Ok(()) => open.extend(whole),
            // The others are opened all the same, and these are tried again.
            Err(e) => whole.iter().for_each(|(name, ..)| self.cannot_open(name, &e.to_string())),
        }
        open
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        // Whoever panicked holding it has left the maps whole.
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens streams side by side. Blocks until all are.
    fn open_all(&self, streams: Vec<ToOpen>) {
        side_by_side(streams, |(name, dir, config)| self.reopen(&name, &dir, config));
    }

    /// Opens again, at growing distances, what could not be opened and what has ended by an error. Blocks.
    pub fn mend(&self, config: &Config) {
        // Whoever changes something now opens what is to be opened.
        let Ok(_changing) = self.changing.try_lock() else { return };
        for stream in self.streams.open() {
            config.streams.get(&stream.name).into_iter().for_each(|config| stream.keep_places(config));
            stream.end_drained();
        }
        let unreadable = self.dir.unreadable().iter().any(|(dir, _)| self.take_turn(dir));
        let is_broken =
            |stream: &Result<Arc<Stream>, NotOpen>| stream.as_ref().map_or(true, |stream| stream.is_broken());
        let broken = self.streams.all().into_iter().filter(|(name, stream)| is_broken(stream) && self.take_turn(name));
        let broken: Vec<String> = broken.map(|(name, _)| name).collect();
        if broken.is_empty() && !unreadable {
            return;
        }
        let Ok(mut found) = self.find() else { return };
        for name in broken {
            let dir = match (found.remove(&name), self.streams.dir(&name)) {
                (Some((dir, _)), _) => dir,
                // It was here, and is gone: what it held is not given up for a new one.
                (None, Some(dir)) => {
                    let why = format!("its directory `{}` is not there any more: put it back", dir.display());
                    self.cannot_open(&name, &why);
                    continue;
                }
                (None, None) if !config.streams.contains_key(&name) => continue,
                (None, None) => match self.dir.new_dir() {
                    Ok(dir) => dir,
                    Err(_) => continue,
                },
            };
            tracing::warn!(stream = name, "the stream is opened again");
            self.reopen(&name, &dir, config.streams.get(&name));
        }
        // What somebody mended meanwhile.
        for (name, (dir, _)) in found {
            if self.lookup(&name).is_none() {
                self.open(&name, &dir, config.streams.get(&name));
            }
        }
    }

    /// Opens a stream, having ended it if it runs: then it is there meanwhile, and refuses.
    fn reopen(&self, name: &str, dir: &Path, config: Option<&StreamConfig>) {
        if self.ending.load(Ordering::Relaxed) {
            return;
        }
        if self.stream(name).is_some() {
            let (before, _) = self.streams.not_open(name, NotOpen::Opening);
            before.inspect(|stream| stream.stop());
        }
        self.open(name, dir, config);
    }

    /// Whether the next try of a stream that is not open is due; counts it.
    fn take_turn(&self, name: &str) -> bool {
        let mut reopened = self.reopened.lock().expect("nobody panics holding it");
        let (tries, last) = reopened.entry(name.to_owned()).or_insert((0, Instant::now()));
        if last.elapsed() > REOPEN_FORGOTTEN {
            *tries = 0;
        }
        let due = last.elapsed() >= REOPEN_PAUSE * (1 << (*tries).min(REOPEN_DOUBLINGS_MAX));
        if due {
            (*tries, *last) = (tries.saturating_add(1), Instant::now());
        }
        due
    }

    fn open(&self, name: &str, dir: &Path, config: Option<&StreamConfig>) {
        let fs = &self.shared.fs;
        let opened = fs.create_dir_all(dir).map_err(|e| Error::io(format!("create `{}`", dir.display()), e));
        let opened = opened.and_then(|()| read_or_make_meta(&**fs, dir, Some(name)));
        match opened.and_then(|meta| Stream::start(&self.shared, dir, &meta, config)) {
            Ok(stream) => self.streams.opened(name, dir, stream),
            Err(e) => self.cannot_open(name, &e.to_string()),
        }
    }

    /// Takes note of why a stream cannot be opened; one that was open is stopped.
    fn cannot_open(&self, name: &str, why: &str) {
        let (before, is_news) = self.streams.not_open(name, NotOpen::Failed(why.to_owned()));
        before.inspect(|stream| stream.stop());
        if is_news {
            tracing::error!(stream = name, error = why, "stream cannot be opened; the others run");
        }
    }

    /// Stops a stream's threads; what it holds stays on disk.
    fn end(&self, name: &str) {
        self.streams.take(name).inspect(|stream| stream.stop());
    }

    /// Streams that have a directory, by name.
    fn find(&self) -> Result<BTreeMap<String, (PathBuf, Meta)>> {
        let open: Vec<PathBuf> = self.streams.open().iter().map(|s| s.dir().to_path_buf()).collect();
        self.dir.find(&open)
    }

    /// A stream that is open.
    pub fn stream(&self, name: &str) -> Option<Arc<Stream>> {
        self.streams.get(name)
    }

    /// A stream, or why it is not open; `None` if there is none of that name.
    pub fn lookup(&self, name: &str) -> Option<Result<Arc<Stream>, NotOpen>> {
        self.streams.lookup(name)
    }

    /// Names of all streams, in order.
    pub fn names(&self) -> Vec<String> {
        self.streams.all().into_iter().map(|(name, _)| name).collect()
    }

    /// How every stream stands, and directories that are no stream's under their own names. Blocks until each stream has
    /// ended its current step.
    pub fn statuses(&self) -> Vec<Status> {
        let unreadable = self.dir.unreadable().into_iter().map(|(dir, why)| (dir, Err(NotOpen::Failed(why))));
        let mut all: Vec<Status> = self.streams.all().into_iter().chain(unreadable).map(status).collect();
        all.sort_by(|a, b| a.stream.cmp(&b.stream));
        all
    }

    /// Delivers what is held, for at most `patience`, then ends every stream. Whether all was delivered.
    pub fn drain(&self, patience: Duration) -> bool {
        self.ending.store(true, Ordering::Relaxed);
        let _changing = self.changing();
        let streams = self.streams.open();
        streams.iter().for_each(|s| s.drain());
        let deadline = Instant::now() + patience;
        let mut all = true;
        for stream in streams {
            while !stream.has_ended() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
            }
            all &= stream.has_ended();
            self.end(&stream.name);
        }
        all
    }
}

/// How a stream stands, or why it is not open.
fn status((stream, found): (String, Result<Arc<Stream>, NotOpen>)) -> Status {
    let not_open = match found {
        Ok(stream) => return stream.status(),
        Err(not_open) => not_open,
    };
    let state = if not_open == NotOpen::Opening { "opening" } else { "stopped" }.to_owned();
    Status { stream, state, ..Status::default() }.with(Alarm::new(AlarmKind::Stopped, not_open.why()))
}

/// Does the same with each stream, several at a time. Blocks until all is done.
fn side_by_side<'c>(streams: Vec<ToOpen<'c>>, work: impl Fn(ToOpen<'c>) + Sync) {
    let threads = streams.len().min(OPENED_AT_ONCE);
    let queue = Mutex::new(streams.into_iter());
    let next = || queue.lock().expect("nobody panics holding it").next();
    let run = || {
        while let Some(stream) = next() {
            work(stream);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // With fewer threads than wanted it takes longer, and no less is done.
            if std::thread::Builder::new().name("open".into()).spawn_scoped(scope, run).is_err() {
                break;
            }
        }
        run();
    });
}

/// Takes the lock of a data directory, for as long as the file is held. An error: another process has it.
pub fn lock(data_dir: &Path) -> Result<File> {
    let path = data_dir.join("LOCK");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(|e| Error::io(format!("open `{}`", path.display()), e))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| Error::new(Kind::Misconfigured, "another process uses it (its `LOCK` is held)"))?;
    Ok(file)
}
