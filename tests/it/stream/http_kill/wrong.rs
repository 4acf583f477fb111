//! Wrong builds: each breaks one rule of the way to an endpoint, and some kill of those aimed at it must show that.

use super::load::Load;
use super::mix::Mood;
use super::world::{Aim, Course, World};
use std::time::Instant;

/// Worlds in which a wrong build gets a chance to go unnoticed.
const TRIES: u64 = 8;

const ROUGH: Course = Course { load: Load::MIXED, mood: Mood::BAD, reload: None, outage: None };
const CALM: Course = Course { load: Load::MIXED, mood: Mood::GOOD, reload: None, outage: None };

/// A rule, the step at which its breach shows, and the life that comes to it.
const SCENES: [(&str, &str, Course); 3] = [
    // What tells of the failure stands, and the next life knows nothing of it: the endpoint gets the records too.
    ("abandon_not_persisted", "upload.linked", ROUGH),
    // A half was taken, and the next life cuts the whole in two again.
    ("split_not_persisted", "request.taken", CALM),
    // What was not taken is never sent again.
    ("mark_before_reply", "mark.persisted", ROUGH),
];

/// Whether the step was reached.
fn scene(step: &'static str, course: Course, rule: Option<&'static str>) -> Result<bool, String> {
    let mut world = World::new(rand::random(), rule);
    let n = 1 + world.rng.below(3);
    let end = world.live(Aim::At(step, n), course)?;
    world.settle(None).map(|()| end.hit)
}

#[test]
fn every_wrong_build_on_the_way_to_an_endpoint_is_noticed() {
    let mut unnoticed = Vec::new();
    for (rule, step, course) in SCENES {
        let began = Instant::now();
        let reached = (0..TRIES).any(|_| match scene(step, course, None) {
            Ok(reached) => reached,
            Err(why) => panic!("the scene of `{rule}` finds a fault in the right build: {why}"),
        });
        assert!(reached, "`{step}` is not reached");
        let found = (1..=TRIES).find_map(|i| scene(step, course, Some(rule)).err().map(|why| (i, why)));
        let seconds = began.elapsed().as_secs_f64();
        match found {
            None => unnoticed.push(rule),
            Some((world, why)) => {
                let why: String = why.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(230).collect();
                println!("{rule:<24}{step:<16}{seconds:>5.1} s  world {world}: {why}");
            }
        }
    }
    assert!(unnoticed.is_empty(), "not noticed: {unnoticed:?}");
}
