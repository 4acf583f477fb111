//! Reading a shard: by asking for its records (`poll`), or by being sent them (`fan_out`). What comes either way is taken
//! apart here, and goes on behind the last record that was taken.

use super::aggregate::{UserRecord, user_records};
use super::client::{At, KinesisClient, RefusedCall, What};
use super::leases::NewLeases;
use super::shard::{Shard, Taken};
use crate::lane::Start;
use crate::record::{Origin, Position};
use crate::source::room::{ReadRoom, RoomPart};
use aws_sdk_kinesis::types::Record;
use std::cmp::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Pauses after a refusal: a random part of twice the one before, from and up to these.
const BACKOFF_FIRST: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// What reads a shard, and where it is.
pub struct ShardReader {
    pub kinesis: KinesisClient,
    /// The delivery stream's name, for metrics.
    pub stream: String,
    pub id: String,
    pub shard: Arc<Shard>,
    /// When the stream was made that the shard is of, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// The next record to read.
    pub start: Start,
    /// Plans list records that are still to be read: what is not met where they say cannot be passed over.
    pub bound: bool,
    /// The ARN of the consumer of enhanced fan-out, if the shard is not read by polling.
    pub consumer: Consumer,
    /// Where answers find room.
    pub room: Arc<ReadRoom>,
    /// When the newest record had been read, the last time.
    pub up_to_date: Option<Instant>,
    /// Since when subscriptions are put off, as they are while another one is not over.
    pub put_off: Option<Instant>,
    /// Records that were read before, in place of another stream's.
    pub passed: Option<Passed>,
    /// Where the leases of children are made, if nodes share the shards.
    pub new_leases: Option<NewLeases>,
    /// Tells the lane that there are records, or that there will be no more.
    pub tell: Box<dyn Fn() + Send + Sync>,
}

/// Between two SubscribeToShard for a shard and consumer (API reference).
const SUBSCRIPTIONS_APART_MIN: Duration = Duration::from_secs(1);

/// What came after the newest record that was read is there for a day at least (retention): for so long it is sure to be.
const UP_TO_DATE: Duration = Duration::from_secs(3600);

/// Records that are passed over: the first and the last of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passed {
    pub from: Position,
    pub to: Position,
}

/// The ARN of a consumer; what it is may change.
pub type Consumer = Arc<Mutex<Option<String>>>;

/// What stands in the way.
pub enum Stop {
    Refused(RefusedCall),
    /// The record behind which to begin is not there any more; what the oldest is.
    Passed {
        expected: Position,
        found: String,
    },
    /// An answer says that the shard has ended, and the list of shards does not.
    Unended(String),
    /// Enhanced fan-out does not work: the shard is to be read by polling.
    NoFanOut(String),
}

impl ShardReader {
    /// Reads until the end of the shard, or until nobody reads any more.
    pub async fn run(mut self) {
        let mut tries = 0;
        let mut polling_until: Option<Instant> = None;
        let mut is_suspect = false;
        loop {
            if is_suspect {
                match self.kinesis.summary().await {
                    // Its shards are others, under the same names: whoever looks for them ends this lane.
                    Ok(summary) if summary.created_ms != self.created_ms => return,
                    Ok(_) if self.is_listed().await => is_suspect = false,
                    Ok(_) => {
                        self.give_up_gone();
                        return;
                    }
                    Err(_) => {
                        tokio::time::sleep(self.pause(&mut tries)).await;
                        continue;
                    }
                }
            }
            let consumer = self.consumer.lock().expect("nobody panics holding it").clone();
            let consumer = consumer.filter(|_| polling_until.is_none_or(|until| Instant::now() >= until));
            let read = match &consumer {
                Some(consumer) => self.subscribe(consumer, &mut tries).await,
                None => self.poll(polling_until, &mut tries).await,
            };
            let read = match read {
                Err(Stop::Refused(refused)) if consumer.is_some() && self.leaves_polling_alone(&refused) => {
                    Err(Stop::NoFanOut(refused.message))
                }
                read => read,
            };
            if let Err(Stop::NoFanOut(message)) = read {
                self.falls_back_to_polling(&message);
                // As often as the consumer is looked for.
                polling_until = Some(Instant::now() + self.kinesis.shards_interval());
                continue;
            }
            let stop = match read {
                Ok(()) if self.shard.is_at_end() || !self.shard.has_room().await => return,
                // It was read by polling for long enough: enhanced fan-out may work again.
                Ok(()) => continue,
                Err(stop) => stop,
            };
            is_suspect = matches!(stop, Stop::Refused(RefusedCall { what: What::Missing, .. }));
            self.report(&stop, tries);
            let pause = self.pause(&mut tries);
            let least = match (&stop, &consumer) {
                // Everything that follows from an end is asked again.
                (Stop::Unended(_), _) => self.kinesis.poll_interval(),
                // A shard may be subscribed to once a second.
                (_, Some(_)) => SUBSCRIPTIONS_APART_MIN,
                _ => Duration::ZERO,
            };
            tokio::time::sleep(pause.max(least)).await;
            if !self.shard.has_room().await {
                return;
            }
        }
    }

