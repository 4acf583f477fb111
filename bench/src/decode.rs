//! `decode`: user records a second of CPU out of answers to GetRecords that hold aggregates, over what `json` and
//! `aws_kinesis_agg` in Python make of the same answer. A stand-in answers every request with it; reading it from the
//! connection counts as ours, sending it does not.

use super::corpus::Corpus;
use super::machine::thread_cpu_s;
use super::report::{Ratio, Report};
use hydrant::lane::{Lane, Start};
use hydrant::source::kinesis::client::KinesisClient;
use hydrant::source::kinesis::reader::{Consumer, ShardReader};
use hydrant::source::kinesis::shard::Shard;
use hydrant::source::room::ReadRoom;
use md5::{Digest, Md5};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// User records of an aggregate, and aggregates of an answer: about what a shard gives in a second.
const AGGREGATE_RECORDS: usize = 100;
const ANSWER_BYTES: usize = 2 << 20;
/// Answers of a round; Python takes fewer.
const ANSWERS: usize = 40;
const PYTHON_ANSWERS: usize = 4;

static RATIO: Ratio = Ratio::more("decode", "GetRecords answers, a core, over json and aws_kinesis_agg in Python");

/// The reference, as its authors show it for what a Lambda function is given.
const PYTHON: &str = r#"
import json, sys, time
from aws_kinesis_agg.deaggregator import deaggregate_records
body, answers = open(sys.argv[1], "rb").read(), int(sys.argv[2])
began, records = time.process_time(), 0
for _ in range(answers):
    answer = json.loads(body)
    events = [
        {"kinesis": {
            "kinesisSchemaVersion": "1.0", "sequenceNumber": r["SequenceNumber"], "partitionKey": r["PartitionKey"],
            "approximateArrivalTimestamp": r["ApproximateArrivalTimestamp"], "data": r["Data"]}}
        for r in answer["Records"]
    ]
    records += len(deaggregate_records(events))
print(records, time.process_time() - began)
"#;

/// A stand-in for Kinesis, what it answers, and who reads it.
pub struct Decode {
    python: PathBuf,
    answer: PathBuf,
    /// User records in an answer.
    records: usize,
    kinesis: KinesisClient,
    runtime: tokio::runtime::Runtime,
}

fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    out.push(number << 3 | 2);
    let mut length = bytes.len();
    while length >= 0x80 {
        out.push(length as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
    out.extend_from_slice(bytes);
}

/// An aggregate of the KPL (docs/firehose.md: "Kinesis Data Streams").
fn aggregate(records: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::new();
    field(&mut message, 1, b"a partition key");
    for record in records {
        let mut inner = vec![1 << 3, 0];
        field(&mut inner, 3, record);
        field(&mut message, 3, &inner);
    }
    [&[0xf3, 0x89, 0x9a, 0xc2][..], &message, &Md5::digest(&message)[..]].concat()
}

impl Decode {
    /// `python` has `aws_kinesis_agg`.
    pub fn start(python: &Path, corpus: &Corpus, dir: &Path) -> Result<Decode, String> {
        let error = |e: std::io::Error| format!("decode: {e}");
        let (mut records, mut bytes, mut outer) = (0, 0, Vec::new());
        let all: Vec<&[u8]> = corpus.records().collect();
        for (i, some) in all.chunks(AGGREGATE_RECORDS).enumerate() {
            let of_them: usize = some.iter().map(|r| r.len()).sum();
            if bytes + of_them > ANSWER_BYTES {
                break;
            }
            (records, bytes) = (records + some.len(), bytes + of_them);
            outer.push(format!(
                r#"{{"SequenceNumber":"{:056}","ApproximateArrivalTimestamp":1.7723232E9,"PartitionKey":"a partition key","Data":"{}"}}"#,
                (i as u128 + 1) * 10u128.pow(30),
                base64_simd::STANDARD.encode_to_string(aggregate(some))
            ));
        }
        let body = format!(r#"{{"MillisBehindLatest":0,"NextShardIterator":"next","Records":[{}]}}"#, outer.join(","));
        let answer = dir.join("answer.json");
        std::fs::write(&answer, &body).map_err(error)?;
        let listener = TcpListener::bind("127.0.0.1:0").map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        let serve = move || {
            for stream in listener.incoming().flatten() {
                // The other side sees a connection that was closed.
                let _ = serve(stream, &body);
            }
        };
        std::thread::Builder::new().name("bench kinesis".into()).spawn(serve).map_err(error)?;
        let settings =
            format!(r#"{{"stream":"s","access_key_id":"a","secret_access_key":"b","endpoint":"http://{address}"}}"#);
        let settings = serde_json::from_str(&settings).map_err(|e| e.to_string())?;
        // One thread does all of it.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(error)?;
        let kinesis = runtime.block_on(KinesisClient::connect(&settings)).map_err(|e| e.to_string())?;
        Ok(Decode { python: python.to_owned(), answer, records, kinesis, runtime })
    }

    /// Ours and the reference once.
    pub fn round(&self, report: &mut Report) -> Result<(), String> {
        let (ours, theirs) = (self.ours()?, self.theirs()?);
        report.ratio(&RATIO, ours / theirs);
        report.detail("decode", "records/s of CPU", ours);
        report.detail("json and aws_kinesis_agg", "records/s of CPU", theirs);
        Ok(())
    }

    /// User records a second of CPU: ours.
    fn ours(&self) -> Result<f64, String> {
        let shard = Shard::new(&Start::TrimHorizon, 0);
        let mut reader = ShardReader {
            kinesis: self.kinesis.clone(),
            stream: "bench".into(),
            id: "shardId-000000000000".into(),
            shard: shard.clone(),
            created_ms: 0,
            start: Start::TrimHorizon,
            bound: false,
            consumer: Consumer::default(),
            up_to_date: None,
            put_off: None,
            passed: None,
            new_leases: None,
            room: Arc::new(ReadRoom::new(1 << 20, Arc::default())),
            tell: Box::new(|| {}),
        };
        let before = thread_cpu_s();
        for _ in 0..ANSWERS {
            let answer = self.runtime.block_on(self.kinesis.records("next", 10_000)).map_err(|e| e.message)?;
            reader.take(&answer.records, &mut None, None).map_err(|_| "decode: an answer was not taken")?;
            shard.trim_tail(shard.end(), 0);
        }
        let seconds = thread_cpu_s() - before;
        let expected = (ANSWERS * self.records) as u64;
        match shard.end() == expected {
            true => Ok(expected as f64 / seconds),
            false => Err(format!("decode: found {} user records, expected {expected}", shard.end())),
        }
    }

    /// The same of the reference.
    fn theirs(&self) -> Result<f64, String> {
        let mut run = Command::new(&self.python);
        run.args(["-c", PYTHON]).arg(&self.answer).arg(PYTHON_ANSWERS.to_string());
        let output = run.output().map_err(|e| format!("`{}`: {e}", self.python.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut words = text.split_whitespace();
        let (records, seconds) = (words.next(), words.next().and_then(|s| s.parse::<f64>().ok()));
        match (records.and_then(|n| n.parse::<usize>().ok()), seconds) {
            (Some(records), Some(seconds)) if records == PYTHON_ANSWERS * self.records => Ok(records as f64 / seconds),
            _ => Err(format!("decode: the reference: {text}{}", String::from_utf8_lossy(&output.stderr))),
        }
    }
}

/// Answers requests of one connection until it is closed.
fn serve(mut stream: TcpStream, body: &str) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (mut read, mut n) = (vec![0; 64 << 10], 0);
    loop {
        let got = stream.read(&mut read[n..])?;
        if got == 0 {
            return Ok(());
        }
        n += got;
        // Requests are small and come one after the other: an iterator in braces.
        if read[..n].ends_with(b"}") {
            n = 0;
            stream.write_all(head.as_bytes())?;
            stream.write_all(body.as_bytes())?;
        }
    }
}
