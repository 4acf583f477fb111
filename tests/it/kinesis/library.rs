//! Lease tables that an application of the Kinesis Client Library has left, in every state in which it can.

use super::nodes::{World, assert_no_gap, objects, shares, wait_until};
use super::proxy::{Fault, Proxy};
use super::source::{assert_once_and_in_order, numbered};
use crate::service::Service;
use std::time::Duration;

/// The library makes the leases of children before it notes the end of their parent, and may end in between.
#[test]
fn parents_are_read_before_children_whoever_made_their_leases() {
    let world = World::new(1);
    let kinesis = world.client();
    let put = kinesis.put("s", &numbered(0..100));
    let parent = put[0].shard.clone();
    let [one, two] = kinesis.split("s", &parent);
    kinesis.put("s", &numbered(100..130));
    let of_one = kinesis.split("s", &one);
    kinesis.put("s", &numbered(130..160));
    let all = [&parent, &one, &two, &of_one[0], &of_one[1]];
    world.write_leases(&all.map(|shard| format!("{shard}=TRIM_HORIZON")));
    let proxy = Proxy::start(world.kinesis.address);
    // Whoever waits for nobody is long done with the children.
    proxy.next(1, "GetRecords", Some(&parent), Fault::Hold(Duration::from_secs(3)));
    let streams = shares(&proxy.endpoint(), &world.dynamodb.endpoint(), world.out.path(), "");
    let nodes = [Service::start(&streams)];
    world.until_delivered(160, &nodes);
    let read = |shard: &str| {
        let calls = proxy.calls_of("GetRecords");
        let times: Vec<_> = calls.iter().filter(|c| c.shard.as_deref() == Some(shard)).map(|c| c.at).collect();
        (times[0], times[times.len() - 1])
    };
    for (before, after) in [(&parent, &one), (&parent, &two), (&one, &of_one[0]), (&one, &of_one[1])] {
        assert!(read(before).1 < read(after).0, "{after} is read before the end of {before}");
    }
    wait_until("what was split is at its end", || {
        let ended = world.leases().into_iter().filter(|l| l.2 == "SHARD_END").count();
        ended == 2
    });
    assert_no_gap(&nodes);
    assert_once_and_in_order(&objects(world.out.path()), 160);
}
