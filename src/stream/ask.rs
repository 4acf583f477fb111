//! What a person asks of a running stream: to wait, to go on, to give up, to take records again.

use super::engine::Engine;
use super::supervise::Stream;
use crate::error::Result;
use crate::journal::Put;
use crate::record::{EntryPoint, Records};
use crate::stream::engine::outbox::AbandonCount;
use crate::stream::lane::sinks::Sinks;
use crate::stream::plan::loss::AcknowledgedLoss;
use std::sync::atomic::Ordering;

impl Stream {
    /// Makes failed records durable that are put in again, each batch as one frame.
    pub(super) fn put_again(&self, batch: Records, entry: EntryPoint) -> Result<u64> {
        let put = Put { arrival_ms: self.shared.clock.wall_ms(), entry, batch };
        self.shared.runtime.block_on(self.put.put(put))
    }

    /// Has something done on the thread of the stream's journal, between two steps. Blocks.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Engine, &mut Sinks) -> T + Send + 'static,
    ) -> Result<T> {
        self.running.ask(work)
    }

    /// Keeps everything from being delivered, or lets it go on; also through restarts. Puts are taken all the same.
    pub fn pause(&self, paused: bool) -> Result<()> {
        // One after the other, so that all end with the same.
        let shards = self.shards();
        self.ask(move |engine, _| engine.pause(paused))??;
        // Before the lanes are asked: those that are opened meanwhile begin with it.
        self.paused.store(paused, Ordering::Relaxed);
        if let Some(shards) = &*shards {
            shards.ask_all(move |engine, _| engine.pause(paused).map(|()| 0u64))?;
        }
        Ok(())
    }

    /// Takes note of what the medium has lost so far: its alarm ends, the counts stay. How many records those are.
    pub fn acknowledge_loss(&self) -> Result<AcknowledgedLoss> {
        let of_shards = match &*self.shards() {
            Some(shards) => shards.ask_all(|engine, _| engine.acknowledge_loss())?,
            None => AcknowledgedLoss::default(),
        };
        Ok(of_shards + self.ask(|engine, _| engine.acknowledge_loss())??)
    }

    /// Gives up on every plan that its destination has not taken so far, whatever holds it: its records go where failures go.
    pub fn abandon(&self) -> Result<AbandonCount> {
        let of_shards = match &*self.shards() {
            Some(shards) => shards.ask_all(|engine, _| Ok(engine.abandon()))?,
            None => AbandonCount::default(),
        };
        Ok(of_shards + self.ask(|engine, _| engine.abandon())?)
    }
}
