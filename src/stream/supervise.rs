//! A stream's life: its lanes run, its puts committed, its end awaited.

use super::redrive::progress::RedriveProgress;
use super::shards::Shards;
use super::unread::Unread;
use crate::alarm::{Alarm, AlarmBoard, AlarmKind};
use crate::config::StreamConfig;
use crate::error::{Error, Kind, Result};
use crate::journal::{Budget, Committer, Put};
use crate::record::{EntryPoint, Records};
use crate::stream::lane::gates::StreamGates;
use crate::stream::lane::handle::LaneHandle;
use crate::stream::lane::meta::Meta;
use crate::stream::lane::open::{LaneToOpen, Opened, disk_limit, open};
use crate::stream::lane::places::{self, Keeping};
use crate::stream::lane::reached::ReachedBy;
use crate::stream::lane::resources::LaneResources;
use crate::stream::lane::shared::NodeShared;
use crate::stream::lane::sinks::Sinks;
pub use crate::stream::lane::status::{Settled, Status};
use crate::stream::state_log::plan_log;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// A running stream, as the API and the node see it.
pub struct Stream {
    pub name: String,
    pub(super) put: Committer,
    pub(super) running: LaneHandle,
    retired: Arc<AtomicBool>,
    pub(super) paused: Arc<AtomicBool>,
    lane: u64,
    budget: Arc<Budget>,
    gates: Arc<StreamGates>,
    pub(super) dir: PathBuf,
    pub(super) shared: NodeShared,
    pub(super) redrive: Mutex<RedriveProgress>,
    takes_puts: AtomicBool,
    /// Why the places of its configuration are not kept, if so.
    unkept: Mutex<Option<Error>>,
    /// The shards that it reads, if it reads from Kinesis.
    pub(super) shards: Mutex<Option<Shards>>,
    /// Shards that it has read and does not read any more, though plans of theirs are open.
    unread: Mutex<Unread>,
    /// Its alarms, and those of its shards.
    board: Mutex<AlarmBoard>,
}

impl Stream {
    /// Opens the stream in `dir` and starts its threads. Without a configuration it is retired: it delivers what it
    /// holds and refuses puts.
    pub fn start(shared: &NodeShared, dir: &Path, meta: &Meta, config: Option<&StreamConfig>) -> Result<Stream> {
        let during = |e: Error| e.during(format!("stream `{}`", meta.name));
        let was_noted = plan_log::has_note(&*shared.fs, dir);
        let Keeping { before, damage, unkept } = places::keep(&*shared.fs, dir, config).map_err(during)?;
        let common = LaneResources::new(shared, config, &before);
        let Opened { mut engine, writer, budget } =
            open(&LaneToOpen { common: &common, dir, meta, config }).map_err(during)?;
        let retired = Arc::new(AtomicBool::new(config.is_none()));
        let paused = Arc::new(AtomicBool::new(engine.state().paused));
        engine.note_damage(damage.into_iter().collect());
        let mut sinks = Sinks::new(&common, &meta.name);
        if config.is_none_or(|config| config.source.spec().takes_puts) {
            engine.note_damage(
                sinks
                    .remember(dir, &engine.open_stores(), ReachedBy::Stream { is_expected: was_noted })
                    .into_iter()
                    .collect(),
            );
        }
        let running = LaneHandle::start(shared, &meta.name, (engine, sinks), &retired, shared.lanes.threads());
        let put = Committer::new(&meta.name, writer, running.teller());
        let kinesis = config.filter(|c| c.kinesis().is_some());
        let start = |config| Shards::start(&common, &meta.name, dir, config, (&retired, &paused)).map_err(during);
        let shards = kinesis.map(start).transpose()?;
        let stream = Stream {
            name: meta.name.clone(),
            put,
            running,
            retired,
            paused,
            lane: meta.incarnation.as_u64_pair().0,
            budget,
            gates: common.gates().clone(),
            dir: dir.to_path_buf(),
            shared: shared.clone(),
            redrive: Mutex::default(),
            takes_puts: shards.is_none().into(),
            unkept: Mutex::new(unkept),
            shards: Mutex::new(shards),
            unread: Mutex::default(),
            board: Mutex::default(),
        };
        Ok(stream)
    }

    /// Makes a batch durable; see [`Committer::put`]. Also refused: a stream that has stopped or is retired.
    pub async fn put(&self, batch: Records) -> Result<u64> {
        if self.running.has_ended() {
            return Err(Error::new(Kind::Poisoned, format!("stream `{}` has stopped", self.name)));
        }
        if self.is_retired() {
            return Err(Error::new(Kind::Invalid, format!("stream `{}` is retired", self.name)));
        }
        self.put.put(Put { arrival_ms: self.shared.clock.wall_ms(), entry: EntryPoint::Source, batch }).await
    }

    fn note_unkept(&self, unkept: Option<Error>) {
        if let Some(e) = &unkept {
            tracing::warn!(stream = self.name, error = %e, "`PLACES` cannot be written yet: how the stream's stores are reached would not outlive a restart");
        }
        *self.unkept.lock().expect("nobody panics holding it") = unkept;
    }

    /// Keeps how the places of its configuration are reached, if there was no room for that.
    pub(super) fn keep_places(&self, config: &StreamConfig) {
        let is_unkept = self.unkept.lock().expect("nobody panics holding it").is_some();
        if is_unkept && let Ok(Keeping { unkept, .. }) = places::keep(&*self.shared.fs, &self.dir, Some(config)) {
            self.note_unkept(unkept);
        }
    }

