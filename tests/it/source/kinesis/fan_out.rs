//! Records that are to be sent (enhanced fan-out) and are not: they are asked for, whatever the reason, for as long as it holds.

use super::source::{assert_each_once_and_in_order, numbered, one_shard, reads, settled};
use crate::rig::kinesis::client::Kinesis;
use crate::rig::kinesis::proxy::{EVENT, Fault};
use crate::rig::kinesis::servers::{Kinesalite, KinesisLocal, Server};
use crate::rig::service::Service;

#[test]
fn a_shard_is_polled_while_fan_out_does_not_work_and_subscribed_to_again_when_it_does() {
    let (_server, kinesis, proxy) = one_shard();
    proxy.refuse_subscriptions_for(std::time::Duration::ZERO);
    let mut service = Service::start(&reads(&proxy.endpoint(), ", consumer: c"));
    let mut put = 0;
    let mut deliver = |service: &mut Service| {
        kinesis.put("s", &numbered(put..put + 50));
        put += 50;
        settled(service, put as u64);
        put
    };
    deliver(&mut service);
    let faults = [
        ("SubscribeToShard", Fault::Status(502)),
        ("SubscribeToShard", Fault::Status(405)),
        ("SubscribeToShard", Fault::Error("InternalFailure")),
        ("SubscribeToShard", Fault::Error("UnknownOperationException")),
        ("SubscribeToShard", Fault::Reset),
        ("SubscribeToShard", Fault::LoseAnswer),
        // Events that lack what is always there.
        (EVENT, Fault::Member(vec![], Some(serde_json::json!({})))),
        (EVENT, Fault::Member(vec!["Records".into()], None)),
        (EVENT, Fault::Member(vec!["ContinuationSequenceNumber".into()], None)),
    ];
    for (operation, fault) in faults {
        let asked = proxy.calls_of("GetRecords").len();
        let keeps = proxy.always(operation, None, fault.clone());
        proxy.break_subscriptions();
        service.until(&format!("{fault:?} is met"), |_| proxy.struck(keeps) > 0);
        deliver(&mut service);
        assert!(proxy.calls_of("GetRecords").len() > asked, "{fault:?}");
        proxy.take_back(keeps);
        let sent = proxy.calls_of(EVENT).len();
        service.until(&format!("after {fault:?} they are sent again"), |_| proxy.calls_of(EVENT).len() > sent);
        deliver(&mut service);
    }
    let records = deliver(&mut service);
    assert_each_once_and_in_order(&service, records);
    service.until("what is over is no alarm any more", |s| s.status("r").alarm.is_none());
    let (_, metrics) = service.get("/metrics").expect("it answers");
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    assert!(metrics.contains("hydrant_kinesis_asked_instead{DeliveryStreamName=\"r\"}"), "{metrics}");
}

/// kinesis-local sends no end of a closed shard, and kinesalite nothing at all.
#[test]
fn the_end_of_a_shard_is_found_also_where_it_is_never_sent() {
    for server in [KinesisLocal::start as fn() -> Server, Kinesalite::start] {
        through_a_split_and_a_merge(&server(), ", consumer: c");
    }
}

#[test]
fn shards_of_another_server_are_read_to_their_ends() {
    through_a_split_and_a_merge(&Kinesalite::start(), "");
}

fn through_a_split_and_a_merge(server: &Server, more: &str) {
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    let mut service = Service::start(&reads(&server.endpoint(), more));
    let parent = kinesis.shards("s")[0].shard_id().to_owned();
    kinesis.put("s", &numbered(0..100));
    settled(&mut service, 100);
    let [one, two] = kinesis.split("s", &parent);
    kinesis.put("s", &numbered(100..200));
    settled(&mut service, 200);
    let child = kinesis.merge("s", &one, &two);
    kinesis.put("s", &numbered(200..300));
    settled(&mut service, 300);
    assert_each_once_and_in_order(&service, 300);
    let shards = service.status("r").shards;
    let open: Vec<&String> = shards.iter().filter(|(_, s)| s.state != "done").map(|(id, _)| id).collect();
    assert_eq!((shards.len(), open), (4, vec![&child]), "{shards:?}");
    assert_eq!(service.status("r").alarm, None);
}
