//! What the API counts, under Firehose's names (docs/firehose.md: "Metrics"): `PutRecord.Bytes` is `hydrant_PutRecord_Bytes`.
//! Latencies are in milliseconds, from the complete request to the answer.

use metrics::{Counter, Histogram, counter, histogram};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

/// A stream that refuses every put says why this often.
const REFUSAL_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// One stream's counters, looked up once.
pub(super) struct Tally {
    put_record: PutTally,
    put_record_batch: PutTally,
    incoming_requests: Counter,
    incoming_records: Counter,
    incoming_bytes: Counter,
    throttled_requests: Counter,
    throttled_records: Counter,
    describe: Calls,
    refusal_logged: Mutex<Option<Duration>>,
}

/// An operation that puts.
pub(super) struct PutTally {
    pub calls: Calls,
    bytes: Counter,
    /// Only a batch has a number of them.
    records: Option<Counter>,
}

/// An operation, counted and timed whatever its answer.
pub(super) struct Calls {
    requests: Counter,
    latency: Histogram,
}

impl Calls {
    /// `ListDeliveryStreams` is about no stream.
    pub(super) fn of_list() -> Calls {
        Calls {
            requests: counter!("hydrant_ListDeliveryStreams_Requests"),
            latency: histogram!("hydrant_ListDeliveryStreams_Latency"),
        }
    }

    fn of(operation: &str, stream: &str) -> Calls {
        Calls {
            requests: counter(&format!("{operation}_Requests"), stream),
            latency: histogram!(format!("hydrant_{operation}_Latency"), "DeliveryStreamName" => stream.to_owned()),
        }
    }

    pub(super) fn count(&self, took: Duration) {
        self.requests.increment(1);
        self.latency.record(took.as_secs_f64() * 1000.0);
    }
}

impl Tally {
    fn new(stream: &str) -> Tally {
        let put = |operation: &str, records: Option<Counter>| PutTally {
            calls: Calls::of(operation, stream),
            bytes: counter(&format!("{operation}_Bytes"), stream),
            records,
        };
        Tally {
            put_record: put("PutRecord", None),
            put_record_batch: put("PutRecordBatch", Some(counter("PutRecordBatch_Records", stream))),
            incoming_requests: counter("IncomingPutRequests", stream),
            incoming_records: counter("IncomingRecords", stream),
            incoming_bytes: counter("IncomingBytes", stream),
            throttled_requests: counter("ThrottledRequests", stream),
            throttled_records: counter("ThrottledRecords", stream),
            describe: Calls::of("DescribeDeliveryStream", stream),
            refusal_logged: Mutex::new(None),
        }
    }

    pub(super) fn put(&self, operation: &str) -> &PutTally {
        if operation == "PutRecord" { &self.put_record } else { &self.put_record_batch }
    }

    pub(super) fn describe(&self) -> &Calls {
        &self.describe
    }

    /// A put was acknowledged.
    pub(super) fn accepted(&self, operation: &str, records: usize, bytes: usize) {
        let (put, records, bytes) = (self.put(operation), records as u64, bytes as u64);
        put.bytes.increment(bytes);
        put.records.iter().for_each(|c| c.increment(records));
        self.incoming_requests.increment(1);
        self.incoming_records.increment(records);
        self.incoming_bytes.increment(bytes);
    }

    /// A put was told to come back later.
    pub(super) fn throttled(&self, records: usize) {
        self.throttled_requests.increment(1);
        self.throttled_records.increment(records as u64);
    }

    /// Whether a refusal at `now` is worth a line.
    pub(super) fn logs_refusal(&self, now: Duration) -> bool {
        let mut logged = self.refusal_logged.lock().expect("nobody panics while holding it");
        let due = logged.is_none_or(|at| now.saturating_sub(at) >= REFUSAL_LOG_INTERVAL);
        if due {
            *logged = Some(now);
        }
        due
    }
}

fn counter(name: &str, stream: &str) -> Counter {
    counter!(format!("hydrant_{name}"), "DeliveryStreamName" => stream.to_owned())
}

/// The tallies of all streams that were asked for.
#[derive(Default)]
pub(super) struct Tallies(RwLock<BTreeMap<String, Arc<Tally>>>);

impl Tallies {
    /// The tally of a stream. Only for streams that exist: whatever else a client names would be kept for ever.
    pub(super) fn of(&self, stream: &str) -> Arc<Tally> {
        if let Some(tally) = self.0.read().expect("nobody panics while holding it").get(stream) {
            return tally.clone();
        }
        let mut all = self.0.write().expect("nobody panics while holding it");
        all.entry(stream.to_owned()).or_insert_with(|| Arc::new(Tally::new(stream))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_a_line_in_ten_seconds() {
        let tally = Tally::new("s");
        let logged = (0..25_000).filter(|ms| tally.logs_refusal(Duration::from_millis(*ms))).count();
        assert_eq!(logged, 3);
    }
}
