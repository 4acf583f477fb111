//! Reading a shard by asking for its records: GetShardIterator and GetRecords, within the limits of a shard.

use super::aggregate::{UserRecord, user_records};
use super::client::{At, Kinesis, Refused, What};
use super::shard::{Shard, Taken};
use crate::lane::Start;
use crate::record::{Origin, Position};
use aws_sdk_kinesis::types::Record;
use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A shard answers five times a second, and gives 2 MiB a second (Kinesis developer guide, "quotas").
const CALLS_APART: Duration = Duration::from_millis(200);
const BYTES_PER_SECOND: f64 = 2.0 * 1024.0 * 1024.0;

/// Pauses after a refusal: a random part of twice the one before, from and up to these.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// What reads a shard, and where it is. See the module.
pub struct Poll {
    pub kinesis: Kinesis,
    /// The delivery stream's name, for metrics.
    pub stream: String,
    pub id: String,
    pub shard: Arc<Shard>,
    /// The next record to read.
    pub start: Start,
    /// Plans list records that are still to be read: what is not met where they say cannot be passed over.
    pub bound: bool,
    /// Between two requests when there are no more records.
    pub interval: Duration,
    /// Tells the lane that there are records, or that there will be no more.
    pub tell: Box<dyn Fn() + Send + Sync>,
}

/// What stands in the way.
enum Stop {
    Refused(Refused),
    /// The record behind which to begin is not there any more, and this one is what is.
    Passed {
        expected: Position,
        found: String,
    },
}

impl Poll {
    /// Reads until the end of the shard, or until nobody reads any more.
    pub async fn run(mut self) {
        let mut tries = 0;
        loop {
            let stop = match self.read(&mut tries).await {
                Ok(()) => return,
                Err(stop) => stop,
            };
            let alarm = match &stop {
                Stop::Refused(Refused { what: What::Throttled, .. }) => {
                    let labels = [("DeliveryStreamName", self.stream.clone())];
                    metrics::counter!("hydrant_ThrottledGetRecords", &labels).increment(1);
                    None
                }
                // Another iterator is asked for; that it expired is nobody's trouble.
                Stop::Refused(Refused { what: What::Iterator, .. }) if tries == 0 => None,
                Stop::Refused(refused) => Some(format!("shard `{}`: {}", self.id, refused.message)),
                Stop::Passed { expected, found } => Some(format!(
                    "shard `{}`: record {expected}, behind which to go on, is gone, and the oldest is {found}: records between them have expired; plans list some of them, so nothing is read",
                    self.id
                )),
            };
            self.shard.set_alarm(alarm);
            let longest = (BACKOFF_FIRST * (1 << tries.min(10))).min(BACKOFF_MAX);
            tries += 1;
            tokio::time::sleep(longest.mul_f64(rand::random())).await;
            if !self.shard.has_room().await {
                return;
            }
        }
    }

