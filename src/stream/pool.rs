//! Threads for lanes, of which there may be a thousand: of all streams of a node, or of the shards of one. Few, since each
//! keeps memory for itself; a lane has one while it has something to do.

use crate::error::{Error, Kind, Result};
use tokio::runtime::{Builder, Handle, Runtime};

/// Lanes of a stream's shards that are at work at once; most of their time they wait for a disk, or for a table.
pub const OF_SHARDS: usize = 16;
/// Lanes of a node's streams: some may wait for their transforms for seconds.
pub const OF_NODE: usize = 40;

/// See the module.
pub struct Pool(Option<Runtime>);

impl Pool {
    /// `name`: what the threads are called; `threads_max`: how many there are when all are busy.
    pub fn start(name: &str, threads_max: usize) -> Result<Pool> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).max_blocking_threads(threads_max).thread_name(name).enable_time();
        let runtime = builder.build().map_err(|e| Error::new(Kind::Retry, format!("start threads: {e}")))?;
        Ok(Pool(Some(runtime)))
    }

    pub fn handle(&self) -> &Handle {
        self.0.as_ref().expect("it is there until it is dropped").handle()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Whoever drops it may not be one who may wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}
