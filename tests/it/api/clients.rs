//! Unmodified AWS clients put real records; readers that know nothing of us find exactly those.

use crate::rig::service::{Service, scale, variable};
use aws_sdk_firehose::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_firehose::primitives::Blob;
use aws_sdk_firehose::types::Record;
use std::ops::Range;
use std::process::Command;

/// A bucket of its own for a test, made through the API of the store.
pub fn make_bucket(name: &str) {
    let script = "import boto3,os,sys; boto3.client('s3', endpoint_url=os.environ['HYDRANT_TEST_S3_ENDPOINT'], \
                  region_name='us-east-1').create_bucket(Bucket=sys.argv[1])";
    python(&["-c", script, name]);
}

/// Runs the tests' Python against MinIO's credentials; returns standard output.
fn python(arguments: &[&str]) -> String {
    let output = Command::new(variable("HYDRANT_TEST_PYTHON"))
        .args(arguments)
        .env("AWS_ACCESS_KEY_ID", variable("HYDRANT_TEST_S3_ACCESS_KEY"))
        .env("AWS_SECRET_ACCESS_KEY", variable("HYDRANT_TEST_S3_SECRET_KEY"))
        .output()
        .expect("run Python");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Real records: rows of the data sets that [`put`] puts too, each with its number in `_seq`.
pub fn rows(count: usize) -> Vec<Vec<u8>> {
    let script = "import sys; sys.path.insert(0, 'tests/clients'); import put\n\
                  for i, row in enumerate(put.first_rows('all', int(sys.argv[1]))):\n  \
                  sys.stdout.buffer.write(put.encode({**row, '_seq': i}) + b'\\n')";
    python(&["-c", script, &count.to_string()]).lines().map(|line| line.as_bytes().to_vec()).collect()
}

/// YAML of an S3 destination in the tests' MinIO.
pub fn s3(bucket: &str, rest: &str) -> String {
    format!(
        "s3: {{ bucket: {bucket}, endpoint: \"{}\", access_key_id: \"{}\", secret_access_key: \"{}\", {rest} }}",
        variable("HYDRANT_TEST_S3_ENDPOINT"),
        variable("HYDRANT_TEST_S3_ACCESS_KEY"),
        variable("HYDRANT_TEST_S3_SECRET_KEY")
    )
}

const COLUMNS: &str = "columns: { iata: string, name: string, city: string, state: string, country: string, \
                       latitude: double, longitude: double, _seq: bigint }\n";

/// Has a client put real records, numbered from `first`: the file that holds them, one a line.
pub fn put(service: &Service, client: &str, stream: &str, dataset: &str, numbers: Range<u64>) -> String {
    let out = service.dir.path().join(format!("sent-{stream}-{client}.jsonl"));
    let out = out.display().to_string();
    let (records, first) = ((numbers.end - numbers.start).to_string(), numbers.start.to_string());
    let endpoint = service.endpoint();
    let arguments = ["--endpoint", &endpoint, "--stream", stream, "--client", client, "--records", &records];
    let more = ["--out", &out, "--dataset", dataset, "--seq-start", &first];
    let script = ["tests/clients/put.py"];
    python(&[&script[..], &arguments[..], &more[..]].concat());
    out
}

/// The SDK for Rust puts the lines of a file again, numbered on.
fn put_with_rust(service: &Service, stream: &str, sent: &str, add: u64) -> String {
    let text = std::fs::read_to_string(sent).unwrap();
    let renumbered = text.lines().map(|line| {
        let (head, seq) = line.rsplit_once("\"_seq\":").unwrap();
        let seq: u64 = seq.trim_end_matches('}').parse().unwrap();
        format!("{head}\"_seq\":{}}}", seq + add)
    });
    let lines: Vec<String> = renumbered.collect();
    let config = aws_sdk_firehose::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("any", "any", None, None, "test"))
        .endpoint_url(service.endpoint())
        .build();
    let client = aws_sdk_firehose::Client::from_conf(config);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        for batch in lines.chunks(500) {
            let records = batch.iter().map(|l| Record::builder().data(Blob::new(l.as_bytes())).build().unwrap());
            let put = client.put_record_batch().delivery_stream_name(stream).set_records(Some(records.collect()));
            assert_eq!(put.send().await.unwrap().failed_put_count(), 0);
        }
    });
    let out = service.dir.path().join(format!("sent-{stream}-rust.jsonl"));
    std::fs::write(&out, lines.join("\n") + "\n").unwrap();
    out.display().to_string()
}

#[test]
fn every_client_can_put_and_every_reader_finds_what_was_put() {
    let bucket = "clients";
    make_bucket(bucket);
    let stream = |name: &str, rest: &str| {
        let destination = s3(bucket, &format!("prefix: \"{name}/\""));
        format!("  {name}:\n    buffer: {{ size: 1MiB, interval: 1s }}\n    destination: {{ {destination} }}\n{rest}")
    };
    let streams = stream("plain", "    format: lines\n")
        + &stream("gzip", "    format: lines\n    compress: gzip\n")
        + &stream("parquet", "    format: { parquet: { schema: airports.yaml } }\n");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("airports.yaml"), COLUMNS).unwrap();
    let streams = streams.replace("airports.yaml", &dir.path().join("airports.yaml").display().to_string());
    let mut service = Service::start(&streams);
    let each = (10_000.0 * scale() / 4.0).ceil() as u64;
    for (name, format, encoding) in
        [("plain", "plain", None), ("gzip", "gzip", Some("gzip")), ("parquet", "parquet", Some("hadoop-snappy"))]
    {
        let mut sent = Vec::new();
        for (i, client) in ["boto3", "aws-v1", "aws-v2"].into_iter().enumerate() {
            let first = i as u64 * each;
            sent.push(put(&service, client, name, "airports", first..first + each));
        }
        sent.push(put_with_rust(&service, name, &sent[0], 3 * each));
        service.until("all is delivered", |s| {
            let s = s.status(name);
            s.accepted == 4 * each && s.pending == 0
        });
        let (prefix, endpoint) = (format!("{name}/"), variable("HYDRANT_TEST_S3_ENDPOINT"));
        let mut arguments = vec!["tests/clients/read.py", "--endpoint", &endpoint, "--bucket", bucket];
        arguments.extend(["--prefix", &prefix, "--format", format]);
        encoding.iter().for_each(|e| arguments.extend(["--content-encoding", e]));
        arguments.push("--sent");
        arguments.extend(sent.iter().map(String::as_str));
        println!("{name}: {}", python(&arguments).trim());
    }
    assert_eq!(service.terminate(), Some(0));
    let (code, text) = service.command(&["audit", "--deep"]);
    assert_eq!(code, 0, "{text}");
    println!("{text}");
}
