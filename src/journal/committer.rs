//! Group commit: whatever queued up while the last sync ran is written and synced in one go, and all who wait are
//! answered. No timer. A small put that comes alone is committed on the thread that brings it, which saves two changes of
//! thread on the way to its answer; where many come at once, the stream's committer thread takes them together. It is there
//! while they come.

use super::{Put, Writer};
use crate::error::{Error, Kind, Result};
use crate::priority;
use crate::sabotage;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::oneshot;

/// Puts that may wait for the committer: above it the stream is overloaded and says so.
const QUEUE_PUTS_MAX: usize = 1024;
/// Bytes of puts that may wait: those of clients that have given up meanwhile are in nobody else's budget.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Bytes of one commit: larger ones only make the first waiter wait longer.
const COMMIT_BYTES_MAX: usize = 8 << 20;
/// A thread that has had nothing to do for this long ends: there may be a thousand streams.
const THREAD_IDLE: Duration = Duration::from_secs(2);
/// A stream that nobody puts to any more is not known to refuse for longer than this: there may be room again.
const REFUSAL_SHOWN: Duration = Duration::from_secs(30);
/// Larger puts are not committed on the thread that brings them: copying them takes longer than changing threads.
const OWN_BYTES_MAX: usize = 32 << 10;

struct Queued {
    put: Put,
    answer: oneshot::Sender<Result<u64>>,
}

/// The way into a stream's journal.
pub struct Committer {
    shared: Arc<CommitterShared>,
}

struct CommitterShared {
    /// The thread's.
    name: String,
    /// Held for the length of a commit. Whoever holds it may lock the queue, never the other way round.
    writer: Mutex<Writer>,
    queue: Mutex<PutQueue>,
    more: Condvar,
    poisoned: AtomicBool,
    /// Why the last commit failed, if it did, and when.
    refusal: Mutex<Option<(Error, Instant)>>,
    /// Whether there is one, for whoever must not wait.
    refused: AtomicBool,
    /// The last commit took several puts: the next one will, too, if nobody goes ahead of it.
    crowded: AtomicBool,
    committed: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct PutQueue {
    puts: VecDeque<Queued>,
    /// Of their records.
    bytes: usize,
    closed: bool,
    /// A thread takes what is queued.
    has_thread: bool,
}

/// What a put finds.
enum CommitTurn {
    Done(Result<u64>),
    Queued(oneshot::Receiver<Result<u64>>),
}

fn stopping() -> Error {
    Error::new(Kind::Stopping, "the stream is stopping")
}

impl Committer {
    /// A committer, whose thread runs while puts come. `committed` is called after each commit, before anyone is answered.
    pub fn new(name: &str, writer: Writer, committed: impl Fn() + Send + Sync + 'static) -> Committer {
        let (writer, queue, more) = (Mutex::new(writer), Mutex::default(), Condvar::new());
        let (poisoned, crowded) = (AtomicBool::new(false), AtomicBool::new(false));
        let (refusal, refused, committed) = (Mutex::default(), AtomicBool::new(false), Box::new(committed));
        let name = format!("commit {name}");
        let shared = CommitterShared { name, writer, queue, more, poisoned, refusal, refused, crowded, committed };
        Committer { shared: Arc::new(shared) }
    }

    /// Puts a batch and returns its first record's offset once it is durable.
    ///
    /// Errors: `Retry` (the queue is full), `NoSpace`, `Poisoned`, `Stopping`. On every error nothing was acknowledged,
    /// though after `Poisoned` the records may still turn out to be durable.
    pub async fn put(&self, put: Put) -> Result<u64> {
        match self.shared.take_turn(put) {
            CommitTurn::Done(result) => result,
            CommitTurn::Queued(answered) => answered.await.map_err(|_| stopping())?,
        }
    }

    /// Whether a write failed: every put is refused until the journal is opened again.
    pub fn is_poisoned(&self) -> bool {
        self.shared.poisoned.load(Ordering::Relaxed)
    }

