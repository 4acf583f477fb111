//! A thousand shards: as many lanes, within one budget of memory and within the limits of each shard.

use super::source::{number, numbered};
use crate::api::clients;
use crate::rig::bucket::Bucket;
use crate::rig::kinesis::client::Kinesis;
use crate::rig::kinesis::proxy::Proxy;
use crate::rig::kinesis::servers::KinesisLocal;
use crate::rig::service::{PATIENCE, Service};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const SHARDS: i32 = 1000;
/// Each about 50 KB: what is put is several times what memory holds.
const RECORDS: usize = 3000;
const BUDGET_MIB: u64 = 64;
/// What the program takes beside its budget: itself, and for each lane a thread, files and a state.
const BESIDE_MIB: u64 = 40 + SHARDS as u64 / 10;

/// A stream `r` that reads a thousand shards and delivers to a bucket.
fn reads(endpoint: &str, bucket: &str) -> String {
    let destination = clients::s3(bucket, "prefix: out/");
    format!(
        "  r:\n    source:\n      kinesis: {{ stream: s, start: trim_horizon, endpoint: \"{endpoint}\", access_key_id: a, \
         secret_access_key: b, poll_interval: 5s }}\n    format: lines\n    buffer: {{ interval: 20s }}\n    \
         destination: {{ {destination} }}\n"
    )
}

/// A thousand of anything take a while: a service that gets on is waited for.
fn gets_to(service: &Service, goal: u64, what: &str, count: impl Fn(&Service) -> u64) {
    let (mut moved, mut last) = (Instant::now(), 0);
    while last < goal {
        let now = count(service);
        if now > last {
            (moved, last) = (Instant::now(), now);
        }
        assert!(
            moved.elapsed() < PATIENCE,
            "not within {PATIENCE:?} more than {now} of {goal} {what}\n{}",
            service.log()
        );
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_thousand_shards_are_read_within_the_budget_of_memory() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", SHARDS);
    // Bytes that do not compress: a buffer takes what its records take.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut filler = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        format!("{random:016x}")
    };
    for batch in numbered(0..RECORDS).chunks(80) {
        let with_filler = batch.iter().enumerate().map(|(i, (_, data))| {
            let filler: String = (0..3000).map(|_| filler()).collect();
            let text = String::from_utf8_lossy(data).replace('}', &format!(",\"filler\":\"{filler}\"}}"));
            (format!("{}{i}", &filler[..16]), text.into_bytes())
        });
        kinesis.put("s", &with_filler.collect::<Vec<_>>());
    }
    let (proxy, bucket) = (Proxy::start(server.address), Bucket::new());
    let streams = reads(&proxy.endpoint(), &bucket.name);
    let mut service = Service::start_with(&format!("memory: {BUDGET_MIB}MiB\n"), &streams);
    gets_to(&service, SHARDS as u64, "shards that are read", |s| s.status("r").shards.len() as u64);
    gets_to(&service, RECORDS as u64, "records that are delivered", |s| s.status("r").outlets["destination"].records);
    service.settled(RECORDS as u64);
    let status = service.status("r");
    assert_eq!((status.accepted, status.gap, status.lost, status.alarm), (RECORDS as u64, 0, 0, None));
    let objects = bucket.objects();
    let bytes: usize = objects.iter().map(|(_, bytes)| bytes.len()).sum();
    let (peak, now) = (service.peak_kib() >> 10, service.resident_kib() >> 10);
    let calls = proxy.most("GetRecords", Duration::from_secs(1));
    let most = calls.values().map(|most| most.calls).max();
    println!(
        "{} shards, {RECORDS} records of {} MiB in {} objects: peak {peak} MiB, then {now} MiB, with a budget of {BUDGET_MIB} \
         MiB; at most {most:?} calls a second for a shard",
        calls.len(),
        bytes >> 20,
        objects.len(),
    );
    let lines = objects.iter().flat_map(|(_, bytes)| bytes.split(|b| *b == b'\n')).filter(|line| !line.is_empty());
    let numbers: Vec<usize> = lines.map(number).collect();
    assert_eq!((numbers.len(), numbers.iter().collect::<BTreeSet<_>>().len()), (RECORDS, RECORDS), "each once");
    assert!(most <= Some(5), "{most:?} calls a second");
    assert!(peak < BUDGET_MIB + BESIDE_MIB, "{peak} MiB at most, {now} MiB now");
}

/// A few shards whose answers are as large as answers may be.
#[test]
fn a_small_budget_of_memory_is_kept_to_whatever_an_answer_could_be() {
    const BUDGET_MIB: u64 = 32;
    // The program at rest, and what eight lanes are uploading.
    const OF_ITS_OWN_MIB: u64 = 90;
    const LARGE: usize = 700;
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 8);
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for batch in numbered(0..LARGE).chunks(40) {
        let with_filler = batch.iter().enumerate().map(|(i, (_, data))| {
            let filler: String = (0..6000)
                .map(|_| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    format!("{random:016x}")
                })
                .collect();
            let text = String::from_utf8_lossy(data).replace('}', &format!(",\"filler\":\"{filler}\"}}"));
            (format!("{}{i}", &filler[..16]), text.into_bytes())
        });
        kinesis.put("s", &with_filler.collect::<Vec<_>>());
    }
    let (proxy, bucket) = (Proxy::start(server.address), Bucket::new());
    let mut service = Service::start_with(
        &format!("memory: {{ size: {BUDGET_MIB}MiB, intake_share: 50% }}\n"),
        &reads(&proxy.endpoint(), &bucket.name),
    );
    gets_to(&service, LARGE as u64, "records that are delivered", |s| {
        s.statuses().iter().filter(|s| s.stream == "r").map(|s| s.outlets["destination"].records).sum()
    });
    service.settled(LARGE as u64);
    let peak = service.peak_kib() >> 10;
    let calls = proxy.calls_of("GetRecords");
    let largest = calls.iter().map(|call| call.bytes).max().unwrap_or_default() >> 10;
    let numbers: Vec<usize> = bucket
        .objects()
        .iter()
        .flat_map(|(_, bytes)| bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(number).collect::<Vec<_>>())
        .collect();
    println!(
        "{LARGE} records of 96 KB from 8 shards: peak {peak} MiB of {BUDGET_MIB}, answers of {largest} KiB at most"
    );
    assert_eq!((numbers.len(), numbers.iter().collect::<BTreeSet<_>>().len()), (LARGE, LARGE), "each once");
    assert!(peak < BUDGET_MIB + OF_ITS_OWN_MIB, "{peak} MiB at most");
    // Half of the budget is not for requests, a quarter of that is for answers, and four fit at once.
    assert!(largest as u64 <= (BUDGET_MIB << 10) / 2 / 4 / 4, "an answer of {largest} KiB");
}
