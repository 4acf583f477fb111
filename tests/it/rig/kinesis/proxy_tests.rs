//! The proxy does what it says, seen through the SDK.

use super::client::Kinesis;
use super::frames::Frame;
use super::proxy::{EVENT, Fault, Proxy};
use super::servers::{KinesisLocal, Server};
use crate::rig::postgres::RUNTIME;
use crate::rig::service::PATIENCE;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::RequestId;
use aws_sdk_kinesis::operation::subscribe_to_shard::{SubscribeToShardError, SubscribeToShardOutput};
use aws_sdk_kinesis::types::{ShardIteratorType, SubscribeToShardEvent, SubscribeToShardEventStream as Stream};
use std::time::{Duration, Instant};

/// A server with a stream `s` of two shards, the proxy before it, and clients of both.
struct Setup {
    _server: Server,
    direct: Kinesis,
    proxy: Proxy,
    kinesis: Kinesis,
    shards: [String; 2],
}

fn setup() -> Setup {
    let server = KinesisLocal::start();
    let direct = Kinesis::at(&server.endpoint());
    direct.create("s", 2);
    let shards: Vec<String> = direct.shards("s").iter().map(|s| s.shard_id().to_owned()).collect();
    let proxy = Proxy::start(server.address);
    let kinesis = Kinesis::without_retries(&proxy.endpoint());
    Setup { _server: server, direct, proxy, kinesis, shards: shards.try_into().unwrap() }
}

impl Setup {
    fn start(&self, shard: &str) -> String {
        self.kinesis.iterator("s", shard, ShardIteratorType::TrimHorizon, None)
    }

    /// The error's code and status of GetRecords.
    fn refused(&self, iterator: &str) -> (String, u16) {
        let get = self.kinesis.client.get_records().shard_iterator(iterator).send();
        let error = RUNTIME.block_on(get).expect_err("it is refused");
        assert!(error.request_id().is_some(), "{error:?}");
        let status = error.raw_response().expect("an answer").status().as_u16();
        (error.code().expect("a code").to_owned(), status)
    }

    fn subscribe(&self, consumer: &str, shard: &str) -> Result<SubscribeToShardOutput, Box<SubscribeToShardError>> {
        self.kinesis.subscribe(consumer, shard, ShardIteratorType::TrimHorizon, None)
    }
}

/// The next event; `None` at the end of the subscription.
fn event(output: &mut SubscribeToShardOutput) -> Result<Option<SubscribeToShardEvent>, String> {
    let next = async { tokio::time::timeout(PATIENCE, output.event_stream.recv()).await.expect("an event in time") };
    match RUNTIME.block_on(next) {
        Ok(Some(Stream::SubscribeToShardEvent(event))) => Ok(Some(event)),
        Ok(None) => Ok(None),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn errors_come_as_often_as_told_for_the_shard_that_was_told() {
    let setup = setup();
    let [a, b] = setup.shards.each_ref().map(|shard| setup.start(shard));
    for (kind, status) in [
        ("ProvisionedThroughputExceededException", 400),
        ("LimitExceededException", 400),
        ("AccessDeniedException", 400),
        ("ExpiredIteratorException", 400),
        ("InternalFailure", 500),
    ] {
        let fault = setup.proxy.next(2, "GetRecords", Some(&setup.shards[0]), Fault::Error(kind));
        setup.kinesis.get_records(&b);
        for _ in 0..2 {
            assert_eq!(setup.refused(&a), (kind.to_owned(), status));
        }
        setup.kinesis.get_records(&a);
        assert_eq!(setup.proxy.struck(fault), 2);
    }
    let fault = setup.proxy.always("GetRecords", None, Fault::Error("InternalFailure"));
    // Also through the iterators that GetRecords gives.
    for iterator in [&a, &b] {
        setup.refused(iterator);
    }
    setup.proxy.take_back(fault);
    let next = setup.kinesis.get_records(&a).next_shard_iterator.expect("an open shard");
    setup.proxy.next(1, "GetRecords", Some(&setup.shards[0]), Fault::Error("ExpiredIteratorException"));
    setup.kinesis.get_records(&b);
    setup.refused(&next);
    // What is modelled is told apart by type.
    setup.proxy.next(1, "GetRecords", None, Fault::Error("ProvisionedThroughputExceededException"));
    let error = RUNTIME.block_on(setup.kinesis.client.get_records().shard_iterator(&a).send()).unwrap_err();
    assert!(error.into_service_error().is_provisioned_throughput_exceeded_exception());
}

#[test]
fn a_lost_answer_was_done_and_a_held_one_is_late() {
    let setup = setup();
    setup.proxy.next(1, "PutRecord", None, Fault::LoseAnswer);
    let put = setup.kinesis.client.put_record().stream_name("s").partition_key("k").data(b"lost".to_vec().into());
    let error = RUNTIME.block_on(put.send()).unwrap_err();
    assert!(matches!(error, SdkError::DispatchFailure(_) | SdkError::ResponseError(_)), "{error:?}");
    let found: usize = setup.shards.iter().map(|s| setup.kinesis.get_records(&setup.start(s)).records().len()).sum();
    assert_eq!(found, 1);
    assert_eq!(setup.proxy.calls_of("PutRecord")[0].status, None);
    let hold = Duration::from_millis(300);
    setup.proxy.next(1, "ListShards", None, Fault::Hold(hold));
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| setup.kinesis.shards("s"));
        // The server has it before the client has an answer.
        setup.proxy.until("the call is made", |calls| calls.last().unwrap().operation == "ListShards");
        assert_eq!(setup.proxy.calls_of("ListShards")[0].status, None);
    });
    assert!(began.elapsed() >= hold, "{:?}", began.elapsed());
    assert_eq!(setup.proxy.calls_of("ListShards")[0].status, Some(200));
}

