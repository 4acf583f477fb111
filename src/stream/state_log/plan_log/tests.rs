//! The plan log on a disk that is only memory.

use super::*;
use crate::fs::fake::FakeFs;
use crate::stream::plan::Track;

const INCARNATION: [u8; 16] = [7; 16];
const RESERVE: u64 = 16 << 10;
/// Power cuts after each kill.
const CUTS: u64 = 40;

/// A life that is killed leaves files whose names are not durable yet: the next one relies on them, and then the power goes.
#[test]
fn a_file_that_an_earlier_life_made_is_named_before_it_is_relied_on() {
    let (dir, mut cuts) = (Path::new("/d"), 0);
    let entries = || vec![Entry::Low { track: Track::Main, low: 0 }];
    for operation in 1.. {
        let fs = FakeFs::new();
        fs.crash_at(operation);
        let shared: Arc<dyn Fs> = Arc::new(fs.clone());
        let done = shared.create_dir_all(dir).map_err(|e| Error::io("make the directory", e));
        let done = done.and_then(|()| PlanLog::open(shared, dir, INCARNATION, RESERVE));
        if done.and_then(|mut log| log.commit(entries())).is_ok() {
            break;
        }
        let fs = fs.after_kill();
        let second = PlanLog::open(Arc::new(fs.clone()), dir, INCARNATION, RESERVE).expect("nothing is lost by a kill");
        drop(second);
        for seed in 1..=CUTS {
            let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ operation;
            let cut = fs.after_power_cut(&mut || {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                !random.is_multiple_of(4)
            });
            let third = PlanLog::open(Arc::new(cut), dir, INCARNATION, RESERVE);
            assert!(third.is_ok(), "killed at {operation}, cut {seed}: {:?}", third.err());
            cuts += 1;
        }
    }
    assert!(cuts > CUTS, "{cuts}");
}
