//! Answers that lack what AWS always sends: they end no shard, begin no other life of a stream, lose and double no record,
//! and are spoken of. The cases follow from real answers: each member missing, null, empty, of another type.

use super::nodes::{World, assert_no_gap, objects, shares, wait_until};
use super::source::{assert_each_once_and_in_order, assert_once_and_in_order, numbered, one_shard, reads, settled};
use crate::rig::kinesis::client::Kinesis;
use crate::rig::kinesis::proxy::{EVENT, Fault, Proxy};
use crate::rig::kinesis::servers::KinesisLocal;
use crate::rig::service::{Service, scale};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// An operation's answer that is to be changed, in one way.
#[derive(Clone, Debug)]
struct Case {
    path: Vec<String>,
    put: Option<Value>,
}

/// Every member of an answer, and the answer itself, missing, null, empty, and of another type.
fn cases(answer: &Value) -> Vec<Case> {
    let mut found = Vec::new();
    collect(answer, &mut Vec::new(), &mut found);
    found
}

fn collect(value: &Value, path: &mut Vec<String>, found: &mut Vec<Case>) {
    let (empty, other) = match value {
        Value::String(_) => (Some(json!("")), json!(7)),
        Value::Array(_) => (Some(json!([])), json!("x")),
        Value::Object(_) => (Some(json!({})), json!(7)),
        _ => (None, json!("x")),
    };
    // Members of other operations, which kinesis-local sends along as nothing.
    if value.is_null() {
        return;
    }
    let missing = (!path.is_empty() && path.last().is_some_and(|name| name != "*")).then_some(None);
    let puts = missing.into_iter().chain([Some(Value::Null), Some(other)]).chain(empty.map(Some));
    found.extend(puts.map(|put| Case { path: path.clone(), put }));
    let members: Vec<(&str, &Value)> = match value {
        Value::Array(all) => all.first().map(|one| ("*", one)).into_iter().collect(),
        Value::Object(members) => members.iter().map(|(name, one)| (name.as_str(), one)).collect(),
        _ => Vec::new(),
    };
    for (name, one) in members {
        path.push(name.to_owned());
        collect(one, path, found);
        path.pop();
    }
}

/// Members that are of use to nobody here, or that AWS itself leaves out or sends empty.
fn is_of_no_use(operation: &str, case: &Case) -> bool {
    let name = case.path.last().map_or("", String::as_str);
    let is_left_out = case.put.as_ref().is_none_or(Value::is_null);
    let is_empty = matches!(&case.put, Some(Value::String(text)) if text.is_empty());
    let unused = [
        "ConsumerCreationTimestamp",
        "ConsumerName",
        "Tags",
        "EncryptionType",
        "EnhancedMonitoring",
        "KeyId",
        "OpenShardCount",
        "ConsumerCount",
        "StreamName",
        "StreamModeDetails",
        "StreamStatus",
        "WarmThroughput",
        "MaxRecordSizeInKiB",
    ];
    if case.path.iter().any(|name| unused.contains(&name.as_str())) {
        return true;
    }
    match name {
        "StreamARN" => operation != "DescribeStreamSummary",
        // A record without a key is one.
        "PartitionKey" => is_left_out || is_empty,
        // Only at the end of a shard, or of a page.
        "ChildShards" | "NextToken" => is_left_out || matches!(&case.put, Some(Value::Array(_))),
        // Of an open shard.
        "EndingSequenceNumber" | "ParentShardId" | "AdjacentParentShardId" => is_left_out,
        _ => false,
    }
}

/// Answers that are whole: without records, or with a record of no bytes. What they lack nobody can see.
fn is_whole(case: &Case) -> bool {
    match (case.path.last().map_or("", String::as_str), &case.put) {
        ("Records", Some(Value::Array(_))) => true,
        ("Data", Some(Value::String(text))) => text.is_empty(),
        _ => false,
    }
}

/// How often answers were found that cannot be what the service sends.
fn spoken_of(service: &Service) -> u64 {
    let (_, page) = service.get("/metrics").expect("it answers");
    let page = String::from_utf8_lossy(&page).into_owned();
    let of_line = |line: &str| line.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok());
    page.lines().filter(|line| line.starts_with("hydrant_kinesis_answers_unfit")).filter_map(of_line).sum()
}

#[test]
fn an_answer_that_lacks_what_is_always_sent_ends_no_shard_and_is_spoken_of() {
    are_changed("", &["GetRecords", "ListShards", "DescribeStreamSummary", "GetShardIterator"], 1);
}

