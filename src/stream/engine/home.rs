//! What a stream runs in, and its bounds.

use super::memory::StreamMemory;
use crate::clock::Clock;
use crate::fs::Fs;
use crate::stream::pipeline::workers::Workers;
use crate::stream::state_log::objects::StateObjects;
use std::path::PathBuf;
use std::sync::Arc;

/// Bounds of one stream, each with its reason.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Open buffers and encoders together; above it the largest buffers are cut early.
    pub memory_bytes_max: usize,
    /// Of the journal's newest records, for when reading lags behind.
    pub tail_bytes_max: usize,
    /// Open plans of a track at which nothing new is read: their lists and bodies wait for a sink that does not answer.
    pub open_plans_max: usize,
    /// Bytes of a track's plans, settled ones that a replay still needs included, at which nothing new is read.
    pub plan_bytes_max: usize,
    /// Different objects filled at once.
    pub open_keys_max: usize,
    /// Blocks of each plan log file, written in advance.
    pub reserve_bytes: u64,
    /// An object's bytes kept in memory before they go to scratch.
    pub spool_bytes_max: usize,
    /// Chunks read and judged before it is their turn.
    pub chunks_ahead_max: usize,
    /// A file of the ledger is closed, and archived, when it holds this much.
    pub ledger_file_bytes: u64,
}

/// What a buffer may take beside all others: records that are not worth a write of their own yet.
const BUFFER_BYTES: usize = 64 << 10;

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            memory_bytes_max: 48 << 20,
            tail_bytes_max: 32 << 20,
            open_plans_max: 256,
            plan_bytes_max: 16 << 20,
            open_keys_max: 10_000,
            reserve_bytes: 16 << 10,
            spool_bytes_max: 1 << 20,
            chunks_ahead_max: 4,
            ledger_file_bytes: 1 << 20,
        }
    }
}

/// What a stream runs in.
pub struct Home {
    pub fs: Arc<dyn Fs>,
    /// The stream's directory.
    pub dir: PathBuf,
    pub incarnation: [u8; 16],
    /// Where other nodes find what they need of the lane, if they may run it.
    pub objects: Option<Arc<StateObjects>>,
    /// The stream's name, for object names and messages.
    pub stream: String,
    pub clock: Arc<dyn Clock>,
    /// Ids and jitter; injected so that tests can repeat a run.
    pub random: Box<dyn FnMut() -> u128 + Send>,
    pub workers: Arc<Workers>,
    pub memory: StreamMemory,
    pub bounds: Bounds,
}

impl Home {
    /// What the stream's open buffers and encoders may take now, in bytes, if there are so many buffers.
    pub(super) fn memory_allowed(&self, buffers: usize) -> usize {
        self.memory.allowed(self.bounds.memory_bytes_max + buffers * BUFFER_BYTES)
    }

    /// A random number in 0..1.
    pub(super) fn jitter(&mut self) -> f64 {
        ((self.random)() as u64 >> 11) as f64 / (1u64 << 53) as f64
    }
}
