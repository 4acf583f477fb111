//! Streams filled, split and read through the SDK.

use super::kpl;
use crate::rig::postgres::RUNTIME;
use crate::rig::service::PATIENCE;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::operation::subscribe_to_shard::{SubscribeToShardError, SubscribeToShardOutput};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{
    ConsumerStatus, PutRecordsRequestEntry, Shard, ShardFilter, ShardFilterType, ShardIteratorType, StartingPosition,
    StreamStatus,
};
use md5::{Digest, Md5};
use std::time::{Duration, Instant};

/// An SDK client for one server. Its methods block, so that they are for tests, not for tasks.
pub struct Kinesis {
    pub client: Client,
}

/// Where a record went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put {
    pub shard: String,
    pub sequence_number: String,
}

impl Kinesis {
    pub fn at(endpoint: &str) -> Kinesis {
        Kinesis::with(endpoint, RetryConfig::standard())
    }

    /// One that hands every error on at once.
    pub fn without_retries(endpoint: &str) -> Kinesis {
        Kinesis::with(endpoint, RetryConfig::disabled())
    }

    fn with(endpoint: &str, retries: RetryConfig) -> Kinesis {
        let config = aws_sdk_kinesis::Config::builder()
            .retry_config(retries)
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(Credentials::new("any", "any", None, None, "test"))
            .endpoint_url(endpoint)
            .build();
        Kinesis { client: Client::from_conf(config) }
    }

    /// Makes a stream and waits for it.
    pub fn create(&self, stream: &str, shards: i32) {
        RUNTIME.block_on(async {
            self.client.create_stream().stream_name(stream).shard_count(shards).send().await.expect("create a stream");
            self.active(stream).await;
        });
    }

