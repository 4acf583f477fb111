//! What the API answers to bad input, on the wire, and that the service goes on afterwards.

mod firehose;
mod health;

use crate::rig::service::{PATIENCE, Service, exchange};
use hydrant::api::sigv4::{SigningKeys, sign};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

const STREAM: &str =
    "  s:\n    buffer: { size: 1MiB, interval: 1s }\n    destination: { local: { dir: DIR/bucket } }\n";

fn code(answer: Option<(u16, Vec<u8>)>) -> (u16, String) {
    let (status, body) = answer.expect("an answer");
    let json: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    (status, json["__type"].as_str().unwrap_or_default().to_owned())
}

fn batch(stream: &str, data: &[String]) -> Vec<u8> {
    let records: Vec<String> = data.iter().map(|d| format!("{{\"Data\":\"{d}\"}}")).collect();
    format!("{{\"DeliveryStreamName\":\"{stream}\",\"Records\":[{}]}}", records.join(",")).into_bytes()
}

fn base64(bytes: usize) -> String {
    base64_simd::STANDARD.encode_to_string(vec![b'x'; bytes])
}

#[test]
fn bad_input_is_refused_with_a_code_and_the_next_put_is_taken() {
    let mut service = Service::start(STREAM);
    let nested = format!("{{\"DeliveryStreamName\":{}", "[".repeat(200_000)).into_bytes();
    let four_mib = vec![base64(1_000_000), base64(1_000_000), base64(1_000_000), base64(1_000_000), base64(194_305)];
    for (what, operation, body, status, expected) in [
        ("not JSON", "PutRecord", b"hello".to_vec(), 400, "SerializationException"),
        ("a wrong type", "PutRecord", br#"{"DeliveryStreamName":5}"#.to_vec(), 400, "SerializationException"),
        ("a missing name", "PutRecordBatch", br#"{"Records":[]}"#.to_vec(), 400, "ValidationException"),
        ("bad base64", "PutRecordBatch", batch("s", &["%%%=".into()]), 400, "SerializationException"),
        ("501 records", "PutRecordBatch", batch("s", &vec![base64(1); 501]), 400, "ValidationException"),
        ("a large record", "PutRecordBatch", batch("s", &[base64(1_024_001)]), 400, "ValidationException"),
        ("4 MiB + 1", "PutRecordBatch", batch("s", &four_mib), 400, "InvalidArgumentException"),
        ("no records", "PutRecordBatch", batch("s", &[]), 400, "ValidationException"),
        ("an unknown stream", "PutRecordBatch", batch("t", &[base64(1)]), 400, "ResourceNotFoundException"),
        ("a list for an object", "PutRecord", br#"["s",["eA=="]]"#.to_vec(), 400, "SerializationException"),
        ("a wrong limit", "ListDeliveryStreams", br#"{"Limit":"x"}"#.to_vec(), 400, "SerializationException"),
        (
            "a wrong type of stream",
            "ListDeliveryStreams",
            br#"{"DeliveryStreamType":"X"}"#.to_vec(),
            400,
            "ValidationException",
        ),
        ("an unknown operation", "PutRecords", b"{}".to_vec(), 400, "UnknownOperationException"),
        (
            "an existing name",
            "CreateDeliveryStream",
            br#"{"DeliveryStreamName":"s"}"#.to_vec(),
            400,
            "ResourceInUseException",
        ),
        (
            "a file's stream",
            "DeleteDeliveryStream",
            br#"{"DeliveryStreamName":"s"}"#.to_vec(),
            400,
            "ResourceInUseException",
        ),
        ("a nesting bomb", "PutRecordBatch", nested, 400, "SerializationException"),
        ("7 MiB", "PutRecordBatch", vec![b' '; 7 << 20], 400, "InvalidArgumentException"),
    ] {
        assert_eq!(code(service.call(operation, &body)), (status, expected.to_owned()), "{what}");
    }
    assert_eq!(service.put("s", &[b"one".as_slice(), b"", b"three"]), 200);
    service.settled(3);
    let found = service.objects("bucket");
    assert_eq!(found.iter().map(|(_, b)| b.as_slice()).collect::<Vec<_>>().concat(), b"onethree");
    let other = exchange(service.api, b"GET /index.html HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!(code(other), (400, "UnknownOperationException".to_owned()));
}

#[test]
fn streams_are_listed_and_described() {
    let mut names: Vec<String> = (0..12).map(|i| format!("stream-{i:02}")).collect();
    let streams: String = names.iter().map(|n| STREAM.replace("  s:", &format!("  {n}:"))).collect();
    let service = Service::start(&streams);
    let ask = |operation: &str, body: &str| -> serde_json::Value {
        serde_json::from_slice(&service.call(operation, body.as_bytes()).unwrap().1).unwrap()
    };
    let first = ask("ListDeliveryStreams", "{}");
    assert_eq!(first["DeliveryStreamNames"].as_array().unwrap().len(), 10);
    assert_eq!(first["HasMoreDeliveryStreams"], true);
    let rest = ask("ListDeliveryStreams", r#"{"ExclusiveStartDeliveryStreamName":"stream-09","Limit":5}"#);
    names.drain(..10);
    assert_eq!(rest["DeliveryStreamNames"], serde_json::json!(names));
    assert_eq!(rest["HasMoreDeliveryStreams"], false);
    let one = ask("DescribeDeliveryStream", r#"{"DeliveryStreamName":"stream-03"}"#);
    let description = &one["DeliveryStreamDescription"];
    assert_eq!(description["DeliveryStreamStatus"], "ACTIVE");
    assert_eq!(description["VersionId"], "1");
    assert_eq!(description["Destinations"][0]["S3DestinationDescription"]["BufferingHints"]["SizeInMBs"], 1);
    let client = aws_sdk_firehose::Client::from_conf(
        aws_sdk_firehose::Config::builder()
            .behavior_version(aws_sdk_firehose::config::BehaviorVersion::latest())
            .region(aws_sdk_firehose::config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_firehose::config::Credentials::new("any", "any", None, None, "test"))
            .endpoint_url(service.endpoint())
            .build(),
    );
    let describe = client.describe_delivery_stream().delivery_stream_name("stream-03").send();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let found = runtime.block_on(describe).expect("an answer that the SDK can read");
    let found = found.delivery_stream_description().unwrap();
    assert_eq!(found.delivery_stream_status().as_str(), "ACTIVE");
    assert!(found.destinations()[0].extended_s3_destination_description().is_some());
}

/// The status that `DescribeDeliveryStream` gives a stream.
fn described(service: &Service, stream: &str) -> String {
    let body = format!("{{\"DeliveryStreamName\":\"{stream}\"}}");
    let (_, answer) = service.call("DescribeDeliveryStream", body.as_bytes()).expect("an answer");
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    answer["DeliveryStreamDescription"]["DeliveryStreamStatus"].as_str().unwrap_or_default().to_owned()
}

/// The directory in which a stream's files are.
fn stream_dir(service: &Service, stream: &str) -> std::path::PathBuf {
    let dirs = std::fs::read_dir(service.dir.path().join("data/streams")).unwrap().map(|e| e.unwrap().path());
    let is_its = |dir: &std::path::PathBuf| {
        let meta = std::fs::read_to_string(dir.join("META")).unwrap();
        meta.contains(&format!("\"{stream}\""))
    };
    dirs.into_iter().find(is_its).expect("a directory with META")
}

#[test]
fn retired_and_broken_streams_say_so_and_nothing_of_our_files() {
    let both = STREAM.to_owned() + &STREAM.replace("  s:", "  t:");
    let mut service = Service::start(&both);
    assert_eq!((described(&service, "s"), described(&service, "none")), ("ACTIVE".into(), String::new()));
    service.configure("", &STREAM.replace("  s:", "  t:"));
    service.signal(rustix::process::Signal::HUP);
    service.until("`s` is retired", |service| described(service, "s") == "DELETING");
    assert_eq!(code(service.call("PutRecordBatch", &batch("s", &[base64(1)]))).1, "ResourceNotFoundException");
    let journal = stream_dir(&service, "s").join("journal");
    assert_eq!(service.terminate(), Some(0));
    std::fs::rename(&journal, journal.with_extension("away")).unwrap();
    std::fs::write(&journal, "not a directory").unwrap();
    service.configure("", &both);
    service.restart_until("/healthz");
    service.until("`s` cannot be opened", |service| described(service, "s") == "CREATING_FAILED");
    let (status, answer) = service.call("PutRecordBatch", &batch("s", &[base64(1)])).unwrap();
    let answer = String::from_utf8(answer).unwrap();
    assert!(status == 503 && answer.contains("Firehose s is unavailable") && !answer.contains('/'), "{answer}");
    assert!(service.log().contains("stream cannot be opened"), "{}", service.log());
    let page = String::from_utf8(service.get("/metrics").unwrap().1).unwrap();
    assert!(page.contains("hydrant_ThrottledRecords{DeliveryStreamName=\"s\"} 1\n"), "{page}");
    assert_eq!(service.put("t", &[b"x"]), 200);
}

#[test]
fn a_reload_names_what_needs_a_restart_and_leaves_it_as_it_is() {
    let mut service = Service::start(STREAM);
    service.configure("api: { listen: \"127.0.0.1:1\" }\nlog: { level: debug }", STREAM);
    service.signal(rustix::process::Signal::HUP);
    service.until("the reload", |service| service.log().contains("\"reloaded\""));
    let log = service.log();
    for key in ["api.listen", "log.level"] {
        let named = |line: &str| line.contains("WARN") && line.contains(&format!("\"{key}\""));
        assert!(log.lines().any(named), "`{key}` is not named: {log}");
    }
    assert_eq!(log.matches("needs a restart").count(), 2, "{log}");
    assert_eq!(service.put("s", &[b"x"]), 200);
}

#[test]
fn operations_are_counted_under_firehoses_names() {
    let service = Service::start(STREAM);
    let single = br#"{"DeliveryStreamName":"s","Record":{"Data":"eA=="}}"#;
    assert_eq!(service.call("PutRecord", single).unwrap().0, 200);
    assert_eq!(service.put("s", &[b"12", b"345"]), 200);
    assert_eq!(service.put("unknown", &[b"x"]), 400);
    assert_eq!(described(&service, "s"), "ACTIVE");
    assert_eq!(service.call("ListDeliveryStreams", b"{}").unwrap().0, 200);
    let page = String::from_utf8(service.get("/metrics").unwrap().1).unwrap();
    let lines: Vec<&str> = page.lines().collect();
    for (name, value) in [
        ("PutRecord_Requests", 1),
        ("PutRecord_Bytes", 1),
        ("PutRecord_Latency_count", 1),
        ("PutRecordBatch_Requests", 1),
        ("PutRecordBatch_Records", 2),
        ("PutRecordBatch_Bytes", 5),
        ("PutRecordBatch_Latency_count", 1),
        ("DescribeDeliveryStream_Requests", 1),
        ("DescribeDeliveryStream_Latency_count", 1),
        ("IncomingPutRequests", 2),
        ("IncomingRecords", 3),
        ("IncomingBytes", 6),
        ("ThrottledRecords", 0),
    ] {
        let line = format!("hydrant_{name}{{DeliveryStreamName=\"s\"}} {value}");
        assert!(lines.contains(&line.as_str()), "no line `{line}` in\n{page}");
    }
    assert!(lines.contains(&"hydrant_ListDeliveryStreams_Requests 1"), "{page}");
    assert!(!page.contains("hydrant_BackupToS3_Records{") && !page.contains("\"unknown\""), "{page}");
}

#[test]
fn slow_and_endless_clients_are_cut_off_and_others_are_served() {
    let top = "api: { listen: \"API_ADDRESS\", header_timeout: 1s, body_timeout: 1s, idle_timeout: 1s }";
    let service = Service::start_with(top, STREAM);
    let open = |first: &[u8]| {
        let mut stream = TcpStream::connect(service.api).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(first).unwrap();
        stream
    };
    let head = "POST / HTTP/1.1\r\nhost: x\r\nx-amz-target: Firehose_20150804.PutRecord\r\n";
    let mut silent = open(b"");
    let mut slow_header = open(b"POST / HTTP/1.1\r\nhost:");
    let mut slow_body = open(format!("{head}content-length: 100\r\n\r\n{{").as_bytes());
    let mut endless = open(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes());
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let mut sent = 0;
    while endless.write_all(chunk.as_bytes()).is_ok() && sent < 64 << 20 {
        sent += chunk.len();
    }
    assert!(sent < 64 << 20, "an endless body is not cut off");
    assert_eq!(service.put("s", &[b"x"]), 200, "others are served meanwhile");
    let began = Instant::now();
    for stream in [&mut silent, &mut slow_header, &mut slow_body] {
        let mut rest = Vec::new();
        // Whether an answer or a plain close: the connection ends.
        let _ = stream.read_to_end(&mut rest);
    }
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn signatures_are_verified_and_keys_open_only_what_they_name() {
    let top = "api:\n  listen: \"API_ADDRESS\"\n  access_keys:\n    FULL: full-secret\n    \
               PUTS: { secret: puts-secret, actions: [PutRecord], streams: [\"s*\"] }\n";
    let service = Service::start_with(top, STREAM);
    let now = |minutes: i64| {
        let at = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes);
        at.strftime("%Y%m%dT%H%M%SZ").to_string()
    };
    let body = r#"{"DeliveryStreamName":"s","Record":{"Data":"eA=="}}"#;
    let call = |key: &str,
                secret: &str,
                date: &str,
                operation: &str,
                signed_body: &str,
                edit: &dyn Fn(String) -> String| {
        let (host, target) = (service.api.to_string(), format!("Firehose_20150804.{operation}"));
        let signed = [("host", host.as_str()), ("x-amz-date", date), ("x-amz-target", &target)];
        let authorization =
            edit(sign(&SigningKeys::default(), (key, secret), ("us-east-1", date), &signed, signed_body.as_bytes()));
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\nx-amz-date: {date}\r\nx-amz-target: {target}\r\nauthorization: \
             {authorization}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        code(exchange(service.api, request.as_bytes()))
    };
    let same = |a: String| a;
    let ok = (200, String::new());
    let refused = |code: &str| (400, code.to_owned());
    assert_eq!(call("FULL", "full-secret", &now(0), "PutRecord", body, &same), ok);
    assert_eq!(call("PUTS", "puts-secret", &now(0), "PutRecord", body, &same), ok);
    assert_eq!(call("FULL", "full-secret", &now(-14), "PutRecord", body, &same), ok);
    let invalid = refused("InvalidSignatureException");
    assert_eq!(call("FULL", "wrong", &now(0), "PutRecord", body, &same), invalid, "a wrong secret");
    assert_eq!(call("FULL", "full-secret", &now(0), "PutRecord", "{}", &same), invalid, "a tampered body");
    assert_eq!(call("FULL", "full-secret", &now(-16), "PutRecord", body, &same), invalid, "an old request");
    assert_eq!(call("FULL", "full-secret", &now(16), "PutRecord", body, &same), invalid, "a request of the future");
    let service_name = |a: String| a.replace("/firehose/", "/kinesis/");
    assert_eq!(call("FULL", "full-secret", &now(0), "PutRecord", body, &service_name), invalid, "another service");
    let unsigned_target = |a: String| a.replace(";x-amz-target", "");
    assert_eq!(call("FULL", "full-secret", &now(0), "PutRecord", body, &unsigned_target), invalid);
    assert_eq!(call("NOBODY", "x", &now(0), "PutRecord", body, &same), refused("UnrecognizedClientException"));
    let incomplete = refused("IncompleteSignatureException");
    let pieces: [fn(String) -> String; 3] = [
        |a| a.replace("Signature=", "Sign="),
        |a| a.replace("/aws4_request", ""),
        |a| a.replace("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1"),
    ];
    for edit in pieces {
        assert_eq!(call("FULL", "full-secret", &now(0), "PutRecord", body, &edit), incomplete);
    }
    let denied = refused("AccessDeniedException");
    assert_eq!(call("PUTS", "puts-secret", &now(0), "DescribeDeliveryStream", body, &same), denied);
    assert_eq!(code(service.call("PutRecord", body.as_bytes())), refused("MissingAuthenticationTokenException"));
}

#[test]
fn requests_beyond_the_budget_are_refused_and_memory_stays_bounded() {
    let top = "memory: { size: 64MiB, intake_share: 50% }";
    let service = Service::start_with(top, STREAM);
    let requests = (1500.0 * crate::rig::service::scale()) as usize;
    let body = batch("s", &vec![base64(8_000); 500]);
    let (mut taken, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..requests).map(|_| scope.spawn(|| code(service.call("PutRecordBatch", &body)))).collect();
        for answer in all {
            match answer.join().unwrap() {
                (200, _) => taken += 1,
                (503, code) if code == "ServiceUnavailableException" => refused += 1,
                other => panic!("{other:?}"),
            }
        }
    });
    let peak = service.peak_kib();
    println!("{requests} requests of 4 MB at once: {taken} taken, {refused} refused, peak RSS {} MiB", peak >> 10);
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
    assert!(peak >> 10 < 192, "peak RSS {} MiB", peak >> 10);
}
