//! Runtimes that outlive a shortage of threads: where the system gives no more of them, what is to be done waits, and nothing
//! panics or hangs.
//!
//! Tokio panics in `spawn_blocking`, and where it starts, if it has no thread and gets none; while it has one, it queues what
//! there is to do. So each runtime keeps one. A runtime that gets some of the threads that it starts with, but not all, waits
//! for those without end while it panics: it is built on a thread of its own, which is left behind then.

use crate::error::{Error, Kind, Result};
use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::sync::Once;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;
use tokio::runtime::{Builder, Handle, Runtime};

/// Well below the ten seconds after which tokio ends a thread that has nothing to do.
const KEPT_BUSY_EVERY: Duration = Duration::from_secs(3);

/// What became of a runtime; `None`: its builder panicked, which it does only for want of a thread.
type Built = Option<std::io::Result<Runtime>>;

thread_local! {
    /// On a thread that builds a runtime: who is told that it panics. Nothing is printed of that.
    static WAITING: RefCell<Option<Sender<Built>>> = const { RefCell::new(None) };
}

/// Builds a runtime that keeps a thread for what blocks. Errors: `Retry`, there are no threads.
pub fn start(mut builder: Builder) -> Result<Runtime> {
    let failed = |why: String| Error::new(Kind::Retry, format!("start threads: {why}"));
    let no_more = || failed("the system gives no more of them (see `ulimit -u`)".to_owned());
    static HOOK: Once = Once::new();
    HOOK.call_once(|| tell_of_panics(std::panic::take_hook()));
    let (tell, told) = channel();
    let build = move || {
        WAITING.set(Some(tell.clone()));
        let built = builder.build().inspect(|runtime| {
            // It has this thread before it is needed.
            drop(runtime.spawn_blocking(|| {}));
        });
        let _ = tell.send(Some(built));
    };
    std::thread::Builder::new().name("start threads".to_owned()).spawn(build).map_err(|_| no_more())?;
    let built = told.recv().ok().flatten().ok_or_else(no_more)?;
    let runtime = built.map_err(|e| failed(e.to_string()))?;
    runtime.spawn(keep_one(runtime.handle().clone()));
    Ok(runtime)
}

/// Has every panic told of by `print`, but those that whoever builds a runtime is told of.
pub fn tell_of_panics(print: impl Fn(&PanicHookInfo) + Send + Sync + 'static) {
    std::panic::set_hook(Box::new(move |panic| match WAITING.take() {
        Some(waiting) => drop(waiting.send(None)),
        None => print(panic),
    }));
}

async fn keep_one(runtime: Handle) {
    loop {
        tokio::time::sleep(KEPT_BUSY_EVERY).await;
        let _ = runtime.spawn_blocking(|| {}).await;
    }
}
