//! What the servers do when they are read as a consumer reads them.

use super::client::Kinesis;
use super::servers::{Dynalite, KinesisLocal, Moto};
use crate::rig::postgres::RUNTIME;
use aws_sdk_kinesis::types::{ShardIteratorType, SubscribeToShardEventStream};

fn records(count: usize) -> Vec<(String, Vec<u8>)> {
    (0..count).map(|i| (format!("key {}", i % 37), format!("record {i}").into_bytes())).collect()
}

/// All that a shard holds now, by GetRecords.
fn drain(kinesis: &Kinesis, stream: &str, shard: &str) -> Vec<(String, Vec<u8>)> {
    let mut next = Some(kinesis.iterator(stream, shard, ShardIteratorType::TrimHorizon, None));
    let mut found = Vec::new();
    while let Some(iterator) = next.take() {
        let answer = kinesis.get_records(&iterator);
        let all = answer.records().iter();
        found.extend(all.map(|r| (r.partition_key().expect("a key").to_owned(), r.data().as_ref().to_vec())));
        next = answer.next_shard_iterator().map(str::to_owned);
        if answer.records().is_empty() && answer.millis_behind_latest() == Some(0) {
            break;
        }
    }
    found
}

fn sorted(mut records: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    records.sort();
    records
}

#[test]
fn what_is_put_into_kinesis_local_can_be_read_both_ways() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 2);
    let sent = records(1_000);
    let went = kinesis.put("s", &sent);
    let shards = kinesis.shards("s");
    assert_eq!(shards.len(), 2);
    let mut found = Vec::new();
    for shard in &shards {
        // Within a shard the order is that of the puts.
        let expected = sent.iter().zip(&went).filter(|(_, put)| put.shard == shard.shard_id());
        let expected: Vec<_> = expected.map(|(record, _)| record.clone()).collect();
        assert!(!expected.is_empty());
        let got = drain(&kinesis, "s", shard.shard_id());
        assert_eq!(got, expected);
        found.extend(got);
    }
    let consumer = kinesis.register("s", "c");
    let mut subscribed = Vec::new();
    for shard in &shards {
        let all = went.iter().filter(|put| put.shard == shard.shard_id()).count();
        let mut output = kinesis.subscribe(&consumer, shard.shard_id(), ShardIteratorType::TrimHorizon, None).unwrap();
        RUNTIME.block_on(async {
            let before = subscribed.len();
            while subscribed.len() < before + all {
                let event = output.event_stream.recv().await.expect("an event").expect("the stream goes on");
                let SubscribeToShardEventStream::SubscribeToShardEvent(event) = event else { panic!("{event:?}") };
                let all = event.records().iter();
                subscribed
                    .extend(all.map(|r| (r.partition_key().expect("a key").to_owned(), r.data().as_ref().to_vec())));
            }
        });
    }
    assert_eq!(subscribed, found);
    assert_eq!(sorted(found), sorted(sent));
}

#[test]
fn aggregates_come_out_as_they_were_put_and_shards_have_children() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    let sent = records(100);
    let put = kinesis.put_aggregates("s", &sent, 30);
    assert_eq!(put.len(), 4);
    let parent = put[0].shard.clone();
    let children = kinesis.split("s", &parent);
    let mut user_records = Vec::new();
    for (key, data) in drain(&kinesis, "s", &parent) {
        let mut out = Vec::new();
        assert!(hydrant::source::kinesis::aggregate::user_records(&data, &key, &mut out));
        user_records.extend(out.iter().map(|r| (r.partition_key.to_owned(), r.data.to_vec())));
    }
    assert_eq!(user_records, sent);
    let last = kinesis.iterator("s", &parent, ShardIteratorType::AfterSequenceNumber, Some(&put[3].sequence_number));
    let end = kinesis.get_records(&last);
    println!("end of a closed shard: {end:?}");
    assert_eq!(end.next_shard_iterator(), None);
    assert_eq!(end.child_shards().len(), 2);
    let merged = kinesis.merge("s", &children[0], &children[1]);
    let open: Vec<_> = kinesis.shards("s");
    let open = open.iter().filter(|s| s.sequence_number_range().unwrap().ending_sequence_number().is_none());
    assert_eq!(open.map(|s| s.shard_id().to_owned()).collect::<Vec<_>>(), [merged]);
}

#[test]
fn moto_and_dynalite_answer() {
    let moto = Moto::start();
    let kinesis = Kinesis::at(&moto.endpoint());
    kinesis.create("s", 1);
    let sent = records(10);
    kinesis.put("s", &sent);
    assert_eq!(drain(&kinesis, "s", kinesis.shards("s")[0].shard_id()), sent);
    let dynalite = Dynalite::start();
    let body = b"{}";
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\nx-amz-target: DynamoDB_20120810.ListTables\r\ncontent-type: \
         application/x-amz-json-1.0\r\nauthorization: AWS4-HMAC-SHA256 Credential=any/20260101/us-east-1/dynamodb/\
         aws4_request, SignedHeaders=host, Signature=any\r\nx-amz-date: 20260101T000000Z\r\ncontent-length: \
         {}\r\nconnection: close\r\n\r\n{{}}",
        dynalite.address,
        body.len()
    );
    let (status, body) = crate::rig::service::exchange(dynalite.address, request.as_bytes()).expect("an answer");
    assert_eq!((status, &body[..]), (200, &b"{\"TableNames\":[]}"[..]));
}
