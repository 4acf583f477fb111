//! What every stream of a node shares, and every lane of them.

use super::pool::Pool;
use crate::clock::Clock;
use crate::fs::Fs;
use crate::journal::Budget;
use crate::stream::engine::memory::NodeMemory;
use crate::stream::pipeline::workers::Workers;
use std::path::PathBuf;
use std::sync::Arc;

/// What every stream of a node shares.
#[derive(Clone)]
pub struct NodeShared {
    pub fs: Arc<dyn Fs>,
    pub clock: Arc<dyn Clock>,
    pub runtime: tokio::runtime::Handle,
    pub workers: Arc<Workers>,
    /// Threads for lanes that have something to do.
    pub lanes: Arc<Pool>,
    pub memory: Arc<NodeMemory>,
    pub budget: Arc<Budget>,
    /// Compiled modules.
    pub module_cache: PathBuf,
    /// Of a stream's ARN, what comes before its name.
    pub arn_prefix: String,
}
