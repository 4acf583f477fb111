//! The letter of Firehose's protocol: what breaks its model is told all at once, and what its signatures allow is taken.

use super::{STREAM, base64, batch, code};
use crate::service::Service;
use rustix::process::Signal;
use serde_json::{Value, json};

const PATTERN: &str = "Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+";
const NULL: &str = "Member must not be null";

fn ask(service: &Service, operation: &str, body: &[u8]) -> Value {
    serde_json::from_slice(&service.call(operation, body).expect("an answer").1).expect("JSON")
}

/// The message that lists violations.
fn violations(items: &[(&str, &str)]) -> String {
    let noun = if items.len() == 1 { "error" } else { "errors" };
    let items: Vec<String> = items
        .iter()
        .map(|(path, constraint)| format!("Value at '{path}' failed to satisfy constraint: {constraint}"))
        .collect();
    format!("{} validation {noun} detected: {}", items.len(), items.join("; "))
}

#[test]
fn whatever_breaks_the_model_is_told_in_one_answer() {
    let service = Service::start(STREAM);
    let (name, least, most) = (
        "deliveryStreamName",
        "Member must have length greater than or equal to 1",
        "Member must have length less than or equal to 64",
    );
    let large = base64(1_024_001);
    let too_large = "Member must have length less than or equal to 1024000";
    let long = "!".repeat(65);
    for (operation, body, expected) in [
        ("PutRecordBatch", json!({}), vec![(name, NULL), ("records", NULL)]),
        ("PutRecordBatch", json!({ "DeliveryStreamName": "", "Records": [] }), {
            vec![(name, least), (name, PATTERN), ("records", least)]
        }),
        ("PutRecordBatch", json!({ "DeliveryStreamName": long, "Records": [{ "Data": "eA==" }, null, {}] }), {
            vec![(name, most), (name, PATTERN), ("records.2.member", NULL), ("records.3.member.data", NULL)]
        }),
        ("PutRecordBatch", json!({ "DeliveryStreamName": "a b", "Records": [{ "Data": "" }, { "Data": large }] }), {
            vec![(name, PATTERN), ("records.2.member.data", too_large)]
        }),
        ("PutRecord", json!({}), vec![(name, NULL), ("record", NULL)]),
        ("PutRecord", json!({ "DeliveryStreamName": "a/b", "Record": {} }), {
            vec![(name, PATTERN), ("record.data", NULL)]
        }),
        ("PutRecord", json!({ "Record": { "Data": large } }), vec![(name, NULL), ("record.data", too_large)]),
        ("DeleteDeliveryStream", json!({ "DeliveryStreamName": long }), vec![(name, most), (name, PATTERN)]),
    ] {
        let answer = ask(&service, operation, body.to_string().as_bytes());
        assert_eq!(answer, json!({ "__type": "ValidationException", "message": violations(&expected) }), "{operation}");
    }
    // What every SDK writes is read another way than what only people write.
    let scanned = ask(&service, "PutRecordBatch", &batch("a b", &[base64(1), large]));
    assert_eq!(scanned["message"], violations(&[(name, PATTERN), ("records.2.member.data", too_large)]));
}

#[test]
fn lists_and_descriptions_hold_their_members_to_the_model() {
    let service = Service::start(STREAM);
    let (least, most) =
        ("Member must have value greater than or equal to 1", "Member must have value less than or equal to 10000");
    let start = "exclusiveStartDeliveryStreamName";
    let short = "Member must have length greater than or equal to 1";
    let long = "Member must have length less than or equal to 64";
    let types = "Member must satisfy enum value set: [DirectPut, KinesisStreamAsSource, MSKAsSource, DatabaseAsSource]";
    let destination = "Member must satisfy regular expression pattern: [a-zA-Z0-9-]+";
    for (operation, body, expected) in [
        ("ListDeliveryStreams", json!({ "Limit": 0 }), vec![("limit", least)]),
        ("ListDeliveryStreams", json!({ "Limit": 10_001 }), vec![("limit", most)]),
        ("ListDeliveryStreams", json!({ "ExclusiveStartDeliveryStreamName": "a b" }), vec![(start, PATTERN)]),
        (
            "ListDeliveryStreams",
            json!({ "ExclusiveStartDeliveryStreamName": "" }),
            vec![(start, short), (start, PATTERN)],
        ),
        ("ListDeliveryStreams", json!({ "ExclusiveStartDeliveryStreamName": "x".repeat(65) }), vec![(start, long)]),
        (
            "ListDeliveryStreams",
            json!({ "Limit": 0, "DeliveryStreamType": "X", "ExclusiveStartDeliveryStreamName": "a b" }),
            vec![("limit", least), ("deliveryStreamType", types), (start, PATTERN)],
        ),
        ("DescribeDeliveryStream", json!({ "DeliveryStreamName": "s", "Limit": 0 }), vec![("limit", least)]),
        (
            "DescribeDeliveryStream",
            json!({ "DeliveryStreamName": "a b", "Limit": 10_001, "ExclusiveStartDestinationId": "_" }),
            vec![("deliveryStreamName", PATTERN), ("limit", most), ("exclusiveStartDestinationId", destination)],
        ),
        (
            "ListTagsForDeliveryStream",
            json!({ "DeliveryStreamName": "s", "Limit": 51 }),
            vec![("limit", "Member must have value less than or equal to 50")],
        ),
    ] {
        let answer = ask(&service, operation, body.to_string().as_bytes());
        let expected = json!({ "__type": "ValidationException", "message": violations(&expected) });
        assert_eq!(answer, expected, "{operation} {body}");
    }
    let half = service.call("DescribeDeliveryStream", br#"{"DeliveryStreamName":"s","Limit":0.5}"#);
    assert_eq!(code(half), (400, "SerializationException".to_owned()));
    let described =
        br#"{"DeliveryStreamName":"s","Limit":1,"ExclusiveStartDestinationId":"destinationId-000000000001"}"#;
    assert_eq!(service.call("DescribeDeliveryStream", described).unwrap().0, 200);
}

#[test]
fn a_description_says_when_its_stream_was_made_and_when_it_was_changed() {
    let seconds = || jiff::Timestamp::now().as_millisecond() as f64 / 1000.0;
    let describe = |service: &Service| {
        ask(service, "DescribeDeliveryStream", br#"{"DeliveryStreamName":"s"}"#)["DeliveryStreamDescription"].clone()
    };
    let before = seconds();
    let mut service = Service::start(STREAM);
    let first = describe(&service);
    let created = first["CreateTimestamp"].as_f64().unwrap_or_else(|| panic!("{first}"));
    // A file system's clock ticks more slowly than ours.
    assert!(created >= before - 0.1 && created <= seconds(), "{created} is not between {before} and {}", seconds());
    assert_eq!((first["VersionId"].as_str(), first.get("LastUpdateTimestamp")), (Some("1"), None));
    service.configure("", &STREAM.replace("    destination", "    format: lines\n    destination"));
    service.signal(Signal::HUP);
    service.until("the change is in force", |service| describe(service)["VersionId"] == "2");
    let changed = describe(&service);
    let updated = changed["LastUpdateTimestamp"].as_f64().unwrap_or_else(|| panic!("{changed}"));
    assert!(updated >= created && updated <= seconds(), "{changed}");
    assert_eq!(service.terminate(), Some(0));
    service.restart();
    assert_eq!(describe(&service), changed, "both are the same in another life");
}
