//! How the source of a stream's shards is reached: by one client for all that read them, and for no longer than the stream is
//! to go on.

use super::ShardSet;
use super::lanes::ShardLane;
use super::scheduler::ShardScheduler;
use crate::config;
use crate::error::Result;
use crate::source::kinesis::client::{KinesisClient, ListedShard, StreamSummary};

impl ShardScheduler {
    /// The client of the source, which all readers share. `changed`: settings may lead elsewhere than before.
    pub(super) fn kinesis(&mut self, settings: &config::Kinesis, changed: bool) -> Result<KinesisClient> {
        let known = self.kinesis.clone();
        if let Some(kinesis) = known.as_ref().filter(|_| !changed) {
            return Ok(kinesis.clone());
        }
        let fresh = self.ask(KinesisClient::connect(settings))?;
        let Some(kinesis) = known else {
            return Ok(self.kinesis.insert(fresh).clone());
        };
        // What reads shards must not find another stream's under the same names. Should it turn out to be the same one
        // after all, whoever opens lanes opens these again.
        let summary = self.ask(fresh.summary())?;
        if summary.created_ms != self.set.created_ms() {
            let lanes = self.set.lanes();
            lanes.values().for_each(|lane| {
                if let ShardLane::Open(lane) = lane {
                    lane.reader.abort();
                }
            });
        }
        kinesis.follow(&fresh);
        Ok(kinesis)
    }

    /// Finds the consumer that records are sent to, if that is wanted. Without it they are asked for.
    pub(super) fn find_consumer(&self, kinesis: &KinesisClient, settings: &config::Kinesis, summary: &StreamSummary) {
        let found = settings.consumer.as_ref().and_then(|name| {
            let found = self.ask(kinesis.consumer(&summary.arn, name));
            found
                .inspect_err(|e| {
                    tracing::warn!(stream = self.set.name, error = %e, "no consumer can be registered: shards are read by polling");
                })
                .ok()
        });
        *self.consumer.lock().expect("nobody panics holding it") = found;
    }
}

impl ShardSet {
    /// Tells lanes whose shards are listed as closed.
    pub(super) fn tell_of_closed(&self, listed: &[ListedShard]) {
        let lanes = self.lanes();
        for shard in listed.iter().filter(|shard| shard.is_closed) {
            if let Some(ShardLane::Open(lane)) = lanes.get(&shard.id) {
                lane.shard.is_listed_as_closed();
            }
        }
    }
}
