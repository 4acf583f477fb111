//! Records that were acknowledged and that the medium lost: they are accounted for, exactly, and cost no others. And a disk
//! that is full when a stream is opened: what it holds is delivered, which makes room.

use crate::stream::model::{DIR, Life, World};
use hydrant::deliver::Attempt;
use hydrant::fs::{Fs, read};
use hydrant::journal::Put;
use hydrant::record::{EntryPoint, Records};
use hydrant::stream::engine::Progress;
use hydrant::stream::plan::{Outlet, Plan};
use std::path::Path;

/// Puts records that are delivered as they are, three to a frame, and plans all of them.
fn planned(world: &mut World, records: u64) -> Life {
    let mut life = world.start().unwrap();
    for first in (0..records).step_by(3) {
        let mut batch = Records::default();
        for number in first..(first + 3).min(records) {
            world.records.insert(number, (b'p', true));
            batch.push(format!("{number:05}p").as_bytes());
        }
        let put = Put { arrival_ms: 1_790_000_000_000, entry: EntryPoint::Source, batch };
        world.commit(&mut life, put);
    }
    while life.engine.step().unwrap() == Progress::Busy {}
    life.engine.flush().unwrap();
    life
}

/// Flips a bit of the record with this number in the journal.
fn damage(world: &World, number: u64) {
    let text = format!("{number:05}p");
    let dir = Path::new(DIR);
    for name in world.fs.list(dir).unwrap().into_iter().filter(|n| n.ends_with(".seg")) {
        let bytes = read(&world.fs, &dir.join(&name)).unwrap();
        if let Some(at) = memchr::memmem::find(&bytes, text.as_bytes()) {
            return world.fs.flip_bit(&dir.join(name), at);
        }
    }
    panic!("record {number} is in no segment");
}

/// Counts at rest: delivered, lost, the gap.
fn counts(life: &Life) -> (u64, u64, i64) {
    let totals = life.engine.state().totals;
    (totals[Outlet::Destination as usize].records, totals[Outlet::Lost as usize].records, life.engine.gap())
}

#[test]
fn a_damaged_record_in_an_open_plan_costs_its_frame_and_nothing_else() {
    for seed in 0..20 {
        let mut world = World::of_objects(seed);
        drop(planned(&mut world, 12));
        world.fs = world.fs.after_kill();
        damage(&world, 4);
        let life = world.drain().unwrap();
        assert_eq!(counts(&life), (9, 3, 0), "seed {seed}: {:?}", life.engine.alarms());
        let mut delivered = world.delivered();
        delivered.sort();
        assert_eq!(delivered, [0, 1, 2, 6, 7, 8, 9, 10, 11], "seed {seed}");
        assert!(life.engine.alarms()[0].detail.contains("records 3 to 5"), "{:?}", life.engine.alarms());
        // A restart finds the same account.
        drop(life);
        let life = world.drain().unwrap();
        assert_eq!(counts(&life), (9, 3, 0), "seed {seed}");
    }
}

#[test]
fn a_damaged_record_whose_object_is_in_the_store_is_delivered() {
    for seed in 0..20 {
        let mut world = World::of_objects(seed);
        world.bucket.lock().unwrap().faults = 0;
        let mut life = planned(&mut world, 12);
        // All objects are stored, and the process dies before it hears of it.
        world.send_and_forget(&mut life);
        drop(life);
        world.fs = world.fs.after_kill();
        damage(&world, 4);
        let life = world.drain().unwrap();
        assert_eq!(counts(&life), (12, 0, 0), "seed {seed}");
        let mut delivered = world.delivered();
        delivered.sort();
        assert_eq!(delivered, (0..12).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_stream_whose_records_are_all_damaged_goes_on() {
    let mut world = World::new(1);
    drop(planned(&mut world, 3));
    world.fs = world.fs.after_kill();
    damage(&world, 1);
    let mut life = world.drain().unwrap();
    assert_eq!(counts(&life), (0, 3, 0));
    world.put_plain(&mut life, 99).unwrap();
    drop(life);
    assert_eq!(counts(&world.drain().unwrap()), (1, 3, 0));
}

/// Plans that were given up on, and records of them lost before their error records are anywhere: what is left fails, and
/// what is gone is lost, not failed.
#[test]
fn a_damaged_record_in_a_plan_that_was_given_up_on_is_lost_and_the_others_fail() {
    for seed in 0..20 {
        let mut world = World::of_records(seed);
        let mut life = planned(&mut world, 12);
        let refused = Attempt::Refused { code: "c".into(), message: "m".into(), busy: false, instead: None };
        let goes_there = |plan: &Plan| plan.outlet == Outlet::Destination && plan.abandoned.is_none();
        while life.engine.state().plans.values().any(goes_there) {
            for (_, store, shipment) in life.engine.shipments() {
                if store == "http-endpoint" {
                    life.engine.reply(shipment.plan, refused.clone());
                }
            }
            life.engine.abandon();
            life.engine.step().unwrap();
        }
        drop(life);
        world.fs = world.fs.after_kill();
        damage(&world, 4);
        // A restart finds the same account.
        for _ in 0..2 {
            let life = world.drain().unwrap();
            let failed = life.engine.state().totals[Outlet::DeliveryFailed as usize].records;
            assert_eq!((failed, counts(&life)), (9, (0, 3, 0)), "seed {seed}: {:?}", life.engine.alarms());
            let mut undelivered = world.undelivered();
            undelivered.sort();
            assert_eq!(undelivered, [0, 1, 2, 6, 7, 8, 9, 10, 11], "seed {seed}");
        }
    }
}

/// A disk without a block to spare, at every opening: delivering, marking and trimming need none, and then there is room.
#[test]
pub fn a_full_disk_opens_and_delivers_what_it_holds() {
    for seed in 0..20 {
        let mut world = World::of_objects(seed);
        world.definition = "s3://model 0".into();
        let mut life = world.start().unwrap();
        let mut taken = 0;
        world.fs.set_capacity(Some(400_000));
        while world.try_put_plain(&mut life, taken) {
            taken += 1;
        }
        assert!(taken > 20, "seed {seed}: {taken}");
        drop(life);
        for _ in 0..3 {
            world.fs = world.fs.after_kill();
            let full = world.fs.used();
            world.fs.set_capacity(Some(full));
            drop(world.start().unwrap_or_else(|e| panic!("seed {seed}: a full disk is not opened: {e}")));
            assert!(world.fs.used() <= full, "seed {seed}: opening took room");
        }
        world.fs = world.fs.after_kill();
        // The backup goes to a directory on the same disk, and has room for its records.
        world.fs.set_capacity(Some(world.fs.used() + 16 * taken));
        let mut life = world.drain().unwrap();
        assert_eq!(counts(&life), (taken, 0, 0), "seed {seed}: {:?}", life.engine.alarms());
        assert!(world.try_put_plain(&mut life, taken), "seed {seed}: there is room again");
    }
}

/// A restart takes nothing of a budget, however often it comes.
#[test]
fn restarts_do_not_use_up_a_disk() {
    let mut world = World::of_objects(3);
    world.definition = "s3://model 0".into();
    let mut used = Vec::new();
    for number in 0..12 {
        let mut life = world.start().unwrap();
        world.put_plain(&mut life, number).unwrap();
        drop(life);
        world.fs = world.fs.after_kill();
        drop(world.start().unwrap());
        drop(world.drain().unwrap());
        used.push(world.fs.used());
    }
    assert!(used[11] <= used[3] + 16384, "{used:?}");
}
