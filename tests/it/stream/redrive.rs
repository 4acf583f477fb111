//! What failed is put in again where it failed, each record once, through kills and second runs.

mod audited;
mod backup;

use crate::rig::endpoint::{Answer, Endpoint};
use crate::rig::service::Service;
use std::collections::BTreeSet;

const BACKUP: &str = "mode: failed, local: { dir: DIR/failed, prefix: \"raw/\", error_prefix: \
                      \"errors/!{firehose:error-output-type}/\" }, buffer: { size: 1MiB, interval: 100ms }";

fn stream(endpoint: &Endpoint, retry: &str) -> String {
    format!(
        "  s:\n    buffer: {{ size: 1MiB, interval: 100ms }}\n    destination:\n      http: {{ url: \"{}\", retry_duration: \
         {retry}, retry_first: 20ms, retry_max: 50ms }}\n    backup: {{ {BACKUP} }}\n",
        endpoint.url("/")
    )
}

fn records(from: u32, to: u32) -> Vec<Vec<u8>> {
    (from..to).map(|n| format!("record {n:06} {}", "x".repeat(n as usize % 90)).into_bytes()).collect()
}

fn put(service: &Service, records: &[Vec<u8>]) {
    for batch in records.chunks(400) {
        let batch: Vec<&[u8]> = batch.iter().map(Vec::as_slice).collect();
        assert_eq!(service.put("s", &batch), 200);
    }
}

fn count(service: &Service, outlet: &str) -> u64 {
    service.status("s").outlets.get(outlet).map_or(0, |o| o.records)
}

fn sorted(mut records: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    records.sort();
    records
}

/// `hydrant redrive` of stream `s`.
fn redrive(service: &Service, options: &[&str]) -> (i32, String) {
    let config = service.config().display().to_string();
    let arguments: Vec<&str> = [&["redrive"], options, &[&config, "s"]].concat();
    service.command_with(&arguments)
}

fn assert_audit(service: &Service) {
    let (code, text) = service.command(&["audit", "--deep"]);
    assert!(code == 0 && text.contains("gap 0"), "{text}");
}

/// The endpoint is down for longer than `retry_duration`; it comes back, and what failed is put in again by runs that are
/// killed half-way.
#[test]
fn what_an_endpoint_did_not_take_is_delivered_once_although_redrives_are_killed() {
    let endpoint = Endpoint::start();
    endpoint.always(Answer::status(500));
    let mut service = Service::start(&stream(&endpoint, "100ms"));
    let given = records(0, 40_000);
    put(&service, &given);
    service.settled(given.len() as u64);
    assert_eq!(count(&service, "delivery-failed"), given.len() as u64);
    endpoint.always(Answer::Ok);

    let (code, text) = redrive(&service, &["--dry-run"]);
    assert!(code == 0 && text.contains("40000 records would be put in (40000 at `deliver`)"), "{text}");
    assert_eq!(endpoint.accepted().len(), 0, "a dry run puts nothing in");

    // Each life dies at another step of the redrive.
    service.terminate();
    for (step, n) in [("redrive.put", 1), ("journal.synced", 2), ("redrive.put", 2), ("redrive.marked", 1)] {
        service.restart_to_die(Some((step, n)));
        let (code, text) = redrive(&service, &[]);
        assert_ne!(code, 0, "{step}: {text}");
        service.reap();
    }
    service.restart();
    let (code, text) = redrive(&service, &[]);
    assert_eq!(code, 0, "{text}");
    service.until("everything is settled", |s| {
        let status = s.status("s");
        status.pending == 0 && status.accepted >= 2 * given.len() as u64
    });
    assert_eq!(service.status("s").accepted, 2 * given.len() as u64, "each was put in again once");
    assert_eq!(sorted(endpoint.accepted()), sorted(given.clone()), "each arrived once");
    endpoint.assert_one_body_per_id();
    let (code, text) = redrive(&service, &[]);
    assert!(code == 0 && text.contains("0 records put in, 40000 were before"), "{text}");
    assert_eq!(service.status("s").gap, 0);
    assert_audit(&service);
}

