//! Runtimes that outlive a shortage of threads: where the system gives no more of them, what is to be done waits, and nothing
//! panics.
//!
//! Tokio panics in `spawn_blocking`, and where it starts, if it has no thread and gets none; while it has one, it queues what
//! there is to do. So each runtime keeps one.

use crate::error::{Error, Kind, Result};
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

/// Well below the ten seconds after which tokio ends a thread that has nothing to do.
const KEPT_BUSY_EVERY: Duration = Duration::from_secs(3);

/// Builds a runtime that keeps a thread for what blocks. Errors: `Retry`, there are no threads.
pub fn start(builder: &mut Builder) -> Result<Runtime> {
    let failed = |why: String| Error::new(Kind::Retry, format!("start threads: {why}"));
    let built = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let runtime = builder.build()?;
        // It has this thread before it is needed.
        let ready = runtime.spawn_blocking(|| {});
        Ok::<_, std::io::Error>((runtime, ready))
    }));
    let (runtime, _ready) = match built {
        Ok(built) => built.map_err(|e| failed(e.to_string()))?,
        Err(_) => return Err(failed("the system gives no more of them (see `ulimit -u`)".to_owned())),
    };
    runtime.spawn(keep_one(runtime.handle().clone()));
    Ok(runtime)
}

async fn keep_one(runtime: Handle) {
    loop {
        tokio::time::sleep(KEPT_BUSY_EVERY).await;
        let _ = runtime.spawn_blocking(|| {}).await;
    }
}
