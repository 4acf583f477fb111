//! Streams that read from Kinesis: every record once, in order, whatever happens to the shards, the service and the wire.

use crate::api::clients;
use crate::rig::bucket::Bucket;
use crate::rig::kinesis::client::Kinesis;
use crate::rig::kinesis::proxy::{EVENT, Fault, Proxy};
use crate::rig::kinesis::servers::{Kinesalite, KinesisLocal, Moto, Server};
use crate::rig::service::{PATIENCE, Service, collect, scale};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

pub const KEYS: usize = 23;

/// A stream `r` that reads `s` of the Kinesis at `endpoint` from its oldest record, and delivers to a directory.
pub fn reads(endpoint: &str, more: &str) -> String {
    reads_into(endpoint, more, "local: { dir: DIR/out }")
}

fn reads_into(endpoint: &str, more: &str, destination: &str) -> String {
    format!(
        "  r:\n    source:\n      kinesis: {{ stream: s, start: trim_horizon, endpoint: \"{endpoint}\", access_key_id: a, \
         secret_access_key: b, poll_interval: 200ms, shards_interval: 300ms{more} }}\n    format: lines\n    \
         buffer: {{ interval: 300ms }}\n    destination: {{ {destination} }}\n"
    )
}

/// A stream `s` of one shard, and a proxy in front of its server.
pub fn one_shard() -> (Server, Kinesis, Proxy) {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    let proxy = Proxy::start(server.address);
    (server, kinesis, proxy)
}

/// Numbered records: those of a key are in order.
pub fn numbered(range: std::ops::Range<usize>) -> Vec<(String, Vec<u8>)> {
    range.map(|i| (format!("key {}", i % KEYS), format!("{{\"n\":{i}}}").into_bytes())).collect()
}

pub fn number(line: &[u8]) -> usize {
    let json: serde_json::Value = serde_json::from_slice(line).expect("a record is JSON");
    let number = json.get("_seq").unwrap_or(&json["n"]);
    number.as_u64().expect("a record has a number") as usize
}

pub fn assert_each_once_and_in_order(service: &Service, records: usize) {
    assert_once_and_in_order(&service.objects("out"), records);
}

/// Every record is in one object; within an object, and between objects, those of a key are in order.
pub fn assert_once_and_in_order(objects: &[(String, Vec<u8>)], records: usize) {
    let mut found = BTreeSet::new();
    let mut spans: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for (name, bytes) in objects {
        let mut of_key: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
        for n in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(number) {
            assert!(found.insert(n), "record {n} stands twice, the second time in {name}");
            let (_, last) = of_key.entry(n % KEYS).or_insert((n, n));
            assert!(*last <= n, "record {n} stands behind {last} in {name}");
            *last = n;
        }
        of_key.into_iter().for_each(|(key, span)| spans.entry(key).or_default().push(span));
    }
    let missing: Vec<_> = (0..records).filter(|n| !found.contains(n)).take(5).collect();
    assert!(missing.is_empty() && found.len() == records, "missing, among others: {missing:?}; {} found", found.len());
    for spans in spans.values_mut() {
        spans.sort_unstable();
        assert!(spans.windows(2).all(|pair| pair[0].1 < pair[1].0), "objects of a key overlap: {spans:?}");
    }
}

pub fn settled(service: &mut Service, records: u64) {
    service.until("every record is delivered", |s| {
        let status = s.status("r");
        let delivered = status.outlets.get("destination").map_or(0, |o| o.records);
        assert!(delivered <= records, "{status:?}");
        delivered == records && status.pending == 0
    });
    let status = service.status("r");
    assert_eq!((status.accepted, status.gap, status.lost), (records, 0, 0), "{status:?}");
}

#[test]
fn every_record_is_delivered_once_and_in_order_through_kills_a_split_and_a_merge() {
    let server = KinesisLocal::start();
    let proxy = Proxy::start(server.address);
    through_kills_a_split_and_a_merge(&server, &proxy, "");
    let most = proxy.most("GetRecords", Duration::from_secs(1));
    println!("GetRecords within a second, by shard: {most:?}");
    for (shard, most) in most {
        assert!(most.calls <= 6, "{} calls a second for {shard}: 5 and one of the next life", most.calls);
    }
}

