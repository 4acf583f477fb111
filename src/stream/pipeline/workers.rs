//! Threads for work that only computes: judging a chunk, compressing a piece. All streams of a node share them.
//!
//! Whoever needs a result waits for it, since a stream's own thread has to be there for everything that only it may do.
//! If no thread begins the work soon, whoever waits takes it over, so that a queue that other streams filled hardly delays
//! it, and nothing here can be waited for in a circle. Without threads all work is done by whoever asks for its result, in
//! the order of asking: tests run so.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// How long work that was started is left to the threads by whoever waits for its result: several times as long as most
/// work takes.
const PATIENCE: Duration = Duration::from_millis(5);

/// The threads, and what they have to do. They end when this goes.
pub struct Workers {
    queue: Arc<JobQueue>,
    threads: usize,
}

#[derive(Default)]
struct JobQueue {
    waiting: Mutex<WaitingJobs>,
    more: Condvar,
}

#[derive(Default)]
struct WaitingJobs {
    work: VecDeque<Arc<dyn Work>>,
    ended: bool,
}

/// Work that has been started; [`Job::finish`] has its result. What is dropped before anybody began it is not done.
pub struct Job<T: Send + 'static>(Arc<JobSlot<T>>);

struct JobSlot<T> {
    state: Mutex<JobState<T>>,
    done: Condvar,
    /// A thread will come to it.
    queued: bool,
}

enum JobState<T> {
    Waiting(Box<dyn FnOnce() -> T + Send>),
    Running,
    Done(std::thread::Result<T>),
    Gone,
}

trait Work: Send + Sync {
    /// Does it, unless somebody has taken it over.
    fn run(&self);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics holding it")
}

impl Workers {
    pub fn new(threads: usize) -> Arc<Workers> {
        let queue = Arc::new(JobQueue::default());
        let start = |i: &usize| {
            let queue = queue.clone();
            let thread = std::thread::Builder::new().name(format!("work {i}"));
            thread.spawn(move || queue.serve()).is_ok()
        };
        // Where no more can be had, whoever needs a result does the work.
        let threads = (0..threads).take_while(start).count();
        Arc::new(Workers { queue, threads })
    }

    /// Leaves `work` to whoever asks for its result: for what takes less time than waking a thread.
    pub fn later<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Job<T> {
        Job::new(work, false)
    }

    /// Has `work` done by a thread, some time.
    pub fn start<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Job<T> {
        let job = Job::new(work, self.threads > 0);
        if job.0.queued {
            lock(&self.queue.waiting).work.push_back(job.0.clone());
            self.queue.more.notify_one();
        }
        job
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        lock(&self.queue.waiting).ended = true;
        self.queue.more.notify_all();
    }
}

impl JobQueue {
    fn serve(&self) {
        while let Some(work) = self.next() {
            work.run();
        }
    }

    fn next(&self) -> Option<Arc<dyn Work>> {
        let mut waiting = lock(&self.waiting);
        loop {
            if waiting.ended {
                return None;
            }
            if let Some(work) = waiting.work.pop_front() {
                return Some(work);
            }
            waiting = self.more.wait(waiting).expect("nobody panics holding it");
        }
    }
}

impl<T: Send> Work for JobSlot<T> {
    fn run(&self) {
        let work = {
            let mut state = lock(&self.state);
            if !matches!(*state, JobState::Waiting(_)) {
                return;
            }
            let JobState::Waiting(work) = std::mem::replace(&mut *state, JobState::Running) else {
                unreachable!("just seen")
            };
            work
        };
        let result = catch_unwind(AssertUnwindSafe(work));
        *lock(&self.state) = JobState::Done(result);
        self.done.notify_all();
    }
}

impl<T: Send + 'static> Job<T> {
    fn new(work: impl FnOnce() -> T + Send + 'static, queued: bool) -> Job<T> {
        let state = Mutex::new(JobState::Waiting(Box::new(work)));
        Job(Arc::new(JobSlot { state, done: Condvar::new(), queued }))
    }

    /// The result. Blocks while a thread is at it, or may soon be; does the work itself if none is. A panic of the work goes
    /// on here.
    pub fn finish(self) -> T {
        if self.0.queued {
            let state = lock(&self.0.state);
            let is_waiting = |state: &mut JobState<T>| matches!(state, JobState::Waiting(_));
            let waited = self.0.done.wait_timeout_while(state, PATIENCE, is_waiting);
            drop(waited.expect("nobody panics holding it"));
        }
        self.0.run();
        let mut state = lock(&self.0.state);
        loop {
            match std::mem::replace(&mut *state, JobState::Gone) {
                JobState::Done(Ok(result)) => return result,
                JobState::Done(Err(panic)) => {
                    drop(state);
                    resume_unwind(panic)
                }
                other => *state = other,
            }
            state = self.0.done.wait(state).expect("nobody panics holding it");
        }
    }

    /// Whether [`Job::finish`] would neither work nor wait.
    pub fn is_done(&self) -> bool {
        matches!(*lock(&self.0.state), JobState::Done(_))
    }
}

impl<T: Send + 'static> Drop for Job<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if matches!(*state, JobState::Waiting(_)) {
            *state = JobState::Gone;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn results_come_back_whoever_did_the_work() {
        for threads in [0, 1, 3] {
            let workers = Workers::new(threads);
            let jobs: Vec<Job<u32>> = (0..200).map(|i| workers.start(move || i * i)).collect();
            let results: Vec<u32> = jobs.into_iter().map(Job::finish).collect();
            assert_eq!(results, (0..200).map(|i| i * i).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_busy_thread_delays_nobody() {
        let workers = Workers::new(1);
        let (go, wait) = channel::<()>();
        let (began, begins) = channel();
        let busy = workers.start(move || {
            began.send(()).unwrap();
            wait.recv().unwrap();
        });
        begins.recv().unwrap();
        assert_eq!(workers.start(|| 7).finish(), 7);
        go.send(()).unwrap();
        busy.finish();
    }

    #[test]
    fn a_panic_reaches_whoever_asks_and_what_is_dropped_is_not_done() {
        let workers = Workers::new(0);
        drop(workers.start(|| panic!("never done")));
        let job = workers.start(|| -> u32 { panic!("here") });
        let panic = catch_unwind(AssertUnwindSafe(|| job.finish())).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"here"));
    }
}
