//! Reading a shard by enhanced fan-out: a subscription (SubscribeToShard) lasts for five minutes at most, and is followed by
//! the next from where it had got to. Whatever keeps that from working, the shard is read by polling meanwhile.

use super::client::{RefusedCall, What, unfit};
use super::reader::{ShardReader, Stop};
use aws_sdk_kinesis::error::SdkError;
use aws_sdk_kinesis::types::SubscribeToShardEventStream;
use std::time::Duration;
use tokio::time::Instant;

/// Kinesis sends an event every five seconds, with records or without.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A second subscription within this time after the first is refused (SubscribeToShard, API reference).
const SUBSCRIPTIONS_APART: Duration = Duration::from_secs(5);

/// A subscription is put off for some seconds while another one is not over, and for no longer than this if that is all.
const PUT_OFF_MAX: Duration = Duration::from_secs(30);
/// After a shard was listed as closed, its end is among the next events, which come every five seconds.
const END_WITHIN: Duration = Duration::from_secs(10);

/// What an event takes for each byte of its records: as it came, and as it is held by the lane.
const EVENT_COPIES: usize = 2;

impl ShardReader {
    /// Reads as a consumer with this ARN until the end of the shard.
    pub(super) async fn subscribe(&mut self, consumer: &str, tries: &mut u32) -> Result<(), Stop> {
        let Some(at) = self.at() else { return Ok(()) };
        let mut stream = self.kinesis.subscribe(consumer, &self.id, at).await.map_err(Stop::Refused)?;
        // Only the first record of all can be one that was taken before.
        let mut behind = self.behind();
        let mut begun = Instant::now();
        loop {
            let mut has_come = false;
            while self.shard.has_room().await {
                let received = tokio::time::timeout(SILENCE_MAX, stream.recv()).await;
                let event = match received {
                    Ok(Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)))) => event,
                    Ok(Ok(Some(_))) => continue,
                    // It is over, or the connection is: from where we are, again.
                    Ok(Ok(None)) | Err(_) => break,
                    Ok(Err(e)) => {
                        if matches!(e, SdkError::ResponseError(_)) {
                            unfit("SubscribeToShard");
                        }
                        tracing::debug!(stream = self.stream, shard = self.id, error = %e, "a subscription broke off, and is made again");
                        break;
                    }
                };
                *tries = 0;
                has_come = true;
                self.put_off = None;
                self.shard.set_alarm(None);
                let bytes: usize = event.records.iter().map(|r| r.data.as_ref().len()).sum();
                self.count(event.records.len(), bytes, event.millis_behind_latest);
                let part = self.room.take(EVENT_COPIES * bytes).await;
                self.take(&event.records, &mut behind, Some(part))?;
                self.took(&behind, event.millis_behind_latest);
                let is_calm = event.records.is_empty() && event.millis_behind_latest <= 0;
                if event.continuation_sequence_number.is_empty() {
                    return match event.child_shards.is_some_and(|children| !children.is_empty()) {
                        true => self.end_as_listed(&mut behind).await,
                        false => {
                            unfit("SubscribeToShard");
                            Err(Stop::NoFanOut("an event says nowhere to go on from".to_owned()))
                        }
                    };
                }
                if is_calm && self.shard.is_closed_for(END_WITHIN) {
                    return Err(Stop::NoFanOut("the shard is closed, and its end is not sent".to_owned()));
                }
            }
            if !self.shard.has_room().await {
                return Ok(());
            }
            if !has_come {
                return Err(Stop::NoFanOut("a subscription brought nothing".to_owned()));
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
    /// Whether a refusal of a subscription leaves polling alone.
    pub(super) fn leaves_polling_alone(&mut self, refused: &RefusedCall) -> bool {
        match refused.what {
            What::Throttled => self.put_off.get_or_insert_with(Instant::now).elapsed() > PUT_OFF_MAX,
            What::Unanswered | What::Missing | What::Other => true,
            // From somewhere else it may be of use.
            What::Iterator => false,
        }
    }

    /// Says that the shard is read by polling though enhanced fan-out is configured.
    pub(super) fn falls_back_to_polling(&mut self, why: &str) {
        self.put_off = None;
        let labels = [("DeliveryStreamName", self.stream.clone())];
        metrics::counter!("hydrant_kinesis_asked_instead", &labels).increment(1);
        tracing::warn!(
            stream = self.stream,
            shard = self.id,
            error = why,
            "enhanced fan-out does not work: the shard is read by polling for a while"
        );
    }
}
