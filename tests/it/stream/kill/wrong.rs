//! Wrong builds: each breaks one rule of the protocol, and some kill of those aimed at it must show that.
//!
//! Not here, since `kill -9` leaves the page cache alone: `no_sync`, `read_past_durable`, `plan_not_synced`,
//! `plan_log_used_as_found`, `tail_unsynced`. Nor `look_failed_is_foreign`, for which a look has to fail, nor
//! `plan_id_from_offsets`, for which a disk has to be replaced. `crash_states` shows all of them.

use super::aim::{Aim, live, redeem};
use super::load::{self, Load, STREAMS};
use super::record::Kind;
use super::world::{PATIENCE, World};
use std::time::{Duration, Instant};

/// Worlds in which a wrong build gets a chance to go unnoticed. Most are noticed in the first; a journal that is trimmed too
/// early (`recycle_before_low`) in one of five, since what the destination has stored needs no record any more.
const TRIES: u64 = 50;

type Scene = fn(&mut World) -> Result<(), String>;

const SCENES: [(&str, Scene, &[&str]); 10] = [
    ("planned", planned, &["encoder_loses_a_row", "drop_counted_twice", "open_plans_record_skipped"]),
    ("stored", stored, &["upload_before_plan", "upload_without_condition"]),
    ("marked", marked, &["mark_before_reply", "low_passes_incomplete", "one_output_is_all"]),
    ("acked", acked, &["ack_before_sync"]),
    ("changed", changed, &["epoch_not_persisted", "epoch_from_reader", "epochs_share_a_buffer"]),
    ("recycled", recycled, &["recycle_before_low"]),
    ("noted", noted, &["ledger_line_before_mark"]),
    ("slow", slow, &["bound_record_judged_again"]),
    ("full", full, &["cap_stops_all_reading"]),
    ("foreign", foreign, &["taken_is_success", "rename_not_persisted"]),
];

const TWICE: Load = Load::only(&[(Kind::Twice, 1), (Kind::Keyed, 1)], 2, 6, 20);

fn planned(world: &mut World) -> Result<(), String> {
    for n in [2, 4] {
        live(world, Aim::At("plan.persisted", n), None, &Load::MIXED)?;
    }
    world.settle(false).map(drop)
}

fn stored(world: &mut World) -> Result<(), String> {
    for n in [1, 9] {
        live(world, Aim::At("upload.stored", n), None, &Load::MIXED)?;
    }
    world.settle(false).map(drop)
}

fn marked(world: &mut World) -> Result<(), String> {
    let load = Load::only(&[(Kind::Twice, 1)], 2, 6, 20);
    for n in 1..=6 {
        live(world, Aim::At("mark.persisted", n), None, &load)?;
    }
    world.settle(false).map(drop)
}

/// Large puts, so that it takes a while until what was acknowledged too early is in the page cache.
fn acked(world: &mut World) -> Result<(), String> {
    let load = Load { big: 1000, ..Load::only(&[(Kind::Keyed, 1)], 2, 10, 60) };
    for n in [2, 4, 6, 8] {
        live(world, Aim::Acked(n), None, &load)?;
    }
    world.settle(false).map(drop)
}

/// The configuration changes under load, and then while the process is stopped and plans are open.
fn changed(world: &mut World) -> Result<(), String> {
    let second = Duration::from_secs(1);
    live(world, Aim::After(second), Some(second / 3), &Load { puts: 40, pause: 40, ..TWICE })?;
    world.settle(false)?;
    world.settings.reachable = false;
    world.configure();
    let mut life = world.start(None)?.ok_or("killed by nobody")?;
    let mut rng = world.rng.fork();
    load::start(&TWICE, life.api, &world.known, &mut rng, None).join()?;
    until_open(world, &mut life, 2)?;
    world.kill(life);
    world.settings.reachable = true;
    world.toggle();
    world.settle(false).map(drop)
}

fn recycled(world: &mut World) -> Result<(), String> {
    let load = Load { big: 500, ..Load::MIXED };
    let aims = [Aim::At("journal.recycled", 1), Aim::SegmentGone, Aim::At("journal.recycled", 2), Aim::SegmentGone];
    for aim in aims {
        live(world, aim, None, &load)?;
        // Later lives would cover up what this one left behind.
        world.settle(false)?;
    }
    Ok(())
}

fn noted(world: &mut World) -> Result<(), String> {
    for _ in 0..3 {
        live(world, Aim::LedgerLine, None, &Load::MIXED)?;
        if let (false, text) = world.audit(false)? {
            return Err(format!("audit: {text}"));
        }
    }
    world.settle(false).map(drop)
}

