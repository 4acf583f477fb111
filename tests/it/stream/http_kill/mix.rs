//! What the endpoint answers in a life: a mix that a seed repeats as far as the order of the requests does.

use crate::rig::endpoint::{Answer, Endpoint, Request};
use crate::stream::kill::record::{Id, Rng};
use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};

/// Records of a request at most; more are 413.
const RECORDS_MAX: usize = 16;
/// Of so many records one is too large for the endpoint on its own.
const POISON_EVERY: u64 = 250;

/// How an endpoint feels, in thousandths.
#[derive(Clone, Copy, Debug)]
pub struct Mood {
    /// Requests, by their id, that are not taken as long as this goes on.
    pub unlucky: u64,
    /// Attempts of others that something happens to.
    pub trouble: u64,
}

impl Mood {
    pub const GOOD: Mood = Mood { unlucky: 0, trouble: 0 };
    pub const MIXED: Mood = Mood { unlucky: 120, trouble: 350 };
    pub const BAD: Mood = Mood { unlucky: 600, trouble: 400 };
}

/// Numbers of the requests that were let hang: whether their answer was waited for is not known.
pub type Hung = Arc<Mutex<BTreeSet<usize>>>;

/// A record that the endpoint takes in no request.
pub fn is_poison(id: Id) -> bool {
    (id.0 >> 5).is_multiple_of(POISON_EVERY)
}

/// From now on the endpoint answers in this mood.
pub fn turn(endpoint: &Endpoint, mood: Mood, seed: u64, hung: &Hung) {
    let hung = hung.clone();
    endpoint.script(move |_| {
        let hung = hung.clone();
        Answer::of(move |request| {
            let answer = choose(mood, seed, request);
            if let Answer::Hang = answer {
                hung.lock().expect("nobody panics").insert(request.number);
            }
            answer
        })
    });
}

/// What is too large is never taken: it comes again in parts, under other ids.
fn choose(mood: Mood, seed: u64, request: &Request) -> Answer {
    let mut rng = Rng(seed ^ request.number as u64);
    let poison = || request.records.iter().any(|r| Id::at(r).is_some_and(|(id, _)| is_poison(id)));
    let too_large = request.records.len() > RECORDS_MAX || poison();
    if too_large {
        return if rng.chance(mood.trouble / 4) { Answer::status(500) } else { Answer::status(413) };
    }
    let mut hasher = DefaultHasher::new();
    request.id.hash(&mut hasher);
    if Rng(seed ^ hasher.finish()).chance(mood.unlucky) {
        return match rng.below(5) {
            0 | 1 => Answer::status(500),
            2 => Answer::status(503),
            3 => Answer::CloseAfterStore,
            _ => Answer::ResetAfter,
        };
    }
    if !rng.chance(mood.trouble) {
        return Answer::Ok;
    }
    match rng.below(7) {
        0 => Answer::status(500),
        1 => Answer::status(503),
        2 | 3 => Answer::CloseAfterStore,
        4 => Answer::ResetAfter,
        5 => Answer::Hang,
        _ => Answer::after(1 + rng.below(60), Answer::Ok),
    }
}