    /// Deletes a stream and waits until it is gone.
    pub fn delete(&self, stream: &str) {
        let began = Instant::now();
        RUNTIME.block_on(async {
            self.client.delete_stream().stream_name(stream).send().await.expect("delete a stream");
            while self.client.describe_stream_summary().stream_name(stream).send().await.is_ok() {
                assert!(began.elapsed() < PATIENCE, "{stream} is still there");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
    }

    /// Waits until a change of the stream is over.
    async fn active(&self, stream: &str) {
        let began = Instant::now();
        loop {
            let summary = self.client.describe_stream_summary().stream_name(stream).send().await.expect("describe");
            let status = summary.stream_description_summary().expect("a summary").stream_status();
            if *status == StreamStatus::Active {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "{stream} is {status}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Puts records, as partition key and data, in batches; entries that fail are put again. Where each went, in order.
    pub fn put(&self, stream: &str, records: &[(String, Vec<u8>)]) -> Vec<Put> {
        let mut went: Vec<Option<Put>> = vec![None; records.len()];
        // PutRecords takes 500 records, and 10 MiB, of which base64 and keys want a share.
        let mut open: Vec<usize> = (0..records.len()).collect();
        let began = Instant::now();
        while !open.is_empty() {
            assert!(began.elapsed() < PATIENCE, "{} records are not taken", open.len());
            let mut bytes = 0;
            let batch: Vec<usize> = open
                .iter()
                .copied()
                .take(500)
                .take_while(|i| {
                    bytes += records[*i].0.len() + records[*i].1.len();
                    bytes <= 4 << 20
                })
                .collect();
            let entry = |i: &usize| {
                let (key, data) = &records[*i];
                PutRecordsRequestEntry::builder()
                    .partition_key(key)
                    .data(Blob::new(&data[..]))
                    .build()
                    .expect("complete")
            };
            let entries = batch.iter().map(entry).collect();
            let put = self.client.put_records().stream_name(stream).set_records(Some(entries)).send();
            let answer = RUNTIME.block_on(put).expect("put records");
            for (i, result) in batch.into_iter().zip(answer.records()) {
                went[i] = result.sequence_number().map(|sequence_number| Put {
                    shard: result.shard_id().expect("a shard").to_owned(),
                    sequence_number: sequence_number.to_owned(),
                });
            }
            open.retain(|i| went[*i].is_none());
        }
        went.into_iter().flatten().collect()
    }

    /// Puts KPL aggregates of up to `size` user records each, under the first one's key. Where each aggregate went.
    pub fn put_aggregates(&self, stream: &str, records: &[(String, Vec<u8>)], size: usize) -> Vec<Put> {
        let aggregates: Vec<_> = records.chunks(size).map(|part| (part[0].0.clone(), kpl::aggregate(part))).collect();
        self.put(stream, &aggregates)
    }

    /// All shards, closed ones too.
    pub fn shards(&self, stream: &str) -> Vec<Shard> {
        let filter = ShardFilter::builder().r#type(ShardFilterType::FromTrimHorizon).build().expect("complete");
        let list = self.client.list_shards().stream_name(stream).shard_filter(filter).send();
        let answer = RUNTIME.block_on(list).expect("list shards");
        assert!(answer.next_token().is_none(), "the streams of tests fit a page");
        answer.shards().to_vec()
    }

    /// The shard of a new stream that records of a partition key go to.
    pub fn shard_of(&self, stream: &str, key: &str) -> String {
        let hash = u128::from_be_bytes(Md5::digest(key).into());
        let is_its = |s: &Shard| {
            let range = s.hash_key_range().expect("a range");
            let [first, last] =
                [range.starting_hash_key(), range.ending_hash_key()].map(|k| k.parse::<u128>().expect("a number"));
            (first..=last).contains(&hash)
        };
        let shards = self.shards(stream);
        shards.iter().find(|s| is_its(s)).expect("every hash key has its shard").shard_id().to_owned()
    }

    /// Splits a shard in the middle of its range and waits; its children, in order of their ranges.
    pub fn split(&self, stream: &str, shard: &str) -> [String; 2] {
        let range = |s: &Shard| {
            let range = s.hash_key_range().expect("a range");
            [range.starting_hash_key(), range.ending_hash_key()].map(|k| k.parse::<u128>().expect("a number"))
        };
        let shards = self.shards(stream);
        let parent = shards.iter().find(|s| s.shard_id() == shard).expect("a shard of the stream");
        let [start, end] = range(parent);
        let middle = (start + (end - start) / 2 + 1).to_string();
        let split = self.client.split_shard().stream_name(stream).shard_to_split(shard).new_starting_hash_key(middle);
        RUNTIME.block_on(async {
            split.send().await.expect("split a shard");
            self.active(stream).await;
        });
        let mut children = self.shards(stream);
        children.retain(|s| s.parent_shard_id() == Some(shard));
        children.sort_by_key(range);
        let ids: Vec<String> = children.iter().map(|s| s.shard_id().to_owned()).collect();
        ids.try_into().expect("two children")
    }

    /// Merges two neighbours and waits; their child.
    pub fn merge(&self, stream: &str, shard: &str, neighbour: &str) -> String {
        let merge = self.client.merge_shards().stream_name(stream).shard_to_merge(shard);
        RUNTIME.block_on(async {
            merge.adjacent_shard_to_merge(neighbour).send().await.expect("merge shards");
            self.active(stream).await;
        });
        let shards = self.shards(stream);
        let child =
            shards.iter().find(|s| s.parent_shard_id() == Some(shard) && s.adjacent_parent_shard_id().is_some());
        child.expect("a child of both").shard_id().to_owned()
    }

    /// An iterator; `at` is a sequence number for the types that have one.
    pub fn iterator(&self, stream: &str, shard: &str, kind: ShardIteratorType, at: Option<&str>) -> String {
        let ask = self.client.get_shard_iterator().stream_name(stream).shard_id(shard).shard_iterator_type(kind);
        let ask = ask.set_starting_sequence_number(at.map(str::to_owned)).send();
        RUNTIME.block_on(ask).expect("an iterator").shard_iterator().expect("an iterator").to_owned()
    }

    pub fn get_records(&self, iterator: &str) -> GetRecordsOutput {
        RUNTIME.block_on(self.client.get_records().shard_iterator(iterator).send()).expect("records")
    }

    /// Subscribes; `at` as for [`Kinesis::iterator`]. An error is one that the server sent.
    pub fn subscribe(
        &self,
        consumer: &str,
        shard: &str,
        kind: ShardIteratorType,
        at: Option<&str>,
    ) -> Result<SubscribeToShardOutput, Box<SubscribeToShardError>> {
        let start = StartingPosition::builder().r#type(kind).set_sequence_number(at.map(str::to_owned));
        let ask = self.client.subscribe_to_shard().consumer_arn(consumer).shard_id(shard);
        let ask = ask.starting_position(start.build().expect("complete")).send();
        RUNTIME.block_on(ask).map_err(|error| Box::new(error.into_service_error()))
    }

    /// The names of a stream's consumers.
    pub fn consumers(&self, stream: &str) -> Vec<String> {
        RUNTIME.block_on(async {
            let summary = self.client.describe_stream_summary().stream_name(stream).send().await.expect("describe");
            let arn = summary.stream_description_summary().expect("a summary").stream_arn().to_owned();
            let answer = self.client.list_stream_consumers().stream_arn(arn).send().await.expect("consumers");
            answer.consumers().iter().map(|c| c.consumer_name().to_owned()).collect()
        })
    }

    /// A consumer with enhanced fan-out, ready to subscribe: its ARN.
    pub fn register(&self, stream: &str, consumer: &str) -> String {
        RUNTIME.block_on(async {
            let summary = self.client.describe_stream_summary().stream_name(stream).send().await.expect("describe");
            let arn = summary.stream_description_summary().expect("a summary").stream_arn().to_owned();
            let register = self.client.register_stream_consumer().stream_arn(&arn).consumer_name(consumer);
            register.send().await.expect("register a consumer");
            let began = Instant::now();
            loop {
                let ask = self.client.describe_stream_consumer().stream_arn(&arn).consumer_name(consumer);
                let answer = ask.send().await.expect("describe a consumer");
                let found = answer.consumer_description().expect("a description");
                if *found.consumer_status() == ConsumerStatus::Active {
                    return found.consumer_arn().to_owned();
                }
                assert!(began.elapsed() < PATIENCE, "{consumer} is {}", found.consumer_status());
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    }
}
