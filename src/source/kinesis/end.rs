//! Where reading a shard ends: at its end, or where nothing is left of it. What is not read any more is never passed over
//! without a word.

use super::client::{ListedShard, RefusedCall, What, unfit};
use super::leases::NewLeases;
use super::reader::{ShardReader, Stop};
use crate::record::Position;

/// What the oldest record is where there is none.
const NOTHING: &str = "none";

impl ShardReader {
    /// Whether the stream still has the shard, or does not say.
    pub(super) async fn is_listed(&self) -> bool {
        self.kinesis.shards().await.map_or(true, |listed| listed.iter().any(|shard| shard.id == self.id))
    }

    /// Nothing of the shard can be read any more.
    pub(super) fn give_up_gone(&self) {
        let done = match self.behind() {
            Some(position) => self.expired(position, NOTHING),
            None => {
                self.lose("the shard has expired, and nothing of it was read: its records may be lost".to_owned());
                Ok(())
            }
        };
        match done {
            Ok(()) => {
                self.shard.set_alarm(None);
                self.shard.reached_end();
            }
            Err(stop) => {
                self.report(&stop, 1);
                self.shard.set_gone();
            }
        }
        (self.tell)();
    }

    /// An answer says that the shard has no more records. It is believed only if the list of shards says so too: the shard is
    /// closed, and what it became is known.
    pub(super) async fn is_listed_as_ended(&self) -> Result<(), Stop> {
        let listed = self.kinesis.shards().await.map_err(|e| {
            Stop::Refused(RefusedCall { what: What::Unanswered, message: format!("whether the shard has ended: {e}") })
        })?;
        let is_closed = listed.iter().any(|shard| shard.id == self.id && shard.is_closed);
        let children: Vec<&ListedShard> = listed.iter().filter(|shard| shard.parents.contains(&self.id)).collect();
        if is_closed && !children.is_empty() {
            return self.make_leases(&children).await;
        }
        unfit("GetRecords");
        let found = if is_closed { "closed and without children" } else { "not closed" };
        Err(Stop::Unended(format!(
            "Kinesis answers that the shard has no more records, and lists it as {found}: it is read on"
        )))
    }

    /// Makes the leases of children, where nodes share the shards, before their parent's says that it has ended: the library
    /// looks for no others.
    async fn make_leases(&self, children: &[&ListedShard]) -> Result<(), Stop> {
        let Some(NewLeases { leases, begin }) = &self.new_leases else { return Ok(()) };
        for child in children {
            leases.create_lease(child, *begin, self.created_ms).await.map_err(|e| {
                Stop::Refused(RefusedCall {
                    what: What::Unanswered,
                    message: format!("the leases of its children: {e}"),
                })
            })?;
        }
        Ok(())
    }

    /// The same, and it is the end then. `behind` as for [`ShardReader::end`].
    pub(super) async fn end_as_listed(&self, behind: &mut Option<Position>) -> Result<(), Stop> {
        self.is_listed_as_ended().await?;
        self.end(behind)
    }

    /// The shard has no more records. `behind`: the record behind which to begin, if it was not met.
    pub(super) fn end(&self, behind: &mut Option<Position>) -> Result<(), Stop> {
        if let Some(position) = behind.take() {
            self.expired(position, NOTHING)?;
        }
        self.shard.reached_end();
        (self.tell)();
        Ok(())
    }

    /// The record behind which to go on is not there any more, and the oldest is `found`.
    pub(super) fn expired(&self, position: Position, found: &str) -> Result<(), Stop> {
        if self.bound && self.shard.is_behind_plans() {
            return Err(Stop::Passed { expected: position, found: found.to_owned() });
        }
        // A shard that is quiet for long: the record has expired, and whatever came behind it has not.
        if self.is_up_to_date() {
            return Ok(());
        }
        self.lose(format!(
            "record {position}, behind which to go on, had expired, and the oldest was {found}: records between them may be \
             lost"
        ));
        self.shard.pass_known();
        Ok(())
    }

    /// Says, for the whole of this life, what may be lost.
    fn lose(&self, loss: String) {
        tracing::error!(stream = self.stream, shard = self.id, "{loss}");
        let labels = [("DeliveryStreamName", self.stream.clone())];
        metrics::counter!("hydrant_kinesis_retention_passed", &labels).increment(1);
        self.shard.set_loss(loss);
    }
}