    /// Says what stands in the way, after so many refusals in a row.
    pub(super) fn report(&self, stop: &Stop, tries: u32) {
        let alarm = match stop {
            Stop::Refused(RefusedCall { what: What::Throttled, .. }) => {
                let labels = [("DeliveryStreamName", self.stream.clone())];
                metrics::counter!("hydrant_ThrottledGetRecords", &labels).increment(1);
                None
            }
            // Another iterator is asked for; that it expired is nobody's trouble.
            Stop::Refused(RefusedCall { what: What::Iterator, .. }) if tries == 0 => None,
            Stop::Refused(refused) => Some(refused.message.clone()),
            Stop::Unended(message) | Stop::NoFanOut(message) => Some(message.clone()),
            Stop::Passed { expected, found } => Some(format!(
                "record {expected}, behind which to go on, is gone, and the oldest is {found}: records between them have \
                 expired; plans list some of them, so nothing is read"
            )),
        };
        if self.shard.set_alarm(alarm.clone()) {
            tracing::warn!(stream = self.stream, shard = self.id, alarm, "the shard is not read");
        }
    }

    /// How long to wait after a refusal, of so many in a row.
    #[expect(clippy::disallowed_methods, reason = "the jitter of a pause")]
    pub(super) fn pause(&self, tries: &mut u32) -> Duration {
        let longest = (BACKOFF_FIRST * (1 << (*tries).min(10))).min(BACKOFF_MAX);
        *tries += 1;
        longest.mul_f64(rand::random())
    }

