use super::*;
use proptest::prelude::*;

/// The message by prost, which shares nothing with our reader. Hash keys and tags are bytes here, because protobuf-java
/// does not look at the characters of proto2 strings; required fields are optional, because prost fills in missing ones.
mod independent {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct AggregatedRecord {
        #[prost(string, repeated, tag = "1")]
        pub partition_key_table: Vec<String>,
        #[prost(bytes = "vec", repeated, tag = "2")]
        pub explicit_hash_key_table: Vec<Vec<u8>>,
        #[prost(message, repeated, tag = "3")]
        pub records: Vec<Record>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Record {
        #[prost(uint64, optional, tag = "1")]
        pub partition_key_index: Option<u64>,
        #[prost(uint64, optional, tag = "2")]
        pub explicit_hash_key_index: Option<u64>,
        #[prost(bytes = "vec", optional, tag = "3")]
        pub data: Option<Vec<u8>>,
        #[prost(message, repeated, tag = "4")]
        pub tags: Vec<Tag>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Tag {
        #[prost(bytes = "vec", optional, tag = "1")]
        pub key: Option<Vec<u8>>,
        #[prost(bytes = "vec", optional, tag = "2")]
        pub value: Option<Vec<u8>>,
    }

    /// Keys and data, `None` for an index outside a table or a missing field.
    pub(super) fn user_records(message: &AggregatedRecord) -> Option<Vec<(String, Vec<u8>)>> {
        let one = |record: &Record| {
            let key = message.partition_key_table.get(usize::try_from(record.partition_key_index?).ok()?)?;
            if let Some(index) = record.explicit_hash_key_index {
                message.explicit_hash_key_table.get(usize::try_from(index).ok()?)?;
            }
            record.tags.iter().all(|tag| tag.key.is_some()).then_some(())?;
            Some((key.clone(), record.data.clone()?))
        };
        message.records.iter().map(one).collect()
    }
}

use independent::{AggregatedRecord, Record as Other, Tag};
use prost::Message;

fn framed(message: &[u8]) -> Vec<u8> {
    [&MAGIC[..], message, &Md5::digest(message)[..]].concat()
}

/// What an aggregate holds; `None` if it is passed on as it is, which is checked.
fn read(data: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let stays = UserRecord { data: b"before", partition_key: "p", sub_sequence: 7 };
    let mut out = vec![stays];
    let aggregate = user_records(data, "outer", &mut out);
    assert_eq!(out.remove(0), stays);
    if !aggregate {
        assert_eq!(out, [UserRecord { data, partition_key: "outer", sub_sequence: 0 }]);
        return None;
    }
    assert!(out.iter().enumerate().all(|(i, r)| r.sub_sequence == i as u64));
    Some(out.iter().map(|r| (r.partition_key.to_owned(), r.data.to_vec())).collect())
}

fn read_message(message: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    read(&framed(message))
}

/// `key` in the table and one record with `fields`.
fn with_record(fields: &[u8]) -> Vec<u8> {
    [b"\x0a\x01k\x1a", &[u8::try_from(fields.len()).unwrap()][..], fields].concat()
}

const RECORD: &[u8] = b"\x08\x00\x1a\x02ab";

fn one() -> Option<Vec<(String, Vec<u8>)>> {
    Some(vec![("k".to_owned(), b"ab".to_vec())])
}

/// Made by the Python package `aws_kinesis_agg` 1.2.3 with `protobuf` 7.36.2:
///
/// ```python
/// agg = aws_kinesis_agg.aggregator.RecordAggregator(max_size=1048576)
/// agg.add_user_record('first', b'alpha')
/// agg.add_user_record('zwölf', b'')
/// agg.add_user_record('first', b'\x00\xff', '42')
/// agg.add_user_record('third', b'delta' * 60, '340282366920938463463374607431768211455')
/// print(base64.b64encode(agg.clear_and_get().get_contents()[2]).decode())
/// ```
#[test]
fn an_aggregate_of_another_producer_is_read() {
    let text = include_str!("../../../tests/data/kpl/aws_kinesis_agg.base64");
    let data = base64_simd::STANDARD.decode_to_vec(text.trim_end()).unwrap();
    let expected: [(&str, &[u8]); 4] =
        [("first", b"alpha"), ("zwölf", b""), ("first", b"\x00\xff"), ("third", &b"delta".repeat(60))];
    assert_eq!(read(&data).unwrap(), expected.map(|(key, data)| (key.to_owned(), data.to_vec())));
    for cut in 0..data.len() {
        assert_eq!(read(&data[..cut]), None, "cut at {cut}");
    }
    for bit in 0..data.len() * 8 {
        let mut damaged = data.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(read(&damaged), None, "bit {bit}");
    }
}

#[test]
fn what_is_framed_otherwise_is_no_aggregate() {
    let good = framed(&with_record(RECORD));
    assert_eq!(read(&good), one());
    for data in [b"".to_vec(), MAGIC.to_vec(), framed(b""), [&good[..], b"\0"].concat(), good[4..].to_vec()] {
        assert_eq!(read(&data), None, "{data:x?}");
    }
}

#[test]
fn an_aggregate_without_records_is_nothing() {
    for message in [&b"\x0a\x01k"[..], b"\x12\x00", b"\x28\x01"] {
        assert_eq!(read_message(message), Some(vec![]), "{message:x?}");
    }
}

#[test]
fn a_message_is_read_as_protobuf_java_reads_it() {
    for (why, fields) in [
        ("the last of a single field counts", &b"\x08\x07\x1a\x01x\x08\x00\x1a\x02ab"[..]),
        ("any order", b"\x1a\x02ab\x08\x00"),
        ("unknown fields of every type", b"\x28\x05\x31abcdefgh\x3a\x01x\x45abcd\x08\x00\x1a\x02ab"),
        ("an unknown group with a group in it", b"\x08\x00\x4b\x08\x09\x53\x54\x4c\x1a\x02ab"),
        ("known fields of another type", b"\x08\x00\x1a\x02ab\x0a\x01\x05\x18\x05\x25abcd\x0b\x0c"),
        ("an index that is longer than need be", b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00\x1a\x02ab"),
        ("what does not fit 64 bits falls off", b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02\x1a\x02ab"),
        ("of a length and a key 32 bits count", b"\x88\x80\x80\x80\x10\x00\x1a\x82\x80\x80\x80\x10ab"),
        ("tags", b"\x08\x00\x1a\x02ab\x22\x03\x0a\x01t\x22\x06\x12\x01v\x0a\x01\xff"),
    ] {
        assert_eq!(read_message(&with_record(fields)), one(), "{why}");
    }
    for (why, message) in [
        ("tables behind the records", [&with_record(RECORD)[3..], b"\x0a\x01k"].concat()),
        (
            "a hash key that is no number and no UTF-8",
            [b"\x12\x01\xff", &with_record(b"\x08\0\x10\0\x1a\x02ab")[..]].concat(),
        ),
        ("records of another type", [&with_record(RECORD)[..], b"\x18\x05\x1b\x1c"].concat()),
    ] {
        assert_eq!(read_message(&message), one(), "{why}");
    }
}

#[test]
fn any_damage_passes_the_record_through() {
    for (why, fields) in [
        ("no index", &b"\x1a\x02ab"[..]),
        ("no data", b"\x08\x00"),
        ("an index outside the table", b"\x08\x01\x1a\x02ab"),
        ("an index of which 32 bits are in the table", b"\x08\x80\x80\x80\x80\x10\x1a\x02ab"),
        ("a hash key outside the table", b"\x08\x00\x10\x00\x1a\x02ab"),
        ("a tag without a key", b"\x08\x00\x1a\x02ab\x22\x03\x12\x01v"),
        ("data beyond the end", b"\x08\x00\x1a\x03ab"),
        ("a length below 0", b"\x08\x00\x1a\x02ab\x3a\xff\xff\xff\xff\x0f"),
        ("an index as bytes", b"\x0a\x01\x00\x1a\x02ab"),
        ("field 0", b"\x08\x00\x1a\x02ab\x00\x00"),
        ("a varint of 11 bytes", b"\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00\x1a\x02ab"),
        ("a varint without an end", b"\x08\x00\x1a\x02ab\x28\x80"),
        ("an end without a group", b"\x08\x00\x1a\x02ab\x4c"),
        ("a group with another's end", b"\x08\x00\x1a\x02ab\x4b\x54"),
        ("a group without an end", b"\x08\x00\x1a\x02ab\x4b"),
        ("wire type 6", b"\x08\x00\x1a\x02ab\x4e"),
        ("wire type 7", b"\x08\x00\x1a\x02ab\x4f"),
        ("4 of 8 bytes", b"\x08\x00\x1a\x02ab\x49abcd"),
    ] {
        assert_eq!(read_message(&with_record(fields)), None, "{why}");
        // All or nothing: a good record before it does not stay.
        let message = [&with_record(RECORD)[..], &with_record(fields)[3..]].concat();
        assert_eq!(read_message(&message), None, "{why}");
    }
    let key_not_utf8 = [b"\x0a\x01\xff", &with_record(RECORD)[..]].concat();
    assert_eq!(read_message(&key_not_utf8), None);
}

#[test]
fn groups_may_be_nested_as_deep_as_protobuf_java_lets_them() {
    for (depth, taken) in [(100, true), (101, false), (100_000, false)] {
        let groups = [b"\x4b".repeat(depth), b"\x28\x01".to_vec(), b"\x4c".repeat(depth)].concat();
        assert_eq!(read_message(&[&with_record(RECORD)[..], &groups].concat()).is_some(), taken, "{depth}");
    }
    // A record is a level of its own.
    for (depth, taken) in [(99, true), (100, false)] {
        let groups = [b"\x4b".repeat(depth), b"\x4c".repeat(depth)].concat();
        let record = [RECORD, &groups].concat();
        let mut message = b"\x0a\x01k\x1a".to_vec();
        prost::encode_length_delimiter(record.len(), &mut message).unwrap();
        assert_eq!(read_message(&[message, record].concat()).is_some(), taken, "{depth}");
    }
}

fn aggregates() -> impl Strategy<Value = AggregatedRecord> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..12);
    let tag = (proptest::option::of(bytes()), proptest::option::weighted(0.95, bytes()))
        .prop_map(|(value, key)| Tag { key, value });
    let record = (
        proptest::option::weighted(0.98, 0_u64..5),
        proptest::option::weighted(0.3, 0_u64..3),
        proptest::option::weighted(0.98, bytes()),
        proptest::collection::vec(tag, 0..2),
    );
    let record = record.prop_map(|(partition_key_index, explicit_hash_key_index, data, tags)| Other {
        partition_key_index,
        explicit_hash_key_index,
        data,
        tags,
    });
    let keys = proptest::collection::vec("[a-zß€]{0,4}", 1..8);
    (keys, proptest::collection::vec(bytes(), 0..4), proptest::collection::vec(record, 0..6)).prop_map(
        |(partition_key_table, explicit_hash_key_table, records)| AggregatedRecord {
            partition_key_table,
            explicit_hash_key_table,
            records,
        },
    )
}

/// A field with nothing in it for us, of any number and type, with its number and type.
fn noise() -> impl Strategy<Value = (u32, Vec<u8>)> {
    let body = prop_oneof![
        Just((0_u32, b"\x05".to_vec())),
        Just((0, b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f".to_vec())),
        Just((1, vec![0xff; 8])),
        proptest::collection::vec(any::<u8>(), 0..5).prop_map(|b| (2, [vec![b.len() as u8], b].concat())),
        Just((3, vec![])),
        Just((5, vec![0x80; 4])),
    ];
    (1_u32..40, body).prop_map(|(number, (wire, body))| {
        let mut field = Vec::new();
        prost::encoding::encode_varint(u64::from(number << 3 | wire), &mut field);
        field.extend(body);
        if wire == 3 {
            prost::encoding::encode_varint(u64::from(number << 3 | 4), &mut field);
        }
        (number << 3 | wire, field)
    })
}

/// Why prost refuses what protobuf-java takes: a known field of another wire type, and numbers that are too long.
fn is_stricter(message: &[u8]) -> bool {
    let error = AggregatedRecord::decode(message).unwrap_err().to_string();
    let long = message.windows(4).any(|w| w.iter().all(|b| *b >= 0x80));
    error.contains("(expected ") || long
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn we_agree_with_another_decoder(aggregate in aggregates()) {
        let message = aggregate.encode_to_vec();
        prop_assume!(!message.is_empty());
        prop_assert_eq!(read_message(&message), independent::user_records(&aggregate));
    }

    #[test]
    fn we_agree_with_another_decoder_about_damage(
        aggregate in aggregates(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let mut message = aggregate.encode_to_vec();
        for (at, byte, kind) in edits {
            let at = at.index(message.len() + 1);
            match kind {
                0 => message.insert(at, byte),
                1 if at < message.len() => message[at] = byte,
                _ => message.truncate(at),
            }
        }
        prop_assume!(!message.is_empty());
        let ours = read_message(&message);
        match AggregatedRecord::decode(&message[..]) {
            Ok(other) => prop_assert_eq!(ours, independent::user_records(&other)),
            Err(error) => prop_assert!(ours.is_none() || is_stricter(&message), "{} {:?}", error, message),
        }
    }

    #[test]
    fn noise_changes_nothing(
        aggregate in aggregates(),
        fields in proptest::collection::vec((any::<proptest::sample::Index>(), noise()), 0..6),
    ) {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        for record in &aggregate.records {
            let part = AggregatedRecord { records: vec![record.clone()], ..Default::default() };
            parts.push(part.encode_to_vec());
        }
        let tables = AggregatedRecord { records: vec![], ..aggregate.clone() };
        parts.push(tables.encode_to_vec());
        for (at, (key, field)) in fields {
            // The three that are ours: 1, 2 and 3 as bytes.
            if ![0x0a, 0x12, 0x1a].contains(&key) {
                parts.insert(at.index(parts.len() + 1), field);
            }
        }
        prop_assert_eq!(read_message(&parts.concat()), independent::user_records(&aggregate));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read(&bytes);
        read(&[&MAGIC[..], &bytes].concat());
        read_message(&bytes);
    }
}