#[test]
fn only_what_is_selected_is_put_in_and_the_rest_later() {
    let endpoint = Endpoint::start();
    endpoint.always(Answer::of(|r| match r.records.iter().any(|r| r.starts_with(b"odd")) {
        true => Answer::InvalidJson,
        false => Answer::status(500),
    }));
    let mut service = Service::start(&stream(&endpoint, "0s"));
    let (even, odd) = (vec![b"even".to_vec(); 3], vec![b"odd".to_vec(); 2]);
    put(&service, &even);
    service.settled(3);
    put(&service, &odd);
    service.settled(5);
    endpoint.always(Answer::Ok);
    let invalid = "HttpEndpoint.InvalidResponseFromDestination";
    let (code, text) = redrive(&service, &["--code", invalid, "--kind", "http-endpoint-failed"]);
    assert!(code == 0 && text.contains("2 records put in (2 at `deliver`), 0 were before, 3 not selected"), "{text}");
    assert_eq!(endpoint.accepted(), odd);
    let (code, text) = redrive(&service, &["--to", "2020-01-01T00:00:00Z"]);
    assert!(code == 0 && text.contains("0 records put in, 2 were before, 3 not selected"), "{text}");
    let (code, text) = redrive(&service, &["--kind", "splunk-failed"]);
    assert!(code == 1 && text.contains("found the kind `splunk-failed`, expected one of processing-failed"), "{text}");
    let (code, text) = redrive(&service, &[]);
    assert!(code == 0 && text.contains("3 records put in (3 at `deliver`), 2 were before"), "{text}");
    assert!(text.contains("became: destination 3; on their way 0"), "{text}");
    service.settled(10);
    assert_audit(&service);
}

/// Objects that AWS's Firehose wrote, copied to where failures of the stream go.
#[test]
fn failure_objects_that_aws_wrote_enter_at_their_steps() {
    let mut service = Service::start(
        "  s:\n    format: lines\n    buffer: { size: 1MiB, interval: 100ms }\n    destination:\n      local: { dir: DIR/out }\n",
    );
    let line = |record: &str, code: &str, more: &str| {
        let data = base64_simd::STANDARD.encode_to_string(record.as_bytes());
        format!(
            "{{\"attemptsMade\":4,\"arrivalTimestamp\":1793000000000,\"errorCode\":\"{code}\",\"errorMessage\":\
                 \"m\",\"attemptEndingTimestamp\":1793000000001,\"rawData\":\"{data}\"{more}}}\n"
        )
    };
    // As an editor stores it that ends lines as Windows does and begins with a mark.
    let text = "\u{feff}".to_owned()
        + &line("a", "Lambda.FunctionError", ",\"lambdaArn\":\"arn:aws:lambda:x\"").replace('\n', "\r\n\r\n")
        + "[\"eA==\",null,null,7,null,null]\n"
        + &line("b", "Splunk.AckTimeout", ",\"EventId\":\"4.0\"")
        + &line("", "HttpEndpoint.RequestTimeout", ",\"subsequenceNumber\":0,\"dataId\":\"4\"");
    let folder = service.dir.path().join("out/from-aws/2026");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("object-1"), &text).unwrap();
    std::fs::write(folder.join("object-2"), "not,an,error,record\n").unwrap();
    // The first line was damaged on its way; what stands behind it is sound.
    let hidden = line("c", "400", ",\"esDocumentId\":null,\"esIndexName\":\"i\"");
    std::fs::write(folder.join("object-3"), format!("{{\"attemptsMade\":4,\n\n{hidden}")).unwrap();
    let (code, text) = redrive(&service, &["--prefix", "from-aws/"]);
    assert!(code == 0 && text.contains("3 objects: 4 records put in (3 at `deliver`, 1 at `transform`)"), "{text}");
    assert!(
        text.contains("object-1`, line 3: no error record")
            && text.contains(" 3 lines unreadable")
            && text.contains("object-2` is left"),
        "{text}"
    );
    assert!(text.contains("object-3`, line 1: no error record") && text.contains("object-3`: 1 put in"), "{text}");
    service.settled(4);
    let out = service.objects("out");
    let delivered: Vec<u8> = out.into_iter().filter(|(n, _)| n.contains("/s-")).flat_map(|(_, b)| b).collect();
    let mut lines: Vec<String> = String::from_utf8_lossy(&delivered).lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["", "a", "b", "c"]);
    assert_audit(&service);
}

