//! `kill -9` on the way to an HTTP endpoint, again and again: clients and endpoint live in the test process, which is
//! never killed, and between them every record that was acknowledged is found where it belongs, once.
//!
//! `load` puts records, `mix` says what the endpoint answers, `world` starts and ends the process, `judge` holds what
//! the endpoint saw against what the clients know, `wrong` shows that all this notices a wrong build.

mod judge;
mod load;
mod mix;
mod world;
mod wrong;

use crate::service::scale;
use load::Load;
use mix::Mood;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use world::{Aim, Course, End, World};

/// Kills after which everything is delivered once and judged.
const KILLS_A_VERDICT: usize = 25;

/// Steps to be killed at, and how often they are reached before, at most.
const STEPS: [(&str, u64); 9] = [
    ("plan.persisted", 5),
    ("request.taken", 25),
    ("plan.abandoned", 4),
    ("plan.split", 25),
    ("mark.persisted", 15),
    ("lane.read", 15),
    ("lane.replayed", 2),
    ("upload.answered", 40),
    ("upload.linked", 4),
];

/// Kills by the step they hit: at random, and at a step that was named.
#[derive(Default)]
struct Tally {
    kills: BTreeMap<String, [u64; 2]>,
    /// Named lives so far that ended where they should.
    hits: usize,
    /// Named steps that a life did not come to: the next named life tries again, at their first time.
    missed: u64,
    again: bool,
    /// The endpoint has just taken a request, and the process died before it could note that.
    unnoted: bool,
    reloads: u64,
    outages: u64,
}

impl Tally {
    fn count(&mut self, end: &End, named: bool) {
        self.unnoted = end.step == "request.taken";
        self.kills.entry(end.step.clone()).or_default()[usize::from(named && end.hit)] += 1;
    }

    fn print(&self, world: &World, seconds: f64) {
        println!("\n{:<20}{:>8}{:>8}{:>8}", "killed at", "random", "named", "all");
        let row = |step: &str, [random, named]: [u64; 2]| {
            println!("{step:<20}{random:>8}{named:>8}{:>8}", random + named);
        };
        self.kills.iter().for_each(|(step, kills)| row(step, *kills));
        let sum = |i: usize| self.kills.values().map(|k| k[i]).sum::<u64>();
        row("all", [sum(0), sum(1)]);
        let s = &world.sums;
        println!(
            "{seconds:.0} s, {} reloads, {} outages, steps not reached {}",
            self.reloads, self.outages, self.missed
        );
        println!("acknowledged {}, in doubt {}, refused {}, accepted {}", s.acked, s.in_doubt, s.refused, s.accepted);
        println!(
            "delivered {}, failed {} {:?}, of these taken and not heard {}",
            s.delivered, s.failed, s.codes, s.both
        );
        println!("requests {}, ids {}", s.requests, s.ids);
    }
}

/// The i-th life: even ones die at random, odd ones at a named step; some have a reload, some an outage.
fn one_kill(world: &mut World, i: usize, tally: &mut Tally) -> Result<(), String> {
    let soon = |world: &mut World| Duration::from_millis(world.rng.below(250));
    let mut course = Course { load: Load::MIXED, mood: Mood::MIXED, reload: None, outage: None };
    course.reload = (i % 5 == 4).then(|| soon(world));
    if i % 2 == 1 {
        let (step, most) = STEPS[tally.hits % STEPS.len()];
        let n = if tally.again { 1 } else { 1 + world.rng.below(most) };
        return kill_at(world, step, n, course, tally);
    }
    // What was taken and is not taken again may be given up on.
    course.mood = if tally.unnoted || i % 6 == 2 { Mood::BAD } else { Mood::MIXED };
    course.outage = (i % 8 == 6).then(|| soon(world));
    let least = if tally.unnoted { 400 } else { 20 };
    let pause = Duration::from_millis(least + world.rng.below(580));
    tally.reloads += u64::from(course.reload.is_some());
    tally.outages += u64::from(course.outage.is_some());
    let end = world.live(Aim::After(pause), course)?;
    tally.count(&end, false);
    Ok(())
}

/// A life that ends at the n-th time it reaches a step.
fn kill_at(world: &mut World, step: &'static str, n: u64, mut course: Course, tally: &mut Tally) -> Result<(), String> {
    if ["plan.abandoned", "upload.linked"].contains(&step) {
        course.mood = Mood::BAD;
    }
    tally.reloads += u64::from(course.reload.is_some());
    let mut end = world.live(Aim::At(step, n), course).map_err(|e| format!("{step}:{n}: {e}"))?;
    if end.hit {
        // Another thread may have come to another step while this one was being killed.
        end.step = step.to_owned();
    }
    tally.again = !end.hit;
    tally.hits += usize::from(end.hit);
    tally.missed += u64::from(!end.hit);
    tally.count(&end, true);
    Ok(())
}

/// Kills at steps that none was aimed at with success yet.
fn fill_up(world: &mut World, tally: &mut Tally) -> Result<(), String> {
    let course = Course { load: Load::MIXED, mood: Mood::MIXED, reload: None, outage: None };
    for (step, _) in STEPS {
        for _ in 0..5 {
            if tally.kills.get(step).is_none_or(|k| k[1] == 0) {
                kill_at(world, step, 1, course, tally)?;
            }
        }
    }
    Ok(())
}

#[test]
fn kill_9_loses_nothing_on_its_way_to_an_endpoint() {
    let kills = (200.0 * scale()).ceil() as usize;
    let seed = rand::random();
    let mut world = World::new(seed, None);
    let mut tally = Tally::default();
    let began = Instant::now();
    let mut run = || -> Result<(), String> {
        for i in 0..kills {
            one_kill(&mut world, i, &mut tally).map_err(|e| format!("kill {i}: {e}"))?;
            if (i + 1) % KILLS_A_VERDICT == 0 {
                world.settle(None).map_err(|e| format!("after {} kills: {e}", i + 1))?;
            }
        }
        fill_up(&mut world, &mut tally)?;
        world.settle(None).map_err(|e| format!("after the last kill: {e}"))?;
        let before = world.sums.acked;
        world.settle(Some(Load::ONE)).map_err(|e| format!("with a fresh record: {e}"))?;
        if world.sums.acked == before + 1 { Ok(()) } else { Err("a fresh record was not taken".into()) }
    };
    let outcome = run();
    tally.print(&world, began.elapsed().as_secs_f64());
    if let Err(why) = outcome {
        panic!("seed {seed}: {why}");
    }
    println!("duplicates 0, lost 0, gap 0");
    let s = &world.sums;
    assert!([s.acked, s.delivered, s.failed].iter().all(|n| *n > 0), "{s:?}");
    for (step, _) in STEPS {
        assert!(tally.kills.get(step).is_some_and(|k| k[1] > 0), "no kill that was aimed at `{step}` hit it");
    }
    let random: u64 = tally.kills.values().map(|k| k[0]).sum();
    assert!(random * 2 >= kills as u64, "{random} of {kills} kills were at random");
}