/// The same of a consumer: what it is sent, and what is said of it.
#[test]
fn an_event_that_lacks_what_is_always_sent_ends_no_shard_and_is_spoken_of() {
    are_changed(", consumer: c", &[EVENT, "DescribeStreamConsumer"], (0.3 / scale()).ceil() as usize);
}

/// Changes answers of these operations, one in `step` of the cases that follow from each. `more`: settings of the source.
fn are_changed(more: &str, operations: &[&'static str], step: usize) {
    let server = KinesisLocal::start();
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 2);
    let (mut put, mut silent) = (0, Vec::new());
    let mut next = |kinesis: &Kinesis| {
        kinesis.put("s", &numbered(put..put + 23));
        put += 23;
        put
    };
    // A closed shard, and its children.
    let parent = kinesis.shards("s")[0].shard_id().to_owned();
    next(&kinesis);
    kinesis.split("s", &parent);
    let proxy = Proxy::start(server.address);
    proxy.refuse_subscriptions_for(Duration::ZERO);
    let looks_often = |text: String| text.replace("shards_interval: 300ms", "shards_interval: 100ms");
    let mut service = Service::start(&looks_often(reads(&proxy.endpoint(), more)));
    let records = next(&kinesis) as u64;
    settled(&mut service, records);
    let mut met = 0;
    for &operation in operations {
        let has_records = [EVENT, "GetRecords"].contains(&operation);
        // One with records has the most members.
        let began = Instant::now();
        let answer = loop {
            if has_records {
                next(&kinesis);
            }
            let answer = proxy.last_answer(operation).expect("it was asked for");
            if !has_records || answer["Records"].as_array().is_some_and(|r| !r.is_empty()) {
                break answer;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "no answer has records");
            std::thread::sleep(Duration::from_millis(5));
        };
        for case in cases(&answer).into_iter().filter(|case| !is_whole(case)).step_by(step) {
            let before = spoken_of(&service);
            if operation == "GetShardIterator" {
                // Only whoever has to begin again asks for one.
                proxy.next(1, "GetRecords", None, Fault::Error("ExpiredIteratorException"));
            }
            next(&kinesis);
            let fault = proxy.next_with_records(operation, Fault::Member(case.path.clone(), case.put.clone()));
            service.until("the answer was changed", |_| proxy.struck(fault) == 1);
            met += 1;
            if is_of_no_use(operation, &case) {
                continue;
            }
            let began = Instant::now();
            while spoken_of(&service) == before && began.elapsed() < Duration::from_secs(2) {
                std::thread::sleep(Duration::from_millis(10));
            }
            if spoken_of(&service) == before {
                silent.push((operation, case));
            }
        }
    }
    let records = next(&kinesis);
    settled(&mut service, records as u64);
    assert_each_once_and_in_order(&service, records);
    assert!(silent.is_empty(), "nothing was said of {silent:#?}");
    let shards = service.status("r").shards;
    let done: Vec<&String> = shards.iter().filter(|(_, s)| s.state == "done").map(|(id, _)| id).collect();
    assert_eq!((shards.len(), done), (4, vec![&parent]), "one life, one shard at its end: {shards:?}");
    service.until("what is over is no alarm any more", |s| s.status("r").alarm.is_none());
    println!("{met} answers were changed, {records} records, each once");
}

/// A closed shard's last answer looks the same.
#[test]
pub fn answers_that_name_no_iterator_end_no_shard_that_is_open() {
    let (_server, kinesis, proxy) = one_shard();
    let mut service = Service::start(&reads(&proxy.endpoint(), ""));
    kinesis.put("s", &numbered(0..20));
    settled(&mut service, 20);
    // More than one in a row, at the same place.
    let fault = proxy.next(3, "GetRecords", None, Fault::Member(vec!["NextShardIterator".to_owned()], None));
    service.until("an answer was changed", |_| proxy.struck(fault) > 0);
    kinesis.put("s", &numbered(20..40));
    let is_done = |s: &Service| s.status("r").shards.values().any(|shard| shard.state == "done");
    service.until("the rest is read, or never will be", |s| {
        is_done(s) || s.status("r").accepted == 40 && proxy.struck(fault) == 3
    });
    assert!(!is_done(&service), "the shard is open");
    settled(&mut service, 40);
    assert_each_once_and_in_order(&service, 40);
    service.until("what is over is no alarm any more", |s| s.status("r").alarm.is_none());
}

