//! Threads for lanes, of which there may be a thousand: of all streams of a node, or of the shards of one. Few, since each
//! keeps memory for itself; a lane has one while it has something to do.

use crate::error::Result;
use crate::threads;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::runtime::{Builder, Handle, Runtime};

/// Lanes of a stream's shards that are at work at once; most of their time they wait for a disk, or for a table.
pub const OF_SHARDS: usize = 16;
/// Lanes of a node's streams: some may wait for their transforms for seconds.
pub const OF_NODE: usize = 40;

/// A few threads that many lanes share.
pub struct Pool {
    /// Until it is dropped.
    runtime: Option<Runtime>,
    threads: Threads,
}

/// The way to a pool's threads.
#[derive(Clone)]
pub struct Threads {
    handle: Handle,
    threads_max: usize,
    /// Lanes that have a thread or wait for one.
    at_work: Arc<AtomicUsize>,
}

impl Pool {
    /// `name`: what the threads are called; `threads_max`: how many there are when all are busy.
    pub fn start(name: &str, threads_max: usize) -> Result<Pool> {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).max_blocking_threads(threads_max).thread_name(name).enable_time();
        let runtime = threads::start(builder)?;
        let threads = Threads { handle: runtime.handle().clone(), threads_max, at_work: Arc::default() };
        Ok(Pool { runtime: Some(runtime), threads })
    }

    pub fn threads(&self) -> &Threads {
        &self.threads
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Whoever drops it may not be one who may wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Threads {
    /// Starts a lane.
    pub fn start(&self, lane: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(lane));
    }

    /// Has work done on a thread, when one is free. `None`: the pool has ended.
    pub async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let at_work = AtWork::new(&self.at_work);
        let worked = self.handle.spawn_blocking(move || {
            let _at_work = at_work;
            work()
        });
        worked.await.ok()
    }

    /// Whether there are more lanes at work than threads: one that is only not awake yet takes nobody's.
    pub fn are_waited_for(&self) -> bool {
        self.at_work.load(Ordering::Relaxed) > self.threads_max
    }
}

/// A lane at work, until this is dropped.
struct AtWork(Arc<AtomicUsize>);

impl AtWork {
    fn new(at_work: &Arc<AtomicUsize>) -> AtWork {
        at_work.fetch_add(1, Ordering::Relaxed);
        AtWork(at_work.clone())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
