//! A medium that does not keep what was written: bits that flip, files that are cut, emptied, removed or old, in every state
//! that a life can leave behind. No record is delivered twice, none is lost without being counted as that, and what cannot
//! be told any more is refused and not guessed.

use crate::rig::service::scale;
use crate::stream::model::{DIR, Rng, World};
use hydrant::error::Kind;
use hydrant::fs::fake::FakeFs;
use hydrant::fs::{Fs, read};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Actions of a life before it ends.
const ACTIONS: u64 = 60;

/// A life that ended, and what its files held a while before.
struct Ended {
    world: World,
    older: BTreeMap<PathBuf, Vec<u8>>,
}

/// Files of the stream.
fn files(fs: &FakeFs) -> BTreeMap<PathBuf, Vec<u8>> {
    let dir = Path::new(DIR);
    let dirs = [dir.to_path_buf(), dir.join("ledger"), dir.join("epochs")];
    let names = dirs.iter().flat_map(|dir| fs.list(dir).unwrap().into_iter().map(|name| dir.join(name)));
    names.filter_map(|path| Some((path.clone(), read(fs, &path).ok()?))).collect()
}

/// A life of a seed: busy when it was killed, or at rest when it ended. Its destination takes objects: an endpoint that has
/// taken what a damaged plan listed cannot be asked for it.
fn ended(seed: u64) -> Ended {
    let mut world = World::of_objects(seed);
    let mut life = world.start().unwrap();
    let mut older = BTreeMap::new();
    for action in 0..ACTIONS {
        if action == ACTIONS / 2 {
            older = files(&world.fs);
        }
        world.act(&mut life).unwrap();
    }
    drop(life);
    if seed.is_multiple_of(3) {
        drop(world.drain().unwrap());
    }
    world.fs = world.fs.after_kill();
    world.crashes += 1;
    Ended { world, older }
}

/// What came of a damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Everything was delivered.
    Whole,
    /// The stream was not opened, with an error that says why.
    Held,
    /// Records are lost, and counted.
    Lost,
}

/// The life after a damage, judged. What was under way when the process died has arrived by then, or never will.
fn after(ended: &Ended, damage: impl Fn(&FakeFs)) -> Result<Outcome, String> {
    let mut world = ended.world.again();
    world.end_late_requests();
    damage(&world.fs);
    // The first opening may be cut short, and the one after it finds what it left.
    for _ in 0..2 {
        match world.start() {
            Err(e) if e.kind == Kind::Corrupt => return Ok(Outcome::Held),
            // Records that cannot be read today may be tomorrow: they are waited for, and not given up.
            Err(e) if e.kind == Kind::Poisoned && e.to_string().contains(".seg") => return Ok(Outcome::Held),
            Err(e) => return Err(format!("refused as {:?}: {e}", e.kind)),
            Ok(life) => drop(life),
        }
        world.fs = world.fs.after_kill();
    }
    let life = world.drain()?;
    let lost = world.judge_damaged(&life)?;
    Ok(if lost == 0 { Outcome::Whole } else { Outcome::Lost })
}

#[derive(Default)]
struct Tally(BTreeMap<Outcome, u64>);

impl Tally {
    fn note(&mut self, seed: u64, what: &str, outcome: Result<Outcome, String>) {
        let outcome = outcome.unwrap_or_else(|why| panic!("seed {seed}: {what}: {why}"));
        *self.0.entry(outcome).or_default() += 1;
    }
}