/// What a table answers decides who reads what, and from where.
#[test]
fn an_answer_of_the_table_that_lacks_what_is_always_sent_has_nothing_read_twice() {
    let world = World::new(1);
    let parent = world.client().put("s", &numbered(0..23)).remove(0).shard;
    let proxy = Proxy::start(world.dynamodb.address);
    let nodes = [Service::start(&shares(&world.kinesis.endpoint(), &proxy.endpoint(), world.out.path(), ""))];
    world.until_delivered(23, &nodes);
    world.client().split("s", &parent);
    wait_until("the children are read", || world.leases().len() == 3);
    // The library removes the lease of a parent that was read: only those of its children say so then.
    world.table("forget", &[parent]);
    wait_until("it is seen", || {
        proxy.last_answer("Scan").is_some_and(|answer| answer["Items"].as_array().is_some_and(|rows| rows.len() == 2))
    });
    let all = cases(&proxy.last_answer("Scan").expect("it was asked for"));
    let some = all.iter().step_by((0.3 / scale()).ceil() as usize);
    let mut records = 23;
    for case in some {
        world.client().put("s", &numbered(records..records + 23));
        records += 23;
        let fault = proxy.next(1, "Scan", None, Fault::Member(case.path.clone(), case.put.clone()));
        wait_until("the answer was changed", || proxy.struck(fault) == 1);
    }
    world.until_delivered(records, &nodes);
    wait_until("what is over is no alarm any more", || nodes[0].status("r").alarm.is_none());
    assert_no_gap(&nodes);
    assert_once_and_in_order(&objects(world.out.path()), records);
    println!("{} answers, {records} records, each once", all.len());
}

/// The same of what is asked when a node starts: whether the table is there, and how a shard's lane stood.
#[test]
fn an_answer_at_a_start_that_lacks_what_is_always_sent_has_nothing_read_twice() {
    let world = World::new(1);
    let proxy = Proxy::start(world.dynamodb.address);
    let mut nodes = [Service::start(&shares(&world.kinesis.endpoint(), &proxy.endpoint(), world.out.path(), ""))];
    world.client().put("s", &numbered(0..23));
    world.until_delivered(23, &nodes);
    // A start reads what a life before has left.
    nodes[0].terminate();
    nodes[0].restart();
    wait_until("all is asked for", || ["GetItem", "DescribeTable"].iter().all(|op| proxy.last_answer(op).is_some()));
    let (mut records, mut met) = (23, 0);
    for operation in ["GetItem", "DescribeTable", "UpdateItem"] {
        let all = cases(&proxy.last_answer(operation).expect("it was asked for"));
        for case in all.iter().step_by((1.0 / scale()).ceil() as usize) {
            nodes[0].terminate();
            world.client().put("s", &numbered(records..records + 23));
            records += 23;
            let fault = proxy.next(1, operation, None, Fault::Member(case.path.clone(), case.put.clone()));
            nodes[0].restart_until("/healthz");
            wait_until("the answer was changed", || proxy.struck(fault) == 1);
            world.until_delivered(records, &nodes);
            met += 1;
        }
    }
    wait_until("what is over is no alarm any more", || nodes[0].status("r").alarm.is_none());
    assert_no_gap(&nodes);
    assert_once_and_in_order(&objects(world.out.path()), records);
    println!("{met} answers, {records} records, each once");
}

/// What is answered when a consumer is registered, once for each: its records come by polling or by subscription.
#[test]
fn an_answer_to_a_registration_that_lacks_what_is_always_sent_costs_no_record() {
    let (_server, kinesis, proxy) = one_shard();
    let with = |consumer: &str| reads(&proxy.endpoint(), &format!(", consumer: {consumer}"));
    let mut service = Service::start(&with("first"));
    kinesis.put("s", &numbered(0..5));
    settled(&mut service, 5);
    let all = cases(&proxy.last_answer("RegisterStreamConsumer").expect("it was asked for"));
    // A stream has twenty consumers at most.
    let every = (1.0 / scale()).max(all.len() as f64 / 15.0).ceil() as usize;
    let mut records = 5;
    for (i, case) in all.iter().step_by(every).enumerate() {
        service.terminate();
        service.configure("", &with(&format!("c{i}")));
        let fault = proxy.next(1, "RegisterStreamConsumer", None, Fault::Member(case.path.clone(), case.put.clone()));
        service.restart_until("/healthz");
        service.until("the answer was changed", |_| proxy.struck(fault) == 1);
        kinesis.put("s", &numbered(records..records + 5));
        records += 5;
        settled(&mut service, records as u64);
    }
    service.until("what is over is no alarm any more", |s| s.status("r").alarm.is_none());
    assert_each_once_and_in_order(&service, records);
}
