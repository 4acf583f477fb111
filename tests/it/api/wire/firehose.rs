//! The letter of Firehose's protocol: what breaks its model is told all at once, and what its signatures allow is taken.

use super::{STREAM, base64, batch, code};
use crate::rig::service::{Service, exchange};
use hydrant::api::sigv4::{SigningKeys, sign};
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
    let tag = "exclusiveStartTagKey";
    let tag_pattern = r"Member must satisfy regular expression pattern: ^(?!aws:)[\p{L}\p{Z}\p{N}_.:\/=+\-@%]*$";
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
        (
            "ListTagsForDeliveryStream",
            json!({ "DeliveryStreamName": "s", "ExclusiveStartTagKey": "aws:" }),
            vec![(tag, tag_pattern)],
        ),
        (
            "ListTagsForDeliveryStream",
            json!({ "DeliveryStreamName": "s", "ExclusiveStartTagKey": "a&".repeat(65) }),
            vec![(tag, "Member must have length less than or equal to 128"), (tag, tag_pattern)],
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

const KEY: &str = "api:\n  listen: \"API_ADDRESS\"\n  access_keys: { KEY: secret }\n";
const BODY: &str = r#"{"DeliveryStreamName":"s","Record":{"Data":"eA=="}}"#;

/// Puts a record with these headers beside the usual ones, of which `signed` are signed at `date`.
fn put_signed(service: &Service, date: &str, signed: &[(&str, &str)], headers: &str) -> (u16, String) {
    let (host, target) = (service.api.to_string(), "Firehose_20150804.PutRecord");
    let mut all: Vec<(&str, &str)> = [("host", host.as_str()), ("x-amz-target", target)].to_vec();
    all.extend(signed);
    all.sort_unstable();
    let authorization = sign(&SigningKeys::default(), ("KEY", "secret"), ("us-east-1", date), &all, BODY.as_bytes());
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {host}\r\nx-amz-target: {target}\r\nauthorization: {authorization}\r\n{headers}\
         content-length: {}\r\nconnection: close\r\n\r\n{BODY}",
        BODY.len()
    );
    code(exchange(service.api, request.as_bytes()))
}

const OK: (u16, String) = (200, String::new());

#[test]
fn a_signed_header_that_is_sent_twice_is_one_value_with_a_comma() {
    let service = Service::start_with(KEY, STREAM);
    let date = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let headers = format!("x-amz-date: {date}\r\nx-more:  b   c \r\nx-more: a\r\n");
    let signed = |value| put_signed(&service, &date, &[("x-amz-date", &date), ("x-more", value)], &headers);
    assert_eq!(signed("b c,a"), OK);
    let invalid = (400, "InvalidSignatureException".to_owned());
    for other in ["a,b c", "b c", "b c, a", "b c"] {
        assert_eq!(signed(other), invalid, "{other}");
    }
    // Which operation, host or time is meant must not depend on which of two somebody reads.
    let twice = format!("x-amz-date: {date}\r\nx-amz-date: {date}\r\n");
    let both = format!("{date},{date}");
    let answer = put_signed(&service, &date, &[("x-amz-date", &both)], &twice);
    assert_eq!(answer, (400, "IncompleteSignatureException".to_owned()));
}

#[test]
fn a_date_header_will_do_for_the_time_of_a_signature() {
    let service = Service::start_with(KEY, STREAM);
    let at = |minutes: i64| jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes);
    let iso = |at: jiff::Timestamp| at.strftime("%Y%m%dT%H%M%SZ").to_string();
    let http = |at: jiff::Timestamp| at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let put = |at: jiff::Timestamp, date: &str| {
        put_signed(&service, &iso(at), &[("date", date)], &format!("date: {date}\r\n"))
    };
    assert_eq!(put(at(0), &iso(at(0))), OK);
    assert_eq!(put(at(0), &http(at(0))), OK);
    let invalid = (400, "InvalidSignatureException".to_owned());
    assert_eq!(put(at(-16), &http(at(-16))), invalid, "an old request");
    let incomplete = (400, "IncompleteSignatureException".to_owned());
    assert_eq!(put(at(0), "yesterday"), incomplete);
    assert_eq!(put_signed(&service, &iso(at(0)), &[], ""), incomplete, "no time at all");
    // `X-Amz-Date` is the one that counts, and has to be signed where it is sent.
    let (old, now) = (iso(at(-60)), iso(at(0)));
    let both = format!("date: {old}\r\nx-amz-date: {now}\r\n");
    assert_eq!(put_signed(&service, &now, &[("date", &old), ("x-amz-date", &now)], &both), OK);
    assert_eq!(put_signed(&service, &old, &[("date", &old)], &both), invalid);
    let unsigned = format!("date: {now}\r\n");
    assert_eq!(put_signed(&service, &now, &[], &unsigned), invalid, "a date that is not signed");
}

#[test]
fn cbor_is_refused_in_words_that_say_what_is_spoken() {
    let service = Service::start(STREAM);
    let put = |content_type: &str| {
        let request = format!(
            "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Firehose_20150804.PutRecord\r\ncontent-type: {content_type}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{BODY}",
            BODY.len()
        );
        let (status, body) = exchange(service.api, request.as_bytes()).expect("an answer");
        (status, String::from_utf8(body).unwrap())
    };
    for cbor in ["application/x-amz-cbor-1.1", "Application/CBOR; a=b"] {
        let (status, text) = put(cbor);
        assert!(status == 400 && text.contains("\"SerializationException\""), "{status} {text}");
        assert!(text.contains("expected `application/x-amz-json-1.1`"), "{text}");
    }
    // Clients are known to send others, or none.
    for other in ["application/x-amz-json-1.1", "application/json", "text/plain"] {
        assert_eq!(put(other).0, 200, "{other}");
    }
}
