//! Crash states: the engine runs on a disk that stops at every operation, and again in the life after, and must always
//! come to rest with every acknowledged record in exactly one place.

use crate::rig::service::scale;
use crate::stream::model::{Life, World};
use hydrant::journal::Put;
use hydrant::record::{EntryPoint as Stage, Records};
use hydrant::sabotage;
use hydrant::stream::plan::Entry;
use hydrant::stream::plan::list::ListBuilder;

/// Actions of one run.
const ACTIONS: u64 = 60;

/// Runs one seed to the end: up to `crashes` lives end at the given operations of the disk, later ones are whole.
fn run(seed: u64, crashes: &[u64]) -> Result<u64, String> {
    run_in(World::new(seed), crashes)
}

fn run_in(mut world: World, crashes: &[u64]) -> Result<u64, String> {
    let mut crashes = crashes.iter();
    let mut actions = 0;
    let mut operations = 0;
    while actions < ACTIONS {
        if let Some(&at) = crashes.next() {
            world.fs.crash_at(at);
        }
        let ended = match world.start() {
            Err(e) => Err(e),
            Ok(mut life) => loop {
                if actions == ACTIONS {
                    break Ok(());
                }
                actions += 1;
                if let Err(e) = world.act(&mut life) {
                    break Err(e);
                }
            },
        };
        operations += world.fs.operations();
        match ended {
            Err(e) if !world.fs.crashed() => return Err(format!("stopped without a crash: {e}")),
            _ => world.crash(),
        }
    }
    let life = world.drain()?;
    world.judge(&life)?;
    Ok(operations)
}

/// Crash points of a seed: every operation of an undisturbed run, spread over `states` runs, each with a second crash
/// soon after the first.
fn states(seed: u64, states: u64) -> impl Iterator<Item = (u64, Vec<u64>)> {
    states_of(World::new, seed, states)
}

fn states_of(world: fn(u64) -> World, seed: u64, states: u64) -> impl Iterator<Item = (u64, Vec<u64>)> {
    let operations = run_in(world(seed), &[]).unwrap_or(400);
    (0..states).map(move |i| {
        let first = 1 + (i * 7919 + seed * 31) % operations.max(1);
        let second = 1 + (i * 104_729) % 60;
        (seed * 1000 + i, if i % 3 == 0 { vec![first] } else { vec![first, second] })
    })
}

#[test]
fn every_crash_state_comes_to_rest_with_nothing_lost_and_nothing_twice() {
    let runs = (10_000.0 * scale()) as u64;
    let mut done = 0;
    for seed in 0..runs.div_ceil(50) {
        for (seed, crashes) in states(seed, 50) {
            if let Err(e) = run(seed, &crashes) {
                panic!("seed {seed}, crashes at {crashes:?}: {e}");
            }
            done += 1;
        }
    }
    println!("{done} crash states: 0 lost, 0 phantom");
}

/// Crash states of a stream whose bucket was mistyped, and that somebody makes, or names rightly, while plans are open.
/// What is wrong first.
fn in_a_store_that_changes(runs: u64) -> Result<(), String> {
    for seed in 0..runs.div_ceil(50) {
        for (seed, crashes) in states_of(World::mistyped, seed, 50) {
            run_in(World::mistyped(seed), &crashes).map_err(|e| format!("seed {seed}, crashes at {crashes:?}: {e}"))?;
        }
    }
    Ok(())
}

#[test]
fn a_store_that_changes_while_plans_are_open_gets_nothing_that_another_one_may_have() {
    in_a_store_that_changes((5_000.0 * scale()) as u64).unwrap();
    sabotage::break_here(Some("moved_without_an_answer"));
    let wrong = in_a_store_that_changes(5_000);
    sabotage::break_here(None);
    println!("moved_without_an_answer: {wrong:?}");
    let is_of_doubles = |why: &String| {
        ["outputs [(", "failures and", "backup objects", "in the stores"].iter().any(|w| why.contains(w))
    };
    assert!(wrong.as_ref().is_err_and(is_of_doubles), "plans that may be in the store before are moved: {wrong:?}");
}

/// Wrong builds that these runs must notice.
const WRONG_BUILDS: &[&str] = &[
    "ack_before_sync",
    "no_sync",
    "read_past_durable",
    "plan_not_synced",
    "plan_log_used_as_found",
    "upload_before_plan",
    "recycle_before_low",
    "taken_is_success",
    "look_failed_is_foreign",
    "mark_before_reply",
    "tail_unsynced",
    "open_plans_record_skipped",
    "one_output_is_all",
    "bound_record_judged_again",
    "low_passes_incomplete",
    "epoch_not_persisted",
    "epoch_from_reader",
    "epochs_share_a_buffer",
    "rename_not_persisted",
    "ledger_line_before_mark",
    "cap_stops_all_reading",
    "encoder_loses_a_row",
    "drop_counted_twice",
    "abandon_not_persisted",
    "split_not_persisted",
];