/// A failure object whose end is missing: what stands before it is put in once, however often it is tried.
#[test]
fn a_run_that_ends_within_an_object_is_gone_on_with_in_the_same_life() {
    use std::io::Write;
    let mut service = Service::start(
        "  s:\n    format: lines\n    buffer: { size: 1MiB, interval: 100ms }\n    destination:\n      local: { dir: DIR/out }\n",
    );
    // Every line enters at another step than the one before, so that each is a frame of its own.
    let line = |n: u32| {
        let data = base64_simd::STANDARD.encode_to_string(format!("record {n} {}", rand::random::<u128>()).as_bytes());
        let code = if n.is_multiple_of(2) { "Lambda.FunctionError" } else { "HttpEndpoint.RequestTimeout" };
        format!("{{\"arrivalTimestamp\":1793000000000,\"errorCode\":\"{code}\",\"rawData\":\"{data}\"}}\n")
    };
    let text: String = (0..200).map(line).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    let bytes = gzip.finish().unwrap();
    let folder = service.dir.path().join("out/from-aws");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("cut-short.gz"), &bytes[..bytes.len() / 2]).unwrap();
    let (code, text) = redrive(&service, &["--prefix", "from-aws/"]);
    assert!(code == 1 && text.contains("read `from-aws/cut-short.gz`"), "{text}");
    let accepted = service.status("s").accepted;
    assert!(accepted > 10, "{accepted}");
    for _ in 0..2 {
        let (code, text) = redrive(&service, &["--prefix", "from-aws/"]);
        assert!(code == 1 && text.contains("0 records put in"), "{text}");
        assert!(text.contains(&format!("{accepted} were before")), "{text}");
    }
    std::fs::write(folder.join("cut-short.gz"), &bytes).unwrap();
    let (code, text) = redrive(&service, &["--prefix", "from-aws/"]);
    assert!(code == 0 && text.contains(&format!("{accepted} were before")), "{text}");
    service.settled(200);
    assert_eq!(service.status("s").accepted, 200, "each once");
    assert_audit(&service);
}

#[test]
fn a_paused_stream_delivers_nothing_until_it_is_resumed_also_after_a_restart() {
    let endpoint = Endpoint::start();
    let mut service = Service::start(&stream(&endpoint, "300s"));
    let config = service.config().display().to_string();
    let verb = |service: &Service, verb: &str| {
        let (code, text) = service.command_with(&[verb, &config, "s"]);
        assert_eq!(code, 0, "{verb}: {text}");
        text
    };
    verb(&service, "pause");
    put(&service, &records(0, 10));
    service.until("a plan waits", |s| s.status("s").open_plans == 1);
    service.terminate();
    service.restart();
    assert_eq!(service.status("s").state, "paused");
    put(&service, &records(10, 20));
    service.until("two plans wait", |s| s.status("s").open_plans == 2);
    assert_eq!(endpoint.requests().len(), 0);
    verb(&service, "resume");
    service.settled(20);
    assert_eq!(sorted(endpoint.accepted()), sorted(records(0, 20)));

    // What is refused now goes where failures go at once if it is asked for.
    endpoint.always(Answer::status(500));
    put(&service, &records(20, 25));
    service.until("it is refused", |s| s.status("s").alarm.is_some());
    // One that is being sent at this moment has not been refused yet.
    service.until("it is given up on", |s| verb(s, "abandon").contains("1 plans are given up on"));
    service.settled(25);
    assert_eq!(count(&service, "delivery-failed"), 5);
    assert_audit(&service);
    let (code, text) = service.command_with(&["pause", &config, "nobody"]);
    assert!(code == 1 && text.contains("there is no stream `nobody`"), "{text}");
}

/// A transform that fails records, and a schema that does not fit others, are mended: what failed enters at the step that
/// failed it, never through the transform twice.
#[test]
fn what_a_broken_transform_or_schema_failed_is_delivered_when_it_is_mended() {
    let root = env!("CARGO_MANIFEST_DIR");
    let streams = |keys: &str| {
        format!(
            "  s:\n    transform: [{{ wasm: {{ module: {root}/transforms/blueprints/mask.wasm, config: {{ mask_fields: [email], \
             partition_keys: {{ {keys} }} }} }} }}]\n    format: {{ parquet: {{ schema: DIR/schema.yaml }} }}\n    buffer: \
             {{ size: 1MiB, interval: 100ms }}\n    destination:\n      local: {{ dir: DIR/out, error_prefix: \
             \"errors/!{{firehose:error-output-type}}/\" }}\n"
        )
    };
    let mut service = Service::new();
    let schema = service.dir.path().join("schema.yaml");
    std::fs::write(&schema, "columns: { email: string, n: int }\n").unwrap();
    service.configure("", &streams("country: country"));
    service.restart();
    let good: &[u8] = br#"{"email":"ann@example.com","n":1,"country":"NO"}"#;
    let without_country: &[u8] = br#"{"email":"bob@example.com","n":2}"#;
    let no_number: &[u8] = br#"{"email":"eve@example.com","n":"three","country":"NO"}"#;
    assert_eq!(service.put("s", &[good, without_country, no_number]), 200);
    service.settled(3);
    assert_eq!((count(&service, "processing-failed"), count(&service, "format-conversion-failed")), (1, 1));

    std::fs::write(&schema, "columns: { email: string, n: string }\n").unwrap();
    service.configure("", &streams(""));
    service.signal(rustix::process::Signal::HUP);
    service.until("the mended configuration is in force", |s| s.status("s").epoch == 2);
    let (code, text) = redrive(&service, &[]);
    assert!(code == 0 && text.contains("2 records put in (1 at `format`, 1 at `transform`)"), "{text}");
    assert!(text.contains("became: destination 2; on their way 0"), "{text}");
    service.settled(5);
    assert_eq!(count(&service, "destination"), 3);
    let (code, text) = redrive(&service, &[]);
    assert!(code == 0 && text.contains("0 records put in, 2 were before"), "{text}");
    assert_audit(&service);
}

