//! A running lane, as who started it sees it: what can be asked of it, and how.

use super::mailbox::{LaneCommand, Mailbox, Reload};
use super::meta::EPOCHS;
use super::open;
use super::pool::Threads;
use super::resources::LaneResources;
use super::runner::Runner;
use super::shared::NodeShared;
use super::sinks::Sinks;
use super::status::Status;
use crate::alarm::{Alarm, AlarmBoard, AlarmKind};
use crate::config::StreamConfig;
use crate::error::{Error, Kind, Result};
use crate::stream::engine::Engine;
use crate::stream::pipeline::settings;
use crate::stream::state_log::objects::StateObjects;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

/// A running lane, as who started it sees it.
pub(in crate::stream) struct LaneHandle {
    commands: Mailbox,
    told: Arc<AtomicBool>,
    stopped: Arc<AtomicBool>,
    epoch: Arc<AtomicU32>,
    /// Closed when it has ended and let go of everything.
    gone: Mutex<Receiver<()>>,
    /// As status and logs call it: the stream's name, and the shard's behind it if it is one.
    name: String,
    /// Where other nodes find what they need of it.
    objects: Option<Arc<StateObjects>>,
}

impl LaneHandle {
    /// Starts the lane, on whichever of the threads is free. `retired`: whether the configuration does not name the stream
    /// any more.
    pub(in crate::stream) fn start(
        shared: &NodeShared,
        name: &str,
        (engine, sinks): (Engine, Sinks),
        retired: &Arc<AtomicBool>,
        threads: &Threads,
    ) -> LaneHandle {
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
            board: AlarmBoard::default(),
            draining: false,
            turns_busy: 0,
            epoch: epoch.clone(),
        };
        let (here, gone) = channel();
        threads.start(runner.run_on(threads.clone(), here));
        LaneHandle { commands, told, stopped, epoch, gone: Mutex::new(gone), name: name.to_owned(), objects }
    }

    /// Tells the lane that there are records; cheap when it has been told already.
    pub(in crate::stream) fn teller(&self) -> impl Fn() + Send + Sync + 'static {
        let (told, commands) = (self.told.clone(), self.commands.clone());
        move || {
            if !told.swap(true, Ordering::AcqRel) {
                let _ = commands.send(LaneCommand::Records);
            }
        }
    }

    fn gone(&self) -> Error {
        Error::new(Kind::Stopping, format!("stream `{}` has stopped", self.name))
    }

    /// The number of the configuration in force, from 1.
    pub(in crate::stream) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// How the lane stands. Blocks until its current step ends.
    pub(in crate::stream) fn status(&self) -> Status {
        let (answer, status) = channel();
        let gone = || {
            Status { stream: self.name.clone(), state: "stopped".into(), ..Status::default() }
                .with(Alarm::new(AlarmKind::Stopped, "its lane has ended, and is opened again"))
        };
        if self.commands.send(LaneCommand::Status(answer)).is_err() {
            return gone();
        }
        status.recv().unwrap_or_else(|_| gone())
    }

    /// Has something done on the lane's own thread, between two steps. Blocks.
    pub(in crate::stream) fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Engine, &mut Sinks) -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = channel();
        let work = Box::new(move |engine: &mut Engine, sinks: &mut Sinks| drop(answer.send(work(engine, sinks))));
        self.commands.send(LaneCommand::Do(work)).map_err(|_| self.gone())?;
        answered.recv().map_err(|_| self.gone())
    }

    /// Brings a configuration into force: a changed route is an epoch, the rest applies at once. Blocks. `dir`: the
    /// lane's.
    pub(in crate::stream) fn reload(
        &self,
        common: &LaneResources,
        stream: &str,
        dir: &Path,
        config: &StreamConfig,
    ) -> Result<()> {
        let blobs = crate::stream::state_log::blobs::Blobs::open(
            common.shared.fs.clone(),
            dir.join(EPOCHS),
            self.objects.clone(),
        )?;
        let (answer, answered) = channel();
        let reload = Reload {
            definition: settings::definition(config, &blobs)?,
            live: settings::live(config),
            sinks: Sinks::new(common, stream),
            loader: open::loader(common, stream, Some(config)),
            answer,
        };
        self.commands.send(LaneCommand::Reload(Box::new(reload))).map_err(|_| self.gone())?;
        answered.recv().map_err(|_| self.gone())?
    }

    /// Begins to deliver what is held and then to end.
    pub(in crate::stream) fn drain(&self) {
        let _ = self.commands.send(LaneCommand::Drain);
    }

    /// Whether it has ended.
    pub(in crate::stream) fn has_ended(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Tells it to end where it is.
    pub(in crate::stream) fn tell_to_stop(&self) {
        let _ = self.commands.send(LaneCommand::Stop);
    }

    /// Ends it where it is.
    pub(in crate::stream) fn stop(&self) {
        self.tell_to_stop();
        let _ = self.gone.lock().expect("nobody panics while holding it").recv();
    }
}
