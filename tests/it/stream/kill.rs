//! `kill -9` from outside, again and again: the test process is never killed, knows what was acknowledged, and finds
//! every record in exactly one place.
//!
//! `record` makes records that say who they are, `load` puts them, `world` starts and ends the process, `aim` says
//! when, `tally` counts, `bucket` and `judge` read what was delivered, `wrong` shows that all this notices a wrong build.

mod aim;
mod judge;
mod load;
pub mod record;
pub mod tally;
mod world;
mod wrong;

use crate::rig::service::scale;
use aim::{Aim, live};
use load::Load;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tally::Tally;
use world::World;

/// Kills after which everything is delivered once and judged.
const KILLS_A_VERDICT: usize = 25;

/// Steps to be killed at, what the issue calls them, and how often they are reached before.
const STEPS: [(&str, &str, u64); 12] = [
    ("put.received", "put", 40),
    ("journal.synced", "sync", 40),
    ("plan.persisted", "plan", 8),
    ("upload.stored", "upload", 60),
    ("mark.persisted", "mark", 30),
    ("journal.recycled", "recycle", 1),
    ("epoch.persisted", "epoch", 2),
    ("journal.filled", "sync", 40),
    ("lane.read", "read", 20),
    ("lane.replayed", "read", 4),
    ("recover.rewritten", "recover", 2),
    ("upload.answered", "upload", 60),
];
/// Steps that this load never reaches, or hardly: a local destination, an object above 64 MiB, a full ledger file,
/// destinations that are no stores, and what is put in again.
const NOT_OURS: [&str; 11] = [
    "upload.linked",
    "upload.part",
    "ledger.archived",
    "request.taken",
    "plan.abandoned",
    "plan.split",
    "load.claimed",
    "load.copied",
    "load.committed",
    "redrive.put",
    "redrive.marked",
];
const WORDS: [&str; 7] = ["put", "sync", "plan", "upload", "mark", "recycle", "epoch"];

/// Every step that the sources name.
fn named_steps() -> BTreeSet<String> {
    fn search(dir: &std::path::Path, found: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).expect("list the sources").flatten() {
            let path = entry.path();
            if path.is_dir() {
                search(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).expect("read a source file");
                let calls = text.split("sabotage::point(\"").skip(1);
                found.extend(calls.filter_map(|rest| rest.split_once('"')).map(|(step, _)| step.to_owned()));
            }
        }
    }
    let mut found = BTreeSet::new();
    search(concat!(env!("CARGO_MANIFEST_DIR"), "/src").as_ref(), &mut found);
    found
}

fn word(step: &str) -> &str {
    STEPS.iter().find(|s| s.0 == step).map_or(step, |s| s.1)
}

fn print(tally: &Tally, world: &World, seconds: f64) {
    tally.print(&WORDS);
    let s = &world.judge.sums;
    println!(
        "{seconds:.0} s, acked {}, in doubt {} of which taken {}, refused {}, objects {}, at most {} plans open at once",
        s.acked,
        s.in_doubt,
        s.accepted - s.acked,
        s.refused,
        s.objects,
        world.most_open
    );
    println!("delivered {}, dropped {}, failed {} {:?}", s.delivered, s.dropped, s.failed, s.codes);
}

/// The i-th life: even ones die at random, odd ones at a named step; every fifth has a reload.
fn one_kill(world: &mut World, i: usize, tally: &mut Tally) -> Result<(), String> {
    if i % 2 == 1 {
        let step = tally.next(&STEPS);
        let n = tally.nth(step.2, &mut world.rng);
        return kill_at(world, step.0, n, i % 5 == 4, tally);
    }
    let pause = Duration::from_millis(20 + world.rng.below(580));
    let reload = (i % 5 == 4).then(|| pause.mul_f64(world.rng.below(100) as f64 / 100.0));
    let end = live(world, Aim::After(pause), reload, &Load::MIXED)?;
    tally.random(word(&end.step));
    Ok(())
}

