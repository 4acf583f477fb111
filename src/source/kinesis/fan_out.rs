//! Reading a shard by being sent its records: SubscribeToShard, which lasts for five minutes at most and is then asked for
//! again, from where the last one had got to.

use super::client::At;
use super::reader::{Reader, Stop};
use aws_sdk_kinesis::types::SubscribeToShardEventStream;
use std::time::Duration;
use tokio::time::Instant;

/// Kinesis sends an event every five seconds, with records or without.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A second subscription within this time after the first is refused (SubscribeToShard, API reference).
const SUBSCRIPTIONS_APART: Duration = Duration::from_secs(5);

/// The record behind which we are is there for a day at least (retention); for so long it is asked for again. Where an event
/// without records says that it got to is asked for only then: nothing shows that no record was still on its way before it.
const QUIET: Duration = Duration::from_secs(3600);

/// What an event takes for each byte of its records: as it came, and as it is held by the lane.
const EVENT_COPIES: usize = 2;

impl Reader {
    /// Reads as a consumer with this ARN until the end of the shard.
    pub(super) async fn subscribe(&mut self, consumer: &str, tries: &mut u32) -> Result<(), Stop> {
        let Some(at) = self.at() else { return Ok(()) };
        let mut stream = self.kinesis.subscribe(consumer, &self.id, at).await.map_err(Stop::Refused)?;
        // Only the first record of all can be one that was taken before.
        let mut behind = self.behind();
        let mut begun = Instant::now();
        let mut taken = begun;
        loop {
            // Where the shard is read to, also while it brings no records.
            let mut reached = None;
            while self.shard.has_room().await {
                let received = tokio::time::timeout(SILENCE_MAX, stream.recv()).await;
                let event = match received {
                    Ok(Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)))) => event,
                    Ok(Ok(Some(_))) => continue,
                    // It is over, or the connection is: from where we are, again.
                    Ok(Ok(None)) | Err(_) => break,
                    Ok(Err(e)) => {
                        tracing::debug!(stream = self.stream, shard = self.id, error = %e, "a subscription broke");
                        break;
                    }
                };
                *tries = 0;
                self.shard.set_alarm(None);
                let bytes: usize = event.records.iter().map(|r| r.data.as_ref().len()).sum();
                self.count(event.records.len(), bytes, event.millis_behind_latest);
                let part = self.room.take(EVENT_COPIES * bytes).await;
                self.take(&event.records, &mut behind, Some(part))?;
                if !event.records.is_empty() {
                    taken = Instant::now();
                }
                if event.continuation_sequence_number.is_empty() && event.child_shards.is_some_and(|c| !c.is_empty()) {
                    self.shard.reached_end();
                    (self.tell)();
                    return Ok(());
                }
                if behind.is_none() {
                    reached = Some(event.continuation_sequence_number).filter(|number| !number.is_empty()).or(reached);
                }
            }
            if !self.shard.has_room().await {
                return Ok(());
            }
            drop(stream);
            tokio::time::sleep_until(begun + SUBSCRIPTIONS_APART).await;
            let reached = reached.filter(|_| taken.elapsed() > QUIET);
            let again = match (&reached, self.at()) {
                // With nothing taken since, the record behind which we are may have expired; this place has not.
                (Some(reached), _) => At::AfterSequence(reached),
                (None, Some(at)) => at,
                (None, None) => return Ok(()),
            };
            stream = self.kinesis.subscribe(consumer, &self.id, again).await.map_err(Stop::Refused)?;
            begun = Instant::now();
            if reached.is_none() {
                behind = self.behind();
            }
        }
    }
}
