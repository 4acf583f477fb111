//! KPL aggregates: many user records that the Kinesis Producer Library packed into one record of a stream.
//!
//! An aggregate is the magic `F3 89 9A C2`, a protobuf message (proto2), and the MD5 of that message:
//!
//! ```text
//! message AggregatedRecord { repeated string partition_key_table = 1; repeated string explicit_hash_key_table = 2;
//!                            repeated Record records = 3; }
//! message Record { required uint64 partition_key_index = 1; optional uint64 explicit_hash_key_index = 2;
//!                  required bytes data = 3; repeated Tag tags = 4; }
//! message Tag { required string key = 1; optional string value = 2; }
//! ```
//!
//! Source: aggregation-format.md of amazon-kinesis-producer; `AggregatorUtil.java` and `Messages.java` of
//! amazon-kinesis-client 3, which say what readers make of it. As there, an aggregate without records is nothing at all,
//! and the message is read as protobuf-java reads it: fields in any order, the last of a single field counts, unknown
//! fields and groups are skipped, and a known field of another wire type is an unknown one. We differ where the KCL loses
//! or bends records: it drops those that do not hash into the shard; it drops the rest of an aggregate whose index is
//! outside its table, of which it looks at 32 bits only; it puts U+FFFD into a partition key that is not UTF-8. Here the
//! first is not done, and the others pass the record through as it is.

use md5::{Digest, Md5};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const DIGEST_LEN: usize = 16;

/// Messages and groups within each other, as protobuf-java's `CodedInputStream` limits them.
const DEPTH_MAX: u32 = 100;

/// What a producer put, as one record or as a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserRecord<'a> {
    pub data: &'a [u8],
    pub partition_key: &'a str,
    /// Its place in the aggregate, from 0; also 0 outside of one.
    pub sub_sequence: u64,
}

/// Appends the user records of one record of a Kinesis stream to `out` and says whether it was an aggregate. One that is
/// not, or is damaged in any way, is appended as it is: all or nothing. Memory is bounded by the length of `data`: a
/// user record takes at least 6 bytes of it, a partition key in the table at least 2.
pub fn user_records<'a>(data: &'a [u8], partition_key: &'a str, out: &mut Vec<UserRecord<'a>>) -> bool {
    let before = out.len();
    let aggregate = message(data).and_then(|message| append(message, out)).is_some();
    if !aggregate {
        out.truncate(before);
        out.push(UserRecord { data, partition_key, sub_sequence: 0 });
    }
    aggregate
}

/// The protobuf message of something framed as an aggregate.
fn message(data: &[u8]) -> Option<&[u8]> {
    let rest = data.strip_prefix(&MAGIC)?;
    // The KCL wants more than the digest, so that an empty message is no aggregate.
    let (message, digest) = rest.split_at_checked(rest.len().checked_sub(DIGEST_LEN)?)?;
    (!message.is_empty() && Md5::digest(message)[..] == *digest).then_some(message)
}

/// `None` if anything is wrong with the message; `out` may then have some of its records.
fn append<'a>(message: &'a [u8], out: &mut Vec<UserRecord<'a>>) -> Option<()> {
    // The tables may stand behind the records that point into them.
    let (mut keys, mut hash_keys) = (Vec::new(), 0);
    let mut fields = Fields { rest: message, depth: 0 };
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Bytes(key)) => keys.push(std::str::from_utf8(key).ok()?),
            (2, Value::Bytes(_)) => hash_keys += 1,
            _ => {}
        }
    }
    let mut fields = Fields { rest: message, depth: 0 };
    let mut sub_sequence = 0;
    while let Some((number, value)) = fields.next()? {
        if let (3, Value::Bytes(bytes)) = (number, value) {
            let record = record(bytes)?;
            if record.hash_key.is_some_and(|index| index >= hash_keys) {
                return None;
            }
            let partition_key = keys.get(usize::try_from(record.key).ok()?)?;
            out.push(UserRecord { data: record.data, partition_key, sub_sequence });
            sub_sequence += 1;
        }
    }
    Some(())
}

struct AggregatedRecord<'a> {
    /// Index into the table of partition keys.
    key: u64,
    /// Index into the table of explicit hash keys.
    hash_key: Option<u64>,
    data: &'a [u8],
}

fn record(bytes: &[u8]) -> Option<AggregatedRecord<'_>> {
    let (mut key, mut hash_key, mut data) = (None, None, None);
    let mut fields = Fields { rest: bytes, depth: 1 };
    while let Some((number, value)) = fields.next()? {
        match (number, value) {
            (1, Value::Varint(index)) => key = Some(index),
            (2, Value::Varint(index)) => hash_key = Some(index),
            (3, Value::Bytes(bytes)) => data = Some(bytes),
            (4, Value::Bytes(bytes)) => tag(bytes)?,
            _ => {}
        }
    }
    Some(AggregatedRecord { key: key?, hash_key, data: data? })
}

/// Tags say nothing to us, but a broken one breaks the message for the KCL.
fn tag(bytes: &[u8]) -> Option<()> {
    let mut has_key = false;
    let mut fields = Fields { rest: bytes, depth: 2 };
    while let Some((number, value)) = fields.next()? {
        has_key |= matches!((number, value), (1, Value::Bytes(_)));
    }
    has_key.then_some(())
}

enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    /// Fixed-width numbers and groups: no known field is one.
    Other,
}

/// The fields of one message. Every `None` on the outside is damage.
struct Fields<'a> {
    rest: &'a [u8],
    depth: u32,
}

const END_GROUP: u64 = 4;

impl<'a> Fields<'a> {
    /// `Some(None)` at the end of the message.
    fn next(&mut self) -> Option<Option<(u64, Value<'a>)>> {
        if self.rest.is_empty() {
            return Some(None);
        }
        let (number, wire_type) = self.key()?;
        Some(Some((number, self.value(number, wire_type)?)))
    }

    /// A field's number and wire type. protobuf-java takes the low 32 bits of whatever varint is there.
    fn key(&mut self) -> Option<(u64, u64)> {
        let key = self.varint()? & u64::from(u32::MAX);
        (key >> 3 != 0).then_some((key >> 3, key & 7))
    }

    fn value(&mut self, number: u64, wire_type: u64) -> Option<Value<'a>> {
        match wire_type {
            0 => self.varint().map(Value::Varint),
            1 => self.take(8).map(|_| Value::Other),
            2 => {
                // Of a length, too, the low 32 bits count.
                let len = self.varint()? & u64::from(u32::MAX);
                self.take(usize::try_from(len).ok()?).map(Value::Bytes)
            }
            3 => self.skip_group(number).map(|()| Value::Other),
            5 => self.take(4).map(|_| Value::Other),
            // The end of a group that nobody began, and two types that do not exist.
            _ => None,
        }
    }

    fn skip_group(&mut self, number: u64) -> Option<()> {
        if self.depth >= DEPTH_MAX {
            return None;
        }
        self.depth += 1;
        loop {
            let (inner, wire_type) = self.key()?;
            if wire_type == END_GROUP {
                self.depth -= 1;
                return (inner == number).then_some(());
            }
            self.value(inner, wire_type)?;
        }
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    /// At most ten bytes; what does not fit 64 bits falls off, as in Java.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

#[cfg(test)]
#[path = "aggregate_tests.rs"]
mod tests;