    /// Where reading goes on. `None`: nowhere.
    pub(super) fn at(&self) -> Option<At<'_>> {
        Some(match &self.start {
            Start::TrimHorizon => At::TrimHorizon,
            Start::Timestamp(ms) => At::Timestamp(*ms),
            Start::After { position, .. } => At::Sequence(&position.sequence),
            Start::End { .. } => return None,
        })
    }

    /// The record that the first one that is read there may be or follow.
    pub(super) fn behind(&self) -> Option<Position> {
        match &self.start {
            Start::After { position, .. } => Some(position.clone()),
            _ => None,
        }
    }

    /// Counts an answer, which is so far behind the newest record of the shard.
    pub(super) fn count(&self, records: usize, bytes: usize, behind_ms: i64) {
        let labels = [("DeliveryStreamName", self.stream.clone())];
        metrics::counter!("hydrant_DataReadFromKinesisStream_Records", &labels).increment(records as u64);
        metrics::counter!("hydrant_DataReadFromKinesisStream_Bytes", &labels).increment(bytes as u64);
        let labels = [("DeliveryStreamName", self.stream.clone()), ("ShardId", self.id.clone())];
        metrics::gauge!("hydrant_KinesisMillisBehindLatest", &labels).set(behind_ms as f64);
        self.shard.set_behind(behind_ms.max(0) as u64);
    }

    pub(super) fn is_up_to_date(&self) -> bool {
        self.up_to_date.is_some_and(|at| at.elapsed() < UP_TO_DATE)
    }

    /// An answer has been taken, which is so far behind the newest record. `behind` as for [`ShardReader::take`].
    pub(super) fn took(&mut self, behind: &Option<Position>, behind_ms: i64) {
        // Who still looks for where to go on does not know what there was.
        if behind_ms <= 0 && (behind.is_none() || self.is_up_to_date()) {
            self.up_to_date = Some(Instant::now());
        }
    }

    /// Hands over the records of an answer, which takes a `part` of the room. `behind`: the record that the first of them is
    /// or follows, if that is still to be seen.
    pub fn take(
        &mut self,
        records: &[Record],
        behind: &mut Option<Position>,
        part: Option<RoomPart>,
    ) -> Result<(), Stop> {
        let shard: Arc<str> = self.id.as_str().into();
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
            if let Some(Passed { from, to }) = &self.passed {
                let here = Position { sequence: sequence.clone(), sub_sequence: 0 };
                if (from..=to).contains(&&here) {
                    continue;
                }
            }
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
                taken.push(Taken {
                    data,
                    origin: Origin { shard: shard.clone(), position, partition_key },
                    arrival_ms,
                });
            }
        }
        let Some(last) = taken.last().map(|t| t.origin.position.clone()) else { return Ok(()) };
        self.shard.push(taken, part);
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
            Ordering::Greater => self.expired(position, found).map(|()| 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alarm::AlarmKind;
    use crate::lane::{Cursor, Lane, Read};
    use aws_sdk_kinesis::primitives::{Blob, DateTime};
    use md5::{Digest, Md5};

    /// A record of Kinesis that is an aggregate of these.
    fn aggregate(sequence: &str, records: &[&str]) -> Record {
        let field = |tag: u8, bytes: &[u8]| [&[tag, bytes.len() as u8][..], bytes].concat();
        let record = |data: &&str| field(0x1a, &[&[8, 0][..], &field(0x1a, data.as_bytes())].concat());
        let message = [field(0x0a, b"key"), records.iter().flat_map(record).collect()].concat();
        let data = [&[0xf3, 0x89, 0x9a, 0xc2][..], &message, &Md5::digest(&message)].concat();
        plain(sequence, &data)
    }

    fn plain(sequence: &str, data: &[u8]) -> Record {
        let arrived = DateTime::from_millis(7);
        let record = Record::builder().sequence_number(sequence).partition_key("key").data(Blob::new(data));
        record.approximate_arrival_timestamp(arrived).build().unwrap()
    }

    async fn poll(start: Start, bound: bool) -> ShardReader {
        let settings = r#"{"stream":"s","access_key_id":"a","secret_access_key":"b"}"#;
        let kinesis = KinesisClient::connect(&serde_json::from_str(settings).unwrap()).await.unwrap();
        // Plans that list something list what is ahead.
        let shard = Shard::new(&start, if bound { start.offset() + 1 } else { 0 });
        ShardReader {
            kinesis,
            stream: "r".into(),
            id: "0".into(),
            shard,
            created_ms: 0,
            start,
            bound,
            consumer: Consumer::default(),
            room: Arc::new(ReadRoom::new(1 << 20, Arc::default())),
            up_to_date: None,
            put_off: None,
            passed: None,
            new_leases: None,
            tell: Box::new(|| {}),
        }
    }

    #[tokio::test]
    async fn what_expired_behind_what_is_settled_takes_no_offset_from_what_is_there() {
        // Up to 15 everything is settled, and reading begins at 10, behind a record that has expired.
        let mut late = poll(after("9", 0), false).await;
        late.shard = Shard::new(&late.start, 15);
        let mut behind = late.behind();
        late.take(&[plain("12", b"d")], &mut behind, None).ok().unwrap();
        assert_eq!((late.start.offset(), late.shard.end()), (16, 16));
        let mut cursor = Cursor::at(15);
        assert!(matches!(late.shard.read(&mut cursor), Ok(Read::Frame(frame)) if frame.first == 15));
    }

    #[tokio::test]
    async fn the_record_behind_which_a_quiet_shard_goes_on_may_expire() {
        for (met, behind_ms, is_alarmed) in [(true, 0, false), (true, 1, true), (false, 0, true)] {
            let mut quiet = poll(after("9", 0), false).await;
            // An answer without records, once the record was met or before.
            quiet.took(&quiet.behind().filter(|_| !met), behind_ms);
            quiet.took(&quiet.behind(), behind_ms);
            assert_eq!(taken(&mut quiet, &[plain("12", b"d")]).ok().map(|read| read.len()), Some(1));
            assert_eq!(!quiet.shard.alarms().is_empty(), is_alarmed, "{met} {behind_ms}");
        }
    }

    fn may_have_lost(reader: &ShardReader) -> bool {
        reader.shard.alarms().iter().any(|alarm| alarm.kind == AlarmKind::RecordsExpired)
    }

    #[tokio::test]
    async fn a_shard_whose_end_is_all_that_is_left_says_what_may_be_lost() {
        let ended = poll(after("9", 0), false).await;
        ended.end(&mut ended.behind()).ok().unwrap();
        assert!(ended.shard.is_at_end() && may_have_lost(&ended));
        let bound = poll(after("9", 0), true).await;
        assert!(matches!(bound.end(&mut bound.behind()), Err(Stop::Passed { .. })) && !bound.shard.is_at_end());
    }

    fn after(sequence: &str, sub_sequence: u64) -> Start {
        Start::After { offset: 10, position: Position { sequence: sequence.into(), sub_sequence } }
    }

    /// Takes an answer that begins where the poll stands; offsets, positions and data of what was read.
    fn taken(poll: &mut ShardReader, records: &[Record]) -> Result<Vec<(u64, String, String)>, Stop> {
        let mut behind = poll.behind();
        let mut cursor = Cursor::at(poll.shard.end());
        poll.take(records, &mut behind, None)?;
        let mut found = Vec::new();
        while let Ok(Read::Frame(frame)) = poll.shard.read(&mut cursor) {
            for (i, origin) in frame.origins.iter().enumerate() {
                let data = String::from_utf8(frame.batch.get(i).to_vec()).unwrap();
                found.push((frame.first + i as u64, origin.position.to_string(), data));
            }
        }
        Ok(found)
    }

    #[tokio::test]
    async fn reading_goes_on_within_an_aggregate_and_counts_on_from_there() {
        let all = [aggregate("5", &["a", "b", "c"]), plain("12", b"d")];
        let found = |n: u64, position: &str, data: &str| (n, position.to_owned(), data.to_owned());
        let mut from_start = poll(Start::TrimHorizon, false).await;
        let read = taken(&mut from_start, &all).ok().unwrap();
        assert_eq!(read, [found(0, "5/0", "a"), found(1, "5/1", "b"), found(2, "5/2", "c"), found(3, "12/0", "d")]);
        assert_eq!(
            from_start.start,
            Start::After { offset: 4, position: Position { sequence: "12".into(), sub_sequence: 0 } }
        );
        let mut within = poll(after("5", 0), true).await;
        let read = taken(&mut within, &all).ok().unwrap();
        assert_eq!(read, [found(10, "5/1", "b"), found(11, "5/2", "c"), found(12, "12/0", "d")]);
        let mut behind_all = poll(after("12", 0), true).await;
        assert_eq!(taken(&mut behind_all, &all).ok().unwrap(), []);
    }

    #[tokio::test]
    async fn what_has_expired_is_passed_over_only_if_no_plan_lists_what_is_behind_it() {
        // Numbers are compared as numbers: 9 is before 12.
        let all = [plain("12", b"d")];
        let stopped = taken(&mut poll(after("9", 0), true).await, &all);
        let expected = Position { sequence: "9".into(), sub_sequence: 0 };
        assert!(matches!(stopped, Err(Stop::Passed { expected: e, found }) if e == expected && found == "12"));
        // What is listed has been read by now.
        let mut later = poll(after("9", 0), true).await;
        later.shard = Shard::new(&later.start, 10);
        assert_eq!(taken(&mut later, &all).ok().map(|read| read.len()), Some(1));
        let mut unbound = poll(after("9", 0), false).await;
        let read = taken(&mut unbound, &all).ok().unwrap();
        assert_eq!(read, [(10, "12/0".to_owned(), "d".to_owned())]);
        unbound.shard.set_alarm(None);
        assert!(may_have_lost(&unbound));
    }
}