#[test]
fn a_garbage_iterator_is_refused_when_it_is_used() {
    let setup = setup();
    setup.proxy.next(1, "GetShardIterator", Some(&setup.shards[1]), Fault::GarbageIterator);
    let [good, bad] = setup.shards.each_ref().map(|shard| setup.start(shard));
    assert_eq!(setup.refused(&bad), ("InvalidArgumentException".to_owned(), 400));
    setup.proxy.next(1, "GetRecords", None, Fault::GarbageIterator);
    let next = setup.kinesis.get_records(&good).next_shard_iterator.expect("an open shard");
    assert_eq!(setup.refused(&next), ("InvalidArgumentException".to_owned(), 400));
    setup.kinesis.get_records(&setup.start(&setup.shards[1]));
    let asked = &setup.proxy.calls_of("GetShardIterator")[0].request;
    assert_eq!(asked["ShardIteratorType"], "TRIM_HORIZON");
    let of_the_bad = setup.proxy.calls_of("GetRecords");
    assert_eq!(of_the_bad.iter().filter(|c| c.shard.as_ref() == Some(&setup.shards[1])).count(), 2);
}

#[test]
fn calls_and_bytes_are_counted_by_shard() {
    let setup = setup();
    let records: Vec<_> = (0..40).map(|i| (format!("{i:02}"), vec![b'x'; 98])).collect();
    let went = setup.direct.put("s", &records);
    let mut expected = Vec::new();
    for (shard, times) in [(&setup.shards[0], 3), (&setup.shards[1], 7)] {
        let iterator = setup.start(shard);
        (0..times).for_each(|_| drop(setup.kinesis.get_records(&iterator)));
        let records = went.iter().filter(|put| put.shard == *shard).count();
        assert!(records > 0);
        expected.push((shard.clone(), times, times * records * 100));
    }
    let counted = setup.proxy.most("GetRecords", Duration::from_secs(600));
    let counted: Vec<_> = counted.into_iter().map(|(shard, most)| (shard, most.calls, most.bytes)).collect();
    assert_eq!(counted, expected);
    // No two calls begin in the same nanosecond.
    let single = setup.proxy.most("GetRecords", Duration::from_nanos(1));
    assert_eq!(single.values().map(|most| most.calls).collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn children_stay_secret_until_they_are_shown() {
    let setup = setup();
    let parent = &setup.shards[0];
    let consumer = setup.direct.register("s", "c");
    setup.direct.put("s", &(0..20).map(|i| (format!("{i}"), b"x".to_vec())).collect::<Vec<_>>());
    let children = setup.direct.split("s", parent);
    setup.direct.split("s", &children[0]);
    let end = |kinesis: &Kinesis| {
        let end = kinesis.get_records(&setup.start(parent));
        (!end.records().is_empty(), end.next_shard_iterator.is_some(), end.child_shards.map_or(0, |c| c.len()))
    };
    let last = || {
        setup.proxy.refuse_subscriptions_for(Duration::ZERO);
        let mut subscription = setup.subscribe(&consumer, parent).expect("a subscription");
        let mut last = None;
        while let Some(event) = event(&mut subscription).expect("a clean end") {
            last = Some(event);
        }
        let last = last.expect("an event");
        // The SDK has no absence here.
        assert_eq!(last.continuation_sequence_number(), "");
        last.child_shards().len()
    };
    setup.proxy.hide_children(parent);
    assert_eq!(end(&setup.kinesis), (true, false, 0));
    assert_eq!(setup.kinesis.shards("s").iter().map(|s| s.shard_id()).collect::<Vec<_>>(), setup.shards.each_ref());
    assert_eq!(last(), 0);
    setup.proxy.show_children();
    assert_eq!(end(&setup.kinesis), (true, false, 2));
    assert_eq!(setup.kinesis.shards("s").len(), 6);
    assert_eq!(last(), 2);
}

#[test]
fn subscriptions_end_break_and_are_taken_over() {
    let setup = setup();
    let consumer = setup.direct.register("s", "c");
    let records: Vec<_> = (0..20).map(|i| (format!("{i}"), vec![b'x'; 10])).collect();
    let [shard, other] = setup.shards.each_ref();
    let here = setup.direct.put("s", &records).iter().filter(|put| put.shard == *shard).count();
    // The shards have records, which the first event brings.
    let first = |shard: &str| {
        let mut subscription = setup.subscribe(&consumer, shard).expect("a subscription");
        assert!(!event(&mut subscription).expect("an event").expect("an event").records().is_empty());
        subscription
    };

    // The second within 5 s is refused, that of another shard is not.
    let mut subscription = first(shard);
    let error = setup.subscribe(&consumer, shard).map(drop).unwrap_err();
    assert!(error.is_resource_in_use_exception(), "{error:?}");
    let mut elsewhere = first(other);
    assert_eq!(setup.proxy.subscriptions(), 2);

    // Later it takes over.
    setup.proxy.refuse_subscriptions_for(Duration::ZERO);
    let mut successor = first(shard);
    let error = loop {
        match event(&mut subscription) {
            Ok(event) => assert!(event.is_some(), "it does not end cleanly"),
            Err(error) => break error,
        }
    };
    assert!(error.contains("ResourceInUseException"), "{error}");

    assert_eq!(setup.proxy.break_subscriptions(), 2);
    for subscription in [&mut successor, &mut elsewhere] {
        while let Ok(event) = event(subscription) {
            assert!(event.is_some(), "it does not end cleanly");
        }
    }

    let life = Duration::from_millis(10);
    setup.proxy.end_subscriptions_after(Some(life));
    let began = Instant::now();
    let mut subscription = first(shard);
    assert_eq!(event(&mut subscription), Ok(None));
    assert!(began.elapsed() >= life);
    let events = setup.proxy.calls_of(EVENT);
    let taken: usize = events.iter().filter(|e| e.shard.as_ref() == Some(shard)).map(|e| e.records).sum();
    // All three subscriptions brought all that is there.
    assert_eq!(taken, 3 * here);
}

#[test]
fn a_frame_is_read_as_it_is_written() {
    // The specification's empty message, and one of our own.
    let mut empty = b"\0\0\0\x10\0\0\0\0\x05\xc2\x48\xeb\x7d\x98\xc8\xff".to_vec();
    assert_eq!(Frame { headers: vec![], payload: vec![] }.to_bytes(), empty);
    assert_eq!(Frame::take(&mut empty), Some(Frame { headers: vec![], payload: vec![] }));
    let frame = Frame { headers: vec![("event-type".to_owned(), "x".to_owned())], payload: b"{}".to_vec() };
    let bytes = frame.to_bytes();
    let mut buffer = bytes[..bytes.len() - 1].to_vec();
    assert_eq!(Frame::take(&mut buffer), None);
    buffer.extend(&bytes[bytes.len() - 1..]);
    buffer.extend(&bytes);
    assert_eq!([(); 2].map(|()| Frame::take(&mut buffer)), [Some(frame.clone()), Some(frame)]);
    assert!(buffer.is_empty());
}