/// What did not convert knows the partition keys that its transform gave it, also when it fails once more.
#[test]
fn what_did_not_convert_is_redriven_into_its_partition() {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut service = Service::new();
    let schema = service.dir.path().join("schema.yaml");
    std::fs::write(&schema, "columns: { email: string, n: int }\n").unwrap();
    service.configure(
        "",
        &format!(
            "  s:\n    transform: [{{ wasm: {{ module: {root}/transforms/blueprints/mask.wasm, config: {{ mask_fields: [email], \
             partition_keys: {{ country: country }} }} }} }}]\n    format: {{ parquet: {{ schema: DIR/schema.yaml }} }}\n    \
             buffer: {{ size: 1MiB, interval: 100ms }}\n    destination:\n      local: {{ dir: DIR/out, prefix: \
             \"in/!{{partitionKeyFromLambda:country}}/\", error_prefix: \"errors/!{{firehose:error-output-type}}/\" }}\n"
        ),
    );
    service.restart();
    let records = ["NO", "SE"].map(|country| format!(r#"{{"email":"a@example.com","n":"x","country":"{country}"}}"#));
    assert_eq!(service.put("s", &records.each_ref().map(|r| r.as_bytes())), 200);
    service.settled(2);
    let (code, text) = redrive(&service, &[]);
    assert!(code == 1 && text.contains("became: format-conversion-failed 2"), "{text}");

    std::fs::write(&schema, "columns: { email: string, n: string }\n").unwrap();
    service.signal(rustix::process::Signal::HUP);
    service.until("the mended schema is in force", |s| s.status("s").epoch == 2);
    let (code, text) = redrive(&service, &[]);
    assert!(code == 0 && text.contains("2 records put in (2 at `format`), 2 were before"), "{text}");
    service.settled(6);
    for country in ["NO", "SE"] {
        assert_eq!(service.objects(&format!("out/in/{country}")).len(), 1, "{country}");
    }
    assert_audit(&service);
}

/// A journal that takes nothing ends the run: what the plan log says of the one frame that may be in it holds for no other.
#[test]
fn a_run_that_the_journal_refuses_marks_nothing_that_was_not_put_in() {
    let endpoint = Endpoint::start();
    endpoint.always(Answer::status(500));
    let mut service = Service::start(&stream(&endpoint, "0s"));
    for n in 0..12 {
        put(&service, &[format!("one {n}").into_bytes()]);
        service.settled(n + 1);
    }
    service.terminate();
    let dir = std::fs::read_dir(service.dir.path().join("data/streams")).unwrap().next().unwrap().unwrap().path();
    for entry in std::fs::read_dir(dir.join("journal")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "spare") {
            std::fs::remove_file(path).unwrap();
        }
    }
    endpoint.always(Answer::Ok);
    service.restart();
    // Something that is not ours stands where its next files would.
    let in_the_way = (0..20).map(|n| dir.join(format!("journal/{n:012}.spare")));
    let in_the_way: Vec<_> = in_the_way.filter(|path| std::fs::File::create_new(path).is_ok()).collect();
    let (first, _) = redrive(&service, &[]);
    let (second, text) = redrive(&service, &[]);
    let so_far = endpoint.accepted().len();
    assert!(so_far < 12 && first == 1 && second == 1, "{so_far} of 12 were put in: {text}");
    in_the_way.iter().for_each(|path| drop(std::fs::remove_file(path)));
    service.terminate();
    service.restart();
    let (code, text) = redrive(&service, &[]);
    assert_eq!(code, 0, "{text}");
    service.until("all have arrived", |_| endpoint.accepted().len() >= 12);
    let arrived: BTreeSet<Vec<u8>> = endpoint.accepted().into_iter().collect();
    assert_eq!((arrived.len(), endpoint.accepted().len()), (12, 12));
}