    /// Why puts are not taken, if the last commit failed: for good, or not long ago.
    pub fn refusal(&self) -> Option<Error> {
        let refusal = self.shared.refusal.lock().expect("nobody panics holding it").clone();
        let died = || Error::new(Kind::Poisoned, "a rule of our own was broken (see the log for the panic)");
        match refusal {
            Some((e, at)) if self.is_poisoned() || at.elapsed() < REFUSAL_SHOWN => Some(e),
            _ => self.is_poisoned().then(died),
        }
    }

    /// Ends the committer. When this returns nothing is written any more; puts that waited are told so.
    pub fn close(&self) {
        let mut queue = self.shared.queue();
        queue.closed = true;
        self.shared.more.notify_all();
        let runs = |queue: &mut PutQueue| queue.has_thread;
        drop(self.shared.more.wait_while(queue, runs).expect("nobody panics holding it"));
        // Also what is committed on another thread has ended now.
        drop(self.shared.writer());
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.close();
    }
}

impl CommitterShared {
    fn queue(&self) -> MutexGuard<'_, PutQueue> {
        self.queue.lock().expect("nobody panics holding it")
    }

    /// A writer whose last commit panicked is not used again: what it wrote is unknown.
    fn writer(&self) -> Option<MutexGuard<'_, Writer>> {
        self.writer.lock().ok()
    }

    fn take_turn(self: &Arc<Self>, put: Put) -> CommitTurn {
        let mut queue = self.queue();
        if queue.closed {
            return CommitTurn::Done(Err(stopping()));
        }
        let bytes = put.batch.bytes().len();
        if queue.puts.len() >= QUEUE_PUTS_MAX || queue.bytes + bytes > QUEUE_BYTES_MAX {
            return CommitTurn::Done(Err(Error::new(Kind::Retry, "too many puts wait for the disk")));
        }
        if queue.puts.is_empty()
            && bytes <= OWN_BYTES_MAX
            && !self.crowded.load(Ordering::Relaxed)
            && may_block()
            && let Ok(mut writer) = self.writer.try_lock()
        {
            drop(queue);
            let firsts = tokio::task::block_in_place(|| self.commit(&mut writer, vec![put]));
            drop(writer);
            return CommitTurn::Done(firsts.map(|firsts| firsts[0]));
        }
        if !queue.has_thread {
            let own = self.clone();
            let spawned = std::thread::Builder::new().name(self.name.clone()).spawn(move || own.run());
            if let Err(e) = spawned {
                return CommitTurn::Done(Err(Error::new(Kind::Retry, format!("start a thread: {e}"))));
            }
            queue.has_thread = true;
        }
        let (answer, answered) = oneshot::channel();
        queue.bytes += bytes;
        queue.puts.push_back(Queued { put, answer });
        self.more.notify_one();
        CommitTurn::Queued(answered)
    }

    fn commit(&self, writer: &mut Writer, puts: Vec<Put>) -> Result<Vec<u64>> {
        let firsts = writer.commit(puts).inspect_err(|e| {
            if e.kind == Kind::Poisoned {
                self.poisoned.store(true, Ordering::Relaxed);
            }
            *self.refusal.lock().expect("nobody panics holding it") = Some((e.clone(), Instant::now()));
            self.refused.store(true, Ordering::Relaxed);
        })?;
        if self.refused.swap(false, Ordering::Relaxed) {
            *self.refusal.lock().expect("nobody panics holding it") = None;
        }
        (self.committed)();
        Ok(firsts)
    }

    fn run(&self) {
        let _ending = Ending(self);
        priority::enter();
        while self.wait() {
            // The next turn ends it.
            let Some(mut writer) = self.writer() else { continue };
            // Only now: what came while another commit ran goes along.
            let (puts, mut answers) = self.queue().next();
            self.crowded.store(puts.len() > 1, Ordering::Relaxed);
            sabotage::point("put.received");
            if sabotage::on("ack_before_sync") {
                answers.drain(..).for_each(|a| drop(a.send(Ok(0))));
            }
            match self.commit(&mut writer, puts) {
                Ok(firsts) => {
                    for (answer, first) in answers.into_iter().zip(firsts) {
                        // Whoever no longer waits has lost its connection; the records are taken all the same.
                        let _ = answer.send(Ok(first));
                    }
                }
                Err(e) => answers.into_iter().for_each(|a| drop(a.send(Err(e.clone())))),
            }
        }
    }

    /// Waits for a put. `false`: there was none for a while, there will be none, or none can be taken: the thread ends.
    fn wait(&self) -> bool {
        let idle = |queue: &mut PutQueue| queue.puts.is_empty() && !queue.closed;
        let waited = self.more.wait_timeout_while(self.queue(), THREAD_IDLE, idle);
        let (mut queue, _) = waited.expect("nobody panics holding it");
        if self.writer.is_poisoned() {
            self.poisoned.store(true, Ordering::Relaxed);
            queue.closed = true;
        }
        if !queue.closed && !queue.puts.is_empty() {
            return true;
        }
        if queue.closed {
            queue.bytes = 0;
            queue.puts.clear();
        }
        queue.has_thread = false;
        self.more.notify_all();
        false
    }
}

