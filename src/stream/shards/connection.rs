//! How the source of a stream's shards is reached: by one client for all that read them, and for no longer than the stream is
//! to go on.

use super::lanes::ShardLane;
use super::{ReadingPhase, ShardSet};
use crate::config;
use crate::error::{Error, Kind, Result};
use crate::source::kinesis::client::{KinesisClient, ListedShard, StreamSummary};
use std::sync::atomic::Ordering;

impl ShardSet {
    /// Whether settings have changed since the last time; to be asked before they are read.
    pub(super) fn take_change(&self) -> bool {
        self.changed.swap(false, Ordering::AcqRel)
    }

    /// What has changed could not be followed yet.
    pub(super) fn keep_change(&self) {
        self.changed.store(true, Ordering::Release);
    }

    /// Whether services are to be connected to anew.
    pub(super) fn is_changed(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// Asks a service something. One that does not answer keeps nobody from ending.
    pub(super) fn ask<T>(&self, asked: impl Future<Output = Result<T>>) -> Result<T> {
        let mut phase = self.phase.subscribe();
        self.shared.runtime.block_on(async {
            tokio::select! {
                answer = asked => answer,
                _ = phase.wait_for(|phase| *phase != ReadingPhase::Reading) => {
                    Err(Error::new(Kind::Stopping, "the stream ends"))
                }
            }
        })
    }

    /// The client of the source, which all readers share. `changed`: settings may lead elsewhere than before.
    pub(super) fn kinesis(&self, settings: &config::Kinesis, changed: bool) -> Result<KinesisClient> {
        let known = self.kinesis.lock().expect("nobody panics connecting").clone();
        if let Some(kinesis) = known.as_ref().filter(|_| !changed) {
            return Ok(kinesis.clone());
        }
        let fresh = self.ask(KinesisClient::connect(settings))?;
        let Some(kinesis) = known else {
            return Ok(self.kinesis.lock().expect("nobody panics connecting").insert(fresh).clone());
        };
        // What reads shards must not find another stream's under the same names. Should it turn out to be the same one
        // after all, whoever opens lanes opens these again.
        let summary = self.ask(fresh.summary())?;
        if summary.created_ms != self.created_ms.load(Ordering::Relaxed) {
            let lanes = self.lanes();
            lanes.values().for_each(|lane| {
                if let ShardLane::Open(lane) = lane {
                    lane.reader.abort();
                }
            });
        }
        kinesis.follow(&fresh);
        Ok(kinesis)
    }

    /// Tells lanes whose shards are listed as closed.
    pub(super) fn tell_of_closed(&self, listed: &[ListedShard]) {
        let lanes = self.lanes();
        for shard in listed.iter().filter(|shard| shard.is_closed) {
            if let Some(ShardLane::Open(lane)) = lanes.get(&shard.id) {
                lane.shard.is_listed_as_closed();
            }
        }
    }

    /// Finds the consumer that records are sent to, if that is wanted. Without it they are asked for.
    pub(super) fn find_consumer(&self, kinesis: &KinesisClient, settings: &config::Kinesis, summary: &StreamSummary) {
        let found = settings.consumer.as_ref().and_then(|name| {
            let found = self.ask(kinesis.consumer(&summary.arn, name));
            found
                .inspect_err(|e| {
                    tracing::warn!(stream = self.name, error = %e, "no consumer can be registered: shards are read by polling");
                })
                .ok()
        });
        *self.consumer.lock().expect("nobody panics holding it") = found;
    }
}