/// A life that ends at the n-th time it reaches a step.
fn kill_at(world: &mut World, step: &'static str, n: u64, reload: bool, tally: &mut Tally) -> Result<(), String> {
    let mut reload = reload.then(|| Duration::from_millis(10 + world.rng.below(150)));
    if step == "epoch.persisted" && world.rng.chance(500) {
        // Changed while it was stopped, so that the step comes before the first request.
        world.toggle();
    } else if step == "epoch.persisted" {
        reload = Some(Duration::from_millis(50));
    }
    let end = live(world, Aim::At(step, n), reload, &Load::MIXED).map_err(|e| format!("{step}:{n}: {e}"))?;
    tally.named(word(&end.step), end.hit);
    Ok(())
}

/// Kills at steps that were not hit yet, in a world without a backlog in the way.
fn fill_up(world: &mut World, tally: &mut Tally) -> Result<(), String> {
    for (step, word, _) in STEPS {
        for _ in 0..3 {
            if tally.at(word) == [0, 0] {
                kill_at(world, step, 1, false, tally)?;
                world.settle(false)?;
            }
        }
    }
    Ok(())
}

/// A record put after everything else goes through.
fn stays_alive(world: &mut World) -> Result<(), String> {
    let before = world.judge.sums.acked;
    let load = Load { clients: 1, puts: 1, ..Load::MIXED };
    let mut life = world.start(None)?.ok_or("killed by nobody")?;
    let mut rng = world.rng.fork();
    load::start(&load, life.api, &world.known, &mut rng, None).join()?;
    world.drain(&mut life)?;
    world.kill(life);
    world.settle(true)?;
    match world.judge.sums.acked > before {
        true => Ok(()),
        false => Err("a fresh record was not taken".into()),
    }
}

#[test]
fn kill_9_loses_nothing_and_writes_nothing_twice() {
    let ours: BTreeSet<String> = STEPS.iter().map(|s| s.0).chain(NOT_OURS).map(str::to_owned).collect();
    assert_eq!(named_steps(), ours, "the steps that the sources name, and those of this test");
    let kills = (300.0 * scale()).ceil() as usize;
    let seed = rand::random();
    let mut world = World::new(seed, None);
    let mut tally = Tally::default();
    let began = Instant::now();
    let mut run = || -> Result<(), String> {
        for i in 0..kills {
            one_kill(&mut world, i, &mut tally).map_err(|e| format!("kill {i}: {e}"))?;
            if (i + 1) % KILLS_A_VERDICT == 0 || i + 1 == kills {
                world.settle(false).map_err(|e| format!("after {} kills: {e}", i + 1))?;
            }
        }
        fill_up(&mut world, &mut tally)?;
        stays_alive(&mut world).map_err(|e| format!("after the last kill: {e}"))
    };
    let outcome = run();
    print(&tally, &world, began.elapsed().as_secs_f64());
    if let Err(why) = outcome {
        panic!("seed {seed}: {why}");
    }
    println!("lost 0, twice 0, gap 0");
    let s = &world.judge.sums;
    assert!([s.acked, s.delivered, s.dropped, s.failed].iter().all(|n| *n > 0), "{s:?}");
    for word in WORDS {
        assert!(tally.at(word) != [0, 0], "no kill hit `{word}`");
    }
    let [random, _] = tally.sum();
    assert!(random * 2 >= kills as u64, "{random} of {kills} kills were at random");
}

#[test]
fn an_object_deleted_behind_our_back_is_named_by_the_deep_audit() {
    let mut world = World::new(rand::random(), None);
    live(&mut world, Aim::After(Duration::from_millis(600)), None, &Load::MIXED).unwrap();
    world.settle(true).unwrap();
    let names: Vec<String> = world.bucket.list().unwrap().into_iter().map(|o| o.0).collect();
    for place in ["main-a/", "main-b/", "raw-a/", "errors-a/"] {
        let name = names.iter().find(|n| n.starts_with(place)).unwrap_or_else(|| panic!("nothing in {place}"));
        world.bucket.delete(name);
        let (clean, _) = world.audit(false).unwrap();
        assert!(clean, "the files alone know nothing of the bucket");
        let (clean, text) = world.audit(true).unwrap();
        let line = text.lines().find(|l| l.contains("PROBLEM") && l.contains(name.as_str()));
        assert!(!clean && line.is_some(), "`{name}` was deleted, the audit says:\n{text}");
        println!("{}", line.unwrap_or_default().trim());
    }
}
