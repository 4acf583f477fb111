//! Shards on a medium that does not keep what was written: whatever happens to any one file, no record is delivered twice,
//! and what is not delivered is alarmed.

use super::source::{number, numbered, reads, settled};
use crate::rig::kinesis::client::Kinesis;
use crate::rig::kinesis::servers::KinesisLocal;
use crate::rig::service::{PATIENCE, Service, scale};
use crate::stream::model::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// An alarm that is there for so long is no back-off of an answer.
const HELD: Duration = Duration::from_secs(2);

/// All files below a directory, by their path in it.
type Files = BTreeMap<PathBuf, Vec<u8>>;

fn files(root: &Path) -> Files {
    let (mut dirs, mut found) = (vec![root.to_owned()], Files::new());
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => dirs.push(path),
                false => drop(found.insert(path.strip_prefix(root).unwrap().to_owned(), std::fs::read(&path).unwrap())),
            }
        }
    }
    found
}

fn put_back(root: &Path, files: &Files) {
    let _ = std::fs::remove_dir_all(root);
    for (path, bytes) in files {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// A life that was killed: its data, what was there a while before, and what was delivered.
struct Ended {
    data: Files,
    older: Files,
    out: Files,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Whole,
    Held,
    Lost,
}

struct World {
    kinesis: Kinesis,
    service: Service,
    put: usize,
}

impl World {
    fn put(&mut self, records: usize) {
        self.kinesis.put("s", &numbered(self.put..self.put + records));
        self.put += records;
    }

    fn root(&self, name: &str) -> PathBuf {
        self.service.dir.path().join(name)
    }

    fn ended(&mut self, older: Files) -> Ended {
        self.service.kill();
        let (data, out) = (files(&self.root("data")), self.root("out"));
        Ended { data, older, out: if out.is_dir() { files(&out) } else { Files::new() } }
    }

    /// The numbers of what was delivered, and whether none stands there twice.
    fn delivered(&self) -> Result<BTreeSet<usize>, String> {
        let mut found = BTreeSet::new();
        for (name, bytes) in self.service.objects("out") {
            for n in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(number) {
                if !found.insert(n) {
                    return Err(format!("record {n} stands twice, the second time in {name}"));
                }
            }
        }
        Ok(found)
    }

    /// The life after a damage, judged.
    fn after(&mut self, ended: &Ended, damaged: &Files) -> Result<Outcome, String> {
        put_back(&self.root("out"), &ended.out);
        put_back(&self.root("data"), damaged);
        self.put(5);
        self.service.restart_until("/healthz");
        let (began, mut alarmed) = (Instant::now(), None);
        let outcome = loop {
            let status = self.service.status("r");
            let delivered = self.delivered()?;
            alarmed = status.alarm.is_some().then(|| alarmed.unwrap_or_else(Instant::now));
            match (delivered.len() == self.put && status.pending == 0, status.lost > 0) {
                (true, _) => break Outcome::Whole,
                (_, true) if status.pending == 0 => break Outcome::Lost,
                _ if alarmed.is_some_and(|since| since.elapsed() > HELD) => break Outcome::Held,
                _ => {}
            }
            if began.elapsed() > PATIENCE {
                return Err(format!("{} of {} delivered, and no alarm: {status:?}", delivered.len(), self.put));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        self.service.kill();
        let log = self.service.log();
        match log.contains("panicked") {
            true => Err(log),
            false => self.delivered().map(|_| outcome),
        }
    }
}

/// Two lives of a stream with a shard that was read to its end and its children: one at rest, and one with open plans.
fn lives() -> (World, [Ended; 2]) {
    let server = Box::leak(Box::new(KinesisLocal::start()));
    let kinesis = Kinesis::at(&server.endpoint());
    kinesis.create("s", 1);
    let mut service = Service::new();
    service.configure("", &reads(&server.endpoint(), ""));
    service.restart();
    let mut world = World { kinesis, service, put: 0 };
    world.put(20);
    let parent = world.kinesis.shards("s")[0].shard_id().to_owned();
    world.kinesis.split("s", &parent);
    world.put(20);
    settled(&mut world.service, 40);
    world.service.until("the parent is done", |s| s.status("r").shards.values().any(|shard| shard.state == "done"));
    let older = files(&world.root("data"));
    world.put(20);
    settled(&mut world.service, 60);
    let at_rest = world.ended(older.clone());
    std::fs::rename(world.root("out"), world.root("away")).unwrap();
    std::fs::write(world.root("out"), "no directory").unwrap();
    world.service.restart_until("/healthz");
    world.put(20);
    world.service.until("they are planned", |s| s.status("r").open_plans == 2);
    std::fs::remove_file(world.root("out")).unwrap();
    std::fs::rename(world.root("away"), world.root("out")).unwrap();
    let busy = world.ended(older);
    (world, [at_rest, busy])
}

#[test]
fn whatever_happens_to_a_file_of_a_shard_nothing_is_delivered_twice_or_missing_without_an_alarm() {
    let (mut world, lives) = lives();
    let (mut rng, mut tally) = (Rng(11), BTreeMap::new());
    let cases = lives.iter().flat_map(|ended| {
        let of_shards = ended.data.keys().filter(|path| path.iter().any(|part| part == "shards"));
        of_shards
            .flat_map(move |path| ["flipped", "cut", "emptied", "removed", "older"].map(|what| (ended, path, what)))
    });
    let cases: Vec<_> = cases.collect();
    let step = (1.0 / scale()).round() as u64;
    for (ended, path, what) in cases {
        if rng.below(step) > 0 {
            continue;
        }
        let mut damaged = ended.data.clone();
        let written = damaged[path].iter().rposition(|b| !matches!(b, 0 | b'\n')).map_or(0, |last| last as u64 + 1);
        let bytes = damaged.get_mut(path).unwrap();
        let place = rng.below(written.max(1)) as usize;
        match (what, ended.older.get(path)) {
            ("flipped", _) => bytes.get_mut(place).into_iter().for_each(|byte| *byte ^= 1 << rng.below(8)),
            ("cut", _) => bytes.truncate(place),
            ("emptied", _) => bytes.clear(),
            ("removed", _) => drop(damaged.remove(path)),
            (_, Some(older)) => bytes.clone_from(older),
            (_, None) => continue,
        }
        let outcome = world.after(ended, &damaged);
        let outcome = outcome.unwrap_or_else(|why| panic!("`{}` {what} at {place}: {why}", path.display()));
        *tally.entry((what, outcome)).or_insert(0) += 1;
    }
    println!("{tally:?}");
}
