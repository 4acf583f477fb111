//! Clients that go on putting, whatever they are answered, and remember what of it was acknowledged.

use crate::rig::service::{Client, Service};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Records of a batch.
const BATCH: usize = 5;

/// Answers by status and error type (`ok` for 200, empty if there was none), and records by whether they were taken.
#[derive(Default)]
pub struct Seen {
    pub answers: BTreeMap<(u16, String), u64>,
    pub taken: BTreeSet<String>,
    /// Not acknowledged, and nobody said that they were not taken.
    pub in_doubt: BTreeSet<String>,
}

pub struct Clients {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Starts `count` clients, no two of whose records are the same.
    pub fn start(service: &Service, stream: &str, count: usize) -> Clients {
        let (seen, stop): (Arc<Mutex<Seen>>, Arc<AtomicBool>) = Default::default();
        let client = |number: usize| {
            let (client, stream, seen, stop) = (service.client(), stream.to_owned(), seen.clone(), stop.clone());
            std::thread::spawn(move || {
                for batch in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let records = (0..BATCH).map(|i| format!("{stream}-{number}-{batch}-{i}")).collect();
                    put(client, &stream, records, &seen);
                }
            })
        };
        let threads = (0..count).map(client).collect();
        Clients { seen, stop, threads }
    }

    /// Answers so far with this status.
    pub fn answers(&self, status: u16) -> u64 {
        self.seen.lock().unwrap().answers.iter().filter(|((s, _), _)| *s == status).map(|(_, n)| n).sum()
    }

    pub fn end(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|t| t.join().unwrap());
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

/// Calls `PutRecordBatch`: status and error type.
pub fn put_batch(client: Client, stream: &str, records: &[String]) -> (u16, String) {
    let data = records.iter().map(|r| serde_json::json!({ "Data": base64_simd::STANDARD.encode_to_string(r) }));
    let body = serde_json::json!({ "DeliveryStreamName": stream, "Records": data.collect::<Vec<_>>() });
    let Some((status, answer)) = client.call("PutRecordBatch", body.to_string().as_bytes()) else {
        return (0, String::new());
    };
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap_or_default();
    if status == 200 {
        assert_eq!(answer["FailedPutCount"], 0, "{answer}");
        return (status, "ok".into());
    }
    (status, answer["__type"].as_str().unwrap_or_default().to_owned())
}

fn put(client: Client, stream: &str, records: Vec<String>, seen: &Mutex<Seen>) {
    let answer = put_batch(client, stream, &records);
    let mut seen = seen.lock().unwrap();
    match answer.0 {
        200 => seen.taken.extend(records),
        400 => {}
        _ => seen.in_doubt.extend(records),
    }
    *seen.answers.entry(answer).or_default() += 1;
}