    pub(super) fn shards(&self) -> MutexGuard<'_, Option<Shards>> {
        self.shards.lock().expect("nobody panics holding the shards")
    }

    /// Whether its records are put; else they are read from elsewhere.
    pub fn takes_puts(&self) -> bool {
        self.takes_puts.load(Ordering::Relaxed)
    }

    /// Where it keeps what it holds.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A number that tells this journal's record ids from another's.
    pub fn lane(&self) -> u64 {
        self.lane
    }

    /// The number of the configuration in force, from 1.
    pub fn epoch(&self) -> u32 {
        self.running.epoch()
    }

    pub fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }

    /// The configuration does not name it any more: it refuses puts and delivers what it holds. [`Stream::reload`] takes
    /// that back.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        // Other nodes go on with those that they share.
        let shared = self.shards().take_if(|shards| shards.are_shared());
        shared.inspect(Shards::stop);
        // What is not read stays in Kinesis.
        if let Some(alone) = &*self.shards() {
            alone.drain(false);
        }
    }

    /// Ends shards that are not read any more when they have delivered what they held, or cannot.
    pub(super) fn end_drained(&self) {
        let drained = self.shards().take_if(|shards| shards.are_draining() && shards.have_ended());
        drained.inspect(Shards::stop);
    }

    /// Whether it has to be opened again to go on: its thread has ended, or a write of its journal failed.
    pub fn is_broken(&self) -> bool {
        let shards = self.shards().as_ref().is_some_and(Shards::are_broken);
        self.running.has_ended() || self.put.is_poisoned() || shards
    }

    /// Whether its journal does not take what is put, and not only for want of room.
    pub fn refuses_puts(&self) -> bool {
        self.put.refusal().is_some_and(|e| e.kind != Kind::NoSpace)
    }

    /// Asks the stream how it stands. Blocks until its current step ends.
    pub fn status(&self) -> Status {
        let mut status = self.running.status();
        if let Some(why) = self.put.refusal() {
            status.refuses_puts = true;
            status.raise_first(Alarm::new(AlarmKind::PutsRefused, format!("puts are refused: {why}")));
        }
        if let Some(e) = &*self.unkept.lock().expect("nobody panics holding it") {
            let detail = format!("after a restart nothing tells how places are reached that the file leaves: {e}");
            status.raise(Alarm::new(AlarmKind::NoRoom, detail));
        }
        let shards = self.shards();
        if let Some(shards) = &*shards {
            shards.add_to(&mut status);
        }
        let mut unread = self.unread.lock().expect("nobody panics holding it");
        unread.look(&*self.shared.fs, &self.dir, &self.name, shards.as_ref());
        unread.add_to(&mut status);
        drop(unread);
        // Who raised an alarm may not know when it began: then it is when somebody first looked.
        let mut board = self.board.lock().expect("nobody panics holding it");
        board.update(std::mem::take(&mut status.alarms), self.shared.clock.wall_ms());
        status.alarms = board.alarms().to_vec();
        status
    }

    /// Brings a configuration into force: a changed route is an epoch, the rest applies at once. Blocks.
    pub fn reload(&self, config: &StreamConfig) -> Result<()> {
        self.budget.set_limit(disk_limit(Some(config)));
        let Keeping { before, unkept, .. } = places::keep(&*self.shared.fs, &self.dir, Some(config))?;
        self.note_unkept(unkept);
        self.gates.follow(config, &self.shared.runtime);
        let common = LaneResources::new(&self.shared, Some(config), &before).behind(&self.gates);
        self.running.reload(&common, &self.name, &self.dir, config)?;
        let mut shards = self.shards();
        let start = || Shards::start(&common, &self.name, &self.dir, config, (&self.retired, &self.paused));
        let reloaded = match (&*shards, config.kinesis().is_some()) {
            (Some(running), true) if running.are_read_as(config) && !running.are_draining() => {
                running.reload(&common, config)
            }
            (Some(running), true) => {
                running.stop();
                *shards = None;
                start().map(|started| *shards = Some(started))
            }
            // What they hold goes where it can be mended to go.
            (Some(running), false) => {
                running.drain(false);
                running.reload(&common, config)
            }
            (None, true) => start().map(|started| *shards = Some(started)),
            (None, false) => Ok(()),
        };
        drop(shards);
        self.takes_puts.store(config.source.spec().takes_puts, Ordering::Relaxed);
        self.retired.store(false, Ordering::Relaxed);
        reloaded
    }

    /// Begins to deliver what is held and then to end, for the process ends.
    pub fn drain(&self) {
        if let Some(shards) = &*self.shards() {
            // Those that the file does not lead to any more are read by no process that follows.
            shards.drain(!shards.are_draining());
        }
        self.running.drain();
    }

    /// Whether the stream's thread has ended.
    pub fn has_ended(&self) -> bool {
        self.running.has_ended() && self.shards().as_ref().is_none_or(Shards::have_ended)
    }

    /// Ends the stream where it is.
    pub fn stop(&self) {
        // Handlers of requests may hold this stream still: what they put from now on is refused, and nothing is written
        // any more when somebody else opens the journal.
        self.put.close();
        if let Some(shards) = &*self.shards() {
            shards.stop();
        }
        self.running.stop();
    }
}