#[test]
fn so_it_is_when_records_are_sent_to_a_consumer() {
    let server = KinesisLocal::start();
    let proxy = Proxy::start(server.address);
    // Longer than kinesis-local is silent between two events.
    proxy.end_subscriptions_after(Some(Duration::from_secs(6)));
    through_kills_a_split_and_a_merge(&server, &proxy, ", consumer: c");
    assert_eq!(proxy.calls_of("GetRecords").len(), 0, "nothing was asked for");
    let renewed = proxy.calls_of("SubscribeToShard").len();
    assert!(
        renewed > 9 * SHARDS / 2,
        "{SHARDS} shards, read by four lives, and their children: {renewed} subscriptions"
    );
    let most = proxy.most("SubscribeToShard", Duration::from_secs(1));
    println!("SubscribeToShard within a second, by shard: {most:?}");
    for (shard, most) in most {
        assert!(most.calls <= 2, "{} subscriptions a second for {shard}: one and one of the next life", most.calls);
    }
}

/// Shards of a large stream: whatever kinesis-local does to a shard, it goes through all records of it.
const SHARDS: usize = 16;

/// Real records, a third of them in aggregates, are put to a stream of which a shard is split, merged and read, and its
/// reader killed three times. They are in MinIO then as they were put.
fn through_kills_a_split_and_a_merge(server: &Server, proxy: &Proxy, more: &str) {
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", SHARDS as i32);
    let bucket = Bucket::new();
    let destination = clients::s3(&bucket.name, "prefix: out/");
    // Asked as often as by default.
    let settings = reads_into(&proxy.endpoint(), more, &destination).replace("poll_interval: 200ms, ", "");
    let mut service = Service::start(&settings);
    // Batches of 300, every third of aggregates: 200,000 records in all at full scale.
    let batches = (67.0 * scale()).ceil() as usize * 10;
    let rows = Arc::new(clients::rows(batches * 300));
    let put = Arc::new(AtomicUsize::new(0));
    let writer = std::thread::spawn({
        let (put, endpoint, rows) = (put.clone(), server.endpoint(), rows.clone());
        move || {
            let kinesis = Kinesis::at(&endpoint);
            for batch in 0..batches {
                let numbers = batch * 300..(batch + 1) * 300;
                let records: Vec<_> = numbers.map(|i| (format!("key {}", i % KEYS), rows[i].clone())).collect();
                match batch % 3 {
                    // All of an aggregate goes where its first key does: each key has aggregates of its own.
                    2 => (0..KEYS).for_each(|key| {
                        let of_key: Vec<_> = records.iter().filter(|r| r.0 == format!("key {key}")).cloned().collect();
                        kinesis.put_aggregates("s", &of_key, 10);
                    }),
                    _ => drop(kinesis.put("s", &records)),
                }
                put.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let reached = |part: usize| {
        let (mut moved, mut last) = (Instant::now(), 0);
        loop {
            let now = put.load(Ordering::Relaxed);
            if now >= batches * part / 8 {
                return;
            }
            if now > last {
                (moved, last) = (Instant::now(), now);
            }
            assert!(moved.elapsed() < PATIENCE, "the writer is stalled");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    let mut keys: BTreeMap<String, usize> = BTreeMap::new();
    (0..KEYS).for_each(|i| *keys.entry(kinesis.shard_of("s", &format!("key {i}"))).or_default() += 1);
    let (busiest, _) = keys.into_iter().max_by_key(|(_, keys)| *keys).expect("there are keys");
    reached(1);
    service.kill();
    service.restart();
    reached(2);
    let children = kinesis.split("s", &busiest);
    reached(4);
    service.kill();
    reached(5);
    service.restart();
    kinesis.merge("s", &children[0], &children[1]);
    reached(7);
    service.kill();
    service.restart();
    writer.join().expect("everything is put");
    let records = batches * 300;
    settled(&mut service, records as u64);
    assert_once_and_in_order(&bucket.objects(), records);
    let shards = service.status("r").shards;
    let done: Vec<&String> = shards.iter().filter(|(_, s)| s.state == "done").map(|(id, _)| id).collect();
    assert_eq!((shards.len(), done), (SHARDS + 3, vec![&busiest, &children[0], &children[1]]), "{shards:?}");
    assert!(children.iter().all(|child| shards[child].accepted > 0), "each of them had keys: {shards:?}");
    let (code, text) = service.command(&["status"]);
    let printed = |what: &str| text.matches(what).count();
    assert_eq!(
        (code, printed(": done, at its end; accepted "), printed(" ms behind; accepted ")),
        (0, 3, SHARDS),
        "{text}"
    );
    // Nothing is read twice, or not at all, by a life that finds everything settled.
    assert_eq!(service.terminate(), Some(0));
    service.restart();
    settled(&mut service, records as u64);
    let objects = bucket.objects();
    assert_once_and_in_order(&objects, records);
    let lines = objects.iter().flat_map(|(_, bytes)| bytes.split(|b| *b == b'\n')).filter(|line| !line.is_empty());
    lines.for_each(|line| assert!(line == rows[number(line)], "record {} is another", number(line)));
    // Each shard is accounted for, from disk, and its objects are there.
    let (code, text) = service.command(&["audit", "--deep", "--json"]);
    assert_eq!(code, 0, "{text}");
    let audits = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("an audit"));
    let of_shards: Vec<_> = audits.filter(|a| a["stream"].as_str().is_some_and(|s| s.contains("/shardId-"))).collect();
    let delivered: u64 = of_shards.iter().map(|a| a["delivered"].as_u64().expect("a count")).sum();
    assert_eq!((of_shards.len(), delivered), (SHARDS + 3, records as u64), "{text}");
    let bytes: usize = rows.iter().map(Vec::len).sum();
    println!(
        "{records} real records of {bytes} bytes in {} objects, each once, in order, as they were put",
        objects.len()
    );
}

#[test]
fn a_subscription_that_breaks_or_cannot_be_had_costs_no_record() {
    let (_server, kinesis, proxy) = one_shard();
    let mut service = Service::start(&reads(&proxy.endpoint(), ", consumer: c"));
    kinesis.put("s", &numbered(0..100));
    settled(&mut service, 100);
    service.until("one is open", |_| proxy.subscriptions() == 1);
    proxy.break_subscriptions();
    kinesis.put("s", &numbered(100..200));
    settled(&mut service, 200);
    for (i, error) in
        ["ProvisionedThroughputExceededException", "InternalFailure", "AccessDeniedException"].iter().enumerate()
    {
        let struck = proxy.next(1, "SubscribeToShard", None, Fault::Error(error));
        proxy.break_subscriptions();
        kinesis.put("s", &numbered((i + 2) * 100..(i + 3) * 100));
        service.until("it was refused", |_| proxy.struck(struck) == 1);
        settled(&mut service, (i as u64 + 3) * 100);
    }
    // Whoever may not subscribe asks for records.
    assert!(!proxy.calls_of("GetRecords").is_empty());
    // And subscribes again when it may.
    service.until("records are sent again", |_| proxy.subscriptions() == 1);
    kinesis.put("s", &numbered(500..600));
    settled(&mut service, 600);
    assert_each_once_and_in_order(&service, 600);
    service.until("what is over is no alarm any more", |s| s.status("r").alarm.is_none());
}

/// Records one at a time: from when the server sends one until it is an object. The server sends every five seconds.
#[test]
fn with_no_interval_a_record_that_is_sent_is_an_object_at_once() {
    let (_server, kinesis, proxy) = one_shard();
    let streams = reads(&proxy.endpoint(), ", consumer: c").replace("interval: 300ms }", "interval: 0s }");
    let mut service = Service::start(&streams);
    kinesis.put("s", &numbered(0..1));
    settled(&mut service, 1);
    let out = service.dir.path().join("out");
    let mut times = Vec::new();
    for n in 1..=(30.0 * scale()) as usize {
        let began = Instant::now();
        kinesis.put("s", &numbered(n..n + 1));
        let objects = || {
            let mut found = Vec::new();
            collect(&out, &mut found);
            found.len()
        };
        while objects() <= n {
            assert!(began.elapsed() < PATIENCE, "record {n} is in no object");
            std::thread::sleep(Duration::from_millis(1));
        }
        let sent = proxy.calls_of(EVENT).iter().rev().find(|call| call.records > 0).expect("it was sent").at;
        times.push(sent.elapsed());
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{} records, sent to object: p50 {:?}, p90 {:?}, most {:?}", times.len(), at(0.5), at(0.9), at(1.0));
    assert!(at(0.5) < Duration::from_millis(300), "{times:?}");
}

#[test]
fn a_consumer_that_cannot_be_registered_is_not_needed() {
    let (_server, kinesis, proxy) = one_shard();
    proxy.always("DescribeStreamConsumer", None, Fault::Error("AccessDeniedException"));
    let mut service = Service::start(&reads(&proxy.endpoint(), ", consumer: c"));
    kinesis.put("s", &numbered(0..100));
    settled(&mut service, 100);
    assert!(service.log().contains("shards are read by polling"));
    assert!(proxy.calls_of("SubscribeToShard").is_empty());
}

#[test]
fn what_kinesis_refuses_or_does_not_say_costs_no_record() {
    let (_server, kinesis, proxy) = one_shard();
    let mut service = Service::start(&reads(&proxy.endpoint(), ""));
    let faults = [
        ("GetRecords", Fault::Error("ProvisionedThroughputExceededException")),
        ("GetRecords", Fault::Error("ExpiredIteratorException")),
        ("GetRecords", Fault::Error("InternalFailure")),
        ("GetRecords", Fault::Error("AccessDeniedException")),
        ("GetRecords", Fault::LoseAnswer),
        ("GetRecords", Fault::GarbageIterator),
        ("GetShardIterator", Fault::Error("ProvisionedThroughputExceededException")),
        ("GetShardIterator", Fault::GarbageIterator),
    ];
    for (i, (operation, fault)) in faults.into_iter().enumerate() {
        let struck = proxy.next(2, operation, None, fault);
        if operation == "GetShardIterator" {
            // Only whoever has to begin again asks for one.
            proxy.next(1, "GetRecords", None, Fault::Error("ExpiredIteratorException"));
        }
        kinesis.put("s", &numbered(i * 100..(i + 1) * 100));
        service.until("it was refused", |_| proxy.struck(struck) == 2);
        settled(&mut service, (i as u64 + 1) * 100);
    }
    assert_each_once_and_in_order(&service, 800);
    service.until("what is over is no alarm any more", |s| s.status("r").alarm.is_none());
}

#[test]
fn an_iterator_is_kept_when_the_same_is_to_be_asked_again() {
    let (_server, kinesis, proxy) = one_shard();
    let mut service = Service::start(&reads(&proxy.endpoint(), ""));
    for (i, fault) in
        [Fault::Error("ProvisionedThroughputExceededException"), Fault::Error("InternalFailure"), Fault::LoseAnswer]
            .into_iter()
            .enumerate()
    {
        let struck = proxy.next(4, "GetRecords", None, fault);
        kinesis.put("s", &numbered(i * 100..(i + 1) * 100));
        service.until("it was refused", |_| proxy.struck(struck) == 4);
        settled(&mut service, (i as u64 + 1) * 100);
    }
    assert_eq!(proxy.calls_of("GetShardIterator").len(), 1);
    assert_each_once_and_in_order(&service, 300);
    service.until("what is over is no alarm any more", |s| s.status("r").alarm.is_none());
}

#[test]
fn a_stream_that_is_not_there_is_named_and_read_when_it_is() {
    let server = KinesisLocal::start();
    let mut service = Service::start(&reads(&server.endpoint(), ""));
    service.until("it says what is missing", |s| {
        s.status("r").alarm.is_some_and(|alarm| alarm.contains("ResourceNotFoundException"))
    });
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    kinesis.put("s", &numbered(0..50));
    settled(&mut service, 50);
    assert_each_once_and_in_order(&service, 50);
    service.until("what is over is no alarm any more", |s| s.status("r").alarm.is_none());
}

#[test]
fn a_kinesis_that_does_not_answer_keeps_nobody_from_ending() {
    let server = KinesisLocal::start();
    Kinesis::at(&server.endpoint()).create("s", 1);
    let proxy = Proxy::start(server.address);
    let hold = proxy.always("ListShards", None, Fault::Hold(Duration::from_secs(600)));
    let mut service = Service::start(&reads(&proxy.endpoint(), ", timeout: 5m"));
    service.until("it is asked", |_| proxy.struck(hold) > 0);
    let began = Instant::now();
    assert_eq!(service.terminate(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(10), "it took {:?}", began.elapsed());
}

#[test]
fn a_changed_endpoint_is_that_of_shards_that_are_read_already() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    let [old, new] = [Proxy::start(server.address), Proxy::start(server.address)];
    let mut service = Service::start(&reads(&old.endpoint(), ""));
    kinesis.put("s", &numbered(0..100));
    settled(&mut service, 100);
    service.configure("", &reads(&new.endpoint(), ""));
    service.signal(rustix::process::Signal::HUP);
    service.until("the shard is read there", |_| !new.calls_of("GetRecords").is_empty());
    let before = old.calls_of("GetRecords").len();
    kinesis.put("s", &numbered(100..200));
    settled(&mut service, 200);
    assert!(old.calls_of("GetRecords").len() <= before + 1, "one may have been on its way");
    assert_each_once_and_in_order(&service, 200);
}

/// Where reading begins is a time of the service's: by our own clock, which may be wrong, records could be passed over.
#[test]
fn latest_is_the_time_at_which_the_service_was_asked_by_its_own_clock() {
    let server = KinesisLocal::start();
    Kinesis::at(&server.endpoint()).create("s", 1);
    let proxy = Proxy::start(server.address);
    proxy.say_date("Sat, 21 Nov 2026 10:00:00 GMT");
    let mut service = Service::start(&reads(&proxy.endpoint(), "").replace("start: trim_horizon", "start: latest"));
    service.until("it is read", |_| !proxy.calls_of("GetRecords").is_empty());
    let asked = &proxy.calls_of("GetShardIterator")[0].request;
    assert_eq!(asked["ShardIteratorType"], "AT_TIMESTAMP");
    assert_eq!(asked["Timestamp"].as_f64(), Some(1_795_255_200.0), "{asked}");
}

#[test]
fn a_stream_that_is_made_anew_is_another_one() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    kinesis.put("s", &numbered(0..50));
    let mut service = Service::start(&reads(&server.endpoint(), ""));
    settled(&mut service, 50);
    kinesis.delete("s");
    // kinesis-local takes an iterator of the old stream for one of the new; AWS does not. Once it was refused it is gone.
    service.until("both notice that it is gone", |s| {
        let status = s.status("r");
        let of_shard = status.shards.values().any(|s| s.alarm.is_some());
        of_shard && status.alarm.is_some_and(|alarm| alarm.contains("ResourceNotFoundException"))
    });
    kinesis.create("s", 1);
    kinesis.put("s", &numbered(50..120));
    settled(&mut service, 120);
    assert_each_once_and_in_order(&service, 120);
}

/// The settings of [`reads`] that name another stream, brought into force.
fn switch(service: &Service, settings: &str, stream: &str) {
    service.configure("", &settings.replace("stream: s,", &format!("stream: {stream},")));
    service.signal(rustix::process::Signal::HUP);
}

#[test]
fn a_stream_that_is_left_for_one_that_cannot_be_read_goes_on_when_it_is_back() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    kinesis.create("t", 1);
    let proxy = Proxy::start(server.address);
    let settings = reads(&proxy.endpoint(), "");
    let mut service = Service::start(&settings);
    kinesis.put("s", &numbered(0..100));
    settled(&mut service, 100);
    let refusal = proxy.always("ListShards", None, Fault::Error("LimitExceededException"));
    switch(&service, &settings, "t");
    service.until("the other one cannot be read", |_| proxy.struck(refusal) > 0);
    proxy.take_back(refusal);
    switch(&service, &settings, "s");
    kinesis.put("s", &numbered(100..200));
    settled(&mut service, 200);
    assert_each_once_and_in_order(&service, 200);
}

#[test]
fn a_stream_that_is_left_and_read_again_is_read_by_one_lane() {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    kinesis.create("t", 1);
    let settings = reads(&server.endpoint(), "").replace("interval: 300ms }", "interval: 4s }");
    let mut service = Service::start(&settings);
    kinesis.put("s", &numbered(0..100));
    service.until("they are in a buffer", |s| s.status("r").accepted == 100);
    switch(&service, &settings, "t");
    service.until("the other one is read", |s| s.status("r").shards.len() == 2);
    switch(&service, &settings, "s");
    kinesis.put("s", &numbered(100..200));
    settled(&mut service, 200);
    assert_eq!(service.terminate(), Some(0));
    service.restart();
    settled(&mut service, 200);
    assert_each_once_and_in_order(&service, 200);
    let (code, text) = service.command(&["audit", "--deep"]);
    assert_eq!(code, 0, "{text}");
}

/// A shard that has been read to record 49, and to which 50 to 79 were put while the service was down; it was split then.
fn a_shard_that_was_left_behind() -> (Server, Proxy, Service, String, String) {
    let (server, kinesis, proxy) = one_shard();
    let mut service = Service::start(&reads(&proxy.endpoint(), ""));
    kinesis.put("s", &numbered(0..50));
    settled(&mut service, 50);
    assert_eq!(service.terminate(), Some(0));
    let put = kinesis.put("s", &numbered(50..80)).remove(29);
    kinesis.split("s", &put.shard);
    kinesis.put("s", &numbered(80..130));
    (server, proxy, service, put.shard, put.sequence_number)
}

/// What is there of it is delivered, what is not is spoken of, and nothing is held up by it.
fn assert_known_as_lost(service: &mut Service, shard: &str, what: &str) {
    settled(service, 100);
    service.until("the shard is done", |s| s.status("r").shards.get(shard).is_some_and(|shard| shard.state == "done"));
    let alarm = service.status("r").alarm.expect("records may be lost");
    assert!(alarm.contains(shard) && alarm.contains(what) && alarm.contains("may be lost"), "{alarm}");
    let lines = service.objects("out").into_iter().flat_map(|(_, bytes)| bytes);
    let lines: Vec<u8> = lines.collect();
    let found: BTreeSet<usize> = lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(number).collect();
    assert_eq!(found, (0..50).chain(80..130).collect());
    let (_, metrics) = service.get("/metrics").expect("it answers");
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    assert!(metrics.contains("hydrant_kinesis_retention_passed{DeliveryStreamName=\"r\"} 1"), "{metrics}");
    let (code, text) = service.command(&["audit", "--deep"]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_closed_shard_that_is_not_there_any_more_is_not_passed_over_in_silence() {
    let (_server, proxy, mut service, shard, _) = a_shard_that_was_left_behind();
    proxy.remove_shard(&shard);
    service.restart();
    assert_known_as_lost(&mut service, &shard, "the oldest was none");
    // Once it has been said and settled, it is done.
    assert_eq!(service.terminate(), Some(0));
    service.restart();
    settled(&mut service, 50);
    assert_eq!(service.status("r").alarm, None);
}

#[test]
fn a_closed_shard_of_which_only_the_end_is_left_is_not_passed_over_in_silence() {
    let (_server, proxy, mut service, shard, last) = a_shard_that_was_left_behind();
    proxy.expire(&last);
    service.restart();
    assert_known_as_lost(&mut service, &shard, "the oldest was none");
}

#[test]
fn a_quiet_shard_whose_last_record_expires_has_lost_nothing() {
    let (_server, kinesis, proxy) = one_shard();
    let mut service = Service::start(&reads(&proxy.endpoint(), ""));
    let last = kinesis.put("s", &numbered(0..50)).remove(49).sequence_number;
    settled(&mut service, 50);
    proxy.expire(&last);
    let before = proxy.calls_of("GetShardIterator").len();
    proxy.next(1, "GetRecords", None, Fault::Error("ExpiredIteratorException"));
    service.until("another iterator is of use", |_| {
        let calls = proxy.calls_of("GetShardIterator");
        calls.len() > before && proxy.calls_of("GetRecords").iter().any(|c| c.at > calls[before].at)
    });
    kinesis.put("s", &numbered(50..100));
    settled(&mut service, 100);
    assert_eq!(service.status("r").alarm, None);
    assert_each_once_and_in_order(&service, 100);
}

#[test]
fn the_api_says_that_records_come_from_kinesis_and_takes_none() {
    let server = KinesisLocal::start();
    let service = Service::start(&reads(&server.endpoint(), ""));
    let (status, answer) = service
        .call("PutRecord", br#"{"DeliveryStreamName":"r","Record":{"Data":"YQ=="}}"#)
        .expect("the service answers");
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!((status, answer["__type"].as_str()), (400, Some("InvalidArgumentException")));
    assert_eq!(answer["message"], "This operation is not permitted on KinesisStreamAsSource delivery stream type.");
    let (_, answer) = service.call("DescribeDeliveryStream", br#"{"DeliveryStreamName":"r"}"#).expect("it answers");
    let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
    let description = &answer["DeliveryStreamDescription"];
    assert_eq!(description["DeliveryStreamType"], "KinesisStreamAsSource");
    let source = &description["Source"]["KinesisStreamSourceDescription"];
    assert_eq!(source["KinesisStreamARN"], "arn:aws:kinesis:us-east-1:000000000000:stream/s");
    for (of_type, names) in [("DirectPut", 0), ("KinesisStreamAsSource", 1)] {
        let body = format!("{{\"DeliveryStreamType\":\"{of_type}\"}}");
        let (_, answer) = service.call("ListDeliveryStreams", body.as_bytes()).expect("it answers");
        let answer: serde_json::Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!(answer["DeliveryStreamNames"].as_array().map(Vec::len), Some(names));
    }
}

/// Nobody notices: whoever still means the old stream reads the new one, if the server lets him.
#[test]
fn a_stream_that_is_made_anew_between_two_looks_is_delivered_once() {
    for server in [KinesisLocal::start as fn() -> Server, Kinesalite::start, Moto::start] {
        let server = server();
        let kinesis = Kinesis::at(&server.endpoint());
        kinesis.create("s", 2);
        let proxy = Proxy::start(server.address);
        let settings = reads(&proxy.endpoint(), "");
        let settings =
            settings.replace("poll_interval: 200ms, shards_interval: 300ms", "poll_interval: 2s, shards_interval: 10s");
        let mut service = Service::start(&settings);
        kinesis.put("s", &numbered(0..50));
        settled(&mut service, 50);
        let asked = |operation: &str| proxy.calls_of(operation).len();
        let (looks, calls) = (asked("DescribeStreamSummary"), asked("GetRecords"));
        service.until("the stream was just looked at", |_| asked("DescribeStreamSummary") > looks);
        service.until("the shards were just asked", |_| asked("GetRecords") > calls + 1);
        kinesis.delete("s");
        kinesis.create("s", 2);
        kinesis.put("s", &numbered(50..120));
        // Some come when the stream is not looked at yet, and some after that.
        let looks = asked("DescribeStreamSummary");
        service.until("the stream was looked at", |_| asked("DescribeStreamSummary") > looks);
        kinesis.put("s", &numbered(120..150));
        settled(&mut service, 150);
        service.kill();
        service.restart();
        kinesis.put("s", &numbered(150..170));
        let lines = |s: &Service| -> usize {
            s.objects("out").iter().map(|(_, bytes)| bytes.iter().filter(|b| **b == b'\n').count()).sum()
        };
        service.until("what came last is delivered", |s| lines(s) >= 170);
        let objects = service.objects("out");
        let lines = objects.iter().flat_map(|(_, bytes)| bytes.split(|b| *b == b'\n')).filter(|line| !line.is_empty());
        let mut numbers: Vec<usize> = lines.map(number).collect();
        numbers.sort_unstable();
        // Not in order on moto, where an iterator of the old stream leads to somewhere within the new one.
        assert!(numbers == (0..170).collect::<Vec<_>>(), "each once: {numbers:?}");
    }
}
