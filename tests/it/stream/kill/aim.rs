//! One life under load, ended by a kill that is aimed.

use super::load::{self, Load};
use super::world::World;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// How long a life goes on in which what was aimed at does not come about.
const REACHED_WITHIN: Duration = Duration::from_secs(4);

/// When a life ends.
#[derive(Clone, Copy, Debug)]
pub enum Aim {
    /// This long after it was ready.
    After(Duration),
    /// At the n-th time it reaches a step.
    At(&'static str, u64),
    /// At the n-th acknowledgement that a client gets.
    Acked(usize),
    /// When a segment of a journal vanishes.
    SegmentGone,
    /// When a line appears in a ledger.
    LedgerLine,
}

/// How a life ended.
pub struct End {
    pub step: String,
    /// Whether what was aimed at came about.
    pub hit: bool,
}

/// Lives one life under `load`. With `reload`, the other configuration comes into force that long after it was ready.
pub fn live(world: &mut World, aim: Aim, reload: Option<Duration>, load: &Load) -> Result<End, String> {
    let kill_at = if let Aim::At(step, n) = aim { Some((step, n)) } else { None };
    let Some(mut life) = world.start(kill_at)? else { return Ok(End { step: world.step(), hit: true }) };
    let (acked, acks) = channel();
    let ledgers = (matches!(aim, Aim::LedgerLine)).then(|| contents(&files(world, "ledger")));
    let mut rng = world.rng.fork();
    let clients = load::start(load, life.api, &world.known, &mut rng, Some(acked));
    let mut rest = REACHED_WITHIN;
    if let Some(pause) = reload {
        world.until(&mut life, pause, || false)?;
        world.toggle();
        world.hang_up(&mut life)?;
        rest += pause;
    }
    let hit = match aim {
        Aim::After(pause) => {
            let pause = pause.saturating_sub(reload.unwrap_or_default());
            world.until(&mut life, pause, || false)?;
            true
        }
        Aim::At(..) => {
            world.until(&mut life, rest, || false)?;
            world.ended(&mut life)?
        }
        Aim::Acked(n) => (0..n).all(|_| acks.recv_timeout(REACHED_WITHIN).is_ok()),
        Aim::SegmentGone => {
            let mut seen = BTreeSet::new();
            spin(|| {
                let now = files(world, "journal");
                seen.extend(now.iter().filter(|f| f.extension().is_some_and(|e| e == "seg")).cloned());
                seen.iter().any(|f| !now.contains(f))
            })
        }
        Aim::LedgerLine => spin(|| Some(contents(&files(world, "ledger"))) != ledgers),
    };
    let step = world.kill(life);
    clients.join()?;
    Ok(End { step, hit })
}

/// Waits without a pause: what is waited for is over in less than a millisecond.
fn spin(mut condition: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while began.elapsed() < REACHED_WITHIN {
        if condition() {
            return true;
        }
    }
    false
}

/// Files in one of the directories that each stream has.
fn files(world: &World, dir: &str) -> BTreeSet<PathBuf> {
    let list = |path: PathBuf| std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    list(world.path("data/streams")).flat_map(|stream| list(stream.join(dir))).collect()
}

fn contents(files: &BTreeSet<PathBuf>) -> Vec<Vec<u8>> {
    files.iter().map(|f| std::fs::read(f).unwrap_or_default()).collect()
}

/// Starts once more, without a load, until it is killed at a step or everything is settled. Whether it was killed.
pub fn redeem(world: &mut World, step: &str, n: u64) -> Result<bool, String> {
    let Some(mut life) = world.start(Some((step, n)))? else { return Ok(true) };
    match world.drain(&mut life) {
        Ok(_) => Ok(false),
        Err(_) if world.ended(&mut life)? => Ok(true),
        Err(why) => Err(why),
    }
}
