//! Shards that go from Hydrant to an application of the Kinesis Client Library and back, more than once. Only with `--full`.

use super::nodes::{World, delivered, objects, shares};
use super::source::{number, numbered};
use crate::rig::kinesis::servers::{Dynalite, Moto};
use crate::rig::service::{Service, scale, variable};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The library's two lives, of which tables are in use.
const VERSIONS: [&str; 2] = ["HYDRANT_TEST_KCL2", "HYDRANT_TEST_KCL3"];
const ROUNDS: usize = 3;
/// KCL 3 shares leases out by a leader: whose lock expires minutes after it was killed.
const TAKES: Duration = Duration::from_secs(300);
/// User records in an aggregate.
const AGGREGATE: usize = 7;

/// dynalite has no index that KCL 3 wants.
fn world(version: &str) -> World {
    World::with(2, if version == VERSIONS[0] { Dynalite::start() } else { Moto::start() })
}

/// An application of the library that writes what it reads to a file.
struct Application {
    version: &'static str,
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Application {
    fn new(version: &'static str) -> Application {
        Application { version, dir: tempfile::tempdir().expect("a temporary directory"), child: None }
    }

    /// Has it take so many records at most.
    fn start(&mut self, world: &World, records_max: Option<usize>) {
        let log = std::fs::File::options().create(true).append(true).open(self.dir.path().join("log")).expect("a log");
        let most = records_max.map_or("-1".to_owned(), |n| n.to_string());
        let mut java = Command::new("setpriv");
        java.args([
            "--pdeathsig=KILL",
            "java",
            "-Xmx256m",
            "-XX:TieredStopAtLevel=1",
            "-cp",
            &variable(self.version),
            "Kcl",
        ]);
        java.args([world.kinesis.endpoint(), world.dynamodb.endpoint()]).arg(self.file()).arg(most);
        java.stdin(Stdio::piped()).stdout(log.try_clone().expect("a file can be cloned")).stderr(log);
        self.child = Some(java.spawn().expect("java starts"));
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("records")
    }

    fn numbers(&self) -> Vec<usize> {
        let bytes = std::fs::read(self.file()).unwrap_or_default();
        // A line that is being written, or was when it was killed, is none yet.
        let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        bytes[..whole].split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(number).collect()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Has it end in good order.
    fn stop(&mut self) {
        let mut child = self.child.take().expect("it runs");
        drop(child.stdin.take());
        let began = Instant::now();
        let status = loop {
            match child.try_wait().expect("ask for it") {
                Some(status) => break status,
                None => assert!(began.elapsed() < TAKES, "it does not end: {}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        assert!(status.success(), "{status}: {}", self.log());
    }

    fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is killed");
        child.wait().expect("it has ended");
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        if std::thread::panicking() {
            eprintln!("{}: {}", self.version, self.log());
        }
    }
}

/// How often each record is in Hydrant's objects and in the application's file.
fn found(world: &World, application: &Application) -> BTreeMap<usize, usize> {
    let objects = objects(world.out.path());
    let lines = objects.iter().flat_map(|(_, bytes)| bytes.split(|b| *b == b'\n')).filter(|line| !line.is_empty());
    let mut found = BTreeMap::new();
    lines.map(number).chain(application.numbers()).for_each(|n| *found.entry(n).or_default() += 1);
    found
}

/// Puts so many more records, in aggregates of one key each: the library drops what has a key of another shard. How many there
/// are then.
fn put(world: &World, from: usize, records: usize) -> usize {
    let mut all = numbered(from..from + records);
    for aggregate in all.chunks_mut(AGGREGATE) {
        let key = aggregate[0].0.clone();
        aggregate.iter_mut().for_each(|record| record.0 = key.clone());
    }
    world.client().put_aggregates("s", &all, AGGREGATE);
    from + records
}

fn until_read(application: &Application, records: usize, what: &str) {
    let began = Instant::now();
    while application.numbers().len() < records {
        assert!(began.elapsed() < TAKES, "{what}: {} of {records} are the application's", application.numbers().len());
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn until_found(world: &World, application: &Application, records: usize, what: &str) {
    let began = Instant::now();
    while found(world, application).len() < records {
        let missing: Vec<usize> = (0..records).filter(|n| !found(world, application).contains_key(n)).take(9).collect();
        assert!(
            began.elapsed() < TAKES,
            "{what}: {missing:?} are missing of {records}, {} are Hydrant's and {} the application's; {:?}",
            delivered(world.out.path()),
            application.numbers().len(),
            world.leases(),
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn shards_go_to_an_application_of_the_library_and_back_three_times_each_record_once() {
    if scale() < 1.0 {
        return;
    }
    for version in VERSIONS {
        let (world, mut application) = (world(version), Application::new(version));
        let (mut node, mut records) = (world.node(), 0);
        for round in 0..ROUNDS {
            let what = format!("{version}, round {round}");
            records = put(&world, records, 10 * AGGREGATE);
            until_found(&world, &application, records, &what);
            // Behind a split that the one sees and the other may have to go on with.
            let open = |world: &World| {
                let shards = world.client().shards("s");
                let is_open = |s: &&aws_sdk_kinesis::types::Shard| {
                    s.sequence_number_range().is_some_and(|range| range.ending_sequence_number().is_none())
                };
                shards.iter().find(is_open).expect("a stream has an open shard").shard_id().to_owned()
            };
            if round == 1 {
                world.client().split("s", &open(&world));
                records = put(&world, records, 10 * AGGREGATE);
            }
            assert_eq!(node.terminate(), Some(0));
            records = put(&world, records, 10 * AGGREGATE);
            if round == 2 {
                world.client().split("s", &open(&world));
            }
            // First inside an aggregate, then to the end.
            match round {
                0 => {
                    let most = 3 * AGGREGATE + 2;
                    application.start(&world, Some(most));
                    until_read(&application, most, &what);
                }
                _ => {
                    application.start(&world, None);
                    until_found(&world, &application, records, &what);
                }
            }
            application.stop();
            node.restart();
            until_found(&world, &application, records, &what);
            let twice: Vec<_> = found(&world, &application).into_iter().filter(|(_, times)| *times > 1).collect();
            assert!(twice.is_empty(), "{what}: twice or more: {twice:?}; {:?}", world.leases());
        }
        let status = node.status("r");
        assert_eq!((status.gap, status.lost, status.alarm), (0, 0, None));
        let (code, text) = node.command(&["audit", "--deep"]);
        assert_eq!(code, 0, "{text}");
        println!("{version}: {records} records, {} of them the application's, each once", application.numbers().len());
    }
}

#[test]
fn whoever_is_killed_loses_no_record_to_who_comes_next() {
    if scale() < 1.0 {
        return;
    }
    for version in VERSIONS {
        let (world, mut application) = (world(version), Application::new(version));
        let (mut node, mut records) = (world.node(), 0);
        for round in 0..ROUNDS {
            let what = format!("{version}, round {round}");
            let known = found(&world, &application).len();
            records = put(&world, records, 30 * AGGREGATE);
            // Some of them may be on their way.
            until_found(&world, &application, known + AGGREGATE, &what);
            node.kill();
            records = put(&world, records, 30 * AGGREGATE);
            let read = application.numbers().len();
            application.start(&world, None);
            until_read(&application, read + AGGREGATE, &what);
            application.kill();
            node.restart();
            until_found(&world, &application, records, &what);
        }
        node.until("what is over is no alarm any more", |s| s.status("r").alarm.is_none());
        let twice = found(&world, &application).values().filter(|times| **times > 1).count();
        println!("{version}: {records} records, none lost, {twice} twice for who was killed");
    }
}

#[test]
fn a_quiet_shard_that_is_read_from_its_newest_record_on_can_be_handed_over() {
    if scale() < 1.0 {
        return;
    }
    for version in VERSIONS {
        let (world, mut application) = (world(version), Application::new(version));
        let streams = shares(&world.kinesis.endpoint(), &world.dynamodb.endpoint(), world.out.path(), "");
        let mut node = Service::start(&streams.replace("start: trim_horizon", "start: latest"));
        node.until("the shards are read", |s| s.status("r").shards.len() == 2);
        assert_eq!(node.terminate(), Some(0));
        assert!(world.leases().iter().all(|lease| lease.2 == "TRIM_HORIZON"), "{:?}", world.leases());
        let mut records = put(&world, 0, 3 * AGGREGATE);
        application.start(&world, None);
        until_found(&world, &application, records, version);
        application.stop();
        records = put(&world, records, 3 * AGGREGATE);
        node.restart();
        until_found(&world, &application, records, version);
        assert!(found(&world, &application).values().all(|times| *times == 1), "each once");
        assert_eq!(node.status("r").alarm, None);
    }
}