    /// Reads from where it is with a new iterator. `Ok`: to the end.
    async fn read(&mut self, tries: &mut u32) -> Result<(), Stop> {
        let at = match &self.start {
            Start::TrimHorizon => At::TrimHorizon,
            Start::Timestamp(ms) => At::Timestamp(*ms),
            Start::After { position, .. } => At::Sequence(&position.sequence),
            Start::End { .. } => return Ok(()),
        };
        let mut iterator = self.kinesis.iterator(&self.id, at).await.map_err(Stop::Refused)?;
        // Only the first record of a new iterator can be one that was read before.
        let mut behind = match &self.start {
            Start::After { position, .. } => Some(position.clone()),
            _ => None,
        };
        while self.shard.has_room().await {
            let asked = Instant::now();
            let answer = self.kinesis.records(&iterator).await.map_err(Stop::Refused)?;
            *tries = 0;
            self.shard.set_alarm(None);
            let bytes: usize = answer.records.iter().map(|r| r.data.as_ref().len()).sum();
            let is_behind = answer.millis_behind_latest.is_some_and(|ms| ms > 0);
            self.count(answer.records.len(), bytes, answer.millis_behind_latest.unwrap_or(0));
            self.take(&answer.records, &mut behind)?;
            match answer.next_shard_iterator {
                Some(next) => iterator = next,
                None => {
                    self.shard.reached_end();
                    (self.tell)();
                    return Ok(());
                }
            }
            let apart = if is_behind { CALLS_APART } else { self.interval };
            let pause = apart.max(Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND));
            tokio::time::sleep_until(asked + pause).await;
        }
        Ok(())
    }

    fn count(&self, records: usize, bytes: usize, behind_ms: i64) {
        let labels = [("DeliveryStreamName", self.stream.clone())];
        metrics::counter!("hydrant_DataReadFromKinesisStream_Records", &labels).increment(records as u64);
        metrics::counter!("hydrant_DataReadFromKinesisStream_Bytes", &labels).increment(bytes as u64);
        let labels = [("DeliveryStreamName", self.stream.clone()), ("ShardId", self.id.clone())];
        metrics::gauge!("hydrant_KinesisMillisBehindLatest", &labels).set(behind_ms as f64);
        self.shard.set_behind(behind_ms.max(0) as u64);
    }

    /// Hands over the records of an answer. `behind`: the record that the first of them is or follows, if that is still
    /// to be seen.
    fn take(&mut self, records: &[Record], behind: &mut Option<Position>) -> Result<(), Stop> {
        let mut taken = Vec::with_capacity(records.len());
        let mut of_record: Vec<UserRecord> = Vec::new();
        for record in records {
            let (sequence, key) = (record.sequence_number(), record.partition_key().unwrap_or_default());
            let passed = match behind.take() {
                Some(position) => self.follow(position, sequence, behind)?,
                None => 0,
            };
            if passed == u64::MAX {
                continue;
            }
            let sequence: Arc<str> = sequence.into();
            let arrived = record.approximate_arrival_timestamp().and_then(|at| at.to_millis().ok());
            let arrival_ms = arrived.map_or(0, |ms| ms.max(0) as u64);
            of_record.clear();
            user_records(record.data().as_ref(), key, &mut of_record);
            let outer: Arc<str> = key.into();
            for UserRecord { data, partition_key, sub_sequence } in
                of_record.drain(..).filter(|u| u.sub_sequence >= passed)
            {
                let partition_key = if *partition_key == *outer { outer.clone() } else { partition_key.into() };
                let position = Position { sequence: sequence.clone(), sub_sequence };
                taken.push(Taken { data, origin: Origin { position, partition_key }, arrival_ms });
            }
        }
        let Some(last) = taken.last().map(|t| t.origin.position.clone()) else { return Ok(()) };
        self.shard.push(taken);
        self.start = Start::After { offset: self.shard.end(), position: last };
        (self.tell)();
        Ok(())
    }

    /// How many records of an aggregate to pass over, `u64::MAX` for all, so that the next one is behind `position`.
    fn follow(&self, position: Position, found: &str, behind: &mut Option<Position>) -> Result<u64, Stop> {
        let here = Position { sequence: found.into(), sub_sequence: position.sub_sequence };
        match here.cmp(&position) {
            Ordering::Less => {
                *behind = Some(position);
                Ok(u64::MAX)
            }
            Ordering::Equal => Ok(position.sub_sequence + 1),
            Ordering::Greater if self.bound => Err(Stop::Passed { expected: position, found: found.to_owned() }),
            Ordering::Greater => {
                tracing::error!(
                    stream = self.stream,
                    shard = self.id,
                    after = %position,
                    oldest = found,
                    "the record behind which to go on has expired: records between it and the oldest may be lost"
                );
                let labels = [("DeliveryStreamName", self.stream.clone())];
                metrics::counter!("hydrant_kinesis_retention_passed", &labels).increment(1);
                Ok(0)
            }
        }
    }
}
