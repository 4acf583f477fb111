//! Threads for the lanes of a stream that may have a thousand of them: few, since each keeps memory for itself.

use crate::error::{Error, Kind, Result};
use tokio::runtime::{Builder, Handle, Runtime};

/// Lanes that are at work at once; most of their time they wait for a disk, or for a table.
const THREADS_MAX: usize = 16;

/// See the module.
pub(super) struct Pool(Option<Runtime>);

impl Pool {
    /// `name`: the stream's.
    pub(super) fn start(name: &str) -> Result<Pool> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).max_blocking_threads(THREADS_MAX).thread_name(format!("lanes {name}")).enable_time();
        let runtime = builder.build().map_err(|e| Error::new(Kind::Retry, format!("start threads: {e}")))?;
        Ok(Pool(Some(runtime)))
    }

    pub(super) fn handle(&self) -> &Handle {
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
