//! Lease tables that an application of the Kinesis Client Library has left, in every state in which it can.

use super::nodes::{World, assert_no_gap, objects, says, shares, wait_until};
use super::source::{assert_once_and_in_order, number, numbered};
use crate::rig::kinesis::proxy::{Fault, Proxy};
use crate::rig::service::Service;
use std::collections::BTreeSet;
use std::time::Duration;

/// The library makes the leases of children before it notes the end of their parent, and may end in between.
#[test]
pub fn parents_are_read_before_children_whoever_made_their_leases() {
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

/// Whoever comes between would find a shard that has ended and nothing to go on with: the library does not look for more.
#[test]
fn the_leases_of_children_are_there_before_their_parents_says_that_it_has_ended() {
    let world = World::new(1);
    let parent = world.client().put("s", &numbered(0..23)).remove(0).shard;
    let proxy = Proxy::start(world.dynamodb.address);
    let nodes = [Service::start(&shares(&world.kinesis.endpoint(), &proxy.endpoint(), world.out.path(), ""))];
    world.until_delivered(23, &nodes);
    world.client().split("s", &parent);
    let ends = || {
        let calls = proxy.calls_of("UpdateItem");
        calls.into_iter().find(|c| c.request.to_string().contains("\"SHARD_END\"")).map(|c| c.at)
    };
    wait_until("the parent has ended", || ends().is_some());
    let made = proxy.calls_of("PutItem").into_iter().filter(|c| Some(c.at) < ends()).count();
    assert_eq!(made, 3, "the parent's and those of two children");
    world.client().put("s", &numbered(23..46));
    world.until_delivered(46, &nodes);
    assert_once_and_in_order(&objects(world.out.path()), 46);
}

#[test]
fn a_shard_comes_back_from_another_application_as_often_as_it_goes() {
    const AGGREGATE: usize = 7;
    const PUT: usize = 10 * AGGREGATE;
    let world = World::new(1);
    let mut node = world.node();
    let mut expected: BTreeSet<usize> = (0..PUT).collect();
    world.client().put_aggregates("s", &numbered(0..PUT), AGGREGATE);
    for round in 1..4 {
        world.until_delivered(expected.len(), std::slice::from_ref(&node));
        assert_eq!(node.terminate(), Some(0));
        let (first, last) = (round * PUT, (round + 1) * PUT);
        let put = world.client().put_aggregates("s", &numbered(first..last), AGGREGATE);
        // The other one has read two aggregates and three records of the next.
        let read = 2 * AGGREGATE + 3;
        world.table("checkpoint", &[format!("{}={}/2", put[2].shard, put[2].sequence_number)]);
        expected.extend(first + read..last);
        node.restart();
    }
    world.until_delivered(expected.len(), std::slice::from_ref(&node));
    let found = objects(world.out.path());
    let lines = found.iter().flat_map(|(_, bytes)| bytes.split(|b| *b == b'\n')).filter(|line| !line.is_empty());
    assert_eq!(lines.map(number).collect::<BTreeSet<_>>(), expected);
    assert_no_gap(std::slice::from_ref(&node));
    assert_eq!(node.status("r").alarm, None);
    let (code, text) = node.command(&["audit", "--deep"]);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn a_table_of_several_streams_is_named_and_left_alone() {
    let world = World::new(1);
    world.write_leases(&["000000000000:s:1700000000:shardId-000000000000=TRIM_HORIZON".to_owned()]);
    let node = world.node();
    wait_until("it says what it found", || says(&node, "where one application reads several streams"));
    assert_eq!(world.leases().len(), 1);
}

/// The library fails for ever where it finds `AT_TIMESTAMP`, which Hydrant wrote for what is read from `latest` on.
#[test]
fn a_shard_that_was_left_with_no_place_of_the_librarys_gets_one() {
    let world = World::new(1);
    let streams = shares(&world.kinesis.endpoint(), &world.dynamodb.endpoint(), world.out.path(), "");
    let mut node = Service::start(&streams.replace("start: trim_horizon", "start: latest"));
    node.until("the shard is read", |s| s.status("r").shards.len() == 1);
    assert_eq!(node.terminate(), Some(0));
    let shard = world.leases().remove(0).0;
    world.table("checkpoint", &[format!("{shard}=AT_TIMESTAMP/0")]);
    node.restart();
    wait_until("it has a place", || world.leases()[0].2 == "TRIM_HORIZON");
    // Nothing that came meanwhile is missed.
    world.client().put("s", &numbered(0..23));
    world.until_delivered(23, std::slice::from_ref(&node));
    assert_eq!(node.status("r").alarm, None);
}
