//! A producer of KPL aggregates that shares nothing with the product's reader: prost and its own MD5.

use md5::{Digest, Md5};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<Record>,
}

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(uint64, required, tag = "1")]
    partition_key_index: u64,
    #[prost(bytes = "vec", required, tag = "3")]
    data: Vec<u8>,
}

/// User records, as partition key and data, in one record for Kinesis.
pub fn aggregate(records: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut message = AggregatedRecord::default();
    for (key, data) in records {
        let known = message.partition_key_table.iter().position(|k| k == key);
        let index = known.unwrap_or(message.partition_key_table.len());
        if known.is_none() {
            message.partition_key_table.push(key.clone());
        }
        message.records.push(Record { partition_key_index: index as u64, data: data.clone() });
    }
    let message = message.encode_to_vec();
    [&[0xf3, 0x89, 0x9a, 0xc2][..], &message, &Md5::digest(&message)[..]].concat()
}
