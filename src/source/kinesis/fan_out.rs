//! Reading a shard by being sent its records: SubscribeToShard, which lasts for five minutes at most and is then asked for
//! again, from where the last one had got to.

use super::reader::{Reader, Stop};
use aws_sdk_kinesis::types::SubscribeToShardEventStream;
use std::time::Duration;
use tokio::time::Instant;

/// Kinesis sends an event every five seconds, with records or without.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A second subscription within this time after the first is refused (SubscribeToShard, API reference).
const SUBSCRIPTIONS_APART: Duration = Duration::from_secs(5);

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
        loop {
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
                self.took(&behind, event.millis_behind_latest);
                if event.continuation_sequence_number.is_empty() && event.child_shards.is_some_and(|c| !c.is_empty()) {
                    return self.end(&mut behind);
                }
            }
            if !self.shard.has_room().await {
                return Ok(());
            }
            drop(stream);
            tokio::time::sleep_until(begun + SUBSCRIPTIONS_APART).await;
            // Not from where an event without records says that it got to: nothing shows that no record was still on its way.
            let Some(at) = self.at() else { return Ok(()) };
            stream = self.kinesis.subscribe(consumer, &self.id, at).await.map_err(Stop::Refused)?;
            begun = Instant::now();
            behind = self.behind();
        }
    }
}