#[test]
fn every_wrong_build_is_noticed() {
    let mut unnoticed = Vec::new();
    for rule in WRONG_BUILDS {
        let mut found = None;
        'search: for seed in 0..400 {
            for (seed, crashes) in states(seed, 20) {
                sabotage::break_here(Some(rule));
                let result = std::panic::catch_unwind(|| run(seed, &crashes));
                sabotage::break_here(None);
                let why = match result {
                    Ok(Ok(_)) => continue,
                    Ok(Err(why)) => why,
                    Err(_) => "panicked".to_owned(),
                };
                found = Some((seed, why));
                break 'search;
            }
        }
        match found {
            Some((seed, why)) => println!("{rule:<32} seed {seed:<8} {why}"),
            None => unnoticed.push(*rule),
        }
    }
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}

/// A stream delivers, its disk is replaced by an empty one, and the next incarnation delivers other records from the
/// same offsets on to the same bucket.
fn replace_the_disk(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed);
    world.bucket.lock().unwrap().faults = 0;
    world.definition = "s3://model 0".into();
    let lives = [*b"incarnation-0001", *b"incarnation-0002"];
    for incarnation in lives {
        world.incarnation = incarnation;
        world.records.clear();
        let mut life = world.start().map_err(|e| e.to_string())?;
        let first = incarnation[15] as u64 * 100;
        world.put_plain(&mut life, first).map_err(|e| e.to_string())?;
        drop(life);
        let life = world.drain()?;
        drop(life);
        world.fs.replace(std::path::Path::new(crate::stream::model::DIR));
    }
    let delivered = world.delivered();
    let expected = lives.iter().map(|i| i[15] as u64 * 100);
    match expected.into_iter().find(|number| !delivered.contains(number)) {
        Some(number) => Err(format!("lost: record {number} was taken for one of the disk before")),
        None => Ok(()),
    }
}

#[test]
fn a_replaced_disk_never_looks_as_if_it_had_been_delivered() {
    replace_the_disk(1).unwrap();
    sabotage::break_here(Some("plan_id_from_offsets"));
    let wrong = replace_the_disk(1);
    sabotage::break_here(None);
    println!("plan_id_from_offsets: {wrong:?}");
    assert!(wrong.is_err(), "ids that follow from offsets were not noticed");
}

/// Lines of a failure object are announced and put in again; everything is delivered and the journal trimmed; and the
/// process dies before it could note that they are in. Whether the next life knows that they are.
fn put_in_again_and_not_noted(seed: u64) -> Result<bool, String> {
    let mut world = World::of_objects(seed);
    world.definition = "s3://model 0".into();
    let mut life = world.drain()?;
    let mut lines = ListBuilder::default();
    (0..2).for_each(|line| lines.push(line, 0, 1));
    let from = life.engine.journal_end();
    let take = Entry::Take { object: "errors/x".into(), lines: lines.finish(), from };
    life.engine.note_take(vec![take], None).map_err(|e| e.to_string())?;
    let mut batch = Records::default();
    for number in 0..2 {
        world.records.insert(number, (b'p', true));
        batch.push(format!("{number:05}p").as_bytes());
    }
    world.commit(&mut life, Put { arrival_ms: 1_790_000_000_000, entry: Stage::Again, batch });
    // Others come behind them, through several segments, and all of them are delivered.
    for number in 2..40 {
        world.put_plain(&mut life, number).map_err(|e| e.to_string())?;
    }
    let life = world.come_to_rest(life)?;
    let known = |life: &Life| {
        let takes = life.engine.takes_of("errors/x");
        (takes.under_way.is_some(), takes.taken.len())
    };
    assert_eq!(known(&life), (true, 0));
    drop(life);
    world.crash();
    let life = world.start().map_err(|e| e.to_string())?;
    match known(&life) {
        (false, taken) => Ok(taken == 1),
        (true, _) => Err("it is not known whether they are in".into()),
    }
}

#[test]
fn what_was_put_in_again_is_found_in_the_journal_until_that_is_noted() {
    for seed in 0..20 {
        assert_eq!(put_in_again_and_not_noted(seed), Ok(true), "seed {seed}");
    }
    sabotage::break_here(Some("trimmed_past_takes"));
    let wrong = (0..20).filter(|seed| put_in_again_and_not_noted(*seed) == Ok(false)).count();
    sabotage::break_here(None);
    assert!(wrong > 0, "a journal that is trimmed past them is not noticed: they would be put in twice");
}