/// Of the thread: one that panics leaves nobody waiting for it.
struct Ending<'s>(&'s CommitterShared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        priority::leave();
        if std::thread::panicking() {
            self.0.poisoned.store(true, Ordering::Relaxed);
            let mut queue = self.0.queue();
            (queue.closed, queue.has_thread, queue.bytes) = (true, false, 0);
            queue.puts.clear();
            self.0.more.notify_all();
        }
    }
}

impl PutQueue {
    /// What goes into one commit.
    fn next(&mut self) -> (Vec<Put>, Vec<oneshot::Sender<Result<u64>>>) {
        let mut bytes = 0;
        let (mut puts, mut answers) = (Vec::new(), Vec::new());
        while bytes < COMMIT_BYTES_MAX
            && let Some(next) = self.puts.pop_front()
        {
            bytes += next.put.batch.bytes().len();
            puts.push(next.put);
            answers.push(next.answer);
        }
        self.bytes -= bytes;
        (puts, answers)
    }
}

/// Whether this thread may wait for the disk: its runtime has others, and gives its tasks to them meanwhile.
fn may_block() -> bool {
    let multi_thread = |handle: Handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread;
    Handle::try_current().is_ok_and(multi_thread) && !sabotage::on("ack_before_sync")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Fs;
    use crate::fs::fake::FakeFs;
    use crate::journal::{Budget, Journal, JournalLimits};
    use crate::record::{EntryPoint, Records};
    use std::path::Path;

    fn put() -> Put {
        let mut batch = Records::default();
        batch.push(b"a record");
        Put { arrival_ms: 1, entry: EntryPoint::Source, batch }
    }

    #[test]
    fn a_commit_that_panics_on_the_committers_thread_leaves_nobody_waiting() {
        let fs: Arc<dyn Fs> = Arc::new(FakeFs::new());
        let open = Journal::open(fs, Path::new("/j"), [7; 16], JournalLimits::default(), Budget::unlimited(), 0);
        let committer = Committer::new("s", open.unwrap().1, || panic!("after the sync"));
        // A runtime of one thread must not wait for the disk: the committer's own does.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let refused = runtime.block_on(committer.put(put())).unwrap_err();
        assert_eq!(refused.kind, Kind::Stopping);
        committer.close();
        assert!(committer.is_poisoned());
    }

    #[test]
    fn a_commit_that_panics_on_the_putters_thread_breaks_the_journal_until_it_is_opened_again() {
        let fs: Arc<dyn Fs> = Arc::new(FakeFs::new());
        let open = Journal::open(fs, Path::new("/j"), [7; 16], JournalLimits::default(), Budget::unlimited(), 0);
        let (_, writer, _) = open.unwrap();
        let committer = Arc::new(Committer::new("s", writer, || panic!("after the sync")));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let first = committer.clone();
        assert!(runtime.block_on(runtime.spawn(async move { first.put(put()).await })).unwrap_err().is_panic());
        let second = committer.clone();
        let refused = runtime.block_on(runtime.spawn(async move { second.put(put()).await })).unwrap().unwrap_err();
        assert_eq!((refused.kind, committer.is_poisoned()), (Kind::Stopping, true));
    }
}
