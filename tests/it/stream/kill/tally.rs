//! Kills by the step they hit: at random, and at a step that was named.

use super::record::Rng;
use std::collections::BTreeMap;
use std::path::Path;

/// See the module.
#[derive(Default)]
pub struct Tally {
    kills: BTreeMap<String, [u64; 2]>,
    /// Named lives so far that ended where they should.
    hits: usize,
    /// Named steps that a life did not come to: the next named life tries again, at their first time.
    pub missed: u64,
    again: bool,
}

impl Tally {
    /// The step that is next to be named.
    pub fn next<T: Copy>(&self, steps: &[T]) -> T {
        steps[self.hits % steps.len()]
    }

    /// At which time it is reached, of as many.
    pub fn nth(&self, most: u64, rng: &mut Rng) -> u64 {
        if self.again { 1 } else { 1 + rng.below(most) }
    }

    /// A life ended at random, when this step was the last.
    pub fn random(&mut self, step: &str) {
        self.kills.entry(step.to_owned()).or_default()[0] += 1;
    }

    /// A life was to end at a step: did it?
    pub fn named(&mut self, step: &str, hit: bool) {
        self.kills.entry(step.to_owned()).or_default()[usize::from(hit)] += 1;
        self.again = !hit;
        self.hits += usize::from(hit);
        self.missed += u64::from(!hit);
    }

    /// Kills at a step, at random and named.
    pub fn at(&self, step: &str) -> [u64; 2] {
        self.kills.get(step).copied().unwrap_or_default()
    }

    /// All of them.
    pub fn sum(&self) -> [u64; 2] {
        [0, 1].map(|i| self.kills.values().map(|k| k[i]).sum())
    }

    /// A line for each step, these first.
    pub fn print(&self, first: &[&str]) {
        println!("\n{:<20}{:>8}{:>8}{:>8}", "killed at", "random", "named", "all");
        let row = |step: &str, [random, named]: [u64; 2]| {
            println!("{step:<20}{random:>8}{named:>8}{:>8}", random + named);
        };
        let others = self.kills.keys().map(String::as_str).filter(|k| !first.contains(k));
        first.iter().copied().chain(others).for_each(|step| row(step, self.at(step)));
        row("all", self.sum());
        println!("named steps that were not reached {}", self.missed);
    }
}

/// The last step that a process noted in its file.
pub fn last_step(file: &Path) -> String {
    let step = std::fs::read_to_string(file).unwrap_or_default();
    if step.trim().is_empty() { "start".to_owned() } else { step.trim().to_owned() }
}