/// Records in open plans run out of time in the next life, and not in the one after.
fn slow(world: &mut World) -> Result<(), String> {
    world.settings.timeout_ms = 5000;
    world.settings.reachable = false;
    world.configure();
    let mut life = world.start(None)?.ok_or("killed by nobody")?;
    let mut rng = world.rng.fork();
    load::start(&Load::only(&[(Kind::Slow, 1)], 1, 2, 3), life.api, &world.known, &mut rng, None).join()?;
    until_open(world, &mut life, 1)?;
    world.kill(life);
    world.settings.timeout_ms = 10;
    world.settings.reachable = true;
    world.configure();
    let mut life = world.start(None)?.ok_or("killed by nobody")?;
    let began = Instant::now();
    loop {
        let statuses = world.statuses(&life);
        world.sound(&statuses)?;
        // It runs out of time, as it has to.
        if statuses.iter().any(|s| s.alarm.is_some()) || world.ended(&mut life)? {
            break;
        }
        if began.elapsed() > PATIENCE {
            return Err("a record in an open plan ran out of time, and nobody was told".into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    world.kill(life);
    world.settings.timeout_ms = 5000;
    world.configure();
    world.settle(false).map(drop)
}

/// More plans are open than may be: below the frontier records are read all the same.
fn full(world: &mut World) -> Result<(), String> {
    world.settings.interval_ms = 30;
    world.settings.reachable = false;
    world.configure();
    let mut life = world.start(None)?.ok_or("killed by nobody")?;
    let mut rng = world.rng.fork();
    let load = Load { pause: 40, ..Load::only(&[(Kind::Keyed, 1)], 2, 40, 60) };
    load::start(&load, life.api, &world.known, &mut rng, None).join()?;
    until_open(world, &mut life, 256)?;
    world.kill(life);
    world.settings.reachable = true;
    world.configure();
    world.settle(false).map(drop)
}

/// Somebody puts objects over ours before they are marked; and again it is killed before its next ones are.
fn foreign(world: &mut World) -> Result<(), String> {
    let end = live(world, Aim::At("upload.stored", 1), None, &Load::only(&[(Kind::Keyed, 1)], 1, 2, 5))?;
    let ours: Vec<(String, String)> =
        world.bucket.list()?.into_iter().filter(|(name, _)| !name.starts_with("_hydrant/")).collect();
    if !end.hit || ours.is_empty() {
        return Err("nothing was stored".into());
    }
    ours.iter().for_each(|(name, _)| world.bucket.put(name, b"foreign\n"));
    let names: Vec<String> = ours.into_iter().map(|o| o.0).collect();
    let foreign = world.bucket.list()?.into_iter().filter(|(name, _)| names.contains(name));
    world.judge.foreign.extend(foreign);
    for _ in 0..6 {
        if !redeem(world, "upload.stored", 1)? {
            break;
        }
    }
    world.settle(false).map(drop)
}

/// Waits until stream `a` has read everything it may, and so many plans of its destination are open.
fn until_open(world: &World, life: &mut super::world::Life, plans: u64) -> Result<(), String> {
    let began = Instant::now();
    while began.elapsed() < PATIENCE && !world.ended(life)? {
        let statuses = world.statuses(life);
        let a = statuses.iter().find(|s| s.stream == STREAMS[0]);
        if a.is_some_and(|a| {
            a.open_plans >= plans && a.lane.contains("\"destination\"") && a.lane.contains(", 0 buffers")
        }) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(format!("never {plans} open plans: {:?}", world.statuses(life)))
}

#[test]
fn every_wrong_build_that_a_kill_can_show_is_noticed() {
    let mut unnoticed = Vec::new();
    for (name, scene, rules) in SCENES {
        let began = Instant::now();
        if let Err(why) = scene(&mut World::new(rand::random(), None)) {
            panic!("the scene `{name}` finds a fault in the right build: {why}");
        }
        println!("{:<32}{:>6.1} s  nothing, as it should be ({name})", "-", began.elapsed().as_secs_f64());
        for &rule in rules {
            let began = Instant::now();
            let mut found = None;
            for world in 1..=TRIES {
                found = scene(&mut World::new(rand::random(), Some(rule))).err().map(|why| (world, why));
                if found.is_some() {
                    break;
                }
            }
            let seconds = began.elapsed().as_secs_f64();
            match found {
                None => unnoticed.push(rule),
                Some((world, why)) => {
                    let why: String = why.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(230).collect();
                    println!("{rule:<32}{seconds:>6.1} s  world {world}: {why}");
                }
            }
        }
    }
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}
