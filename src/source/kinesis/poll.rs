//! Reading a shard by asking for its records: GetShardIterator and GetRecords, within the limits of a shard.

use super::reader::{Reader, Stop};
use std::time::Duration;
use tokio::time::Instant;

/// A shard answers five times a second, and gives 2 MiB a second (Kinesis developer guide, "quotas").
const CALLS_APART: Duration = Duration::from_millis(200);
const BYTES_PER_SECOND: f64 = 2.0 * 1024.0 * 1024.0;

impl Reader {
    /// Reads from where it is with a new iterator, until the end of the shard or until then.
    pub(super) async fn poll(&mut self, until: Option<Instant>, tries: &mut u32) -> Result<(), Stop> {
        let Some(at) = self.at() else { return Ok(()) };
        let mut iterator = self.kinesis.iterator(&self.id, at).await.map_err(Stop::Refused)?;
        // Only the first record of a new iterator can be one that was read before.
        let mut behind = self.behind();
        while self.shard.has_room().await && until.is_none_or(|until| Instant::now() < until) {
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
}
