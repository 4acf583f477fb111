//! What a lane is told, and the way to it.

use super::sinks::Sinks;
use super::status::Status;
use crate::deliver::Attempt;
use crate::error::Result;
use crate::stream::engine::Engine;
use crate::stream::pipeline::live::Live;
use crate::stream::pipeline::load::Loader;
use std::sync::Arc;
use std::sync::mpsc::{SendError, Sender};
use tokio::sync::Notify;

/// What is done on a lane's own thread: see [`LaneCommand::Do`].
pub(super) type LaneWork = Box<dyn FnOnce(&mut Engine, &mut Sinks) + Send>;

pub(super) enum LaneCommand {
    Records,
    Reply(u64, Attempt),
    Reload(Box<Reload>),
    /// Something is done on the stream's own thread.
    Do(LaneWork),
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
    pub(super) commands: Sender<LaneCommand>,
    /// Rung for each: no thread waits for them.
    pub(super) bell: Arc<Notify>,
}

impl Mailbox {
    pub(super) fn send(&self, command: LaneCommand) -> std::result::Result<(), SendError<LaneCommand>> {
        self.commands.send(command)?;
        self.bell.notify_one();
        Ok(())
    }
}
