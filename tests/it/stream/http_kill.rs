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

use crate::rig::service::scale;
use crate::stream::kill::tally::Tally;
use load::Load;
use mix::Mood;
use std::time::{Duration, Instant};
use world::{Aim, Course, World};

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

/// What happened besides what the kills hit.
#[derive(Default)]
struct Story {
    tally: Tally,
    /// The endpoint has just taken a request, and the process died before it could note that.
    unnoted: bool,
    reloads: u64,
    outages: u64,
}

impl Story {
    fn print(&self, world: &World, seconds: f64) {
        self.tally.print(&[]);
        let s = &world.sums;
        println!("{seconds:.0} s, {} reloads, {} outages", self.reloads, self.outages);
        println!("acknowledged {}, in doubt {}, refused {}, accepted {}", s.acked, s.in_doubt, s.refused, s.accepted);
        println!(
            "delivered {}, failed {} {:?}, of these taken and not heard {}",
            s.delivered, s.failed, s.codes, s.both
        );
        println!("requests {}, ids {}", s.requests, s.ids);
    }
}

/// The i-th life: even ones die at random, odd ones at a named step; some have a reload, some an outage.
fn one_kill(world: &mut World, i: usize, story: &mut Story) -> Result<(), String> {
    let soon = |world: &mut World| Duration::from_millis(world.rng.below(250));
    let mut course = Course { load: Load::MIXED, mood: Mood::MIXED, reload: None, outage: None };
    course.reload = (i % 5 == 4).then(|| soon(world));
    if i % 2 == 1 {
        let (step, most) = story.tally.next(&STEPS);
        let n = story.tally.nth(most, &mut world.rng);
        return kill_at(world, step, n, course, story);
    }
    // What was taken and is not taken again may be given up on.
    course.mood = if story.unnoted || i % 6 == 2 { Mood::BAD } else { Mood::MIXED };
    course.outage = (i % 8 == 6).then(|| soon(world));
    let least = if story.unnoted { 400 } else { 20 };
    let pause = Duration::from_millis(least + world.rng.below(580));
    story.reloads += u64::from(course.reload.is_some());
    story.outages += u64::from(course.outage.is_some());
    let end = world.live(Aim::After(pause), course)?;
    story.unnoted = end.step == "request.taken";
    story.tally.random(&end.step);
    Ok(())
}

/// A life that ends at the n-th time it reaches a step.
fn kill_at(world: &mut World, step: &'static str, n: u64, mut course: Course, story: &mut Story) -> Result<(), String> {
    if ["plan.abandoned", "upload.linked"].contains(&step) {
        course.mood = Mood::BAD;
    }
    story.reloads += u64::from(course.reload.is_some());
    let mut end = world.live(Aim::At(step, n), course).map_err(|e| format!("{step}:{n}: {e}"))?;
    if end.hit {
        // Another thread may have come to another step while this one was being killed.
        end.step = step.to_owned();
    }
    story.unnoted = end.step == "request.taken";
    story.tally.named(&end.step, end.hit);
    Ok(())
}

/// Kills at steps that none was aimed at with success yet.
fn fill_up(world: &mut World, story: &mut Story) -> Result<(), String> {
    let course = Course { load: Load::MIXED, mood: Mood::MIXED, reload: None, outage: None };
    for (step, _) in STEPS {
        for _ in 0..5 {
            if story.tally.at(step)[1] == 0 {
                kill_at(world, step, 1, course, story)?;
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
    let mut story = Story::default();
    let began = Instant::now();
    let mut run = || -> Result<(), String> {
        for i in 0..kills {
            one_kill(&mut world, i, &mut story).map_err(|e| format!("kill {i}: {e}"))?;
            if (i + 1) % KILLS_A_VERDICT == 0 {
                world.settle(None).map_err(|e| format!("after {} kills: {e}", i + 1))?;
            }
        }
        fill_up(&mut world, &mut story)?;
        world.settle(None).map_err(|e| format!("after the last kill: {e}"))?;
        let before = world.sums.acked;
        world.settle(Some(Load::ONE)).map_err(|e| format!("with a fresh record: {e}"))?;
        if world.sums.acked == before + 1 { Ok(()) } else { Err("a fresh record was not taken".into()) }
    };
    let outcome = run();
    story.print(&world, began.elapsed().as_secs_f64());
    if let Err(why) = outcome {
        panic!("seed {seed}: {why}");
    }
    println!("duplicates 0, lost 0, gap 0");
    let s = &world.sums;
    assert!([s.acked, s.delivered, s.failed].iter().all(|n| *n > 0), "{s:?}");
    for (step, _) in STEPS {
        assert!(story.tally.at(step)[1] > 0, "no kill that was aimed at `{step}` hit it");
    }
    let [random, _] = story.tally.sum();
    assert!(random * 2 >= kills as u64, "{random} of {kills} kills were at random");
}
