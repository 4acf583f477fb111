//! Reading a shard by polling: GetShardIterator and GetRecords, within the limits of a shard.

use super::client::What;
use super::reader::{ShardReader, Stop};
use crate::lane::Start;
use crate::sabotage;
use std::time::Duration;
use tokio::time::Instant;

/// A shard answers five times a second, and gives 2 MiB a second (Kinesis developer guide, "quotas").
const CALLS_APART: Duration = Duration::from_millis(200);
const BYTES_PER_SECOND: f64 = 2.0 * 1024.0 * 1024.0;

/// An iterator is of use for five minutes (GetShardIterator, API reference); one that has waited for room is not used then.
const ITERATOR_AGE_MAX: Duration = Duration::from_secs(240);

/// What an answer's records may be (GetRecords, API reference), and how little the next one is expected to be.
const ANSWER_BYTES_MAX: usize = 10 << 20;
const ANSWER_BYTES_MIN: usize = 256 << 10;
/// Of a shard that was read to its end: the next answer is taken to be at most so much larger than the last.
const GROWS: usize = 4;
/// What an answer takes for each byte of its records, about: as text, a third longer, decoded, and as it is held by the lane.
const COPIES: usize = 4;
/// What a record takes beside its data, about: its names in the answer, and where it stood.
const RECORD_BYTES: usize = 512;
/// Records that may be asked for at once (GetRecords, API reference), and how many more than came with the last answer that
/// had any. One is asked for first: nobody knows how large they are.
const RECORDS_MAX: usize = 10_000;
const RECORDS_GROW: usize = 16;

/// How much is asked for at once, and how often: as the answers before tell.
#[derive(Default)]
struct PollPace {
    /// Bytes of the last answer, if it was read to the end, and until when the next one is like it.
    calm: Option<(usize, Instant)>,
    /// Records of the last answer that had any, and the bytes that they took.
    last: Option<(usize, usize)>,
}

impl PollPace {
    /// Bytes that the next answer may have.
    fn expected_bytes(&self) -> usize {
        let like_it = self.calm.filter(|(_, until)| Instant::now() < *until).map(|(bytes, _)| GROWS * bytes);
        like_it.map_or(ANSWER_BYTES_MAX, |n| n.clamp(ANSWER_BYTES_MIN, ANSWER_BYTES_MAX))
    }

    /// Records to be asked for, where there is room for so many bytes.
    fn records_max(&self, room: usize) -> usize {
        self.last.map_or(1, |(records, bytes)| {
            let fit = room / COPIES * records / bytes;
            fit.min(RECORDS_GROW * records).clamp(1, RECORDS_MAX)
        })
    }

    /// An answer came with so many records and bytes, to what was asked at that time. Returns when to ask again, `apart` after it
    /// at the earliest.
    fn answered(
        &mut self,
        asked: Instant,
        (records, bytes): (usize, usize),
        apart: Duration,
        is_behind: bool,
    ) -> Instant {
        if records > 0 {
            self.last = Some((records, bytes + RECORD_BYTES * records));
        }
        let pause = apart.max(Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND));
        self.calm = (!is_behind).then(|| (bytes, asked + 2 * pause));
        asked + pause
    }
}

impl ShardReader {
    /// Reads from where it is with a new iterator, until the end of the shard or until then.
    pub(super) async fn poll(&mut self, until: Option<Instant>, tries: &mut u32) -> Result<(), Stop> {
        let Some(at) = self.at() else { return Ok(()) };
        let mut iterator = self.kinesis.iterator(&self.id, at).await.map_err(Stop::Refused)?;
        // Only the first record of a new iterator can be one that was read before.
        let mut behind = self.behind();
        let mut got = Instant::now();
        // Where the last answer said that the shard ends.
        let mut end_at: Option<Start> = None;
        let mut pace = PollPace::default();
        while self.shard.has_room().await && until.is_none_or(|until| Instant::now() < until) {
            let part = self.room.take(COPIES * pace.expected_bytes()).await;
            if got.elapsed() > ITERATOR_AGE_MAX
                && let Some(at) = self.at()
            {
                iterator = self.kinesis.iterator(&self.id, at).await.map_err(Stop::Refused)?;
                behind = self.behind();
            }
            let (asked, records_max) = (Instant::now(), pace.records_max(part.bytes()));
            let answer = match self.kinesis.records(&iterator, records_max).await {
                Ok(answer) => answer,
                Err(refused) if matches!(refused.what, What::Throttled | What::Unanswered) => {
                    drop(part);
                    // Nothing was taken, and the iterator leads there still: another one would cost a call, too.
                    self.report(&Stop::Refused(refused), *tries);
                    tokio::time::sleep(self.pause(tries)).await;
                    continue;
                }
                Err(refused) => return Err(Stop::Refused(refused)),
            };
            *tries = 0;
            let is_end = answer.next_shard_iterator.is_none();
            if !is_end {
                self.shard.set_alarm(None);
            }
            let bytes: usize = answer.records.iter().map(|r| r.data.as_ref().len()).sum();
            let records = answer.records.len();
            let is_behind = records >= records_max || answer.millis_behind_latest.is_some_and(|ms| ms > 0);
            self.count(records, bytes, answer.millis_behind_latest.unwrap_or(0));
            self.take(&answer.records, &mut behind, Some(part))?;
            self.took(&behind, answer.millis_behind_latest.unwrap_or(0));
            drop(answer.records);
            got = asked;
            match answer.next_shard_iterator {
                Some(next) => iterator = next,
                None if sabotage::on("end_without_a_look") => return self.end(&mut behind),
                // One answer that lost its iterator on its way is no end: AWS names the children, others say it twice.
                None if answer.child_shards.is_some_and(|c| !c.is_empty()) || end_at.as_ref() == Some(&self.start) => {
                    return self.end_as_listed(&mut behind).await;
                }
                None => {
                    self.is_listed_as_ended().await?;
                    let Some(at) = self.at() else { return Ok(()) };
                    iterator = self.kinesis.iterator(&self.id, at).await.map_err(Stop::Refused)?;
                    (behind, end_at) = (self.behind(), Some(self.start.clone()));
                }
            }
            let apart = if is_behind { CALLS_APART } else { self.kinesis.poll_interval() };
            tokio::time::sleep_until(pace.answered(asked, (records, bytes), apart, is_behind)).await;
        }
        Ok(())
    }
}
