//! Tests of a shard as a lane.

use super::*;
use crate::error::Kind;
use crate::lane::{Cursor, Lane, Read};
use crate::source::room::ReadRoom;

fn taken(n: u64, arrival_ms: u64) -> Taken<'static> {
    let position = Position { sequence: n.to_string().into(), sub_sequence: 0 };
    Taken {
        data: b"record",
        origin: Origin { shard: "shard".into(), position, partition_key: "key".into() },
        arrival_ms,
    }
}

fn offsets(shard: &Shard, from: u64) -> Vec<(u64, u64)> {
    let (mut cursor, mut found) = (Cursor::at(from), Vec::new());
    while let Read::Frame(frame) = shard.read(&mut cursor).unwrap() {
        found.push((frame.first, frame.end()));
    }
    found
}

#[test]
fn records_are_counted_from_where_it_begins_and_kept_until_every_track_has_passed() {
    let after = Position { sequence: "7".into(), sub_sequence: 3 };
    let shard = Shard::new(&Start::After { offset: 40, position: after }, 50);
    assert_eq!((shard.durable(), shard.accepted(), shard.records_from(40)), (40, 50, 10));
    shard.push([taken(8, 1), taken(9, 1), taken(10, 2)], None);
    assert_eq!(offsets(&shard, 40), [(40, 42), (42, 43)]);
    assert_eq!(offsets(&shard, 41), [(40, 42), (42, 43)]);
    assert_eq!((shard.durable(), shard.accepted()), (43, 50));
    shard.trim_tail(42, 100);
    assert_eq!(offsets(&shard, 42), [(42, 43)]);
    assert_eq!(shard.read(&mut Cursor::at(41)).err().map(|e| e.kind), Some(Kind::Bug));
}

#[test]
fn what_has_expired_is_lost_and_what_is_there_is_behind_it() {
    let after = Position { sequence: "7".into(), sub_sequence: 3 };
    let shard = Shard::new(&Start::After { offset: 40, position: after }, 50);
    shard.push([taken(8, 1), taken(9, 1)], None);
    shard.pass_known();
    shard.push([taken(30, 2)], None);
    assert_eq!(offsets(&shard, 50), [(50, 51)]);
    let mut cursor = Cursor::at(40);
    assert!(matches!(shard.read(&mut cursor), Ok(Read::Frame(frame)) if frame.end() == 42));
    assert!(matches!(shard.read(&mut cursor), Ok(Read::Lost { from: 42, to: 50 })));
    assert!(matches!(shard.read(&mut cursor), Ok(Read::Frame(frame)) if frame.first == 50));
    assert!(!shard.is_behind_plans());
    shard.reached_end();
    assert_eq!(shard.anchor(51), Some(Start::End { offset: 51 }));
}

#[test]
fn it_begins_again_behind_a_record_that_is_settled_and_never_before_one_that_is_not() {
    let shard = Shard::new(&Start::TrimHorizon, 0);
    assert_eq!(shard.anchor(0), None);
    for n in 0..5000 {
        shard.push([taken(n, n)], None);
    }
    let anchor = |low| match shard.anchor(low) {
        Some(Start::After { offset, position }) => {
            assert_eq!(position.sequence.parse::<u64>().unwrap() + 1, offset);
            offset
        }
        other => panic!("{other:?}"),
    };
    for low in [1, 999, 1500, 4999, 5000] {
        let offset = anchor(low);
        assert!(offset <= low && low - offset <= ANCHOR_RECORDS, "{offset} for {low}");
    }
    assert_eq!(anchor(5000), 5000);
    shard.recycle(3000).unwrap();
    assert!(anchor(3000) > 1900);
    shard.reached_end();
    assert_eq!(anchor(4999), anchor(4999));
    assert_eq!(shard.anchor(5000), Some(Start::End { offset: 5000 }));
}

#[tokio::test]
async fn a_stalled_lane_leaves_others_room() {
    let room = ReadRoom::new(64 << 10, Default::default());
    let stuck = Shard::new(&Start::TrimHorizon, 0);
    stuck.hold_at_most(room.part_bytes_max());
    stuck.trim_tail(0, 1 << 30);
    let mut n = 0;
    let has_room = || stuck.state().has_room();
    while has_room() {
        stuck.push([taken(n, n)], Some(room.take(1 << 10).await));
        n += 1;
    }
    // Nothing of it is read, and there is room for another's answer, however large.
    drop(room.take(usize::MAX).await);
    stuck.let_go();
    assert_eq!((stuck.records_from(0), stuck.state().frames.len()), (n, 0));
    let all = [room.take(usize::MAX).await, room.take(usize::MAX).await, room.take(usize::MAX).await];
    drop((room.take(usize::MAX).await, all));
    stuck.push([taken(n, n)], None);
    assert_eq!(stuck.state().frames.len(), 0, "who is gone takes nothing more");
}

#[tokio::test]
async fn reading_waits_for_room() {
    let shard = Shard::new(&Start::TrimHorizon, 0);
    shard.trim_tail(0, 50);
    assert!(shard.has_room().await);
    shard.push([taken(1, 1), taken(2, 1)], None);
    let waiting = tokio::spawn({
        let shard = shard.clone();
        async move { shard.has_room().await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    shard.trim_tail(2, 50);
    assert!(waiting.await.unwrap());
    shard.close();
    assert!(!shard.has_room().await);
}
