//! A running lane, as who started it sees it: what can be asked of it, and how.

use super::common::Common;
use super::engine::Engine;
use super::live::Live;
use super::load::Loader;
use super::objects::Objects;
use super::open;
use super::pool::Threads;
use super::runner::Runner;
use super::sinks::Sinks;
use super::status::Status;
use super::supervise::Shared;
use crate::config::StreamConfig;
use crate::deliver::Attempt;
use crate::error::{Error, Kind, Result};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SendError, Sender, channel};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// See [`Command::Do`].
pub(super) type Work = Box<dyn FnOnce(&mut Engine, &mut Sinks) + Send>;

pub(super) enum Command {
    Records,
    Reply(u64, Attempt),
    Reload(Box<Reload>),
    /// Something is done on the stream's own thread.
    Do(Work),
    Status(Sender<Status>),
    /// Deliver what is held, then end.
    Drain,
    /// End now; what is held is found again at the next start.
    Stop,
}

pub(super) struct Reload {
    pub(super) definition: Vec<u8>,
    pub(super) live: Live,
    pub(super) sinks: Sinks,
    pub(super) loader: Loader,
    pub(super) answer: Sender<Result<()>>,
}

/// The way to a lane.
#[derive(Clone)]
pub(super) struct Mailbox {
    pub(super) commands: Sender<Command>,
    /// Rung for each: no thread waits for them.
    pub(super) bell: Arc<Notify>,
}

impl Mailbox {
    pub(super) fn send(&self, command: Command) -> std::result::Result<(), SendError<Command>> {
        self.commands.send(command)?;
        self.bell.notify_one();
        Ok(())
    }
}

/// A running lane, as who started it sees it.
pub(super) struct Running {
    commands: Mailbox,
    told: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
    epoch: Arc<AtomicU32>,
    /// Closed when it has ended and let go of everything.
    gone: Mutex<Receiver<()>>,
    /// As status and logs call it: the stream's name, and the shard's behind it if it is one.
    name: String,
    /// Where other nodes find what they need of it.
    objects: Option<Arc<Objects>>,
}

impl Running {
    /// Starts the lane, on whichever of the threads is free. `retired`: whether the configuration does not name the stream
    /// any more.
    pub(super) fn start(
        shared: &Shared,
        name: &str,
        engine: Engine,
        sinks: Sinks,
        retired: &Arc<AtomicBool>,
        threads: &Threads,
    ) -> Running {
        let (commands, receiver) = channel();
        let commands = Mailbox { commands, bell: Arc::default() };
        let (told, stopped) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let epoch = Arc::new(AtomicU32::new(engine.epoch()));
        let objects = engine.objects();
        let runner = Runner {
            engine,
            commands: receiver,
            woken_by: None,
            own: commands.clone(),
            told: told.clone(),
            sinks,
            shared: shared.clone(),
            name: name.to_owned(),
            retired: retired.clone(),
            ended: false,
            stopped: stopped.clone(),
            alarm: None,
            reported: None,
            draining: false,
            turns_busy: 0,
            epoch: epoch.clone(),
        };
        let (here, gone) = channel();
        threads.start(runner.run_on(threads.clone(), here));
        Running { commands, told, stopped, epoch, gone: Mutex::new(gone), name: name.to_owned(), objects }
    }

    /// Tells the lane that there are records; cheap when it has been told already.
    pub(super) fn teller(&self) -> impl Fn() + Send + Sync + 'static {
        let (told, commands) = (self.told.clone(), self.commands.clone());
        move || {
            if !told.swap(true, Ordering::AcqRel) {
                let _ = commands.send(Command::Records);
            }
        }
    }

    fn gone(&self) -> Error {
        Error::new(Kind::Stopping, format!("stream `{}` has stopped", self.name))
    }

    /// The number of the configuration in force, from 1.
    pub(super) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// How the lane stands. Blocks until its current step ends.
    pub(super) fn status(&self) -> Status {
        let (answer, status) = channel();
        let gone = || Status { stream: self.name.clone(), state: "stopped".into(), ..Status::default() };
        if self.commands.send(Command::Status(answer)).is_err() {
            return gone();
        }
        status.recv().unwrap_or_else(|_| gone())
    }

    /// Has something done on the lane's own thread, between two steps. Blocks.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Engine, &mut Sinks) -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = channel();
        let work = Box::new(move |engine: &mut Engine, sinks: &mut Sinks| drop(answer.send(work(engine, sinks))));
        self.commands.send(Command::Do(work)).map_err(|_| self.gone())?;
        answered.recv().map_err(|_| self.gone())
    }

    /// Brings a configuration into force: a changed route is an epoch, the rest applies at once. Blocks. `dir`: the
    /// lane's.
    pub(super) fn reload(&self, common: &Common, stream: &str, dir: &Path, config: &StreamConfig) -> Result<()> {
        let blobs = super::epoch::Blobs::open(common.shared.fs.clone(), dir.join(open::EPOCHS), self.objects.clone())?;
        let (answer, answered) = channel();
        let reload = Reload {
            definition: open::definition(config, &blobs)?,
            live: open::live(config),
            sinks: Sinks::new(common, stream),
            loader: open::loader(common, Some(config)),
            answer,
        };
        self.commands.send(Command::Reload(Box::new(reload))).map_err(|_| self.gone())?;
        answered.recv().map_err(|_| self.gone())?
    }

    /// Begins to deliver what is held and then to end.
    pub(super) fn drain(&self) {
        let _ = self.commands.send(Command::Drain);
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Tells it to end where it is.
    pub(super) fn tell_to_stop(&self) {
        let _ = self.commands.send(Command::Stop);
    }

    /// Ends it where it is.
    pub(super) fn stop(&self) {
        self.tell_to_stop();
        let _ = self.gone.lock().expect("nobody panics while holding it").recv();
    }
}
