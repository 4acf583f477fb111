//! Group commit: one committer thread per stream takes everything that queued up while the last sync
//! ran, writes it, syncs once, and answers all who wait. No timer: under light load a put is a commit of its own.

use super::{Put, Writer};
use crate::error::{Error, Kind, Result};
use crate::sabotage;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use tokio::sync::oneshot;

/// Puts that may wait for the committer: above it the stream is overloaded and says so.
const QUEUE_PUTS_MAX: usize = 1024;
/// Bytes of one commit: larger ones only make the first waiter wait longer.
const COMMIT_BYTES_MAX: usize = 8 << 20;

struct Queued {
    put: Put,
    answer: oneshot::Sender<Result<u64>>,
}

/// The way into a stream's journal. Clones share the committer; it ends when the last one is gone.
#[derive(Clone)]
pub struct Committer(SyncSender<Queued>);

impl Committer {
    /// Starts the committer. `committed` is called after each commit, before anyone is answered.
    pub fn start(name: &str, writer: Writer, committed: Arc<dyn Fn() + Send + Sync>) -> Committer {
        let (sender, receiver) = sync_channel(QUEUE_PUTS_MAX);
        let thread = std::thread::Builder::new().name(format!("commit {name}"));
        thread.spawn(move || run(writer, &receiver, &*committed)).expect("a thread can be started");
        Committer(sender)
    }

    /// Puts a batch and returns its first record's offset once it is durable.
    ///
    /// Errors: `Retry` (the queue is full), `NoSpace`, `Poisoned`, `Stopping`. On every error nothing was acknowledged,
    /// though after `Poisoned` the records may still turn out to be durable.
    pub async fn put(&self, put: Put) -> Result<u64> {
        let (answer, answered) = oneshot::channel();
        let stopping = || Error::new(Kind::Stopping, "the stream is stopping");
        match self.0.try_send(Queued { put, answer }) {
            Ok(()) => answered.await.map_err(|_| stopping())?,
            Err(TrySendError::Full(_)) => Err(Error::new(Kind::Retry, "too many puts wait for the disk")),
            Err(TrySendError::Disconnected(_)) => Err(stopping()),
        }
    }
}

fn run(mut writer: Writer, queue: &Receiver<Queued>, committed: &dyn Fn()) {
    while let Ok(first) = queue.recv() {
        let mut bytes = first.put.batch.bytes().len();
        let (mut puts, mut answers) = (vec![first.put], vec![first.answer]);
        while bytes < COMMIT_BYTES_MAX
            && let Ok(next) = queue.try_recv()
        {
            bytes += next.put.batch.bytes().len();
            puts.push(next.put);
            answers.push(next.answer);
        }
        sabotage::point("put.received");
        if sabotage::on("ack_before_sync") {
            answers.drain(..).for_each(|a| drop(a.send(Ok(0))));
        }
        match writer.commit(puts) {
            Ok(firsts) => {
                committed();
                for (answer, first) in answers.into_iter().zip(firsts) {
                    // Whoever no longer waits has lost its connection; the records are taken all the same.
                    let _ = answer.send(Ok(first));
                }
            }
            Err(e) => answers.into_iter().for_each(|a| drop(a.send(Err(e.clone())))),
        }
    }
}