#[test]
fn a_flipped_bit_delivers_nothing_twice_and_loses_nothing_uncounted() {
    let mut tally = Tally::default();
    let mut rng = Rng(7);
    let flips = (2000.0 * scale()) as u64;
    let lives: Vec<Ended> = (0..flips.div_ceil(20)).map(ended).collect();
    for flip in 0..flips {
        let seed = flip / 20;
        let ended = &lives[seed as usize];
        let files: Vec<(PathBuf, Vec<u8>)> = files(&ended.world.fs).into_iter().collect();
        // Two at once in a tenth.
        let flips: Vec<(PathBuf, usize, u8)> = (0..1 + (flip % 10 == 9) as u64)
            .map(|_| {
                let (path, bytes) = &files[rng.below(files.len() as u64) as usize];
                // What is written, rather than what is kept for later.
                let written = bytes.iter().rposition(|b| !matches!(b, 0 | b'\n')).map_or(bytes.len(), |last| last + 9);
                let among = if rng.chance(80) { written.min(bytes.len()) } else { bytes.len() };
                (path.clone(), rng.below(among.max(1) as u64) as usize, 1 << rng.below(8))
            })
            .collect();
        let outcome = after(ended, |fs| {
            for (path, at, bit) in &flips {
                fs.alter(path, |bytes| bytes.get_mut(*at).into_iter().for_each(|byte| *byte ^= bit));
            }
        });
        let held = flips.len() == 1 && outcome == Ok(Outcome::Held);
        assert!(!held || flips[0].0.starts_with(Path::new(DIR).join("epochs")), "seed {seed}: {flips:?} is held");
        tally.note(seed, &format!("{flips:?}"), outcome);
    }
    println!("flips: {:?}", tally.0);
}

#[test]
fn a_file_that_is_cut_emptied_removed_or_old_delivers_nothing_twice_and_loses_nothing_uncounted() {
    let mut tally = Tally::default();
    for seed in 0..(30.0 * scale()) as u64 {
        // A tenth of the cuts in a run that is not long.
        let every = (1.0 / scale()) as usize;
        let ended = ended(seed);
        for (path, bytes) in files(&ended.world.fs) {
            let name = path.display().to_string();
            let written = bytes.iter().rposition(|b| !matches!(b, 0 | b'\n')).map_or(0, |last| last + 1);
            let cuts = (0..written).step_by(64).skip(seed as usize).step_by(every).chain([0]);
            for cut in cuts {
                let outcome = after(&ended, |fs| fs.alter(&path, |bytes| bytes.truncate(cut)));
                tally.note(seed, &format!("`{name}` cut at {cut}"), outcome);
            }
            tally.note(seed, &format!("`{name}` removed"), after(&ended, |fs| fs.remove(&path).unwrap()));
            let unreadable = after(&ended, |fs| fs.stop_reading(&path));
            // Of an epoch's larger contents, and of records, there is no copy.
            let has_copy = !name.contains("epochs") && !name.ends_with(".seg");
            assert!(unreadable != Ok(Outcome::Held) || !has_copy, "seed {seed}: `{name}` cannot be read");
            tally.note(seed, &format!("`{name}` cannot be read"), unreadable);
            if let Some(older) = ended.older.get(&path) {
                let outcome = after(&ended, |fs| fs.alter(&path, |bytes| bytes.clone_from(older)));
                tally.note(seed, &format!("`{name}` as it was before"), outcome);
            }
        }
    }
    println!("files: {:?}", tally.0);
}

/// Places in a file of a plan log, the last that is written among them.
fn places(fs: &FakeFs, slot: usize) -> impl Iterator<Item = usize> {
    let bytes = read(fs, &Path::new(DIR).join(format!("plans.{slot}"))).unwrap_or_default();
    (64..2048).step_by(128).chain(bytes.iter().rposition(|byte| *byte != 0))
}

/// The plan logs of some lives, each damaged at one place in file and copy, the last commit among them: what is left is never
/// believed.
pub fn plan_logs_with_a_hole() {
    let mut tally = Tally::default();
    for seed in 0..(200.0 * scale()) as u64 {
        let ended = ended(seed);
        for (slot, at) in (0..3).flat_map(|slot| places(&ended.world.fs, slot).map(move |at| (slot, at))) {
            let damage = |fs: &FakeFs| {
                for name in [format!("plans.{slot}"), format!("plans.{slot}.copy")] {
                    let path = Path::new(DIR).join(name);
                    if read(fs, &path).is_ok() {
                        fs.alter(&path, |bytes| bytes.iter_mut().skip(at).take(16).for_each(|byte| *byte ^= 1));
                    }
                }
            };
            tally.note(seed, &format!("plans.{slot} at {at}"), after(&ended, damage));
        }
    }
}
