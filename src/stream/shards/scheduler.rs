//! The thread that looks after the shards of a stream: which there are, and which of their lanes are opened and ended here.

use super::lanes::ShardLane;
use super::{ENDING, ReadingPhase, ShardSet};
use crate::alarm::{Alarm, AlarmKind};
use crate::error::{Error, Kind, Result};
use crate::source::kinesis::client::KinesisClient;
use crate::source::kinesis::reader::Consumer;
use crate::source::room::ReadRoom;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Instant;

/// What belongs to the thread that looks after the shards of a stream.
pub(super) struct ShardScheduler {
    pub(super) set: Arc<ShardSet>,
    woken: Receiver<()>,
    pub(super) wake: Sender<()>,
    /// The client of the source, which all readers share.
    pub(super) kinesis: Option<KinesisClient>,
    /// The ARN of the consumer that records are sent to, if that is wanted and can be had.
    pub(super) consumer: Consumer,
    /// For answers that are on their way.
    pub(super) room: Arc<ReadRoom>,
    /// The configuration by which services were connected to.
    followed: u64,
}

impl ShardScheduler {
    /// `woken` tells that there may be something to do; `wake` is for those that tell so.
    pub(super) fn new(set: Arc<ShardSet>, woken: Receiver<()>, wake: Sender<()>) -> ShardScheduler {
        let room = set.shared.memory.room();
        ShardScheduler { set, woken, wake, kinesis: None, consumer: Consumer::default(), room, followed: 0 }
    }

    pub(super) fn run(mut self) {
        match self.set.is_shared() {
            true => self.run_shared(),
            false => self.run_alone(),
        }
    }

    /// Whether a configuration of this generation is another one than that by which services were connected to.
    pub(super) fn is_changed(&self, generation: u64) -> bool {
        self.followed != generation
    }

    /// Services are connected to by a configuration of this generation.
    pub(super) fn follow(&mut self, generation: u64) {
        self.followed = generation;
    }

    /// Asks a service something. One that does not answer keeps nobody from ending.
    pub(super) fn ask<T>(&self, asked: impl Future<Output = Result<T>>) -> Result<T> {
        let mut phase = self.set.phase.subscribe();
        self.set.shared.runtime.block_on(async {
            tokio::select! {
                answer = asked => answer,
                _ = phase.wait_for(|phase| *phase != ReadingPhase::Reading) => {
                    Err(Error::new(Kind::Stopping, "the stream ends"))
                }
            }
        })
    }

    /// Waits until then, or until there may be something to do. `false`: nobody can say so any more.
    pub(super) fn wait(&self, until: Instant) -> bool {
        let mut pause = until.saturating_duration_since(Instant::now());
        if self.set.lanes().values().any(|lane| matches!(lane, ShardLane::Open(l) if l.shard.is_at_end())) {
            pause = pause.min(ENDING);
        }
        match self.woken.recv_timeout(pause) {
            Ok(()) => while self.woken.try_recv().is_ok() {},
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return false,
        }
        true
    }

    /// Takes note of whether shards can be read.
    pub(super) fn report(&self, done: Result<()>) {
        if self.set.phase() != ReadingPhase::Reading {
            return;
        }
        if let Err(e) = &done {
            tracing::warn!(stream = self.set.name, error = %e, "shards cannot be read");
        }
        let now_ms = self.set.shared.clock.wall_ms();
        let mut seen = self.set.seen();
        let since_ms = seen.alarm.take().map_or(now_ms, |before| before.since_ms);
        seen.alarm = done.err().map(|e| Alarm::new(AlarmKind::SourceNotRead, e.to_string()).since(since_ms));
    }
}
